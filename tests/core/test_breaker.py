"""The circuit breaker: when it opens, whom it lets through, what closes it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Settings
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport.circuit_breaker import Breaker, UpstreamError
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.events import CircuitChanged, Event, Hooks
from support.scripted import Received, reply, scripted, wait_until
from support.together import together

pytestmark = pytest.mark.usefixtures("quick_retries")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock | None = None, hooks: Hooks | None = None) -> Breaker:
    return Breaker(hooks, clock or Clock(), lambda: 1_700_000_000.0)


def yes(_: Reply) -> bool:
    return True


def no(_: Reply) -> bool:
    return False


BAD: list[Outcome] = [
    TransportError("connect", unsent=True),
    TransportError("timeout"),
    TransportError("broken"),
    TransportError("too_large"),
    Reply(500, {}, b""),
    Reply(503, {}, b""),
]
GOOD: list[Outcome] = [Reply(status, {}, b"{}") for status in (200, 201, 400, 401, 404, 429)]
NEITHER: list[Outcome] = [TransportError("busy"), TransportError("circuit_open"), Reply(302, {}, b"")]

moves = st.lists(
    st.one_of(
        st.sampled_from([("bad", one) for one in BAD]),
        st.sampled_from([("good", one) for one in GOOD]),
        st.sampled_from([("not understood", one) for one in (*GOOD, *NEITHER)]),
        st.sampled_from([("call", None)]),
        st.floats(0.1, 1.5).map(lambda seconds: ("later", seconds)),
    ),
    max_size=60,
)


@given(moves)
def test_it_does_as_its_history_says(story: list[tuple[str, Any]]) -> None:
    """The naive model looks at the outcomes since the last good one, and at when a call was last let through."""
    clock = Clock()
    one = breaker(clock)
    failures, let_through = 0, None
    for what, value in story:
        is_open = failures >= 5
        if what == "later":
            clock.now += value
        elif what == "call":
            expected = not is_open or (let_through is not None and clock.now >= let_through + 1.0)
            assert one.refuses() is not expected
            assert one.admit() is expected
            if is_open and expected:
                let_through = clock.now
        else:
            one.count(value, yes if what == "good" else no)
            if what == "bad":
                failures += 1
                if failures == 5:
                    let_through = clock.now
            elif what == "good":
                failures = 0
        assert one.state == ("open" if failures >= 5 else "closed")
        assert (one.opened_for is None) is (failures < 5)


def test_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="moonkey")
    clock, hooks, seen = Clock(), Hooks(), list[Event]()
    hooks.add(seen.append)
    one = breaker(clock, hooks)
    assert one.last_error is None
    for outcome in BAD:
        one.remember(outcome)
        one.count(outcome, yes)
    clock.now += 2.5
    assert one.opened_for == 2.5
    assert one.last_error == UpstreamError("503", 1_700_000_000.0)
    one.remember(GOOD[0])
    one.count(GOOD[0], yes)
    one.count(GOOD[0], yes)
    assert one.last_error is not None
    assert seen == [CircuitChanged("open"), CircuitChanged("closed")]
    assert [(record.levelname, record.reason) for record in caplog.records] == [
        ("WARNING", "circuit_open"),
        ("INFO", "circuit_closed"),
    ]


def test_who_was_good_before_has_turns_of_their_own() -> None:
    """S39. Answers about a stranger's junk may say nothing; they do not take every probe."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    for _ in range(5):
        breaker.count(TransportError("connect"), lambda _: True)
    for _ in range(3):
        clock.now += 1
        assert breaker.admit(first=False)
        assert not breaker.admit(first=False)
        assert not breaker.refuses(first=True)
        assert breaker.admit(first=True)
        assert breaker.refuses(first=True)


def test_a_hook_may_use_the_breaker() -> None:
    """Hooks are called outside of the lock."""
    hooks = Hooks()
    one = breaker(None, hooks)
    hooks.add(lambda _: one.count(GOOD[0], yes))
    for outcome in BAD[:5]:
        one.count(outcome, yes)
    assert one.state == "closed"


def test_one_of_many_threads_is_let_through() -> None:
    clock = Clock()
    one = breaker(clock)
    together(20, lambda _: one.count(BAD[0], yes))
    for _ in range(3):
        assert not any(together(20, lambda _: one.admit()))
        clock.now += 1.0
        assert together(20, lambda _: one.admit()).count(True) == 1


OK = {"session": {"id": "sess_1"}}


class Asked:
    """Calls of either kind of exchange, with a breaker whose clock stands still."""

    def __init__(self, how: str, url: str) -> None:
        self.clock = Clock()
        self.breaker = breaker(self.clock)
        self._url = url
        self._runner = None if how == "sync" else asyncio.Runner()
        settings = Settings.load({"secret_key": "sk_test_" + "b" * 30, "base_url": url, "timeout": 2.0})
        kind: Any = SyncExchange if how == "sync" else AsyncExchange
        self.exchange: Any = kind(settings, breaker=self.breaker)

    def __call__(self, **options: Any) -> Outcome:
        outcome: Outcome = self.run(lambda: self.exchange(self.fetch(**options), self.deadline()))
        return outcome

    def fetch(self, **options: Any) -> Fetch:
        return Fetch("POST", self._url + "/v1/call", json={}, **options)

    def deadline(self) -> float:
        return time.monotonic() + 2.0

    def run(self, make: Callable[[], Any]) -> Any:
        if self._runner is None:
            return make()

        async def work() -> Any:
            return await make()

        return self._runner.run(work())

    def close(self) -> None:
        if self._runner is None:
            self.exchange.close()
        else:
            self._runner.run(self.exchange.aclose())
            self._runner.close()


