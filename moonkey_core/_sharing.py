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
"""Whether an outcome says something definite: trouble is shared, but not remembered."""

_MAX_LINGERING_BYTES = 8 * 1024 * 1024
_ENTRY_OVERHEAD = 512  # bytes counted for an entry besides its body, so that their number is bounded too


class Lingering:
    """Answers that are handed out a little longer. Not thread-safe; the caller holds its lock."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._settled = settled
        self._answers: TLRUCache[str, tuple[Outcome, float]] = TLRUCache(
            maxsize=_MAX_LINGERING_BYTES,
            ttu=lambda _key, entry, now: now + entry[1],
            timer=clock,
            getsizeof=lambda entry: _ENTRY_OVERHEAD + (len(entry[0].body) if isinstance(entry[0], Reply) else 0),
        )
        self.epoch = 0

    def get(self, fetch: Fetch) -> Outcome | None:
        """The lingering answer to this call, if any."""
        entry = self._answers.get(fetch.share) if fetch.share else None
        return entry[0] if entry is not None else None

    def put(self, fetch: Fetch, outcome: Outcome, epoch: int) -> None:
        """Keep an answer that may linger, unless sharing was ended since its call began (in ``epoch``)."""
        if not fetch.share or not fetch.linger or epoch != self.epoch:
            return
        if fetch.linger_trouble or self._settled(fetch, outcome):
            with contextlib.suppress(ValueError):  # larger than all there is room for
                self._answers[fetch.share] = (outcome, fetch.linger)

    def clear(self) -> None:
        """Forget everything, and whatever is still under way."""
        self._answers.clear()
        self.epoch += 1


class SyncSharing:
    """Shared calls among threads."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Future[Outcome | None]] = {}
        self._lingering = Lingering(clock, settled)

    def end(self) -> None:
        """Drop every lingering answer."""
        with self._lock:
            self._lingering.clear()

    def call(self, fetch: Fetch, remaining: Callable[[], float], make: Callable[[], Outcome]) -> Outcome:
        """The outcome of ``make()``, or of the same call that another thread is already making."""
        assert fetch.share is not None
        while True:
            with self._lock:
                lingering = self._lingering.get(fetch)
                if lingering is not None:
                    return lingering
                flight = self._flights.get(fetch.share)
                leads = flight is None
                if flight is None:
                    flight = self._flights[fetch.share] = Future()
                epoch = self._lingering.epoch
            if leads:
                return self._lead(fetch, flight, epoch, make)
            try:
                outcome = flight.result(max(remaining(), 0.0))
            except FutureTimeoutError:
                return TransportError("timeout")
            if outcome is not None:
                return outcome

    def _lead(
        self, fetch: Fetch, flight: Future[Outcome | None], epoch: int, make: Callable[[], Outcome]
    ) -> Outcome:
        outcome: Outcome | None = None
        try:
            outcome = make()
            return outcome
        finally:
            with self._lock:
                if outcome is not None:
                    self._lingering.put(fetch, outcome, epoch)
                self._flights.pop(fetch.share or "", None)
            # After an exception this is None, and one of the waiters takes the lead.
            flight.set_result(outcome)


class AsyncSharing:
    """Shared calls among the tasks of one event loop."""

    def __init__(self, clock: Callable[[], float], settled: Settled) -> None:
        self._flights: dict[str, asyncio.Task[Outcome]] = {}
        self._lingering = Lingering(clock, settled)

    def end(self) -> None:
        """Drop every lingering answer."""
        self._lingering.clear()

    async def call(
        self, fetch: Fetch, remaining: Callable[[], float], make: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """The outcome of ``make()``, or of the same call that is already under way.

        The call is a task of its own, so that a caller who goes away does not take it from the others.
        """
        assert fetch.share is not None
        lingering = self._lingering.get(fetch)
        if lingering is not None:
            return lingering
        flight = self._flights.get(fetch.share)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._lead(fetch, make))
            self._flights[fetch.share] = flight
            flight.add_done_callback(_look_at_exception)
        try:
            async with asyncio.timeout(max(remaining(), 0.0)):
                return await asyncio.shield(flight)
        except TimeoutError:
            return TransportError("timeout")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.cancelled() and not (task and task.cancelling()):
                return TransportError("broken")  # the client was closed; the caller goes on
            raise

    async def _lead(self, fetch: Fetch, make: Callable[[], Awaitable[Outcome]]) -> Outcome:
        epoch = self._lingering.epoch
        try:
            outcome = await make()
            self._lingering.put(fetch, outcome, epoch)
            return outcome
        finally:
            self._flights.pop(fetch.share or "", None)

    async def stop(self) -> None:
        """Cancel what is still under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)


def _look_at_exception(task: asyncio.Task[Outcome]) -> None:
    if not task.cancelled():
        task.exception()  # read, so that a failure that nobody waited for is not reported as lost
