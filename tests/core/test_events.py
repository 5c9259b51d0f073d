"""Events: which one tells of what, and that nothing goes wrong because somebody listens."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from contextlib import suppress
from typing import Any, get_args

import pytest

from moonkey_core import Auth, MoonKey, MoonKeyError, ProviderUnavailable
from moonkey_core import events as all_events
from moonkey_core._plan import TransportError, run
from moonkey_core.emulator import Emulator
from moonkey_core.events import (
    CircuitChanged,
    Event,
    FeedChanged,
    GraceUsed,
    Hook,
    Hooks,
    KeySetFetched,
    UpstreamCall,
    Verified,
)
from moonkey_core.gate import Requirements
from support.clients import Both, MakeAsyncClient, MakeClient
from support.decisions import NOW, Decisions, presenting, replied
from support.jwks_decisions import JwksDecisions
from support.odd_jwts import claims, good, header, sign
from support.patience import PATIENT
from support.redis_server import RedisServer, need_redis
from support.scripted import RESET, reply, scripted, unused_url, wait_until

pytestmark = pytest.mark.usefixtures("quick_retries")
TOKEN = "session_" + "Ab3" * 20
DOWN = TransportError("connect", unsent=True)


def heard_by(hooks: Hooks) -> list[Event]:
    """All events from now on."""
    heard: list[Event] = []
    hooks.add(heard.append)
    return heard


def verified(heard: list[Event]) -> tuple[str, str, str | None]:
    """The one verification that was heard of; forgets what was heard."""
    (event,) = (event for event in heard if isinstance(event, Verified))
    heard.clear()
    assert 0 <= event.seconds < 60
    return event.outcome, event.source, event.reason


def calls_in(heard: list[Event]) -> list[UpstreamCall]:
    return [event for event in heard if isinstance(event, UpstreamCall)]


class Listened(Decisions):
    """Decisions whose events are kept, authenticated as a client does it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard = heard_by(self.core.hooks)

    def told(self, credential: str | None, **requirements: Any) -> tuple[str, str, str | None]:
        listen(self, credential, **requirements)
        return verified(self.heard)


def listen(decisions: Decisions, credential: str | None, **requirements: Any) -> Auth:
    """Authenticate by the plan that clients run."""
    headers = presenting(credential) if credential else lambda _name: []
    wanted = Requirements(**requirements)
    found = decisions.core.begin(headers, wanted)
    return found if isinstance(found, Auth) else run(decisions.core.finish(found), decisions.exchange)


