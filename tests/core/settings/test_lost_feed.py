"""The settings of a lost feed, against each other and against what else is set."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import ConfigurationError, MoonKey, Settings
from support.foreign_tokens import provider

KEY, REDIS = "sk_test_lost_feed", "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"on_feed_lost": "bounded"}, "on_feed_lost.*no effect without redis_url"),
        ({"on_feed_lost": "local"}, "on_feed_lost.*no effect without redis_url"),
        ({"on_feed_lost": "refuse"}, "on_feed_lost.*no effect without redis_url"),
        ({"feed_lost_bound": 5}, "feed_lost_bound.*no effect without redis_url"),
        ({"redis_url": REDIS, "feed_lost_bound": 5}, "feed_lost_bound.*no effect without on_feed_lost='bounded'"),
        (
            {"redis_url": REDIS, "on_feed_lost": "local", "feed_lost_bound": 5},
            "feed_lost_bound.*no effect without on_feed_lost='bounded'",
        ),
        (
            {"redis_url": REDIS, "on_feed_lost": "bounded", "feed_lost_bound": 1, "max_revocation_lag": 2},
            "feed_lost_bound.*shorter than max_revocation_lag",
        ),
        ({"redis_url": REDIS, "on_feed_lost": "bounded", "max_revocation_lag": 11}, "feed_lost_bound.*shorter"),
        ({"redis_url": REDIS, "on_feed_lost": "sometimes"}, "on_feed_lost"),
    ],
)
def test_what_has_no_effect_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Settings.load({"secret_key": KEY, **options}, {})
    variables = {f"MOONKEY_{name.upper()}": str(value) for name, value in options.items()}
    with pytest.raises(ConfigurationError, match=problem):
        Settings.load({"secret_key": KEY}, variables)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 1.0),
        ({"max_revocation_lag": 4}, 4.0),
        ({"on_feed_lost": "bounded"}, 10.0),
        ({"on_feed_lost": "bounded", "feed_lost_bound": 30}, 30.0),
        ({"on_feed_lost": "bounded", "feed_lost_bound": 2, "max_revocation_lag": 2}, 2.0),
    ],
)
def test_how_long_an_answer_counts(options: dict[str, Any], seconds: float) -> None:
    assert Settings.load({"secret_key": KEY, "redis_url": REDIS, **options}, {}).lost_feed_seconds == seconds


def test_a_provider_that_cannot_be_asked_has_to_be_told_something_else() -> None:
    options: dict[str, Any] = {"redis_url": REDIS, "cache_secret": "0123456789abcdef", "on_feed_lost": "bounded"}
    with pytest.raises(ConfigurationError, match=r"on_feed_lost.*has to be chosen"):
        MoonKey(provider=provider(), **options)
