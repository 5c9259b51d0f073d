"""Watch the sessions of long-lived connections, so that each connection ends with its session.

Nothing is polled. One watcher per client is notified of revocations. Each event loop has one timer, which is set
to the next end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Iterator

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork
from moonkey_core._session_life.watch_policy import Feed, OnFeedLost, Reason, WatchedSession, WatchPolicy
from moonkey_core.auth import Auth
from moonkey_core.revocations import Revocations

logger: logging.Logger = logging.getLogger("moonkey")

_SLICE_SIZE = 200
"""Sessions that are refreshed in one turn of an event loop, which takes less than a millisecond."""

_MIN_SECONDS, _MAX_SECONDS = 0.05, 60.0
"""Bounds of a timer, in seconds: many ends do not block the loop, and a clock that jumps is noticed in time."""

_REFRESH_PAUSE = 0.05
"""Seconds between two refreshes of all sessions while many revocations arrive."""

_of_parents: list[object] = []  # loops of a parent process: never touched, and never freed, as tasks refer to them


class SessionWatcher:
    """A watcher of sessions for code in threads, which calls :meth:`is_over` between two items."""

    def __init__(
        self,
        revocations: Revocations,
        feed: Feed | None = None,
        on_feed_lost: OnFeedLost = "remote",
        clock: Callable[[], float] = _clock.wall,
        *,
        feed_lost_bound: float = 10.0,
    ) -> None:
        self._policy = WatchPolicy(revocations, feed, on_feed_lost, clock, feed_lost_bound)
        # Changed without a lock: the garbage collector may close a generator, and so get here, at any point.
        self._sessions: set[WatchedSession] = set()
        revocations.watch(self._refresh)
        reset_after_fork(self.reset)

    @contextlib.contextmanager
    def watching(
        self, auth: Auth, *, can_verify: bool, credentials: tuple[str, ...] = ()
    ) -> Iterator[WatchedSession]:
        """Watch a session until the end of the block.

        Args:
            auth: The identity of the request.
            can_verify: Whether :meth:`is_over` will be given a function that verifies the credential again.
            credentials: The keyed digests of the credential, where it is known; one for each secret.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        watched = self._policy.watch(auth, can_verify=can_verify, credentials=credentials)
        with self.watching_for(watched):
            yield watched

    def watch(self, auth: Auth, *, can_verify: bool, credentials: tuple[str, ...] = ()) -> WatchedSession:
        """Return what :meth:`watching_for` takes; the arguments and errors are those of :meth:`watching`."""
        return self._policy.watch(auth, can_verify=can_verify, credentials=credentials)

    @contextlib.contextmanager
    def watching_for(self, watched: WatchedSession) -> Iterator[None]:
        """Have a session told of revocations until the end of the block."""
        self._sessions.add(watched)
        try:
            watched.refresh(self._policy.revocations)  # for what was added before this was watched
            yield
        finally:
            self._sessions.discard(watched)

    def renew(self, watched: WatchedSession, auth: Auth, credentials: tuple[str, ...]) -> None:
        """Go on with a newer credential, see :meth:`WatchedSession.renew`. May be called in any thread."""
        watched.renew(auth, self._policy.clock(), credentials, self._policy.revocations)

    def is_over(self, watched: WatchedSession, verify: Callable[[], Auth] | None) -> bool:
        """Return whether the session is over.

        Calls ``verify`` only at its known end, or where revocations may be missed.

        Args:
            watched: What :meth:`watching` returned.
            verify: Verifies the credential again; ``None`` where it is not available.
        """
        while (verdict := self._policy.verdict(watched)) == "verify":
            auth, generation = None, watched.generation
            try:
                auth = None if verify is None else verify()
            except Exception:
                _log_failure()
            watched.record(auth, self._policy.clock(), generation)
        return verdict is not None

    def _refresh(self) -> None:
        # At once, as the table may drop an entry before the next item comes.
        for watched in list(self._sessions):
            watched.refresh(self._policy.revocations)

    def __len__(self) -> int:
        return len(self._sessions)

    def reset(self) -> None:
        """Forget all sessions after ``fork()``: they belong to the parent process."""
        self._sessions = set()