class TestVerified:
    def test_no_credential(self) -> None:
        assert Listened().told(None) == ("anonymous", "none", None)

    def test_a_jwt_cold_and_warm(self) -> None:
        decisions = Listened()
        jwt = good(NOW)
        assert decisions.told(jwt) == ("authenticated", "local", None)
        assert decisions.told(jwt) == ("authenticated", "cache", None)

    def test_a_jwt_whose_keys_have_to_be_fetched_first(self) -> None:
        decisions = Listened(jwks="")
        assert decisions.told(good(NOW)) == ("authenticated", "local", None)
        assert decisions.calls("jwks") == 1

    def test_a_jwt_by_keys_that_are_past_their_time(self) -> None:
        decisions = JwksDecisions()
        decisions.shown("old")
        heard = heard_by(decisions.core.hooks)
        decisions.now += 700
        decisions.published = DOWN
        listen(decisions, sign(header(kid="old"), claims(decisions.now), "old"))
        assert verified(heard) == ("authenticated", "stale", None)

    def test_a_token_is_asked_for_each_time(self) -> None:
        decisions = Listened()
        for _ in range(2):
            assert decisions.told(TOKEN) == ("authenticated", "remote", None)

    def test_a_token_that_is_remembered(self) -> None:
        decisions = Listened(session_cache_ttl=30)
        assert decisions.told(TOKEN)[1] == "remote"
        assert decisions.told(TOKEN)[1] == "cache"
        assert decisions.told(TOKEN, max_staleness=0)[1] == "remote"

    def test_refused_by_the_api_and_then_from_memory(self) -> None:
        decisions = Listened()
        decisions.answer = lambda _fetch: replied(404, {"error_type": "invalid_session"})
        for _ in range(2):
            assert decisions.told(TOKEN) == ("rejected", "none", "session_unknown")
        assert len(decisions.fetches) == 1

    def test_refused_on_sight(self) -> None:
        decisions = Listened()
        jwt = good(NOW)
        assert decisions.told(jwt[:-6] + "AAAAAA") == ("rejected", "none", "jwt_signature")
        assert decisions.told(good(NOW, iss="elsewhere")) == ("rejected", "none", "jwt_issuer")
        assert decisions.told("two words") == ("rejected", "none", "malformed_credentials")

    def test_revoked_while_remembered(self) -> None:
        decisions = Listened()
        jwt = good(NOW)
        decisions.told(jwt)
        decisions.core.revocations.add(session_id="sess_1")
        for _ in range(2):  # warm, then cold
            assert decisions.told(jwt) == ("rejected", "none", "revoked_credentials")

    def test_it_cannot_be_known(self) -> None:
        decisions = Listened()
        decisions.answer = lambda _fetch: DOWN
        assert decisions.told(TOKEN) == ("unavailable", "none", "api_connect")

    def test_in_grace(self) -> None:
        decisions = Listened(grace_seconds=60)
        assert decisions.told(TOKEN)[1] == "remote"
        decisions.now += 20
        decisions.answer = lambda _fetch: DOWN
        listen(decisions, TOKEN)
        assert [event for event in decisions.heard if isinstance(event, GraceUsed)] == [GraceUsed(20.0)]
        assert verified(decisions.heard) == ("authenticated", "grace", None)
        decisions.now += 61
        assert decisions.told(TOKEN) == ("unavailable", "none", "api_connect")

    def test_one_event_for_each_request_of_a_real_client(self, call: Both, emulator: Emulator) -> None:
        heard = heard_by(call.client.hooks)
        person = emulator.sign_in()
        call("authenticate", presenting(person.session_token))
        assert verified(heard) == ("authenticated", "remote", None)
        assert isinstance(call.client.begin(lambda _name: []), Auth)
        assert verified(heard) == ("anonymous", "none", None)
        assert not isinstance(call.client.begin(presenting(person.session_token)), Auth)
        assert heard == []  # nothing is known yet; who asks then is told of


