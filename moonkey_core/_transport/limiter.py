"""How many calls are under way at the same time, and which waiting call goes next."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from moonkey_core import _clock

MAX_WAITERS = 4096
"""The most calls that wait at the same time, so that a flood of requests cannot make memory grow without bound."""

WaiterState = Literal["waiting", "granted", "busy", "withdrawn"]


class Waiter:
    """One call in the queue.

    Attributes:
        state: What has been decided about it. ``granted``: it may go. ``busy``: too many calls wait.
            ``withdrawn``: it was cancelled, or its time is over.
        wake: Called when ``state`` changes while it waits.
    """

    __slots__ = ("state", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.state: WaiterState = "waiting"
        self.wake = wake


class PriorityLimiter:
    """The decision which calls go, which wait and which are refused. It never waits itself.

    Calls with ``priority`` go before all others; within each of the two queues the oldest goes first. Where no
    more calls may wait, a call with priority displaces the newest call without. Not thread-safe: threads hold a
    lock around each method.
    """

    def __init__(self, slots: int, max_waiters: int = MAX_WAITERS) -> None:
        self._free = slots
        self._max_waiters = max_waiters
        self._priority: OrderedDict[Waiter, None] = OrderedDict()
        self._normal: OrderedDict[Waiter, None] = OrderedDict()

    def try_acquire(self) -> bool:
        """Take a free slot. Returns ``False`` where there is none."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    def enqueue(self, waiter: Waiter, priority: bool) -> None:
        """Add a call, and set its ``state``."""
        if self.try_acquire():
            waiter.state = "granted"
            return
        if len(self._priority) + len(self._normal) >= self._max_waiters:
            if not (priority and self._normal):
                waiter.state = "busy"
                return
            displaced, _ = self._normal.popitem(last=True)
            self._decide(displaced, "busy")
        (self._priority if priority else self._normal)[waiter] = None

    def release(self) -> None:
        """Give the slot of a call that has ended to the next one."""
        for queue in (self._priority, self._normal):
            if queue:
                waiter, _ = queue.popitem(last=False)
                self._decide(waiter, "granted")
                return
        self._free += 1

    def withdraw(self, waiter: Waiter) -> None:
        """Remove a call that waits no longer. A slot that it was granted meanwhile goes to the next one."""
        if waiter.state == "waiting":
            self._priority.pop(waiter, None)
            self._normal.pop(waiter, None)
        elif waiter.state == "granted":
            self.release()
        waiter.state = "withdrawn"

    def _decide(self, waiter: Waiter, state: WaiterState) -> None:
        waiter.state = state
        waiter.wake()


class ThreadLimiter:
    """The limiter of the calls of threads."""

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._limiter = PriorityLimiter(slots)

    def acquire(self, priority: bool, seconds: float) -> WaiterState:
        """Wait for a slot.

        Args:
            priority: Whether the call goes before those without.
            seconds: How long to wait at most.

        Returns:
            ``granted``, after which :meth:`release` must be called; ``busy`` where too many calls wait;
            ``withdrawn`` where the time was over.
        """
        woken = threading.Event()
        waiter = Waiter(woken.set)
        with self._lock:
            self._limiter.enqueue(waiter, priority)
        if waiter.state != "waiting":
            return waiter.state
        try:
            woken.wait(seconds)
        except BaseException:
            with self._lock:
                self._limiter.withdraw(waiter)
            raise
        with self._lock:
            if waiter.state == "waiting":
                self._limiter.withdraw(waiter)
        return waiter.state

    def release(self) -> None:
        """Give the slot back."""
        with self._lock:
            self._limiter.release()


class TaskLimiter:
    """The limiter of the calls of the tasks of one event loop."""

    def __init__(self, slots: int) -> None:
        self._limiter = PriorityLimiter(slots)

    def try_acquire(self) -> bool:
        """Take a free slot without waiting. Returns ``False`` where there is none."""
        return self._limiter.try_acquire()

    async def acquire(self, priority: bool) -> WaiterState:
        """Wait for a slot. A task that is cancelled meanwhile has left the queue.

        Returns:
            ``granted``, after which :meth:`release` must be called, or ``busy`` where too many calls wait.
        """
        if self._limiter.try_acquire():
            return "granted"
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = Waiter(partial(_wake, woken))
        self._limiter.enqueue(waiter, priority)
        if waiter.state == "waiting":
            try:
                await woken
            except BaseException:
                self._limiter.withdraw(waiter)  # it may have been granted at this very moment
                raise
        return waiter.state

    def release(self) -> None:
        """Give the slot back."""
        self._limiter.release()


class LoopThrottle:
    """A throttle that spreads the work of many tasks over several iterations of the event loop.

    So other tasks run in between. A task may go on as long as the thread has worked less than ``seconds`` since
    the first one in the same iteration went on; the others wait, first come first served.
    """

    def __init__(self, seconds: float) -> None:
        """Make a throttle of one event loop.

        Args:
            seconds: For how many seconds of CPU time tasks may go on in one iteration.
        """
        self._seconds = seconds
        self._ends_at: float | None = None  # once a task has gone on in this iteration
        self._went_on = 0  # tasks in this iteration
        self._is_scheduled = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._returned = 0  # those at its head that were woken already

    @property
    def has_waiters(self) -> bool:
        """Whether tasks wait."""
        return bool(self._waiting)

    def passes(self) -> bool:
        """Return whether a task may go on now. Else it has to :meth:`wait`."""
        return not self._waiting and self._has_time()

    async def wait(self) -> None:
        """Return in one of the next iterations."""
        loop = asyncio.get_running_loop()
        place = len(self._waiting)
        while True:
            woken: asyncio.Future[None] = loop.create_future()
            self._waiting.insert(place, woken)
            self._schedule(loop)
            await woken
            if self._has_time():
                return
            place, self._returned = self._returned, self._returned + 1  # still before those that come later

    def _has_time(self) -> bool:
        now = _clock.worked()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
            self._schedule(asyncio.get_running_loop())
        elif now >= self._ends_at:
            return False
        self._went_on += 1
        return True

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._next_iteration)

    def _next_iteration(self) -> None:
        most = max(self._went_on, 1) * 2  # as many as there may be time for, by what the last ones took
        self._is_scheduled, self._ends_at, self._went_on, self._returned = False, None, 0, 0
        while self._waiting and most:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                most -= 1
        if self._waiting:
            self._schedule(asyncio.get_running_loop())


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # it may have been cancelled meanwhile
        woken.set_result(None)
