"""Revocations of this process that have to be published: until Redis has them, and again where Redis lost them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from moonkey_core import _threads
from moonkey_core.revocations import Revocation, Revocations


class PublishQueue:
    """Filled by any thread, emptied by the thread of the feed. Thread-safe.

    The queue keeps what it has handed out for as long as it matters. It is bounded: by the number of entries that
    wait, and by ``own``, which collapses into a single entry.

    Args:
        own: An empty table, which keeps all revocations of this process.
        start: Is called when an entry is added and the feed may not run yet.
    """

    def __init__(self, own: Revocations, start: Callable[[], None]) -> None:
        self.own = own
        self._start = start
        self._lock = _threads.lock()
        self._waiting: deque[Revocation] = deque(maxlen=own.maxsize)
        self._sending: deque[Revocation] = deque()  # taken, and not acknowledged
        self._overflowed = self._sends_all = False
        self._unsent = 0
        self._consumer: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether Redis has all entries, as far as is known."""
        return not self._unsent

    @property
    def is_urgent(self) -> bool:
        """Whether there are entries that Redis may not have and that still matter."""
        return self._unsent > 0 and bool(self.own.entries())

    @property
    def unsent(self) -> int:
        """The number of entries that Redis may not have yet."""
        return self._unsent

    def put(self, entry: Revocation) -> None:
        """Add an entry, from any thread."""
        self.own.record(entry)  # first: a call that takes all entries afterwards finds it here
        with self._lock:
            self._overflowed = self._overflowed or len(self._waiting) == self._waiting.maxlen
            self._waiting.append(entry)
            self._unsent = min(self._unsent + 1, self.own.maxsize)
            consumer = self._consumer
        if consumer is None:
            self._start()
        else:
            loop, event = consumer
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(event.set)

    def take_unsent(self) -> tuple[Revocation, ...]:
        """Return all entries that Redis may not have, those included that were taken before."""
        with self._lock:
            self._sending.extend(self._waiting)
            self._waiting.clear()
            self._sends_all |= self._overflowed or len(self._sending) > self.own.maxsize
            self._overflowed = False
            if not self._sends_all:
                return tuple(self._sending)
            self._sending.clear()
        return self.own.entries()

    async def take(self) -> tuple[Revocation, ...]:
        """Wait until there are entries, and take them."""
        assert self._consumer is not None
        event = self._consumer[1]
        while not self._waiting and not self._overflowed:
            await event.wait()
            event.clear()
        return self.take_unsent()

    def mark_sent(self) -> None:
        """Note that Redis has the entries that were taken last."""
        with self._lock:
            self._sending.clear()
            self._sends_all = False
            self._unsent = self.own.maxsize if self._overflowed else len(self._waiting)

    def attach(self) -> None:
        """Wake the running event loop from now on when an entry is added."""
        with self._lock:
            self._consumer = (asyncio.get_running_loop(), asyncio.Event())

    def detach(self) -> None:
        """Wake the running event loop no longer, as it is about to end."""
        with self._lock:
            if self._consumer is not None and self._consumer[0] is asyncio.get_running_loop():
                self._consumer = None

    def wake(self) -> None:
        """End a :meth:`wait`, from the event loop that waits."""
        if self._consumer is not None:
            self._consumer[1].set()

    async def wait(self) -> None:
        """Wait until an entry is added or :meth:`wake` is called."""
        assert self._consumer is not None
        event = self._consumer[1]
        event.clear()
        await event.wait()
