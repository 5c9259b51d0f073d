"""All that lives as long as a session: told when it is over, or asked between two items.

Nothing is polled. One watcher per client hears of revocations, and one timer per event loop rings at the next end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Iterator

from moonkey_core import _clock
from moonkey_core._session_life.watch_policy import Binding, Feed, OnFeedLost, Reason, Rules
from moonkey_core.auth import Auth
from moonkey_core.revocations import Revocations

logger = logging.getLogger("moonkey")

_SLICE = 200
"""Bindings that are looked at in one turn of an event loop: less than a millisecond."""

_LEAST, _MOST = 0.05, 60.0
"""Seconds until a timer rings: many ends do not hold up the loop, and a clock that jumps is noticed in time."""

_BREATH = 0.05
"""Seconds between two looks at everything while revocations pour in."""

_inherited: list[object] = []  # of a parent process: never touched, and not freed either, as tasks hang on it


class Endings:
    """What is bound in threads, and asks between two items whether it is over."""

    def __init__(
        self,
        revocations: Revocations,
        feed: Feed | None = None,
        on_feed_lost: OnFeedLost = "remote",
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self._rules = Rules(revocations, feed, on_feed_lost, clock)
        # Changed without a lock, as the garbage collector may end a generator at any point.
        self._bindings: set[Binding] = set()
        revocations.watch(self._look)

    @contextlib.contextmanager
    def bound(self, auth: Auth, *, asks: bool) -> Iterator[Binding]:
        """A binding, until the end of the block. Raises ``ValueError`` unless ``auth`` is authenticated."""
        binding = self._rules.bind(auth, asks=asks)
        self._bindings.add(binding)
        try:
            binding.look(self._rules.revocations)  # for what was added before we would have been told
            yield binding
        finally:
            self._bindings.discard(binding)

    def is_over(self, binding: Binding, verify: Callable[[], Auth] | None) -> bool:
        """Whether it is over. A call is made only at its known end, or where revocations may have been missed."""
        while (verdict := self._rules.verdict(binding)) == "ask":
            answer = None
            try:
                answer = None if verify is None else verify()
            except Exception:
                _log_failure()
            binding.take(answer, self._rules.clock())
        return verdict is not None

    def _look(self) -> None:
        # Now, as an entry may be forgotten before the next item comes.
        for binding in list(self._bindings):
            binding.look(self._rules.revocations)

    def __len__(self) -> int:
        return len(self._bindings)

    def reset(self) -> None:
        """After ``fork()``: what was bound belongs to the parent."""
        self._bindings = set()


class AsyncEndings:
    """What is bound in tasks, of any number of event loops."""

    def __init__(
        self,
        revocations: Revocations,
        feed: Feed | None = None,
        on_feed_lost: OnFeedLost = "remote",
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self._rules = Rules(revocations, feed, on_feed_lost, clock)
        self._lock = threading.Lock()
        self._loops: tuple[_LoopEndings, ...] = ()
        revocations.watch(self._tell)

    async def end_of(self, auth: Auth, verify: Callable[[], Awaitable[Auth]] | None) -> Reason:
        """Why the session is over, once it is. Raises ``ValueError`` unless ``auth`` is authenticated."""
        rules = self._rules
        binding = rules.bind(auth, asks=verify is not None)
        here = self._enter(binding)
        try:
            binding.look(rules.revocations)  # for what was added before we would have been told
            while True:
                verdict = rules.verdict(binding)
                if verdict is None:
                    await here.change(binding)
                elif verdict == "ask":
                    binding.take(await _answer(verify), rules.clock())
                else:
                    return verdict
        finally:
            here.leave(binding)

    def _enter(self, binding: Binding) -> _LoopEndings:
        loop = asyncio.get_running_loop()
        with self._lock:
            here = next((one for one in self._loops if one.loop is loop), None)
            if here is None:
                here = _LoopEndings(loop, self._rules)
                self._loops = (*(one for one in self._loops if one.is_alive), here)
            here.bindings[binding] = None
        return here

    def _tell(self) -> None:
        for one in self._loops:
            one.tell()

    def __len__(self) -> int:
        return sum(len(one.bindings) for one in self._loops)

    def reset(self) -> None:
        """After ``fork()``: what was bound belongs to the parent."""
        self._lock = threading.Lock()
        _inherited.append(self._loops)
        self._loops = ()


class _LoopEndings:
    """What is bound in the tasks of one event loop. All methods but :meth:`tell` are for that loop alone.

    ``bindings``: what each of them waits with, while it waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, rules: Rules) -> None:
        self.loop = loop
        self.bindings: dict[Binding, asyncio.Future[None] | None] = {}
        self._rules = rules
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False
        self._is_looking = False
        self._looks_again = False

    @property
    def is_alive(self) -> bool:
        """Whether there still is anything to be told."""
        return bool(self.bindings) and not self.loop.is_closed()

    async def change(self, binding: Binding) -> None:
        """Wait until something has changed for a binding: its end has come, or it is revoked."""
        waiter = self.loop.create_future()
        self.bindings[binding] = waiter
        self._ring_in(binding.ends_at - self._rules.clock())
        try:
            await waiter
        finally:
            if binding in self.bindings:
                self.bindings[binding] = None

    def leave(self, binding: Binding) -> None:
        """It is over, or nobody waits for that any more."""
        self.bindings.pop(binding, None)
        if not self.bindings and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self) -> None:
        """Somebody was revoked. May be called in any thread."""
        if self.bindings and not self._is_told:
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._is_told = False  # before the look: what is added from now on calls for another one
        if self._is_looking:
            self._looks_again = True
        else:
            self._is_looking = True
            self._look_at(list(self.bindings))

    def _look_at(self, rest: list[Binding]) -> None:
        """In slices, so that thousands do not hold up the loop."""
        for _ in range(min(_SLICE, len(rest))):
            binding = rest.pop()
            binding.look(self._rules.revocations)
            if binding.needs_attention:
                _wake(self.bindings.get(binding))
        if rest:
            self.loop.call_soon(self._look_at, rest)
            return
        self._is_looking = False
        if self._looks_again:
            self._looks_again = False
            self.loop.call_later(_BREATH, self._look)

    def _ring_in(self, seconds: float) -> None:
        most = min(_MOST, self._rules.revocations.retention / 4)  # for the feed's silence, too
        at = self.loop.time() + min(max(seconds, _LEAST), max(most, _LEAST))
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        """Wake all whose end has come, by the clock on the wall: it may have been set meanwhile."""
        self._timer = None
        now, earliest = self._rules.clock(), math.inf
        for binding, waiter in self.bindings.items():
            if waiter is None or waiter.done():
                continue
            if self._rules.verdict(binding) is None:
                earliest = min(earliest, binding.ends_at)
            else:
                _wake(waiter)
        if earliest < math.inf:
            self._ring_in(earliest - now)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _answer(verify: Callable[[], Awaitable[Auth]] | None) -> Auth | None:
    try:
        return None if verify is None else await verify()
    except Exception:
        _log_failure()
        return None


def _log_failure() -> None:
    """Log the exception that keeps us from asking. The end that is known counts, then."""
    logger.exception("whether a session goes on could not be asked", extra={"reason": "session_end_unknown"})
