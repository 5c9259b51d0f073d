"""Who verifies the same credential at the same time shares one call, over real sockets; nobody else's answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_core._plan import Fetch, Outcome
from moonkey_core._transport.single_flight import SyncSingleFlight
from moonkey_core.events import Event, UpstreamCall
from moonkey_core.gate import Requirements
from support.decisions import bearer, presenting, replied
from support.odd_jwts import header, sign
from support.patience import PATIENCE
from support.scripted import Received, Scripted, reply, scripted, wait_until

TOKEN, OTHER = "session_" + "t" * 40, "session_" + "o" * 40
SOON = {"Retry-After": "60"}  # longer than anybody waits, so nothing is tried twice
FRESH = Requirements(max_staleness=0)


class Held:
    """Answers about sessions, each with an identity of its token's own, but not before it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.answer: bytes | None = None  # instead of the right one

    def __call__(self, request: Received) -> bytes:
        self.go.wait(PATIENCE)
        if request.method == "DELETE":
            return reply(200, {})
        if self.answer is not None:
            return self.answer
        name = (request.json.get("session_token") or request.json["session_jwt"])[-40:]
        return reply(
            200, {"session": {"id": f"of_{name}", "user_id": f"user_{name}", "expires_at": 4_000_000_000}}
        )


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def server(held: Held) -> Iterator[Scripted]:
    with scripted(held) as server:
        yield server
        held.go.set()


def options(server: Scripted, **more: Any) -> dict[str, Any]:
    return {"secret_key": "sk_test_" + "s" * 20, "base_url": server.url, "timeout": 60, **more}


def is_of(auth: Auth, token: str) -> bool:
    return auth.user is not None and auth.user.id == f"user_{token[-40:]}"


class Threads:
    """Threads that verify at the same time with one blocking client."""

    def __init__(self, server: Scripted, **more: Any) -> None:
        self.server = server
        self.client = MoonKey(**options(server, **more))
        self._pool = ThreadPoolExecutor(32)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self.client.close()

    def ask(self, *tokens: str, requirements: Requirements | None = None) -> list[Any]:
        return [self._pool.submit(self.client.authenticate, presenting(one), requirements) for one in tokens]

    def waiting(self) -> int:
        """How many wait for a call that another one makes."""
        flights: list[Any] = list(self.client._exchange._single_flight._flights.values())
        return sum(len(flight._condition._waiters) for flight in flights)

    def requests(self, count: int) -> bool:
        return wait_until(lambda: len(self.server.received) == count)