class AsyncSessionWatcher:
    """A watcher of sessions for tasks, of any number of event loops."""

    def __init__(
        self,
        revocations: Revocations,
        feed: Feed | None = None,
        on_feed_lost: OnFeedLost = "remote",
        clock: Callable[[], float] = _clock.wall,
        *,
        feed_lost_bound: float = 10.0,
    ) -> None:
        self._policy = WatchPolicy(revocations, feed, on_feed_lost, clock, feed_lost_bound)
        self._lock = threading.Lock()
        self._loops: tuple[_LoopWatcher, ...] = ()
        revocations.watch(self._notify)
        reset_after_fork(self.reset)

    async def wait_until_over(
        self, auth: Auth, verify: Callable[[], Awaitable[Auth]] | None, credentials: tuple[str, ...] = ()
    ) -> Reason:
        """Wait until the session is over, and return why.

        Args:
            auth: The identity of the request.
            verify: Verifies the credential again; ``None`` where it is not available.
            credentials: The keyed digests of the credential, where it is known; one for each secret.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        return await self.wait(self.watch(auth, can_verify=verify is not None, credentials=credentials), verify)

    def watch(self, auth: Auth, *, can_verify: bool, credentials: tuple[str, ...] = ()) -> WatchedSession:
        """Return what :meth:`wait` takes; the arguments and errors are those of :meth:`wait_until_over`."""
        return self._policy.watch(auth, can_verify=can_verify, credentials=credentials)

    def renew(self, watched: WatchedSession, auth: Auth, credentials: tuple[str, ...]) -> None:
        """Go on with a newer credential, see :meth:`WatchedSession.renew`. May be called in any thread."""
        try:
            watched.renew(auth, self._policy.clock(), credentials, self._policy.revocations)
        finally:
            for one in self._loops:
                one.wake(watched)

    async def wait(self, watched: WatchedSession, verify: Callable[[], Awaitable[Auth]] | None) -> Reason:
        """Wait until a session is over, and return why.

        Args:
            watched: What :meth:`watch` returned.
            verify: Verifies the credential again; ``None`` where it is not available.
        """
        policy = self._policy
        loop_watcher = self._add(watched)
        try:
            watched.refresh(policy.revocations)  # for what was added before this was watched
            while True:
                verdict = policy.verdict(watched)
                if verdict is None:
                    await loop_watcher.wait_for_change(watched)
                elif verdict == "verify":
                    generation = watched.generation
                    watched.record(await _verified(verify), policy.clock(), generation)
                else:
                    return verdict
        finally:
            loop_watcher.remove(watched)

    def _add(self, watched: WatchedSession) -> _LoopWatcher:
        loop = asyncio.get_running_loop()
        with self._lock:
            loop_watcher = next((one for one in self._loops if one.loop is loop), None)
            if loop_watcher is None:
                loop_watcher = _LoopWatcher(loop, self._policy)
                self._loops = (*(one for one in self._loops if one.is_in_use), loop_watcher)
            loop_watcher.sessions[watched] = None
        return loop_watcher

    def _notify(self) -> None:
        for one in self._loops:
            one.notify()

    def __len__(self) -> int:
        return sum(len(one.sessions) for one in self._loops)

    def reset(self) -> None:
        """Forget all sessions after ``fork()``: they belong to the parent process."""
        self._lock = threading.Lock()
        _of_parents.append(self._loops)
        self._loops = ()


class _LoopWatcher:
    """A watcher of sessions for the tasks of one event loop. Only :meth:`notify` may be called from outside of it.

    Attributes:
        sessions: For each session, the future that its task waits for; ``None`` while the task does not wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: WatchPolicy) -> None:
        self.loop = loop
        self.sessions: dict[WatchedSession, asyncio.Future[None] | None] = {}
        self._policy = policy
        self._timer: asyncio.TimerHandle | None = None
        self._is_notified = False
        self._is_refreshing = False
        self._refreshes_again = False

    @property
    def is_in_use(self) -> bool:
        """Whether a session is watched here, in a loop that is not closed."""
        return bool(self.sessions) and not self.loop.is_closed()

    async def wait_for_change(self, watched: WatchedSession) -> None:
        """Wait until a session has reached its end or needs attention."""
        waiter = self.loop.create_future()
        self.sessions[watched] = waiter
        self._set_timer(self._policy.seconds_left(watched))
        try:
            await waiter
        finally:
            if watched in self.sessions:
                self.sessions[watched] = None

    def remove(self, watched: WatchedSession) -> None:
        """Stop watching a session: it is over, or its task is."""
        self.sessions.pop(watched, None)
        if not self.sessions and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def notify(self) -> None:
        """Have all sessions refreshed after a new revocation. May be called in any thread."""
        if self.sessions and not self._is_notified:
            self._is_notified = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._refresh)

    def wake(self, watched: WatchedSession) -> None:
        """Have the task of one session look at it again: its end has moved. May be called in any thread."""
        if watched in self.sessions:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(lambda: _wake(self.sessions.get(watched)))

    def _refresh(self) -> None:
        self._is_notified = False  # before the refresh: what is added from now on needs another one
        if self._is_refreshing:
            self._refreshes_again = True
        else:
            self._is_refreshing = True
            self._refresh_slice(list(self.sessions))

    def _refresh_slice(self, rest: list[WatchedSession]) -> None:
        """Refresh sessions in slices, so that thousands of them do not block the loop."""
        for _ in range(min(_SLICE_SIZE, len(rest))):
            watched = rest.pop()
            watched.refresh(self._policy.revocations)
            if watched.needs_attention:
                _wake(self.sessions.get(watched))
        if rest:
            self.loop.call_soon(self._refresh_slice, rest)
            return
        self._is_refreshing = False
        if self._refreshes_again:
            self._refreshes_again = False
            self.loop.call_later(_REFRESH_PAUSE, self._refresh)

    def _set_timer(self, seconds: float) -> None:
        most = min(_MAX_SECONDS, self._policy.revocations.retention / 4)  # a silent feed is noticed in time, too
        at = self.loop.time() + min(max(seconds, _MIN_SECONDS), max(most, _MIN_SECONDS))
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        """Wake the tasks whose session has ended by the wall clock, which may have been set meanwhile."""
        self._timer = None
        earliest = math.inf
        for watched, waiter in self.sessions.items():
            if waiter is None or waiter.done():
                continue
            if self._policy.verdict(watched) is None:
                earliest = min(earliest, self._policy.seconds_left(watched))
            else:
                _wake(waiter)
        if earliest < math.inf:
            self._set_timer(earliest)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _verified(verify: Callable[[], Awaitable[Auth]] | None) -> Auth | None:
    try:
        return None if verify is None else await verify()
    except Exception:
        _log_failure()
        return None


def _log_failure() -> None:
    """Log the exception of a verification. The known end of the session counts then."""
    logger.exception("whether a session goes on could not be asked", extra={"reason": "session_end_unknown"})
