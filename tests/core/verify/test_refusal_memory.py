"""A refusal is remembered for a moment, but not for a route that wants a fresher answer."""

from __future__ import annotations

import pytest

from moonkey_core import _clock
from moonkey_core.gate import Requirements
from support.cookie_visits import FRESH, OLD, TOKEN, visit
from support.scripted_api import KnownToTheApi

ASKS_EACH_TIME = Requirements(max_staleness=0)


def made(**options: object) -> KnownToTheApi:
    return KnownToTheApi([], cookies=True, **options)


@pytest.mark.rule("S34", "token", "jwt")
@pytest.mark.parametrize("credential", [TOKEN, OLD], ids=["token", "jwt"])
def test_a_route_that_asks_each_time(credential: str) -> None:
    decisions = made()
    for count in (1, 2, 3):
        assert decisions.authenticate(credential, max_staleness=0).is_rejected
        assert decisions.asked == count
    assert decisions.authenticate(credential).is_rejected
    assert decisions.asked == 3  # any other route


@pytest.mark.rule("S34", "pair")
@pytest.mark.parametrize("jwt", [None, OLD, FRESH], ids=["token", "old pair", "pair"])
def test_the_same_for_cookies(jwt: str | None) -> None:
    decisions = made()
    for count in (1, 2):
        assert visit(decisions, jwt=jwt, requirements=ASKS_EACH_TIME).is_rejected
        assert decisions.asked == count


@pytest.mark.rule("S34")
def test_what_is_found_good_then_is_good_for_all() -> None:
    decisions = made(session_cache_ttl=30)
    assert decisions.authenticate(TOKEN).is_rejected
    decisions.good[TOKEN] = {}
    assert decisions.authenticate(TOKEN).is_rejected
    assert decisions.authenticate(TOKEN, max_staleness=0).source == "remote"
    assert decisions.authenticate(TOKEN).source == "cache"


@pytest.mark.rule("S34")
def test_a_route_that_allows_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions, now = made(), _clock.monotonic()
    assert decisions.authenticate(TOKEN).is_rejected
    monkeypatch.setattr(_clock, "monotonic", lambda: now + 3)
    assert decisions.authenticate(TOKEN, max_staleness=4).is_rejected
    assert decisions.asked == 1
    assert decisions.authenticate(TOKEN, max_staleness=2).is_rejected
    assert decisions.asked == 2


def test_who_has_signed_out_is_asked_about_by_no_route() -> None:
    decisions = made()
    decisions.good[TOKEN] = {}
    decisions.core.cache.deny(decisions.core.cache.digest(TOKEN))
    assert decisions.authenticate(TOKEN, max_staleness=0).is_rejected
    assert decisions.asked == 0