@contextmanager
def asking(how: str, url: str) -> Iterator[Asked]:
    asked = Asked(how, url)
    try:
        yield asked
    finally:
        asked.close()


class TestInTheExchange:
    def test_it_opens_and_closes(self, how: str) -> None:
        down = True

        def script(_: Received) -> bytes:
            return reply(500) if down else reply(200, OK)

        with scripted(script) as server, asking(how, server.url) as asked:
            outcomes = [asked() for _ in range(6)]
            # Five failures: two calls with a second try each, and the first try of the third.
            assert len(server.received) == 5
            assert [getattr(one, "status", getattr(one, "kind", None)) for one in outcomes] == [
                *[500] * 3,
                *["circuit_open"] * 3,
            ]
            assert isinstance(asked(trips=False, repeatable=False), Reply)  # that one does not take part
            asked.clock.now += 1.0
            before = len(server.received)
            assert isinstance(asked(), Reply)
            assert asked() == TransportError("circuit_open", unsent=True)
            assert len(server.received) == before + 1  # no second try: one a second
            down = False
            assert asked() == TransportError("circuit_open", unsent=True)
            asked.clock.now += 1.0
            assert [one.status for one in (asked(), asked(), asked()) if isinstance(one, Reply)] == [200] * 3
            assert asked.breaker.state == "closed"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
    def test_a_refusal_never_opens_it(self, how: str, status: int) -> None:
        with scripted(reply(status, {"error_type": "x"})) as server, asking(how, server.url) as asked:
            for _ in range(8):
                assert isinstance(asked(repeatable=False), Reply)
            assert asked.breaker.state == "closed"
            assert asked.breaker.last_error is None

    def test_a_page_of_something_in_front_does_not_close_it(self, how: str) -> None:
        answers = [reply(503)] * 5 + [reply(200, b"<html>"), reply(404, b"<html>"), reply(302), reply(200, OK)]
        with scripted(lambda _: answers.pop(0)) as server, asking(how, server.url) as asked:
            for _ in range(5):
                asked(repeatable=False)
            for left in (3, 2, 1, 0):
                assert asked.breaker.state == "open"
                asked.clock.now += 1.0
                asked()
                assert len(answers) == left
            assert asked.breaker.state == "closed"

    def test_a_probe_that_is_cancelled(self) -> None:
        with (
            scripted(lambda request: [5.0] if request.body != b"{}" else reply(200, OK)) as server,
            asking("httpx", server.url) as asked,
        ):
            for outcome in BAD[:5]:
                asked.breaker.count(outcome, yes)
            asked.clock.now += 1.0

            async def probe() -> None:
                hangs = Fetch("POST", server.url + "/x", json={"hang": True})
                task = asyncio.create_task(asked.exchange(hangs, asked.deadline()))
                assert await asyncio.to_thread(wait_until, lambda: len(server.received) == 1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            asked.run(probe)
            assert asked() == TransportError("circuit_open", unsent=True)
            asked.clock.now += 1.0
            assert isinstance(asked(), Reply)
            assert asked.breaker.state == "closed"


def test_a_time_out_while_waiting_says_nothing_about_the_api(how: str) -> None:
    """One slow call holds the only connection; those that wait in vain are not the API's failures."""
    with scripted(lambda request: [0.6, reply(200, OK)] if json.loads(request.body) else reply(200, OK)) as server:
        options = {"secret_key": "sk_test_" + "b" * 30, "base_url": server.url, "max_connections": 1}
        settings, one, found = Settings.load(options), breaker(), list[Outcome]()
        slow = Fetch("POST", server.url + "/slow", json={"slow": True})
        quick = Fetch("POST", server.url + "/quick", json={}, timeout=0.1)
        if how == "sync":
            exchange = SyncExchange(settings, breaker=one)
            thread = threading.Thread(target=lambda: found.append(exchange(slow, time.monotonic() + 3)))
            thread.start()
            assert wait_until(lambda: len(server.received) == 1)
            found += together(6, lambda _: exchange(quick, time.monotonic() + 3))
            thread.join(5)
            exchange.close()
        else:

            async def work() -> None:
                exchange = AsyncExchange(settings, breaker=one)
                first = asyncio.create_task(exchange(slow, time.monotonic() + 3))
                assert await asyncio.to_thread(wait_until, lambda: len(server.received) == 1)
                found.extend(await asyncio.gather(*(exchange(quick, time.monotonic() + 3) for _ in range(6))))
                found.append(await first)
                await exchange.aclose()

            asyncio.run(work())
        assert found[:6] == [TransportError("timeout", unsent=True)] * 6
        assert isinstance(found[6], Reply)
        assert (one.state, one.last_error) == ("closed", None)