class TestThreads:
    @pytest.mark.rule("S34")
    def test_the_same_credential_is_one_call(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            found = threads.ask(*[TOKEN] * 20)
            assert wait_until(lambda: threads.waiting() == 19)
            held.go.set()
            assert all(is_of(one.result(PATIENCE), TOKEN) for one in found)
            assert len(server.received) == 1
            assert is_of(threads.client.authenticate(presenting(TOKEN)), TOKEN)
            assert len(server.received) == 2  # nothing of it is left

    def test_wherever_it_stands(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            first = threads.ask(TOKEN)
            second = threads._pool.submit(threads.client.authenticate, bearer(TOKEN))
            assert wait_until(lambda: threads.waiting() == 1)
            held.go.set()
            assert all(is_of(one.result(PATIENCE), TOKEN) for one in [*first, second])
            assert len(server.received) == 1

    @pytest.mark.rule("S34")
    def test_other_credentials_are_other_calls(self, server: Scripted, held: Held) -> None:
        tokens = [TOKEN, OTHER, TOKEN + "=", TOKEN[:-1], TOKEN.upper()]
        with Threads(server) as threads:
            found = threads.ask(*tokens)
            assert threads.requests(len(tokens))
            held.go.set()
            assert all(is_of(one.result(PATIENCE), token) for one, token in zip(found, tokens, strict=True))

    def test_who_wants_a_call_of_their_own_has_it(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            found = threads.ask(TOKEN) + threads.ask(*[TOKEN] * 3, requirements=FRESH)
            assert threads.requests(4)
            held.go.set()
            assert all(is_of(one.result(PATIENCE), TOKEN) for one in found)

    def test_who_wants_it_fresher_than_the_shared_answer_asks_again(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            first = threads.ask(TOKEN)
            assert threads.requests(1)
            time.sleep(0.02)  # by so much the answer is too old
            late = threads.ask(TOKEN, requirements=Requirements(max_staleness=0.01))
            assert wait_until(lambda: threads.waiting() == 1)
            held.go.set()
            early, fresh = first[0].result(PATIENCE), late[0].result(PATIENCE)
            assert is_of(early, TOKEN)
            assert is_of(fresh, TOKEN)
            assert len(server.received) == 2
            assert fresh.as_of > early.as_of

    def test_who_extends_a_session_shares_no_call_of_others(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            found = threads.ask(TOKEN)
            assert threads.requests(1)
            verify = threads.client.sessions.verify
            longer = [threads._pool.submit(verify, session_token=TOKEN, extend=60) for _ in range(2)]
            assert threads.requests(3)
            assert [one.json.get("session_expires_in") for one in server.received] == [None, 60, 60]
            held.go.set()
            assert is_of(found[0].result(PATIENCE), TOKEN)
            assert all(one.result(PATIENCE).user.id == f"user_{TOKEN[-40:]}" for one in longer)

    def test_clients_share_nothing(self, server: Scripted, held: Held) -> None:
        with Threads(server) as one, Threads(server) as other:
            found = one.ask(TOKEN) + other.ask(TOKEN)
            assert one.requests(2)
            held.go.set()
            assert all(is_of(auth.result(PATIENCE), TOKEN) for auth in found)

    @pytest.mark.rule("S34")
    @pytest.mark.parametrize(
        ("answer", "state"),
        [
            (reply(503, b"", SOON), "unavailable"),
            (reply(429, b"", SOON), "unavailable"),
            (reply(200, "<html>"), "unavailable"),
            (reply(404, "<html>"), "unavailable"),
            (reply(404, {"error_type": "invalid_session"}), "rejected"),
        ],
    )
    def test_an_error_is_shared_and_trouble_is_not_remembered(
        self, server: Scripted, held: Held, answer: bytes, state: str
    ) -> None:
        held.answer = answer
        with Threads(server) as threads:
            found = threads.ask(*[TOKEN] * 8)
            assert wait_until(lambda: threads.waiting() == 7)
            held.go.set()
            assert {one.result(PATIENCE).state for one in found} == {state}
            assert len({id(one.result().error) for one in found}) == 8  # each with a traceback of its own
            assert len(server.received) == 1
            held.answer = None
            again = threads.client.authenticate(presenting(TOKEN))
            assert again.state == ("authenticated" if state == "unavailable" else "rejected")
            assert is_of(threads.client.authenticate(presenting(OTHER)), OTHER)

    @pytest.mark.rule("S23")
    def test_nobody_joins_a_call_that_began_before_a_revocation(self, server: Scripted, held: Held) -> None:
        with Threads(server) as threads:
            early = threads.ask(TOKEN)
            assert threads.requests(1)
            ended = threads._pool.submit(threads.client.sessions.revoke, session_id=f"of_{OTHER[-40:]}")
            assert threads.requests(2)
            held.go.set()
            ended.result(PATIENCE)
            held.go.clear()
            early[0].result(PATIENCE)
            middle = threads.ask(TOKEN)
            assert threads.requests(3)
            threads.client.revocations.add(session_id=f"of_{TOKEN[-40:]}")
            held.go.set()
            assert middle[0].result(PATIENCE).is_rejected  # the answer was good; the revocation is newer

    def test_nobody_joins_a_call_that_is_older_than_they_want(self, server: Scripted, held: Held) -> None:
        """Whoever comes too late for it has an answer of their own."""
        with Threads(server) as threads:
            first = threads.ask(TOKEN)
            assert threads.requests(1)
            late = threads.ask(TOKEN, requirements=Requirements(max_staleness=1e-6))
            assert wait_until(lambda: threads.waiting() == 1 or len(server.received) == 2)
            held.go.set()
            assert all(is_of(one.result(PATIENCE), TOKEN) for one in first + late)
            assert len(server.received) == 2

    def test_jwts_that_are_asked_about(self, server: Scripted, held: Held) -> None:
        """Without local verification a JWT is a credential like any other."""
        jwts = [sign(header(), {"iat": 1, "exp": 4_000_000_000, "other": name}) for name in "ab"]
        with Threads(server) as threads:
            found = threads.ask(*jwts * 3)
            assert wait_until(lambda: threads.waiting() == 4)
            held.go.set()
            for one, jwt in zip(found, jwts * 3, strict=True):
                assert is_of(one.result(PATIENCE), jwt)
            assert len(server.received) == 2


async def in_time(true: Callable[[], object]) -> bool:
    """Whether a condition comes true while this loop goes on."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.001)
    return True


@pytest.mark.usefixtures("transport")
class TestTasks:
    def flights(self, client: AsyncMoonKey) -> list[Any]:
        return list(client._exchange._loops.current().single_flight._flights.values())

    def waiting(self, client: AsyncMoonKey) -> int:
        return sum(flight.waiters for flight in self.flights(client))

    def ask(self, client: AsyncMoonKey, *tokens: str, requirements: Requirements | None = None) -> list[Any]:
        return [asyncio.create_task(client.authenticate(presenting(one), requirements)) for one in tokens]

    @pytest.mark.rule("S34")
    def test_the_same_credential_is_one_call(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                tasks = self.ask(client, *[TOKEN] * 200)
                assert await in_time(lambda: self.waiting(client) == 200 and server.received)
                held.go.set()
                assert all(is_of(auth, TOKEN) for auth in await asyncio.gather(*tasks))
                assert (len(server.received), self.flights(client)) == (1, [])

        asyncio.run(work())

    @pytest.mark.rule("S34")
    def test_others_are_other_calls(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                tokens = [TOKEN, OTHER, TOKEN + "="]
                tasks = self.ask(client, *tokens) + self.ask(client, TOKEN, TOKEN, requirements=FRESH)
                assert await in_time(lambda: len(server.received) == 5)
                held.go.set()
                found = await asyncio.gather(*tasks)
                for auth, token in zip(found, [*tokens, TOKEN, TOKEN], strict=True):
                    assert is_of(auth, token)

        asyncio.run(work())

    def test_who_wants_it_fresher_than_the_shared_answer_asks_again(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                first = self.ask(client, TOKEN)
                assert await in_time(lambda: len(server.received) == 1)
                await asyncio.sleep(0.02)  # by so much the answer is too old
                late = self.ask(client, TOKEN, requirements=Requirements(max_staleness=0.01))
                assert await in_time(lambda: self.waiting(client) == 2)
                held.go.set()
                early, fresh = await asyncio.gather(*first, *late)
                assert is_of(early, TOKEN)
                assert is_of(fresh, TOKEN)
                assert len(server.received) == 2
                assert fresh.as_of > early.as_of

        asyncio.run(work())

    def test_who_extends_a_session_shares_no_call_of_others(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                found = self.ask(client, TOKEN)
                assert await in_time(lambda: len(server.received) == 1)
                verify = client.sessions.verify
                longer = [asyncio.create_task(verify(session_token=TOKEN, extend=60)) for _ in range(2)]
                assert await in_time(lambda: len(server.received) == 3)
                assert [one.json.get("session_expires_in") for one in server.received] == [None, 60, 60]
                held.go.set()
                assert is_of(await found[0], TOKEN)
                assert {one.user.id for one in await asyncio.gather(*longer)} == {f"user_{TOKEN[-40:]}"}

        asyncio.run(work())

    @pytest.mark.parametrize("leaving", [[0], [3], [0, 1, 2], [1, 2, 3]])
    def test_those_who_go_away_do_not_take_it_from_the_others(
        self, server: Scripted, held: Held, leaving: list[int]
    ) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                tasks = self.ask(client, *[TOKEN] * 4)
                assert await in_time(lambda: self.waiting(client) == 4 and server.received)
                for place in leaving:
                    tasks[place].cancel()
                assert await in_time(lambda: self.waiting(client) == 4 - len(leaving))
                held.go.set()
                found = await asyncio.gather(*tasks, return_exceptions=True)
                for place, one in enumerate(found):
                    assert isinstance(one, asyncio.CancelledError if place in leaving else Auth)
                assert all(is_of(one, TOKEN) for one in found if isinstance(one, Auth))
                assert len(server.received) == 1

        asyncio.run(work())

    def test_when_all_have_gone_it_ends(self, server: Scripted, held: Held) -> None:
        seen: list[Event] = []

        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                client.hooks.add(seen.append)
                tasks = self.ask(client, *[TOKEN] * 4)
                assert await in_time(lambda: self.waiting(client) == 4 and server.received)
                (flight,) = self.flights(client)
                for task in tasks:
                    task.cancel()
                gone = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(one, asyncio.CancelledError) for one in gone)
                assert self.flights(client) == []
                assert await in_time(flight.task.done)
                assert flight.task.cancelled()
                held.go.set()
                assert is_of(await client.authenticate(presenting(TOKEN)), TOKEN)
                assert len(server.received) == 2

        asyncio.run(work())
        calls = [event for event in seen if isinstance(event, UpstreamCall)]
        assert [(call.failure, call.status) for call in calls] == [("cancelled", None), (None, 200)]

    def test_who_comes_after_all_have_gone_has_a_new_call(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                (first,) = self.ask(client, TOKEN)
                assert await in_time(lambda: server.received)
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                (second,) = self.ask(client, TOKEN)  # at once, while the old one may still be ending
                assert await in_time(lambda: len(server.received) == 2)
                held.go.set()
                assert is_of(await second, TOKEN)

        asyncio.run(work())

    @pytest.mark.rule("S34")
    def test_an_error_is_shared_and_not_remembered(self, server: Scripted, held: Held) -> None:
        held.answer = reply(503, b"", SOON)

        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                tasks = self.ask(client, *[TOKEN] * 20)
                assert await in_time(lambda: self.waiting(client) == 20 and server.received)
                held.go.set()
                assert {auth.state for auth in await asyncio.gather(*tasks)} == {"unavailable"}
                assert len(server.received) == 1
                held.answer = None
                assert is_of(await client.authenticate(presenting(TOKEN)), TOKEN)

        asyncio.run(work())

    def test_a_callers_own_limit_is_theirs_alone(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                (patient,) = self.ask(client, TOKEN)
                assert await in_time(lambda: server.received)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await client.authenticate(presenting(TOKEN))
                held.go.set()
                assert is_of(await patient, TOKEN)
                assert len(server.received) == 1

        asyncio.run(work())

    def test_the_answer_is_remembered_for_all_where_that_is_on(self, server: Scripted, held: Held) -> None:
        async def work() -> None:
            async with AsyncMoonKey(**options(server, session_cache_ttl=60)) as client:
                tasks = self.ask(client, *[TOKEN] * 5)
                assert await in_time(lambda: self.waiting(client) == 5)
                tasks[0].cancel()
                held.go.set()
                await asyncio.gather(*tasks, return_exceptions=True)
                known = client.begin(presenting(TOKEN))
                assert isinstance(known, Auth)
                assert is_of(known, TOKEN)
                assert len(server.received) == 1

        asyncio.run(work())


GOOD = replied(200, {})


def soon() -> float:
    return time.monotonic() + PATIENCE


def test_a_leader_that_fails_lets_a_waiter_lead() -> None:
    single_flight = SyncSingleFlight(lambda: 0.0, lambda _fetch, _outcome: True)
    fetch = Fetch("GET", "https://api.example.com/", coalesce_key="one", ttl=5)

    def fails() -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        single_flight.call(fetch, soon(), fails)
    assert single_flight.call(fetch, soon(), lambda: GOOD) is GOOD

    def never() -> Outcome:
        raise AssertionError

    assert single_flight.call(fetch, soon(), never) is GOOD


def test_what_is_kept_is_bounded() -> None:
    single_flight = SyncSingleFlight(lambda: 0.0, lambda _fetch, _outcome: True)
    for place in range(40):
        fetch = Fetch("GET", "https://api.example.com/", coalesce_key=f"user {place}", ttl=60)
        single_flight.call(fetch, soon(), lambda: replied(200, b"x" * 1_000_000))
    kept = single_flight._replies._answers
    assert 1 <= len(kept) <= 8
    assert kept.currsize <= 8 * 1024 * 1024
