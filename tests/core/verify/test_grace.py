"""Who is accepted while the API cannot be asked: every clause of ``grace_seconds``."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from moonkey_core import (
    ProviderUnavailable,
)
from moonkey_core._operations.arguments import given
from moonkey_core._plan import Fetch, Outcome, TransportError
from moonkey_core.auth import fresh_jwt
from moonkey_core.events import Event, GraceUsed
from support.decisions import NOW, replied
from support.jwks_decisions import JwksDecisions
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import DEAD, DOWN, KnownToTheApi
from support.secrets import assert_no_secret

TOKEN, UNKNOWN = "session_" + "t" * 40, "session_" + "u" * 40


def made(**options: Any) -> KnownToTheApi:
    return KnownToTheApi([TOKEN], **options)


def graced(**options: Any) -> KnownToTheApi:
    """Has verified the token just now; the API is down since."""
    decisions = made(**{"grace_seconds": 60, **options})
    assert decisions.authenticate(TOKEN).is_authenticated
    decisions.down = True
    return decisions


@pytest.mark.rule("S34")
class TestGrace:
    def test_no_record_is_kept_by_default(self) -> None:
        decisions = graced(grace_seconds=0)
        assert len(decisions.core.cache) == 0
        assert isinstance(decisions.authenticate(TOKEN).error, ProviderUnavailable)
        assert decisions.authenticate(TOKEN, grace_seconds=60).is_unavailable

    def test_who_was_verified_no_longer_ago_is_accepted(self) -> None:
        decisions = graced()
        for after in (0, 30, 60):
            decisions.now = NOW + after
            auth = decisions.authenticate(TOKEN)
            assert (auth.source, auth.as_of) == ("grace", NOW)
            assert auth.user is not None
            assert (auth.user.id, auth.session.id) == ("user_1", "sess_1")
        decisions.now = NOW + 60.1
        assert decisions.authenticate(TOKEN).is_unavailable
        decisions.now = NOW + 59  # the grace that was given is no verification
        assert decisions.authenticate(TOKEN).source == "grace"

    def test_it_counts_from_the_last_time_it_was_found_good(self) -> None:
        decisions = graced(session_cache_ttl=50)
        decisions.now = NOW + 40
        assert decisions.authenticate(TOKEN).source == "cache"
        decisions.now = NOW + 100
        auth = decisions.authenticate(TOKEN)
        assert (auth.source, auth.as_of) == ("grace", NOW)
        decisions.now = NOW + 100.1
        assert decisions.authenticate(TOKEN).is_unavailable

    def test_strangers_are_not(self) -> None:
        decisions = graced()
        decisions.good[UNKNOWN] = {}
        assert decisions.authenticate(UNKNOWN).is_unavailable

    @pytest.mark.parametrize(
        "which", [{"session_id": "sess_1"}, {"user_id": "user_1"}, {"issued_before": NOW}], ids=str
    )
    def test_nor_who_was_revoked_since(self, which: dict[str, Any]) -> None:
        decisions = graced()
        decisions.core.revocations.add(**which)
        assert not decisions.authenticate(TOKEN).is_authenticated

    def test_nor_who_was_refused_since(self) -> None:
        decisions = graced()
        decisions.down = False
        del decisions.good[TOKEN]
        assert decisions.authenticate(TOKEN).is_rejected
        decisions.down = True
        decisions.core.cache._denied_briefly.clear()
        assert decisions.authenticate(TOKEN).is_unavailable

    def test_nor_whose_session_is_over(self) -> None:
        decisions = made(grace_seconds=60)
        decisions.good[TOKEN] = {"session": {"expires_at": NOW + 20}}
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.down = True
        decisions.now = NOW + 19
        assert decisions.authenticate(TOKEN).source == "grace"
        decisions.now = NOW + 20
        assert decisions.authenticate(TOKEN).is_unavailable

    def test_nor_where_the_clock_was_set_back(self) -> None:
        decisions = graced()
        decisions.now = NOW - 100
        assert decisions.authenticate(TOKEN).is_unavailable

    @pytest.mark.parametrize(
        ("wishes", "after", "state"),
        [
            ({"grace_seconds": 10}, 10, "authenticated"),
            ({"grace_seconds": 10}, 10.1, "unavailable"),
            ({"grace_seconds": 0}, 0, "unavailable"),
            ({"grace_seconds": 600}, 60, "authenticated"),
            ({"grace_seconds": 600}, 60.1, "unavailable"),
            ({"max_staleness": 0}, 0, "unavailable"),
            ({"max_staleness": 10}, 10, "authenticated"),
            ({"max_staleness": 10}, 10.1, "unavailable"),
            ({"max_staleness": 10, "grace_seconds": 5}, 5.1, "unavailable"),
        ],
    )
    def test_a_route_may_only_lower_it(self, wishes: dict[str, Any], after: float, state: str) -> None:
        decisions = graced()
        decisions.now = NOW + after
        assert decisions.authenticate(TOKEN, **wishes).state == state

    def test_a_route_is_given_nothing_older_than_it_wants(self) -> None:
        """A JWT was found good just now, but the API itself vouched for it when it was issued."""
        decisions, jwt = made(grace_seconds=300), good(NOW - 200)
        assert decisions.authenticate(jwt).is_authenticated
        decisions.down = True
        assert decisions.authenticate(jwt, max_staleness=10).is_unavailable
        assert decisions.authenticate(jwt, max_staleness=250).is_authenticated

    def test_an_old_jwt_whose_refresh_is_not_to_be_had(self) -> None:
        decisions, jwt = made(grace_seconds=60), good(NOW)
        assert decisions.authenticate(jwt).source == "local"
        decisions.down = True
        decisions.now = NOW + 299
        assert decisions.authenticate(jwt).source == "cache"
        decisions.now = NOW + 350
        auth = decisions.authenticate(jwt)
        assert (auth.source, auth.as_of, fresh_jwt(auth)) == ("grace", NOW, None)
        decisions.now = NOW + 360
        assert decisions.authenticate(jwt).is_unavailable

    def test_not_a_jwt_whose_key_has_left(self) -> None:
        decisions = JwksDecisions(grace_seconds=300)
        jwt = sign(header(kid="old"), claims(NOW, exp=NOW + 20), "old")
        assert decisions.authenticate(jwt).is_authenticated
        decisions.published = replied(200, {"keys": []})
        decisions.answer = lambda fetch: decisions.published if "jwks" in fetch.url else DOWN
        decisions.now = NOW + 30
        assert decisions.authenticate(jwt).source == "grace"
        good_set = JwksDecisions().published
        decisions.published = replied(200, {"keys": [{**key, "kid": "new"} for key in keys_of(good_set)]})
        decisions.shown("new")
        decisions.now = NOW + 40
        assert not decisions.authenticate(jwt).is_authenticated

    @pytest.mark.parametrize(
        ("answer", "accepted"),
        [
            (DOWN, True),
            (TransportError("timeout"), True),
            (TransportError("busy"), True),
            (TransportError("circuit_open", unsent=True), True),
            (replied(503), True),
            (replied(429), True),
            (replied(200, b"<html>"), True),
            (DEAD, False),
            (replied(401), False),
            (replied(403, {"error_type": "forbidden"}), False),
        ],
        ids=repr,
    )
    def test_only_where_the_api_cannot_be_asked(self, answer: Outcome, accepted: bool) -> None:
        decisions = graced()

        def either(fetch: Fetch) -> Outcome:
            return replied(404, {"error_type": "not_found"}) if "/users/" in fetch.url else answer

        decisions.answer = either
        assert decisions.authenticate(TOKEN).is_authenticated is accepted

    def test_each_use_is_told_and_tells_nobodys_name(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "moonkey")
        decisions = graced()
        seen: list[Event] = []
        decisions.core.hooks.add(seen.append)
        decisions.now = NOW + 7
        for _ in range(2):
            assert decisions.authenticate(TOKEN).source == "grace"
        used = [event for event in seen if isinstance(event, GraceUsed)]
        assert [event.age for event in used] == [7, 7]
        records = [record for record in caplog.records if vars(record).get("reason") == "grace_used"]
        assert [record.levelname for record in records] == ["WARNING"]  # and a count, ten seconds later
        assert "api_connect" in caplog.text
        assert_no_secret([*records, *seen], [TOKEN])
        assert not any(name in caplog.text for name in ("user_1", "sess_1"))

    def test_sessions_verify_gives_none(self) -> None:
        """Whoever asks outright is told that it cannot be known."""
        decisions = graced()
        plan = decisions.core.authenticator.verify(given("session_token", TOKEN))
        next(plan)
        with pytest.raises(ProviderUnavailable):
            plan.send(DOWN)


def keys_of(outcome: Any) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(outcome.body)["keys"]
    return keys
