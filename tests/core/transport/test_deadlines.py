"""A deadline of many does what ``asyncio.timeout`` does, at the same moment, with one timer for nearly all."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._transport.deadlines import Deadline, Deadlines

Block = Callable[[float], AbstractAsyncContextManager[object]]


class Skipping(selectors.SelectSelector):
    """A selector that waits for nothing: the time of its loop is moved on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Move the time on to the next timer."""
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop in which a second takes no time."""

    def __init__(self) -> None:
        self.clock = Skipping()
        self.timers = 0
        super().__init__(self.clock)

    def time(self) -> float:
        """The seconds that have been skipped."""
        return self.clock.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Count the timers."""
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


def skipping(work: Callable[[SkippingLoop], Coroutine[Any, Any, Any]]) -> Any:
    loop = SkippingLoop()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()


def blocks_of(deadlines: Deadlines) -> Block:
    @asynccontextmanager
    async def within(seconds: float) -> AsyncIterator[None]:
        with Deadline(deadlines, seconds):
            yield

    return within


@dataclass(frozen=True)
class Call:
    """All in seconds. No two of these moments of a call are the same, as their remainders by 3 differ."""

    begins: int
    limit: int
    lasts: int
    cancelled: int | None
    resists: bool


CALLS = st.builds(
    Call,
    begins=st.integers(0, 30).map(lambda number: number * 3),
    limit=st.integers(0, 12).map(lambda number: number * 3),
    lasts=st.integers(0, 12).map(lambda number: number * 3 + 1),
    cancelled=st.none() | st.integers(0, 12).map(lambda number: number * 3 + 2),
    resists=st.booleans(),
)


async def outcomes(loop: SkippingLoop, calls: list[Call], block: Block) -> list[object]:
    """How each of the calls ended, and when."""

    async def made(call: Call) -> object:
        await asyncio.sleep(call.begins)
        try:
            async with block(call.limit):
                try:
                    await asyncio.sleep(call.lasts)
                except asyncio.CancelledError:
                    if call.resists:
                        return ("resisted", loop.time())
                    raise
            await asyncio.sleep(60)  # nothing of the deadline is left
            return ("done", loop.time())
        except TimeoutError:
            task = asyncio.current_task()
            assert task is not None
            return ("over", loop.time(), task.cancelling())
        except asyncio.CancelledError:
            return ("cancelled", loop.time())

    tasks = [asyncio.ensure_future(made(call)) for call in calls]
    for call, task in zip(calls, tasks, strict=True):
        if call.cancelled is not None:
            loop.call_at(call.begins + call.cancelled, task.cancel)
    return await asyncio.gather(*tasks, return_exceptions=True)


@given(st.lists(CALLS, max_size=12))
def test_the_same_as_timeouts_of_their_own(calls: list[Call]) -> None:
    deadlines = Deadlines()
    shared = skipping(lambda loop: outcomes(loop, calls, blocks_of(deadlines)))
    alone = skipping(lambda loop: outcomes(loop, calls, asyncio.timeout))
    assert shared == alone


def test_calls_of_the_same_time_share_a_timer() -> None:
    async def work(loop: SkippingLoop) -> int:
        deadlines = Deadlines()
        for _ in range(100):
            with Deadline(deadlines, 5.0):
                pass
        return loop.timers

    assert skipping(work) == 1


def test_a_shorter_one_after_the_timer_was_set() -> None:
    async def work(loop: SkippingLoop) -> float:
        deadlines = Deadlines()
        with Deadline(deadlines, 60.0):
            pass
        with pytest.raises(TimeoutError), Deadline(deadlines, 2.0):
            await asyncio.sleep(10)
        return loop.time()

    assert skipping(work) == 2


@pytest.mark.parametrize("is_first", [True, False], ids=["before it", "after it"])
def test_cancelled_in_the_turn_in_which_its_time_is_over(is_first: bool) -> None:
    async def caught(loop: SkippingLoop, block: Block) -> str:
        task = asyncio.current_task()
        assert task is not None

        def cancel_soon() -> None:
            loop.call_soon(task.cancel)

        def both() -> None:
            if is_first:
                task.cancel()
            loop.clock.now = 7.0  # the timer is due in the next turn
            if not is_first:
                loop.call_soon(cancel_soon)

        loop.call_later(1.0, both)
        try:
            async with block(5.0):
                await asyncio.sleep(10)
        except TimeoutError:
            return "over"
        except asyncio.CancelledError:
            return "cancelled"
        return "done"

    found = skipping(lambda loop: caught(loop, blocks_of(Deadlines())))
    assert found == skipping(lambda loop: caught(loop, asyncio.timeout))
    assert not is_first or found == "cancelled"


def test_only_in_a_task() -> None:
    async def work(loop: SkippingLoop) -> str:
        raised: asyncio.Future[str] = loop.create_future()

        def outside() -> None:
            try:
                Deadline(Deadlines(), 1.0)
            except RuntimeError as error:
                raised.set_result(str(error))

        loop.call_soon(outside)
        return await raised

    assert "task" in skipping(work)
