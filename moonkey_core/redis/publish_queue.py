"""Revocations of this process that have to be published: until Redis has them, and again where Redis lost them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from moonkey_core import _clock, _threads
from moonkey_core._publication import Ticket
from moonkey_core.revocations import Revocation, Revocations

_TIME_STEP = 0.02  # seconds within which entries count as added at the same time
_MAX_TIMES = 1000
_POLL_SECONDS = 0.005  # under gevent, where a thread of the system cannot wake a greenlet that waits


class PublishQueue:
    """Filled by any thread, emptied by the thread of the feed, its :class:`Consumer`. Thread-safe.

    The queue keeps what it has handed out for as long as it matters. It is bounded: by the number of entries that
    wait, and by ``own``, which collapses into a single entry.

    Each entry has a number, the next one's is one more. Redis has all entries up to the number that was
    acknowledged last.

    Args:
        own: An empty table, which keeps all revocations of this process.
        start: Is called when an entry is added and the feed may not run yet.
        timeout: Seconds that a caller waits for an acknowledgement who names no time.
    """

    def __init__(self, own: Revocations, start: Callable[[], None], timeout: float = 0.0) -> None:
        self.own = own
        self.timeout = timeout
        self._start = start
        self._lock = _threads.lock()
        self._waiting: deque[Revocation] = deque(maxlen=own.maxsize)
        self._sending: deque[Revocation] = deque()  # taken, and not acknowledged
        self._sends_all = False
        self._overflowed = False
        self._newest = self._taken = self._acknowledged = 0  # numbers of entries
        self._times: deque[tuple[int, float]] = deque()  # from which number on, entries were added when or later
        self._is_abandoned = False
        self._callbacks: dict[object, tuple[int, Callable[[], object]]] = {}
        self._consumer: Consumer | None = None

    @property
    def is_empty(self) -> bool:
        """Whether Redis has all entries, as far as is known."""
        return self._newest == self._acknowledged

    @property
    def is_urgent(self) -> bool:
        """Whether there are entries that Redis may not have and that still matter."""
        return not self.is_empty and bool(self.own.entries())

    @property
    def unsent(self) -> int:
        """The number of entries that Redis may not have yet."""
        return min(self._newest - self._acknowledged, self.own.maxsize)

    @property
    def unsent_since(self) -> float:
        """Since when an entry waits to be in Redis, in monotonic seconds; infinity where none does."""
        try:
            return self._times[0][1]
        except IndexError:
            return math.inf

    def put(self, entry: Revocation) -> Ticket:
        """Add an entry, from any thread."""
        self.own.record(entry)  # first: a call that takes all entries afterwards finds it here
        with self._lock:
            self._overflowed = self._overflowed or len(self._waiting) == self._waiting.maxlen
            self._waiting.append(entry)
            self._newest += 1
            self._note_time()
            ticket = Ticket(self, self._newest)
            consumer = self._consumer
        if consumer is None or not consumer.is_woken():
            self._start()
        return ticket

    def new_consumer(self) -> Consumer:
        """Return a consumer that takes the place of the one before, if there is one."""
        with self._lock:
            self._consumer = Consumer(self)
            return self._consumer

    def is_replaced(self, consumer: Consumer | None) -> bool:
        """Return whether another one has taken the place of a consumer."""
        return consumer is not None and consumer is not self._consumer

    def _note_time(self) -> None:
        now = _clock.elapsed()
        is_new = not self._times or now - self._times[-1][1] >= _TIME_STEP
        if is_new and len(self._times) < _MAX_TIMES:
            self._times.append((self._newest, now))

    def take_unsent(self, by: Consumer | None = None) -> tuple[Revocation, ...]:
        """Return all entries that Redis may not have, those included that were taken before.

        Args:
            by: The consumer; where it is replaced, there are none. The same holds for all that it does.
        """
        with self._lock:
            if self.is_replaced(by):
                return ()
            self._sending.extend(self._waiting)
            self._waiting.clear()
            self._sends_all |= self._overflowed or len(self._sending) > self.own.maxsize
            self._overflowed = False
            self._taken = self._newest
            if not self._times and not self.is_empty:  # another server need not have what was delivered
                self._times.append((self._acknowledged + 1, _clock.elapsed()))
            if not self._sends_all:
                return tuple(self._sending)
            self._sending.clear()
        return self.own.entries()

    @property
    def has_new(self) -> bool:
        """Whether there are entries that were not taken yet."""
        return bool(self._waiting) or self._overflowed

    def take_new(self, by: Consumer | None = None) -> tuple[Revocation, ...]:
        """Return the entries that were not taken yet, without waiting for any."""
        if self._overflowed:
            return self.take_unsent(by)
        with self._lock:
            if self.is_replaced(by):
                return ()
            new = tuple(self._waiting)
            self._sending.extend(new)
            self._waiting.clear()
            self._taken = self._newest
        return new

    def mark_sent(self, up_to: int | None = None, by: Consumer | None = None) -> None:
        """Note that Redis has all entries that were taken, or those up to a number."""
        with self._lock:
            if self.is_replaced(by):
                return
            sent = self._taken if up_to is None else up_to
            for _ in range(min(sent - self._acknowledged, len(self._sending))):
                self._sending.popleft()
            self._acknowledged = max(self._acknowledged, sent)
            self._sends_all = self._sends_all and self._acknowledged < self._taken
            self._forget_times(self._acknowledged)
        self.call_back()

    def mark_delivered(self, by: Consumer | None = None) -> None:
        """Note that Redis has all entries that were taken, but not yet as many replicas as have to.

        They go on waiting for that, and are not late meanwhile: the other processes hear of them.
        """
        with self._lock:
            if not self.is_replaced(by):
                self._forget_times(self._taken)

    def _forget_times(self, up_to: int) -> None:
        """Forget when entries were added, up to a number."""
        while self._times and (up_to == self._newest or (len(self._times) > 1 and self._times[1][0] <= up_to + 1)):
            self._times.popleft()

    def abandon(self) -> None:
        """Give the queue up in the child of a fork, where another one takes its place.

        What the parent process has added is sent by the parent. The lock may be held by a thread that is not here.
        """
        self._is_abandoned = True

    def has_sent(self, number: int) -> bool:
        """Return whether Redis has acknowledged all entries up to a number."""
        return number <= self._acknowledged

    def wait_for(self, number: int, seconds: float) -> None:
        """Wait until Redis has them, or is known to be away; so many seconds at most."""
        if _threads.is_patched():
            for pause in self._pauses(number, seconds):
                time.sleep(pause)  # that of gevent: other greenlets run meanwhile
            return
        called = _threads.lock()
        called.acquire()
        with self._calling_back(number, called.release) as is_needed:
            if is_needed and seconds > 0:
                called.acquire(timeout=seconds)

    async def wait_for_async(self, number: int, seconds: float) -> None:
        """Do the same without blocking the event loop."""
        if _threads.is_patched():
            for pause in self._pauses(number, seconds):
                await asyncio.sleep(pause)
            return
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        with self._calling_back(number, partial(_call_soon, loop, called.set)) as is_needed:
            if is_needed and seconds > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await called.wait()

    def _pauses(self, number: int, seconds: float) -> Iterator[float]:
        until = _clock.elapsed() + seconds
        while not self._is_settled(number) and (left := until - _clock.elapsed()) > 0:
            yield min(left, _POLL_SECONDS)

    def _is_settled(self, number: int) -> bool:
        """Return whether there is nothing to wait for (any more)."""
        is_away = self._consumer is not None and self._consumer.is_away
        return self._is_abandoned or is_away or self.has_sent(number)

    @contextlib.contextmanager
    def _calling_back(self, number: int, callback: Callable[[], object]) -> Iterator[bool]:
        """Have a function called once, in any thread, when a number is settled; yield whether it will be."""
        if self._is_settled(number):
            yield False
            return
        key = object()
        with self._lock:
            self._callbacks[key] = (number, callback)
        try:
            yield not self._is_settled(number)  # it may have been just before
        finally:
            with self._lock:
                self._callbacks.pop(key, None)

    def call_back(self) -> None:
        """Wake the callers whose entries are settled."""
        with self._lock:
            settled = [key for key, (number, _) in self._callbacks.items() if self._is_settled(number)]
            callbacks = [self._callbacks.pop(key)[1] for key in settled]
        for callback in callbacks:
            callback()


class Consumer:
    """What empties a queue: one worker, until another one takes its place.

    Its thread may go on for a while after that, as where Redis does not answer. It gets no entries any more then,
    and what it has sent does not count: the next one sends that again, which changes nothing.

    Args:
        queue: The queue.

    Attributes:
        own: The table of all revocations of this process.
        is_away: Whether nothing can be sent for now, see :meth:`mark_away`.
    """

    def __init__(self, queue: PublishQueue) -> None:
        self._queue = queue
        self.own: Revocations = queue.own
        self.is_away: bool = False
        self._loop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether Redis has all entries, as far as is known, or another consumer sees to that."""
        return self._queue.is_replaced(self) or self._queue.is_empty

    @property
    def is_urgent(self) -> bool:
        """Whether there are entries that Redis may not have and that still matter."""
        return self._queue.is_urgent

    @property
    def unsent(self) -> int:
        """The number of entries that Redis may not have yet."""
        return self._queue.unsent

    @property
    def unsent_since(self) -> float:
        """As that of the queue."""
        return self._queue.unsent_since

    def take_unsent(self) -> tuple[Revocation, ...]:
        """Return all entries that Redis may not have, those included that were taken before."""
        return self._queue.take_unsent(self)

    def take_new(self) -> tuple[Revocation, ...]:
        """Return the entries that were not taken yet, without waiting for any."""
        return self._queue.take_new(self)

    async def take(self) -> tuple[Revocation, ...]:
        """Wait until there are entries, and take them."""
        assert self._loop is not None
        event = self._loop[1]
        while self._queue.is_replaced(self) or not self._queue.has_new:
            await event.wait()
            event.clear()
        return self.take_unsent()

    def mark_sent(self) -> None:
        """Note that Redis has all entries that were taken."""
        self._queue.mark_sent(by=self)

    def mark_delivered(self) -> None:
        """Note that Redis has all entries that were taken, but not yet as many replicas as have to."""
        self._queue.mark_delivered(by=self)

    def mark_away(self, is_away: bool) -> None:
        """Note that nothing can be sent for now, as Redis cannot be reached or the feed is closed; or that it can.

        No call waits for an acknowledgement meanwhile.
        """
        self.is_away = is_away
        if is_away:
            self._queue.call_back()

    def attach(self) -> None:
        """Wake the running event loop from now on when an entry is added."""
        self._loop = (asyncio.get_running_loop(), asyncio.Event())

    def detach(self) -> None:
        """Wake the running event loop no longer, as it is about to end."""
        self._loop = None

    def is_woken(self) -> bool:
        """Wake the event loop, from any thread, and return whether there is one."""
        if (attached := self._loop) is None:
            return False
        _call_soon(attached[0], attached[1].set)
        return True

    def wake(self) -> None:
        """End a :meth:`wait`, from the event loop that waits."""
        if self._loop is not None:
            self._loop[1].set()

    async def wait(self) -> None:
        """Wait until an entry is added or :meth:`wake` is called."""
        assert self._loop is not None
        event = self._loop[1]
        event.clear()
        await event.wait()


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(function)
