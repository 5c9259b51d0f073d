"""How old an answer may be: the short memory of answers, a route's wishes, and refusals."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from moonkey_core import (
    Auth,
    ExpiredCredentials,
    InvalidCredentials,
    ProviderRejectedKey,
    RequestRefused,
    RevokedCredentials,
)
from moonkey_core._operations.arguments import given
from moonkey_core._plan import Outcome, TransportError
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator
from moonkey_core.gate import Requirements
from support.clients import MakeClient
from support.decisions import NOW, bearer, replied, verified_body
from support.odd_jwts import good
from support.scripted_api import DOWN, KnownToTheApi

TOKEN, UNKNOWN = "session_" + "t" * 40, "session_" + "u" * 40


def made(**options: Any) -> KnownToTheApi:
    return KnownToTheApi([TOKEN], **options)


@pytest.mark.rule("S34")
@pytest.mark.usefixtures("exact_lives")
class TestRememberedAnswers:
    def test_off_by_default(self) -> None:
        decisions = made()
        for count in range(1, 4):
            auth = decisions.authenticate(TOKEN)
            assert (auth.state, auth.source, auth.as_of) == ("authenticated", "remote", NOW)
            assert decisions.known({"session-token": [TOKEN]}) is None
            assert decisions.asked == count
        assert len(decisions.core.cache) == 0

    def test_for_the_seconds_of_the_setting(self) -> None:
        decisions = made(session_cache_ttl=30)
        first = decisions.authenticate(TOKEN)
        decisions.now = NOW + 29.9
        again = decisions.authenticate(TOKEN)
        assert (first.source, again.source) == ("remote", "cache")
        assert (first.user, first.session) == (again.user, again.session)
        assert (again.as_of, decisions.asked) == (NOW, 1)
        decisions.now = NOW + 30
        assert decisions.authenticate(TOKEN).source == "remote"
        assert decisions.asked == 2

    def test_they_count_from_when_the_api_was_asked(self) -> None:
        decisions = made(session_cache_ttl=30)
        plan, fetch = decisions.begin(TOKEN)
        reply = decisions.by_heart(fetch)
        asked = replied(200, verified_body())
        assert reply == asked
        decisions.now += 4  # a slow answer
        assert decisions.end(plan, type(asked)(200, {}, asked.body, asked_at=NOW)).as_of == NOW
        decisions.now = NOW + 29.9
        assert decisions.authenticate(TOKEN).source == "cache"
        decisions.now = NOW + 30
        assert decisions.authenticate(TOKEN).source == "remote"

    @pytest.mark.parametrize("leeway", [0, 5])
    def test_never_past_the_sessions_own_end(self, leeway: int) -> None:
        decisions = made(session_cache_ttl=60, leeway=leeway)
        decisions.good[TOKEN] = {"session": {"expires_at": NOW + 10}}
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.now = NOW + 9.9 + leeway
        assert decisions.authenticate(TOKEN).source == "cache"
        decisions.now = NOW + 10 + leeway
        assert isinstance(decisions.authenticate(TOKEN).error, ExpiredCredentials)

    def test_the_user_of_the_answer_is_the_user_of_the_memory(self) -> None:
        decisions = made(session_cache_ttl=30)
        user = {"user_id": "user_1", "emails": [{"email": "me@example.com", "verified": True}], "secret": "s"}
        decisions.good[TOKEN] = {"user": user, "session_token": TOKEN, "session_jwt": good(NOW)}
        first, again = (decisions.authenticate(TOKEN) for _ in range(2))
        assert first.user is not None
        assert first.user.email == "me@example.com"
        assert first.user == again.user
        assert (fresh_jwt(again), again.source) == (None, "cache")

    def test_jwts_that_are_asked_about_too(self) -> None:
        decisions, jwt = made(session_cache_ttl=30, jwt_issuer=""), good(NOW)
        decisions.good[jwt] = {}
        assert [decisions.authenticate(jwt).source for _ in range(3)] == ["remote", "cache", "cache"]

    def test_verify_is_about_now(self) -> None:
        decisions = made(session_cache_ttl=30)
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.good.clear()
        assert decisions.authenticate(TOKEN).source == "cache"
        assert isinstance(decisions.authenticate(TOKEN, max_staleness=0).error, InvalidCredentials)
        assert decisions.authenticate(TOKEN).is_rejected  # what is refused is not good for others either

    @pytest.mark.parametrize("options", [{}, {"grace_seconds": 60}])
    def test_a_clock_that_was_set_back_a_little_reuses_nothing(self, options: dict[str, Any]) -> None:
        decisions = made(leeway=5, **options)
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.now = NOW - 3
        assert decisions.authenticate(TOKEN).source == "remote"


@pytest.mark.usefixtures("exact_lives")
class TestMaxStaleness:
    @pytest.mark.parametrize(
        ("most", "after", "source"),
        [(None, 29, "cache"), (0, 0, "remote"), (10, 10, "cache"), (10, 10.1, "remote"), (100, 29, "cache")],
    )
    def test_of_a_token(self, most: float | None, after: float, source: str) -> None:
        decisions = made(session_cache_ttl=30)
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.now = NOW + after
        auth = decisions.authenticate(TOKEN, max_staleness=most)
        assert auth.source == source
        assert decisions.now - (auth.as_of or 0) <= (most if most is not None else 30)

    @pytest.mark.parametrize(
        ("most", "age", "source"),
        [(None, 200, "local"), (0, 1, "remote"), (10, 10, "local"), (10, 10.1, "remote"), (500, 200, "local")],
    )
    @pytest.mark.parametrize("warm", [False, True])
    def test_of_a_jwt(self, most: float | None, age: float, source: str, warm: bool) -> None:
        decisions, jwt = made(), good(NOW - 1, iat=NOW - age)
        decisions.good[jwt] = {}
        if warm:
            assert decisions.authenticate(jwt).source == "local"
        auth = decisions.authenticate(jwt, max_staleness=most)
        assert auth.source == ("cache" if warm and source == "local" else source)
        assert decisions.asked == (source == "remote")

    def test_an_answer_serves_other_routes(self) -> None:
        decisions, jwt = made(), good(NOW - 100)
        decisions.good[jwt] = {}
        assert decisions.authenticate(jwt, max_staleness=0).source == "remote"
        decisions.now += 5
        again = decisions.authenticate(jwt, max_staleness=10)
        assert (again.source, again.as_of, decisions.asked) == ("cache", NOW, 1)
        for count in (2, 3):
            assert decisions.authenticate(jwt, max_staleness=0).source == "remote"
            assert decisions.asked == count

    @pytest.mark.parametrize("after", [0, 400])
    def test_who_has_asked_is_told_what_the_api_said(self, after: int) -> None:
        """Not what the JWT said when it was made: the session may have been extended since, the user be whole."""
        decisions, jwt = made(), good(NOW, session={"expires_at": NOW + 500})
        decisions.now += after
        user = {"user_id": "user_1", "emails": [{"email": "me@example.com", "verified": True}]}
        decisions.good[jwt] = {"session": {"expires_at": NOW + 9000}, "user": user}
        auth = decisions.authenticate(jwt, max_staleness=0)
        assert auth.source == "remote"
        assert auth.session is not None
        assert auth.session.expires_at.timestamp() == NOW + 9000
        assert auth.user is not None
        assert (auth.user.id, auth.user.email) == ("user_1", "me@example.com")

    def test_a_session_that_was_ended_elsewhere(self) -> None:
        jwt = good(NOW - 20)
        for credential in (TOKEN, jwt):
            decisions = made(session_cache_ttl=60)
            assert decisions.authenticate(TOKEN).is_authenticated
            assert decisions.authenticate(jwt).is_authenticated
            decisions.good.clear()
            assert decisions.authenticate(credential).is_authenticated
            assert isinstance(decisions.authenticate(credential, max_staleness=0).error, InvalidCredentials)
            for other in (TOKEN, jwt):
                assert decisions.authenticate(other).is_rejected

    def test_a_refresh_that_lingers_is_not_handed_out_to_who_wants_it_fresher(
        self, make_client: MakeClient, emulator: Emulator
    ) -> None:
        emulator.set_clock(-400)
        person = emulator.sign_in()
        emulator.set_clock(0)
        client, headers = make_client(jwt_issuer=emulator.issuer), bearer(person.session_jwt)
        assert fresh_jwt(client.authenticate(headers))
        emulator.revoke(person.session_id)
        assert client.authenticate(headers).is_authenticated  # late repeats share it
        time.sleep(0.002)
        assert client.authenticate(headers, Requirements(max_staleness=0.001)).is_rejected

    def test_zero_is_a_call_of_ones_own(self) -> None:
        decisions = made(session_cache_ttl=60)
        for most in (0, 10, None):
            decisions.begin(TOKEN, max_staleness=most)[0].close()
        _, fetch = decisions.begin(TOKEN, max_staleness=0)
        assert fetch.coalesce_key is None
        _, fetch = decisions.begin(TOKEN, max_staleness=10)
        assert fetch.coalesce_key is not None
        assert fetch.ttl == 0

    @pytest.mark.parametrize("wrong", [-1, -0.001, float("nan"), float("inf"), True, "10", [1]])
    @pytest.mark.parametrize("name", ["max_staleness", "grace_seconds"])
    def test_a_wrong_number_is_no_wish(self, name: str, wrong: Any) -> None:
        with pytest.raises(ValueError, match=name):
            Requirements(**{name: wrong})


@pytest.mark.rule("S34")
class TestRefusals:
    def test_a_refused_token_costs_one_call(self) -> None:
        decisions = made()
        found = [decisions.authenticate(UNKNOWN) for _ in range(5)]
        assert decisions.asked == 1
        assert {auth.error and auth.error.reason for auth in found} == {"session_unknown"}
        assert len({id(auth.error) for auth in found}) == 5  # each with a traceback of its own
        assert decisions.authenticate(TOKEN).is_authenticated

    def test_for_a_few_seconds(self) -> None:
        decisions = made()
        decisions.authenticate(UNKNOWN)
        decisions.good[UNKNOWN] = {}
        refused, now = decisions.core.cache._denied_briefly, time.monotonic()
        refused.expire(now + 1)
        assert decisions.authenticate(UNKNOWN).is_rejected
        refused.expire(now + 6)
        assert decisions.authenticate(UNKNOWN).is_authenticated

    def test_whatever_kind_of_refusal(self) -> None:
        refusals: list[tuple[dict[str, Any], type[InvalidCredentials]]] = [
            ({"session": {"deleted": True}}, RevokedCredentials),
            ({"session": {"expires_at": NOW - 100}}, ExpiredCredentials),
        ]
        for changes, kind in refusals:
            decisions = made(session_cache_ttl=30, grace_seconds=30)
            decisions.good[TOKEN] = changes
            for _ in range(3):
                assert type(decisions.authenticate(TOKEN).error) is kind
            assert decisions.asked == 1

    @pytest.mark.rule("S19", "S39")
    @pytest.mark.parametrize(
        "trouble",
        [
            DOWN,
            TransportError("timeout"),
            TransportError("broken"),
            TransportError("too_large"),
            TransportError("busy"),
            TransportError("circuit_open", unsent=True),
            replied(500),
            replied(429),
            replied(404, b"<html>"),
            replied(403, b"<html>"),
            replied(200, b"<html>"),
            replied(200, {}),
            replied(200, {"session": {"id": 5}}),
            replied(200, verified_body(session={"user_id": "user_2"}, user={"id": "user_3"})),
            replied(200, verified_body(session_token="another")),
            replied(403, {"error_type": "forbidden"}),
            replied(402, {"error_type": "payment"}),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("before", [True, False])
    def test_trouble_is_never_remembered(self, trouble: Outcome, before: bool) -> None:
        decisions = made(session_cache_ttl=30)
        if before:
            assert decisions.authenticate(TOKEN).is_authenticated
            decisions.now += 30
        usual, decisions.answer = decisions.answer, lambda _: trouble
        for _ in range(2):
            assert decisions.authenticate(TOKEN).is_unavailable
        assert len(decisions.core.cache._denied_briefly) == 0
        decisions.answer = usual
        asked = decisions.asked
        assert decisions.authenticate(TOKEN).source == "remote"
        assert decisions.asked == asked + 1

    def test_an_older_good_answer_does_not_undo_it(self) -> None:
        decisions = made(session_cache_ttl=30, grace_seconds=30)
        plan, fetch = decisions.begin(TOKEN)
        late = decisions.by_heart(fetch)
        decisions.good.clear()
        assert decisions.authenticate(TOKEN, max_staleness=0).is_rejected
        decisions.end(plan, late)
        assert decisions.authenticate(TOKEN).is_rejected
        decisions.down = True
        decisions.core.cache._denied_briefly.clear()
        assert decisions.authenticate(TOKEN).is_unavailable

    def test_a_length_that_is_refused_says_nothing_of_the_token(self) -> None:
        decisions = made(session_cache_ttl=30)
        assert decisions.authenticate(TOKEN).is_authenticated
        plan = decisions.core.authenticator.verify(given("session_token", TOKEN), 10)
        assert (next(plan).json or {})["session_expires_in"] == 10
        again = plan.send(replied(400, {"error_type": "invalid_duration"}))
        assert (again.json or {}) == {"session_token": TOKEN}
        with pytest.raises(RequestRefused, match="invalid_duration"):
            plan.send(decisions.answer(again))
        assert decisions.authenticate(TOKEN).is_authenticated
        assert decisions.authenticate(TOKEN, max_staleness=0).is_authenticated

    def test_a_jwt_whose_session_was_ended_is_not_good_on_the_next_route(self) -> None:
        """Whatever it says of itself: this process knows better."""
        decisions, jwt = made(), good(NOW - 10)
        assert decisions.authenticate(jwt).is_authenticated
        assert decisions.authenticate(jwt, max_staleness=0).is_rejected
        assert decisions.authenticate(jwt).is_rejected
        assert decisions.authenticate(good(NOW - 5)).is_rejected  # another one of this session

    def test_what_is_not_understood_is_not_fit_for_the_fleets_store(self) -> None:
        api: Any = made().core.provider
        wrong: list[dict[str, Any]] = [{}, {"session": {"id": 5}}, {"session": None}, {"user": {"id": "user_1"}}]
        for body in wrong:
            with pytest.raises(ValueError, match=r".*"):
                api.without_credentials(body)
        kept = json.loads(api.without_credentials(verified_body(session_token=TOKEN)))
        assert kept == verified_body()

    def test_a_wrong_key_of_ours_is_nobodys_refusal(self) -> None:
        decisions = made(grace_seconds=60)
        assert decisions.authenticate(TOKEN).is_authenticated
        usual, decisions.answer = decisions.answer, lambda _: replied(401)
        for _ in range(2):
            assert isinstance(decisions.authenticate(TOKEN).error, ProviderRejectedKey)
        decisions.answer = usual
        assert decisions.authenticate(TOKEN).is_authenticated


class TestWithWholeUsers:
    """``load_user`` together with all of these."""

    def made(self, **options: Any) -> KnownToTheApi:
        return made(load_user=True, **{"session_cache_ttl": 30, "grace_seconds": 60, **options})

    def check(self, auth: Auth, source: str) -> None:
        assert (auth.source, auth.user and auth.user.email) == (source, "me@example.com")

    def test_the_session_is_remembered_and_the_user_completed(self) -> None:
        decisions = self.made()
        for source in ("remote", "cache", "cache"):
            self.check(decisions.authenticate(TOKEN), source)
        assert decisions.asked == 1
        jwt = good(NOW)
        for source in ("local", "cache"):
            self.check(decisions.read({"authorization": [f"Bearer {jwt}"]}), source)
        assert decisions.asked == 1

    def test_nothing_is_known_at_once(self) -> None:
        decisions = self.made()
        self.check(decisions.authenticate(TOKEN), "remote")
        assert decisions.known({"session-token": [TOKEN]}) is None
        assert decisions.known({}) is not None

    def test_a_route_that_wants_it_fresh(self) -> None:
        decisions = self.made()
        for count in (1, 2):
            self.check(decisions.authenticate(TOKEN, max_staleness=0), "remote")
            assert decisions.asked == count

    def test_a_revocation_counts(self) -> None:
        decisions, jwt = self.made(), good(NOW)
        for credential in (TOKEN, jwt):
            assert decisions.authenticate(credential).is_authenticated
        decisions.core.revocations.add(session_id="sess_1")
        for credential in (TOKEN, jwt):
            assert isinstance(decisions.authenticate(credential).error, RevokedCredentials)

    def test_grace_where_only_the_session_cannot_be_asked_for(self) -> None:
        decisions = self.made()
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.now += 31
        usual = decisions.answer
        decisions.answer = lambda fetch: usual(fetch) if "/users/" in fetch.url else DOWN
        self.check(decisions.authenticate(TOKEN), "grace")

    def test_without_the_user_it_is_not_known_who_that_is(self) -> None:
        decisions = self.made()
        decisions.users_down = True
        assert decisions.authenticate(TOKEN).is_unavailable
        decisions.users_down = False
        self.check(decisions.authenticate(TOKEN), "cache")  # and that was not remembered

    def test_a_user_in_the_answer_needs_no_second_call(self) -> None:
        decisions = self.made()
        decisions.good[TOKEN] = {"user": {"id": "user_1", "email": "me@example.com"}}
        for source in ("remote", "cache"):
            self.check(decisions.authenticate(TOKEN), source)
        decisions.down = True
        decisions.now += 31
        self.check(decisions.authenticate(TOKEN), "grace")
        assert decisions.calls("/users/") == 0


def test_the_header_makes_no_difference() -> None:
    decisions = made(session_cache_ttl=30)
    assert decisions.authenticate(TOKEN).source == "remote"
    found = decisions.core.begin(bearer(TOKEN), None)
    assert isinstance(found, Auth)
    assert found.source == "cache"
