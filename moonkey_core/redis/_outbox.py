"""What this process has revoked and must tell the others: until they have it, and again where it was lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from moonkey_core import _threads as _native
from moonkey_core.revocations import Revocation, Revocations


class Outbox:
    """Filled by any thread, emptied by the feed's own. It keeps what it has handed out, for as long as it matters.

    Bounded: what is waiting by its number, what is kept by collapsing into "everything issued before". ``begin``
    is called when there is something: the feed may not run yet.
    """

    def __init__(self, own: Revocations, begin: Callable[[], None]) -> None:
        self.own = own
        self._begin = begin
        self._lock = _native.lock()
        self._waiting: deque[Revocation] = deque(maxlen=own.maxsize)
        self._overflowed = False
        self._unsent = 0
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all of it is in Redis, as far as is known."""
        return not self._unsent

    @property
    def is_urgent(self) -> bool:
        """Whether there is something that others do not know, and that still matters."""
        return self._unsent > 0 and len(self.own) > 0

    @property
    def unsent(self) -> int:
        """How many entries may not be in Redis yet."""
        return self._unsent

    def put(self, entry: Revocation) -> None:
        """A new entry, from any thread."""
        self.own.note(entry)  # first: whoever empties the rest afterwards finds it here
        with self._lock:
            self._overflowed = self._overflowed or len(self._waiting) == self._waiting.maxlen
            self._waiting.append(entry)
            self._unsent = min(self._unsent + 1, self.own.maxsize)
            wake = self._wake
        if wake is None:
            self._begin()
        else:
            loop, event = wake
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(event.set)

    def everything(self) -> tuple[Revocation, ...]:
        """All that is kept, in place of what is waiting."""
        with self._lock:
            self._waiting.clear()
            self._overflowed = False
        return self.own.entries()

    def sent(self) -> None:
        """What was handed out last is in Redis."""
        with self._lock:
            self._unsent = self.own.maxsize if self._overflowed else len(self._waiting)

    def open(self) -> None:
        """From now on the loop that runs is woken."""
        with self._lock:
            self._wake = (asyncio.get_running_loop(), asyncio.Event())

    def shut(self) -> None:
        """The loop that runs is about to end."""
        with self._lock:
            if self._wake is not None and self._wake[0] is asyncio.get_running_loop():
                self._wake = None

    def wake(self) -> None:
        """Let go of whoever waits for something."""
        if self._wake is not None:
            self._wake[1].set()

    async def wait(self) -> None:
        """Wait for something new, or for :meth:`wake`."""
        assert self._wake is not None
        event = self._wake[1]
        event.clear()
        await event.wait()

    async def take(self) -> tuple[Revocation, ...]:
        """What is waiting; waits for something."""
        assert self._wake is not None
        event = self._wake[1]
        while not self._waiting and not self._overflowed:
            await event.wait()
            event.clear()
        if self._overflowed:
            return self.everything()
        with self._lock:
            waiting = tuple(self._waiting)
            self._waiting.clear()
        return waiting
