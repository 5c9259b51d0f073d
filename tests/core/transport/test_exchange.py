"""Around the call itself: the fleet's store in front, events behind, work beside, second tries."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from moonkey_core import Settings
from moonkey_core._plan import ClaimState, Fetch, Outcome, Reply, StorePolicy, TransportError
from moonkey_core._transport.circuit_breaker import CircuitBreaker
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.events import Event, Hooks, UpstreamCall
from support.patience import PATIENCE
from support.scripted import reply, scripted, unused_url, wait_until
from support.together import together

pytestmark = pytest.mark.usefixtures("quick_retries")
OK = {"session": {"id": "sess_1"}}


def settings(url: str, **options: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_" + "e" * 30, "base_url": url, **options})


def soon(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Reply] = {}
        self.looks = 0
        self.claims: dict[str, bytes] = {}
        self.claimed = 0

    def get(self, policy: StorePolicy) -> Reply | None:
        self.looks += 1
        return self.kept.get(policy.name)

    def put(self, policy: StorePolicy, reply: Reply) -> None:
        self.kept[policy.name] = reply

    def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
        self.claimed += 1
        return "held" if self.claims.setdefault(policy.name, token) == token else "taken"

    def release(self, policy: StorePolicy, token: bytes) -> None:
        if self.claims.get(policy.name) == token:
            del self.claims[policy.name]


class AsyncShelf:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def get(self, policy: StorePolicy) -> Reply | None:
        await asyncio.sleep(0)
        return self._shelf.get(policy)

    async def put(self, policy: StorePolicy, reply: Reply) -> None:
        await asyncio.sleep(0)
        self._shelf.put(policy, reply)

    async def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
        await asyncio.sleep(0)
        return self._shelf.claim(policy, token)

    async def release(self, policy: StorePolicy, token: bytes) -> None:
        await asyncio.sleep(0)
        self._shelf.release(policy, token)


def ask(how: str, url: str, fetches: list[Fetch], *, shelf: Shelf | None = None, **options: Any) -> list[Outcome]:
    """The outcomes of calls one after the other."""
    if how == "sync":
        exchange = SyncExchange(settings(url), store=shelf, **options)
        found = [exchange(fetch, soon()) for fetch in fetches]
        exchange.close()
        return found

    async def work() -> list[Outcome]:
        exchange = AsyncExchange(settings(url), store=AsyncShelf(shelf) if shelf else None, **options)
        found = [await exchange(fetch, soon()) for fetch in fetches]
        await exchange.aclose()
        return found

    return asyncio.run(work())


def place(name: str = "a", read: bool = True) -> StorePolicy:
    return StorePolicy(name, 60.0, lambda body: body, read)


class TestStore:
    def test_an_answer_is_kept_and_found(self, how: str) -> None:
        shelf = Shelf()
        with scripted(reply(200, OK)) as server:
            fetch = Fetch("GET", server.url + "/x", store_policy=place())
            before = time.time()
            first, second = ask(how, server.url, [fetch, fetch], shelf=shelf)
            assert len(server.received) == 1
        assert isinstance(first, Reply)
        assert isinstance(second, Reply)
        assert (first.from_store, second.from_store) == (False, True)
        assert (second.body, second.asked_at) == (first.body, first.asked_at)
        assert before <= first.asked_at <= time.time()
        assert not shelf.kept["a"].from_store

    def test_one_that_is_not_looked_up_is_kept(self, how: str) -> None:
        shelf = Shelf()
        with scripted(reply(200, OK)) as server:
            fetch = Fetch("GET", server.url + "/x", store_policy=place(read=False))
            ask(how, server.url, [fetch, fetch, Fetch("GET", server.url + "/x")], shelf=shelf)
            assert len(server.received) == 3
        assert (shelf.looks, list(shelf.kept)) == (0, ["a"])

    @pytest.mark.parametrize("status", [201, 302, 401, 404, 429, 500])
    def test_nothing_else_is_kept(self, how: str, status: int) -> None:
        shelf = Shelf()
        with scripted(reply(status, OK)) as server:
            ask(how, server.url, [Fetch("GET", server.url + "/x", store_policy=place())], shelf=shelf)
        assert shelf.kept == {}

    def test_it_answers_where_the_circuit_is_open(self, how: str) -> None:
        shelf, breaker = Shelf(), CircuitBreaker()
        shelf.kept["a"] = Reply(200, {}, b"kept", 5.0)
        for _ in range(5):
            breaker.count(TransportError("timeout"), lambda _: True)
        url = unused_url()
        fetches = [Fetch("GET", url, store_policy=place(name)) for name in "ab"]
        assert ask(how, url, fetches, shelf=shelf, breaker=breaker) == [
            Reply(200, {}, b"kept", 5.0, from_store=True),
            TransportError("circuit_open", unsent=True),
        ]

    def test_those_who_share_a_call_share_the_look(self, how: str) -> None:
        shelf = Shelf()
        with scripted(lambda _: [0.2, reply(200, OK)]) as server:
            fetch = Fetch("GET", server.url + "/x", store_policy=place(), coalesce_key="one")
            if how == "sync":
                exchange = SyncExchange(settings(server.url), store=shelf)
                found = together(5, lambda _: exchange(fetch, soon()))
                exchange.close()
            else:

                async def work() -> list[Outcome]:
                    exchange = AsyncExchange(settings(server.url), store=AsyncShelf(shelf))
                    found = await asyncio.gather(*(exchange(fetch, soon()) for _ in range(5)))
                    await exchange.aclose()
                    return found

                found = asyncio.run(work())
            assert [one.status for one in found] == [200] * 5
            assert (shelf.looks, len(server.received)) == (1, 1)


class TestClaims:
    """One process makes the call, the others wait for its reply in the store, and no longer than is agreed."""

    @pytest.fixture(autouse=True)
    def short_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_PAUSE", (0.001, 0.002))

    def claimed(self, url: str, **changes: Any) -> Fetch:
        return Fetch("GET", url + "/x", store_policy=replace(place(), claim_seconds=30.0, **changes))

    @pytest.mark.parametrize("status", [200, 404])
    def test_a_claim_ends_with_the_call(self, how: str, status: int) -> None:
        shelf = Shelf()
        with scripted(reply(status, OK)) as server:
            ask(how, server.url, [self.claimed(server.url)], shelf=shelf)
            assert len(server.received) == 1
        assert (shelf.claims, shelf.claimed) == ({}, 1)

    def test_what_is_found_needs_no_claim(self, how: str) -> None:
        shelf = Shelf()
        shelf.kept["a"] = Reply(200, {}, b"kept", 5.0)
        (found,) = ask(how, url := unused_url(), [self.claimed(url)], shelf=shelf)
        assert found == Reply(200, {}, b"kept", 5.0, from_store=True)
        assert shelf.claimed == 0

    def test_what_is_of_no_use_is_not_taken(self, how: str) -> None:
        shelf = Shelf()
        shelf.kept["a"] = Reply(200, {}, b"kept", 5.0)
        with scripted(reply(200, OK)) as server:
            fetch = self.claimed(server.url, accepts=lambda found: found.body != b"kept")
            (found,) = ask(how, server.url, [fetch], shelf=shelf)
        assert isinstance(found, Reply)
        assert not found.from_store
        assert shelf.kept["a"].body == found.body

    def test_the_reply_of_the_other_is_taken(self, how: str) -> None:
        class Answered(Shelf):
            def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
                if self.claimed == 1:  # between the first look and the second
                    self.kept["a"] = Reply(200, {}, b"of the other", 5.0)
                return super().claim(policy, token)

        shelf = Answered()
        shelf.claims["a"] = b"other"
        (found,) = ask(how, url := unused_url(), [self.claimed(url)], shelf=shelf)
        assert found == Reply(200, {}, b"of the other", 5.0, from_store=True)
        assert shelf.claims == {"a": b"other"}

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_call_that_another_has_just_finished_is_not_made_again(self, how: str, number: int) -> None:
        class Finished(Shelf):
            def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
                if self.claimed == number:  # between the last look and this claim
                    self.kept["a"] = Reply(200, {}, b"of the other", 5.0)
                    self.claims.clear()
                return super().claim(policy, token)

        shelf = Finished()
        shelf.claims["a"] = b"other"
        (found,) = ask(how, url := unused_url(), [self.claimed(url)], shelf=shelf)
        assert found == Reply(200, {}, b"of the other", 5.0, from_store=True)
        assert shelf.claims == {}

    def test_the_next_one_goes_on_where_the_other_gives_up(self, how: str) -> None:
        class GivenUp(Shelf):
            def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
                if self.claimed == 1:
                    del self.claims["a"]
                return super().claim(policy, token)

        shelf = GivenUp()
        shelf.claims["a"] = b"other"
        with scripted(reply(200, OK)) as server:
            ask(how, server.url, [self.claimed(server.url)], shelf=shelf)
            assert len(server.received) == 1
        assert (shelf.claims, shelf.claimed) == ({}, 2)

    def test_one_that_died_is_waited_for_four_times(self, how: str) -> None:
        shelf = Shelf()
        shelf.claims["a"] = b"other"
        with scripted(reply(200, OK)) as server:
            ask(how, server.url, [self.claimed(server.url)], shelf=shelf)
            assert len(server.received) == 1
        assert (shelf.claims, shelf.claimed, shelf.looks) == ({"a": b"other"}, 4, 5)

    def test_half_of_the_time_is_left_for_the_call(self, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_PAUSE", (PATIENCE / 2, PATIENCE))
        shelf = Shelf()
        shelf.claims["a"] = b"other"
        with scripted(reply(200, OK)) as server:
            fetch = replace(self.claimed(server.url), timeout=PATIENCE / 2)
            (found,) = ask(how, server.url, [fetch], shelf=shelf)
        assert isinstance(found, Reply)
        assert (shelf.claimed, shelf.looks) == (1, 1)


class TestEvents:
    def test_each_try_is_one(self, how: str) -> None:
        hooks, seen, answers = Hooks(), list[Event](), [reply(503), reply(200, OK)]
        hooks.add(seen.append)
        with scripted(lambda _: answers.pop(0)) as server:
            before = time.time()
            ask(how, server.url, [Fetch("GET", server.url + "/x", operation="users.get")], hooks=hooks)
        calls = [event for event in seen if isinstance(event, UpstreamCall)]
        assert [(one.operation, one.status, one.failure) for one in calls] == [
            ("users.get", 503, None),
            ("users.get", 200, None),
        ]
        assert all(before <= one.started_at <= time.time() and 0 <= one.seconds < PATIENCE for one in calls)

    def test_a_try_without_a_reply(self, how: str) -> None:
        hooks, seen, url = Hooks(), list[Event](), unused_url()
        hooks.add(seen.append)
        ask(how, url, [Fetch("GET", url + "/x", operation="jwks", uses_breaker=False)], hooks=hooks)
        assert [(one.status, one.failure) for one in seen if isinstance(one, UpstreamCall)] == [
            (None, "connect"),
            (None, "connect"),
        ]

    def test_a_try_whose_caller_goes_away(self) -> None:
        hooks, seen = Hooks(), list[Event]()
        hooks.add(seen.append)

        async def work() -> None:
            exchange = AsyncExchange(settings(server.url), hooks=hooks)
            task = asyncio.create_task(exchange(Fetch("GET", server.url + "/x"), soon()))
            assert await asyncio.to_thread(wait_until, lambda: len(server.received) == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await exchange.aclose()

        with scripted(lambda _: [5.0]) as server:
            asyncio.run(work())
        assert [one.failure for one in seen if isinstance(one, UpstreamCall)] == ["cancelled"]


def test_a_second_try_that_is_held_back_leaves_the_first_outcome(how: str) -> None:
    """A call that may have had its effect is never called unsent because of what came of its second try."""
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.count(TransportError("broken"), lambda _: True)
    with scripted(lambda _: [b""]) as server:
        found = ask(how, server.url, [Fetch("POST", server.url + "/x", json={})], breaker=breaker)
        assert found == [TransportError("broken", unsent=False)]
        assert len(server.received) == 1


class TestLater:
    def test_beside_the_request(self) -> None:
        exchange, gate, done = SyncExchange(settings(unused_url())), threading.Event(), list[int]()

        def work(number: int) -> None:
            gate.wait(PATIENCE)
            done.append(number)

        taken = [exchange.run_in_background(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
        assert taken == [True] * 4 + [False] * 2
        gate.set()
        assert wait_until(lambda: sorted(done) == [0, 1, 2, 3])
        assert wait_until(lambda: exchange.run_in_background(lambda: done.append(9)))
        assert wait_until(lambda: 9 in done)
        exchange.close()
        assert not exchange.run_in_background(lambda: done.append(10))

    def test_a_failure_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        def fails() -> None:
            raise ValueError("something")

        async def afails() -> None:
            raise ValueError("something")

        exchange = SyncExchange(settings(unused_url()))
        assert exchange.run_in_background(fails)
        assert wait_until(lambda: len(caplog.records) == 1)
        exchange.close()

        async def work() -> None:
            exchange = AsyncExchange(settings(unused_url()))
            assert exchange.run_in_background(afails)
            assert await asyncio.to_thread(wait_until, lambda: len(caplog.records) == 2)
            await exchange.aclose()

        asyncio.run(work())
        assert [getattr(record, "reason", None) for record in caplog.records] == ["background_failed"] * 2
        assert all("something" in str(record.exc_info) for record in caplog.records)
        assert {record.levelno for record in caplog.records} == {logging.ERROR}

    @pytest.mark.parametrize("ends", ["aclose", "loop"])
    def test_tasks_end_with_the_client_or_the_loop(self, ends: str) -> None:
        started, cancelled = list[int](), list[int]()

        def hangs(number: int) -> Callable[[], Any]:
            async def work() -> None:
                started.append(number)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(number)
                    raise

            return work

        async def main() -> None:
            exchange = AsyncExchange(settings(unused_url()))
            assert [exchange.run_in_background(hangs(number)) for number in range(6)] == [True] * 4 + [False] * 2
            assert await asyncio.to_thread(wait_until, lambda: len(started) == 4)
            if ends == "aclose":
                await exchange.aclose()
                assert sorted(cancelled) == [0, 1, 2, 3]
                assert not exchange.run_in_background(hangs(9))

        asyncio.run(main())
        assert sorted(cancelled) == [0, 1, 2, 3]
