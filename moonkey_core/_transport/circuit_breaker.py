"""The circuit breaker: an API that keeps failing is not asked for a while, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from moonkey_core import _clock, _repeated_log
from moonkey_core._plan import Outcome, Reply, TransportError
from moonkey_core.events import CircuitChanged, Hooks

logger = logging.getLogger("moonkey")

_FAILURES = 5  # in a row, then it opens
_PROBE_EVERY = 1.0  # seconds

State = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """The last failure of the API: the kind of trouble or the status of a reply, and when (Unix seconds)."""

    what: str
    at: float


def failure(outcome: Outcome) -> str | None:
    """What speaks against the API in an outcome: no reply, or one that says that the API is in trouble itself."""
    if isinstance(outcome, Reply):
        return str(outcome.status) if outcome.status >= 500 else None
    return None if outcome.kind in ("busy", "circuit_open") else outcome.kind


class Breaker:
    """Closed until five calls in a row have failed; open until one succeeds. Thread-safe; it never waits.

    While it is open one call a second is let through, for those who were good before and for others. Nothing is
    remembered of that call: it may end, fail or disappear, and a second later the next one has its turn.
    """

    def __init__(
        self,
        hooks: Hooks | None = None,
        clock: Callable[[], float] = _clock.monotonic,
        wall: Callable[[], float] = _clock.wall,
    ) -> None:
        self._hooks = Hooks() if hooks is None else hooks
        self._clock = clock
        self._wall = wall
        self._failures = 0
        self._opened_at: float | None = None
        self._next_probe = {True: 0.0, False: 0.0}
        self.last_error: UpstreamError | None = None
        self.reset_lock()

    def reset_lock(self) -> None:
        """A new lock, in the child of a fork."""
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """``open``: the API has been failing."""
        return "closed" if self._opened_at is None else "open"

    @property
    def opened_for(self) -> float | None:
        """For how many seconds it has been open."""
        opened_at = self._opened_at
        return None if opened_at is None else max(self._clock() - opened_at, 0.0)

    def refuses(self, first: bool = True) -> bool:
        """Whether a call would be refused now. Changes nothing. For ``first`` see :meth:`admit`."""
        return self._opened_at is not None and self._clock() < self._next_probe[first]

    def admit(self, first: bool = True) -> bool:
        """Whether a call may be made now. While open, this takes the turn of the second.

        ``first`` are calls about credentials that were good before. They have turns of their own: answers about a
        stranger's junk may say nothing, and must not keep the circuit open.
        """
        with self._lock:
            now = self._clock()
            if self._opened_at is None:
                return True
            if now < self._next_probe[first]:
                return False
            self._next_probe[first] = now + _PROBE_EVERY
            return True

    def remember(self, outcome: Outcome) -> None:
        """Keep what went wrong, if anything, for a health report."""
        what = failure(outcome)
        if what is not None:
            self.last_error = UpstreamError(what, self._wall())

    def count(self, outcome: Outcome, understood: Callable[[Reply], bool]) -> None:
        """Take an outcome into account; a reply below 500 that is not understood says nothing."""
        if failure(outcome) is not None:
            self._count_failure(outcome)
        elif (
            (self._failures or self._opened_at is not None) and isinstance(outcome, Reply) and understood(outcome)
        ):
            self._count_success()

    def _count_failure(self, outcome: Outcome) -> None:
        with self._lock:
            self._failures += 1
            opens = self._opened_at is None and self._failures >= _FAILURES
            if opens:
                self._opened_at = self._clock()
                self._next_probe = dict.fromkeys((True, False), self._opened_at + _PROBE_EVERY)
        if opens:
            what = (
                (outcome.cause or outcome.kind)
                if isinstance(outcome, TransportError)
                else f"status {outcome.status}"
            )
            logger.warning(
                "the API at %s keeps failing, at last with: %s; calls are held back",
                outcome.address,
                what,
                extra={"reason": "circuit_open", "address": outcome.address, "cause": what},
            )
            self._hooks.emit(CircuitChanged("open"))

    def _count_success(self) -> None:
        with self._lock:
            closes = self._opened_at is not None
            self._failures, self._opened_at = 0, None
        if closes:
            logger.info("the API answers again", extra={"reason": "circuit_closed"})
            _repeated_log.summarize()
            self._hooks.emit(CircuitChanged("closed"))
