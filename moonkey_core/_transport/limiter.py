"""How many calls are under way at a time, and who waits for the next place."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Literal

WAITERS = 4096
"""Most calls that wait at a time; a stranger can make no more of them."""

Verdict = Literal["waiting", "go", "busy", "gone"]


class Place:
    """A call that has come; ``wake`` is called when its verdict changes while it waits."""

    __slots__ = ("verdict", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.verdict: Verdict = "waiting"
        self.wake = wake


class Line:
    """Who may go, who waits, who is sent away: the decisions alone. Whoever uses it from threads holds a lock.

    Those whose credential was good before (``first``) go before all others; among equals, who came first. Where
    nobody more may wait, such a one takes the place of the newest of the others.
    """

    def __init__(self, slots: int, waiters: int = WAITERS) -> None:
        self._free = slots
        self._waiters = waiters
        self._first: OrderedDict[Place, None] = OrderedDict()
        self._others: OrderedDict[Place, None] = OrderedDict()

    def take(self) -> bool:
        """Take a free slot, if there is one."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    def come(self, place: Place, first: bool) -> None:
        """Decide about a newcomer: its verdict says what is to be done."""
        if self.take():
            place.verdict = "go"
            return
        if len(self._first) + len(self._others) >= self._waiters:
            if not (first and self._others):
                place.verdict = "busy"
                return
            displaced, _ = self._others.popitem(last=True)
            self._tell(displaced, "busy")
        (self._first if first else self._others)[place] = None

    def finish(self) -> None:
        """A call has ended: the next one takes over its slot."""
        for queue in (self._first, self._others):
            if queue:
                place, _ = queue.popitem(last=False)
                self._tell(place, "go")
                return
        self._free += 1

    def give_up(self, place: Place) -> None:
        """One who waited does no longer. A slot that it has been given meanwhile goes to the next."""
        if place.verdict == "waiting":
            self._first.pop(place, None)
            self._others.pop(place, None)
        elif place.verdict == "go":
            self.finish()
        place.verdict = "gone"

    def _tell(self, place: Place, verdict: Verdict) -> None:
        place.verdict = verdict
        place.wake()


class ThreadLimiter:
    """A line of threads."""

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._line = Line(slots)

    def enter(self, first: bool, seconds: float) -> Verdict:
        """Wait for a slot, so many seconds at most. After ``go``, call :meth:`leave`; ``gone`` is too late."""
        woken = threading.Event()
        place = Place(woken.set)
        with self._lock:
            self._line.come(place, first)
        if place.verdict != "waiting":
            return place.verdict
        try:
            woken.wait(seconds)
        except BaseException:
            with self._lock:
                self._line.give_up(place)
            raise
        with self._lock:
            if place.verdict == "waiting":
                self._line.give_up(place)
        return place.verdict

    def leave(self) -> None:
        """Give the slot back."""
        with self._lock:
            self._line.finish()


class TaskLimiter:
    """A line of the tasks of one event loop."""

    def __init__(self, slots: int) -> None:
        self._line = Line(slots)

    async def enter(self, first: bool) -> Verdict:
        """Wait for a slot. After ``go``, :meth:`leave` must be called. One who is cancelled has left the line."""
        if self._line.take():
            return "go"
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = Place(partial(_wake, woken))
        self._line.come(place, first)
        if place.verdict == "waiting":
            try:
                await woken
            except BaseException:
                self._line.give_up(place)  # it may have been let in at this very moment
                raise
        return place.verdict

    def leave(self) -> None:
        """Give the slot back."""
        self._line.finish()


class Pace:
    """Spreads what many tasks do at one moment over several turns of the event loop, so that others get theirs."""

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Go on, in this turn of the loop or one of the next."""
        loop = asyncio.get_running_loop()
        if self._begun == 0:
            loop.call_soon(self._next_turn)
        if self._begun < self._per_turn:
            self._begun += 1
            return
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.append(woken)
        await woken

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < self._per_turn:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # it may have been cancelled meanwhile
        woken.set_result(None)