class TestUpstreamCall:
    def test_each_try(self, call: Both, emulator: Emulator) -> None:
        heard = heard_by(call.client.hooks)
        emulator.fault(times=1, status=503)
        began = time.time()
        call("authenticate", presenting(emulator.sign_in().session_token))
        first, second = calls_in(heard)
        assert (first.operation, first.status, first.failure) == ("sessions.verify", 503, None)
        assert (second.operation, second.status, second.failure) == ("sessions.verify", 200, None)
        assert began <= first.started_at
        assert first.started_at + first.seconds <= second.started_at + 0.001
        assert second.started_at + second.seconds <= time.time() + 0.001
        assert heard.index(second) < heard.index(next(one for one in heard if isinstance(one, Verified)))

    @pytest.mark.parametrize(
        ("script", "failure"),
        [([RESET], "broken"), (reply(200, b" " * (1024 * 1024 + 1)), "too_large")],
    )
    def test_without_an_understood_reply(self, how: str, script: Any, failure: str) -> None:
        with scripted(lambda _request: script) as server:
            for event in self._heard_of(server.url, how):
                assert (event.status, event.failure) == (None, failure)

    def test_no_reply_in_time(self) -> None:
        with scripted(lambda _request: [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", 5.0]) as server:
            (event,) = self._heard_of(server.url, "sync")
        assert (event.status, event.failure) == (None, "timeout")
        assert event.seconds >= 0.3

    def test_nobody_there(self, how: str) -> None:
        assert [event.failure for event in self._heard_of(unused_url(), how)] == ["connect", "connect"]

    @staticmethod
    def _heard_of(url: str, how: str) -> list[UpstreamCall]:
        both = Both(
            "sync" if how == "sync" else "async", {"secret_key": "sk_test_x", "base_url": url, "timeout": 0.4}
        )
        heard = heard_by(both.client.hooks)
        assert both("authenticate", presenting(TOKEN)).is_unavailable
        both.close()
        assert calls_in(heard)
        return calls_in(heard)

    def test_one_that_nobody_waits_for_any_more(
        self, emulator: Emulator, make_async_client: MakeAsyncClient
    ) -> None:
        async def work() -> list[Event]:
            async with make_async_client() as client:
                heard, told = heard_by(client.hooks), asyncio.Event()
                client.hooks.add(lambda _event: told.set())
                task = asyncio.create_task(client.authenticate(presenting(TOKEN)))
                assert await asyncio.to_thread(wait_until, lambda: bool(emulator.requests()))
                task.cancel()
                await told.wait()
                assert task.cancelled()
                return heard

        emulator.fault(delay=5)
        (event,) = asyncio.run(asyncio.wait_for(work(), 10))
        assert isinstance(event, UpstreamCall)
        assert (event.status, event.failure) == (None, "cancelled")

    def test_a_call_that_is_shared_is_one(self, emulator: Emulator, make_async_client: MakeAsyncClient) -> None:
        async def work() -> list[Event]:
            async with make_async_client() as client:
                heard = heard_by(client.hooks)
                view = presenting(emulator.sign_in().session_token)
                await asyncio.gather(*(client.authenticate(view) for _ in range(20)))
                return heard

        emulator.fault(times=1, delay=0.1)
        heard = asyncio.run(work())
        assert len(calls_in(heard)) == 1
        assert sum(isinstance(event, Verified) for event in heard) == 20

    def test_no_call_is_told_of_that_was_not_made(self) -> None:
        """An open circuit and a full line refuse without calling."""
        with MoonKey(secret_key="sk_test_x", base_url=unused_url()) as client:
            for _ in range(5):
                client.authenticate(presenting(TOKEN))
            assert client.health().circuit == "open"
            heard = heard_by(client.hooks)
            assert client.authenticate(presenting(TOKEN)).is_unavailable
        assert verified(heard) == ("unavailable", "none", "api_circuit_open")
        assert heard == []

    @pytest.mark.parametrize(
        ("method", "arguments", "operation"),
        [
            ("sessions.list", ("user_1",), "sessions.list"),
            ("users.get", ("user_1",), "users.get"),
            ("sessions.revoke", {"session_id": "sess_1"}, "sessions.revoke"),
            ("otps.send", {"email": "a@b.example"}, "otps/email/send"),
            ("otps.verify", {"code": "1", "method_id": "m"}, "otps/verify"),
        ],
    )
    def test_names_of_operations_hold_no_argument(
        self, call: Both, method: str, arguments: Any, operation: str
    ) -> None:
        heard = heard_by(call.client.hooks)
        positional, named = ((), arguments) if isinstance(arguments, dict) else (arguments, {})
        with suppress(MoonKeyError):
            call(method, *positional, **named)
        assert {event.operation for event in calls_in(heard)} == {operation}


class TestKeySetFetched:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_by_a_request(self, kind: str, emulator: Emulator) -> None:
        options = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            **PATIENT,
            "jwt_issuer": emulator.issuer,
        }
        both = Both(kind, options)
        heard = heard_by(both.client.hooks)
        person = emulator.sign_in()
        for _ in range(2):
            both("authenticate", presenting(person.session_jwt))
        both.close()
        assert [type(event) for event in heard] == [UpstreamCall, KeySetFetched, Verified, Verified]
        assert heard[1] == KeySetFetched(None)

    def test_with_trouble(self) -> None:
        decisions = JwksDecisions()
        heard = heard_by(decisions.core.hooks)
        decisions.published = replied(200, b"<html>")
        decisions.shown("old")
        assert [event for event in heard if isinstance(event, KeySetFetched)] == [KeySetFetched("jwks_content")]

    def test_beside_the_requests(self) -> None:
        decisions = JwksDecisions()
        decisions.shown("old")
        heard = heard_by(decisions.core.hooks)
        decisions.now += 599
        decisions.shown("old")
        assert KeySetFetched(None) in heard
        assert decisions.fetched == 2


class TestCircuitChanged:
    def test_opened_and_closed(
        self, emulator: Emulator, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("moonkey_core._transport.circuit_breaker._PROBE_EVERY", 0.02)
        client, person = make_client(), emulator.sign_in()
        heard = heard_by(client.hooks)
        emulator.fault(status=500)
        while client.health().circuit == "closed":
            client.authenticate(presenting(person.session_token))
        changes = [event for event in heard if isinstance(event, CircuitChanged)]
        assert changes == [CircuitChanged("open")]
        assert sum(event.status == 500 for event in calls_in(heard)) >= 5
        emulator.clear_faults()
        assert wait_until(lambda: client.authenticate(presenting(person.session_token)).is_authenticated)
        changes = [event for event in heard if isinstance(event, CircuitChanged)]
        assert changes == [CircuitChanged("open"), CircuitChanged("closed")]


class TestFeedChanged:
    @pytest.mark.long
    def test_caught_up_lost_and_back(self) -> None:
        need_redis()
        with (
            RedisServer() as server,
            MoonKey(secret_key="sk_test_feed", redis_url=server.url, max_revocation_lag=1) as client,
        ):
            heard = heard_by(client.hooks)
            expected: list[Event] = []
            assert client.health().feed == "lost"  # it starts at first use, here
            for change, event in (
                (None, FeedChanged("caught_up")),
                (server.kill, FeedChanged("lost")),
                (server.start, FeedChanged("caught_up")),
            ):
                if change is not None:
                    change()
                expected.append(event)
                assert wait_until(lambda: heard == expected), heard
        assert heard == expected  # closing is no loss


class TestHooks:
    def test_an_exception_in_one_is_logged_and_goes_no_further(
        self, call: Both, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        def bad(_event: Event) -> None:
            raise RuntimeError("a bug of the app")

        before = heard_by(call.client.hooks)
        call.client.hooks.add(bad)
        after = heard_by(call.client.hooks)
        with caplog.at_level(logging.ERROR, "moonkey"):
            auth = call("authenticate", presenting(emulator.sign_in().session_token))
        assert auth.is_authenticated
        assert before == after
        assert [type(event) for event in after] == [UpstreamCall, Verified]
        assert [record.__dict__["reason"] for record in caplog.records] == ["hook_failed"] * 2
        assert all(record.exc_info for record in caplog.records)

    def test_where_nobody_listens_nothing_is_made(
        self, call: Both, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def made(*_: object, **__: object) -> None:
            raise AssertionError("an event was made for nobody")

        monkeypatch.setattr("moonkey_core.auth.Verified", made)
        monkeypatch.setattr("moonkey_core._transport.retries.UpstreamCall", made)
        view = presenting(emulator.sign_in().session_token)
        assert call("authenticate", view).is_authenticated
        assert call("authenticate", lambda _name: []).is_anonymous
        heard_by(call.client.hooks)
        with pytest.raises(AssertionError, match="for nobody"):
            call("authenticate", view)

    def test_added_while_events_are_handed_out(self) -> None:
        hooks = Hooks()
        later: list[Event] = []
        hooks.add(lambda _event: hooks.add(later.append))
        hooks.emit(CircuitChanged("open"))
        assert later == []
        assert bool(hooks)
        assert not Hooks()

    def test_clients_do_not_share_them(self, make_client: MakeClient, emulator: Emulator) -> None:
        one, other = make_client(), make_client()
        heard = heard_by(one.hooks)
        other.authenticate(presenting(emulator.sign_in().session_token))
        assert heard == []


class TestWhatEventsAre:
    KINDS = get_args(Event)

    def test_each_is_public_immutable_and_explained(self) -> None:
        assert {kind.__name__ for kind in self.KINDS} | {"Event", "Hook", "Hooks", "SessionEvent"} == set(
            all_events.__all__
        )
        assert Hook is not None
        for kind in self.KINDS:
            assert kind.__doc__
            assert dataclasses.fields(kind)
            assert kind.__dataclass_params__.frozen

    def test_fields_are_numbers_and_short_words(self) -> None:
        """Nothing that could hold a request, a user or a session, such as an error or an ``Auth``."""
        for kind in self.KINDS:
            for field in dataclasses.fields(kind):
                parts = set(str(field.type).split(" | "))
                assert all(
                    part in ("str", "float", "int", "bool", "None", "Source") or part.startswith("Literal[")
                    for part in parts
                ), field

    def test_the_reason_is_that_of_the_error(self) -> None:
        decisions = Listened()
        decisions.answer = lambda _fetch: replied(200, {"session": {}})
        auth = listen(decisions, TOKEN)
        assert isinstance(auth.error, ProviderUnavailable)
        assert verified(decisions.heard) == ("unavailable", "none", auth.error.reason)
