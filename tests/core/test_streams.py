"""A stream ends with the session: at once where it is waited for, between two items where it is not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.streams import Ended, abound_items, bound_items, run_until
from support.clients import MakeAsyncClient, MakeClient


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def headers(person: SignedIn) -> dict[str, str]:
    return {"session-token": person.session_token}


class TestBefore:
    def test_the_work_is_first(self) -> None:
        async def work() -> str:
            await asyncio.sleep(0)
            return "done"

        async def go() -> None:
            end = asyncio.get_running_loop().create_future()
            assert await run_until(end, work()) == "done"
            end.set_result(None)
            await asyncio.sleep(0)  # nothing of it is left that could still go off
            await asyncio.sleep(0)
            assert not end._callbacks

        asyncio.run(go())

    def test_the_end_is_first(self) -> None:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        async def go(already: bool) -> None:
            loop = asyncio.get_running_loop()
            end = loop.create_future()
            if already:
                end.set_result(None)
            else:
                loop.call_soon(loop.call_soon, end.set_result, None)
            with pytest.raises(Ended):
                await run_until(end, work())
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        asyncio.run(go(True))
        asyncio.run(go(False))
        assert seen == ["cancelled"] * 2

    def test_a_timeout_of_the_work_s_own_is_its_own(self) -> None:
        async def work() -> None:
            raise TimeoutError("mine")

        async def go() -> None:
            with pytest.raises(TimeoutError, match="mine"):
                await run_until(asyncio.get_running_loop().create_future(), work())

        asyncio.run(go())

    def test_a_cancellation_from_outside_goes_on(self) -> None:
        async def go() -> None:
            loop = asyncio.get_running_loop()
            task = loop.create_task(run_until(loop.create_future(), loop.create_future()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(go())


class Ticks:
    """An endless asynchronous iterator, whose first items come at once."""

    def __init__(self, ready: int) -> None:
        self.left = ready
        self.closed = False

    async def items(self) -> AsyncIterator[int]:
        try:
            while True:
                self.left -= 1
                if self.left < 0:
                    async with asyncio.timeout(60):  # belongs to the task it was begun in
                        yield self.left
                        await asyncio.get_running_loop().create_future()
                yield self.left
        finally:
            self.closed = True


async def auth_of(client: AsyncMoonKey, person: SignedIn) -> Auth:
    auth = await client.authenticate(headers(person))
    assert auth.is_authenticated
    return auth


async def until_over(client: AsyncMoonKey, stream: AsyncIterator[int], revoke: str, after: int) -> list[int]:
    got = []
    async with asyncio.timeout(10):
        async for item in stream:
            got.append(item)
            if len(got) == after:
                client.revocations.add(session_id=revoke)
                await asyncio.sleep(0)
    return got


class TestTasks:
    @pytest.mark.rule("S52", "connection")
    def test_it_ends_at_once(self, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                ticks = Ticks(2)
                stream = abound_items(client, await auth_of(client, ada), ticks.items(), headers(ada))
                assert await until_over(client, stream, ada.session_id, 3) == [1, 0, -1]
                assert ticks.closed
                await asyncio.sleep(0)
                assert len(client._session_watcher) == 0

        asyncio.run(go())

    @pytest.mark.rule("S52", "connection")
    def test_nothing_is_handed_out_after_the_end(self, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                auth = await auth_of(client, ada)
                client.revocations.add(session_id=ada.session_id)
                assert [item async for item in abound_items(client, auth, Ticks(3).items())] == []

        asyncio.run(go())

    def test_a_generator_that_does_not_want_to_end(
        self, make_async_client: MakeAsyncClient, ada: SignedIn
    ) -> None:
        async def stubborn() -> AsyncIterator[int]:
            yield 1
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            yield 2

        async def go() -> None:
            async with make_async_client() as client:
                stream = abound_items(client, await auth_of(client, ada), stubborn())
                assert await until_over(client, stream, ada.session_id, 1) == [1]

        asyncio.run(go())

    def test_items_that_come_to_an_end_or_fail(self, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def few(error: Exception | None) -> AsyncIterator[int]:
            yield 1
            if error is not None:
                raise error

        async def go() -> None:
            async with make_async_client() as client:
                auth = await auth_of(client, ada)
                assert [item async for item in abound_items(client, auth, few(None))] == [1]
                for error in (ValueError("theirs"), TimeoutError("theirs")):
                    with pytest.raises(type(error), match="theirs"):
                        _ = [item async for item in abound_items(client, auth, few(error))]
                await asyncio.sleep(0)
                assert len(client._session_watcher) == 0

        asyncio.run(go())

    @pytest.mark.long
    @pytest.mark.parametrize("how", ["closed", "forgotten"])
    def test_who_goes_away_leaves_nothing(
        self, make_async_client: MakeAsyncClient, ada: SignedIn, how: str
    ) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                ticks = Ticks(5)
                stream = abound_items(client, await auth_of(client, ada), ticks.items())
                assert await anext(stream) == 4
                assert len(client._session_watcher) == 1
                if how == "closed":
                    await stream.aclose()
                del stream
                gc.collect()
                for _ in range(10):
                    await asyncio.sleep(0)
                assert ticks.closed
                assert len(client._session_watcher) == 0

        asyncio.run(go())

    def test_nobody_is_signed_in(self, make_async_client: MakeAsyncClient) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                with pytest.raises(ValueError, match="Nobody is signed in"):
                    await anext(abound_items(client, new_auth(), Ticks(1).items()))

        asyncio.run(go())


class TestThreads:
    @pytest.mark.rule("S52", "connection")
    def test_it_ends_between_two_items(self, make_client: MakeClient, ada: SignedIn) -> None:
        client = make_client()
        closed = []

        def items() -> Iterator[int]:
            try:
                yield 1
                yield 2
                client.revocations.add(session_id=ada.session_id)
                yield 3
            finally:
                closed.append(True)

        auth = client.authenticate(headers(ada))
        assert list(bound_items(client, auth, items(), headers(ada))) == [1, 2]
        assert closed == [True]
        assert list(bound_items(client, auth, items())) == []
        assert len(client._session_watcher) == 0

    def test_an_iterable_that_ends_by_itself(self, make_client: MakeClient, ada: SignedIn) -> None:
        client = make_client()
        assert list(bound_items(client, client.authenticate(headers(ada)), "abc")) == ["a", "b", "c"]
        assert len(client._session_watcher) == 0

    @pytest.mark.long
    @pytest.mark.parametrize("how", ["closed", "forgotten"])
    def test_who_goes_away_leaves_nothing(self, make_client: MakeClient, ada: SignedIn, how: str) -> None:
        client = make_client()
        closed = []

        class Items:
            def __iter__(self) -> Iterator[int]:
                return iter(range(10))

            def close(self) -> None:
                closed.append(True)

        stream: Any = bound_items(client, client.authenticate(headers(ada)), Items())
        assert next(stream) == 0
        assert len(client._session_watcher) == 1
        if how == "closed":
            stream.close()
        del stream
        gc.collect()
        assert closed == [True]
        assert len(client._session_watcher) == 0

    def test_nobody_is_signed_in(self, make_client: MakeClient) -> None:
        with pytest.raises(ValueError, match="Nobody is signed in"):
            next(bound_items(make_client(), new_auth(), "abc"))
