"""Calls with the same key that overlap become one call, and its outcome may be reused for a while."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from cachetools import TLRUCache

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError

IsReusable = Callable[[Fetch, Outcome], bool]
Key = tuple[str, object]

_MAX_CACHED_BYTES = 8 * 1024 * 1024
_ENTRY_OVERHEAD = 512  # bytes that count for an entry besides its body: so their number is bounded too


class _RevocationGeneration:
    """The time between two revocations in this process. A reply about a session is shared within one only."""

    current = object()


def start_revocation_generation() -> None:
    """Share no reply about a session any more whose call began before now."""
    _RevocationGeneration.current = object()


def _key(fetch: Fetch) -> Key:
    assert fetch.coalesce_key is not None
    return (fetch.coalesce_key, _RevocationGeneration.current if fetch.until_revoked else None)


class ReplyCache:
    """Outcomes that are reused for their ``ttl``, bounded in bytes. Not thread-safe: threads hold a lock."""

    def __init__(self, clock: Callable[[], float], is_reusable: IsReusable) -> None:
        self._is_reusable = is_reusable
        self._answers: TLRUCache[Key, tuple[Outcome, float]] = TLRUCache(
            maxsize=_MAX_CACHED_BYTES,
            ttu=lambda _key, entry, now: now + entry[1],
            timer=clock,
            getsizeof=lambda entry: _ENTRY_OVERHEAD + (len(entry[0].body) if isinstance(entry[0], Reply) else 0),
        )

    def get(self, key: Key, fetch: Fetch) -> Outcome | None:
        """Return the outcome that is kept for a call, if there is one. For a call without ``ttl`` none is."""
        if not fetch.ttl:
            return None
        entry = self._answers.get(key)
        return entry[0] if entry is not None else None

    def put(self, key: Key, fetch: Fetch, outcome: Outcome) -> None:
        """Keep an outcome that may be reused. ``key`` is that of the moment when its call began."""
        if fetch.ttl and (fetch.reuse_failures or self._is_reusable(fetch, outcome)):
            with contextlib.suppress(ValueError):  # larger than the whole cache
                self._answers[key] = (outcome, fetch.ttl)


class SyncSingleFlight:
    """The sharing of calls among threads."""

    def __init__(self, clock: Callable[[], float], is_reusable: IsReusable) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Key, Future[Outcome | None]] = {}
        self._replies = ReplyCache(clock, is_reusable)

    def call(self, fetch: Fetch, end: float, make_call: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of ``make_call()``, or of the same call that another thread is making.

        Args:
            fetch: The call; it has a ``coalesce_key``.
            end: Until when this caller waits at most (monotonic seconds).
            make_call: Makes the call.
        """
        while True:
            key = _key(fetch)
            with self._lock:
                cached = self._replies.get(key, fetch)
                if cached is not None:
                    return cached
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = Future()
            if leads:
                return self._lead(key, fetch, flight, make_call)
            try:
                outcome = flight.result(max(end - _clock.elapsed(), 0.0))
            except FutureTimeoutError:
                return TransportError("timeout")
            if outcome is not None:
                return outcome

    def _lead(
        self, key: Key, fetch: Fetch, flight: Future[Outcome | None], make_call: Callable[[], Outcome]
    ) -> Outcome:
        outcome: Outcome | None = None
        try:
            outcome = make_call()
            return outcome
        finally:
            with self._lock:
                if outcome is not None:
                    self._replies.put(key, fetch, outcome)
                self._flights.pop(key, None)
            # After an exception this is None, and one of the waiting threads makes the call.
            flight.set_result(outcome)


class _Flight:
    """A call under way, the tasks that wait for it, and when it ends at last (monotonic seconds)."""

    def __init__(self, task: asyncio.Task[Outcome], ends_at: float) -> None:
        self.task = task
        self.ends_at = ends_at
        self._waiting: dict[asyncio.Future[Outcome], None] = {}
        task.add_done_callback(self._on_done)

    @property
    def waiters(self) -> int:
        """How many tasks wait for the outcome."""
        return len(self._waiting)

    async def outcome(self) -> Outcome:
        """Wait for the outcome. A task that is cancelled meanwhile leaves the call to the others."""
        waiter: asyncio.Future[Outcome] = self.task.get_loop().create_future()
        self._waiting[waiter] = None
        try:
            return await waiter
        finally:
            del self._waiting[waiter]

    def deliver(self, outcome: Outcome) -> None:
        """Wake all that wait. This is an iteration of the event loop earlier than the end of the task.

        Nothing is left to be done at its end.
        """
        self.task.remove_done_callback(self._on_done)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(outcome)

    def _on_done(self, task: asyncio.Task[Outcome]) -> None:
        # The exception is read, so that asyncio does not report it as never retrieved.
        error = None if task.cancelled() else task.exception()
        for waiter in self._waiting:
            if waiter.done():
                continue
            if task.cancelled():
                waiter.cancel()
            elif error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(task.result())


class AsyncSingleFlight:
    """The sharing of calls among the tasks of one event loop."""

    def __init__(self, clock: Callable[[], float], is_reusable: IsReusable) -> None:
        self._flights: dict[Key, _Flight] = {}
        self._replies = ReplyCache(clock, is_reusable)

    async def call(self, fetch: Fetch, end: float, make_call: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return the outcome of ``make_call()``, or of the same call that is already under way.

        The call is a task of its own, so that it goes on for the others when one caller is cancelled. When the
        last one has gone it is cancelled too, unless its outcome would be reused.

        Args:
            fetch: The call; it has a ``coalesce_key``.
            end: Until when this caller waits at most (monotonic seconds).
            make_call: Makes the call.
        """
        key = _key(fetch)
        cached = self._replies.get(key, fetch)
        if cached is not None:
            return cached
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.get_running_loop().create_task(self._lead(key, fetch, make_call))
            flight = self._flights[key] = _Flight(task, end)
        try:
            if end >= flight.ends_at:
                return await flight.outcome()
            async with asyncio.timeout(max(end - _clock.elapsed(), 0.0)):
                return await flight.outcome()
        except TimeoutError:
            return TransportError("timeout")
        except asyncio.CancelledError:
            task_here = asyncio.current_task()
            if flight.task.cancelled() and not (task_here and task_here.cancelling()):
                return TransportError("broken")  # the client was closed; the caller was not cancelled
            raise
        finally:
            if not flight.waiters and not fetch.ttl and not flight.task.done():
                self._drop(key, flight)

    def is_in_flight(self, coalesce_key: str) -> bool:
        """Return whether a call with this key is under way."""
        generations = (_RevocationGeneration.current, None)
        return any((coalesce_key, generation) in self._flights for generation in generations)

    def _drop(self, key: Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.task.cancel()

    async def _lead(self, key: Key, fetch: Fetch, make_call: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            outcome = await make_call()
            self._replies.put(key, fetch, outcome)
        finally:
            flight = self._flights.get(key)
            if flight is not None and flight.task is asyncio.current_task():
                del self._flights[key]
            else:
                flight = None  # dropped, as no task waits for it
        if flight is not None:
            flight.deliver(outcome)
        return outcome

    async def stop(self) -> None:
        """Cancel all calls that are under way."""
        flights = [flight.task for flight in self._flights.values()]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
