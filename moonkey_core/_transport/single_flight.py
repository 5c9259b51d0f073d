"""Calls that overlap and would ask the same thing become one call, and its answer may linger for a while."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from cachetools import TLRUCache

from moonkey_core._plan import Fetch, Outcome, Reply, TransportError

Settled = Callable[[Fetch, Outcome], bool]
Key = tuple[str, object]

_MAX_LINGERING_BYTES = 8 * 1024 * 1024
_ENTRY_OVERHEAD = 512  # bytes counted for an entry besides its body, so that their number is bounded too


class _Era:
    """The time between two revocations in this process; an answer about a session is good for one era only."""

    current = object()


def end_era() -> None:
    """From now on nobody is given an answer about a session that was asked for before."""
    _Era.current = object()


def _key(fetch: Fetch) -> Key:
    assert fetch.share is not None
    return (fetch.share, _Era.current if fetch.until_revoked else None)


class Lingering:
    """Answers that are handed out a little longer. Not thread-safe; the caller holds its lock."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._settled = settled
        self._answers: TLRUCache[Key, tuple[Outcome, float]] = TLRUCache(
            maxsize=_MAX_LINGERING_BYTES,
            ttu=lambda _key, entry, now: now + entry[1],
            timer=clock,
            getsizeof=lambda entry: _ENTRY_OVERHEAD + (len(entry[0].body) if isinstance(entry[0], Reply) else 0),
        )

    def get(self, key: Key) -> Outcome | None:
        """The lingering answer, if any."""
        entry = self._answers.get(key)
        return entry[0] if entry is not None else None

    def put(self, key: Key, fetch: Fetch, outcome: Outcome) -> None:
        """Keep an answer that may linger. ``key`` is that of the moment when its call began."""
        if fetch.linger and (fetch.linger_trouble or self._settled(fetch, outcome)):
            with contextlib.suppress(ValueError):  # larger than all there is room for
                self._answers[key] = (outcome, fetch.linger)


class SyncSharing:
    """Shared calls among threads."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Key, Future[Outcome | None]] = {}
        self._lingering = Lingering(clock, settled)

    def call(self, fetch: Fetch, remaining: Callable[[], float], make: Callable[[], Outcome]) -> Outcome:
        """The outcome of ``make()``, or of the same call that another thread is already making."""
        while True:
            key = _key(fetch)
            with self._lock:
                lingering = self._lingering.get(key)
                if lingering is not None:
                    return lingering
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = Future()
            if leads:
                return self._lead(key, fetch, flight, make)
            try:
                outcome = flight.result(max(remaining(), 0.0))
            except FutureTimeoutError:
                return TransportError("timeout")
            if outcome is not None:
                return outcome

    def _lead(
        self, key: Key, fetch: Fetch, flight: Future[Outcome | None], make: Callable[[], Outcome]
    ) -> Outcome:
        outcome: Outcome | None = None
        try:
            outcome = make()
            return outcome
        finally:
            with self._lock:
                if outcome is not None:
                    self._lingering.put(key, fetch, outcome)
                self._flights.pop(key, None)
            # After an exception this is None, and one of the waiters takes the lead.
            flight.set_result(outcome)


class _Flight:
    """A call under way, how many wait for it, and by when it ends by itself (seconds of the loop's clock)."""

    def __init__(self, task: asyncio.Task[Outcome], ends_at: float) -> None:
        self.task = task
        self.ends_at = ends_at
        self.waiters = 0
        task.add_done_callback(_look_at_exception)


class AsyncSharing:
    """Shared calls among the tasks of one event loop."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._flights: dict[Key, _Flight] = {}
        self._lingering = Lingering(clock, settled)

    async def call(
        self, fetch: Fetch, remaining: Callable[[], float], make: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """The outcome of ``make()``, or of the same call that is already under way.

        The call is a task of its own, so that a caller who goes away does not take it from the others. When the
        last one has gone, it ends too, unless its answer would linger.
        """
        key = _key(fetch)
        lingering = self._lingering.get(key)
        if lingering is not None:
            return lingering
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + max(remaining(), 0.0)
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(loop.create_task(self._lead(key, fetch, make)), gives_up_at)
            self._flights[key] = flight
        flight.waiters += 1
        try:
            if gives_up_at >= flight.ends_at:
                return await asyncio.shield(flight.task)
            async with asyncio.timeout_at(gives_up_at):
                return await asyncio.shield(flight.task)
        except TimeoutError:
            return TransportError("timeout")
        except asyncio.CancelledError:
            task_here = asyncio.current_task()
            if flight.task.cancelled() and not (task_here and task_here.cancelling()):
                return TransportError("broken")  # the client was closed; the caller goes on
            raise
        finally:
            flight.waiters -= 1
            if not flight.waiters and not fetch.linger and not flight.task.done():
                self._drop(key, flight)

    def is_under_way(self, share: str) -> bool:
        """Whether somebody makes a call of this name just now."""
        return (share, _Era.current) in self._flights or (share, None) in self._flights

    def _drop(self, key: Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.task.cancel()

    async def _lead(self, key: Key, fetch: Fetch, make: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            outcome = await make()
            self._lingering.put(key, fetch, outcome)
            return outcome
        finally:
            flight = self._flights.get(key)
            if flight is not None and flight.task is asyncio.current_task():
                del self._flights[key]

    async def stop(self) -> None:
        """Cancel what is still under way."""
        flights = [flight.task for flight in self._flights.values()]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)


def _look_at_exception(task: asyncio.Task[Outcome]) -> None:
    if not task.cancelled():
        task.exception()  # read, so that a failure that nobody waited for is not reported as lost
