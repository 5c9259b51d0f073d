"""The circuit breaker: an API that keeps failing is not called for a while, so that no request waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

from moonkey_core import _clock, _repeated_log
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import Outcome, Reply, TransportError
from moonkey_core.events import CircuitChanged, Hooks

logger: logging.Logger = logging.getLogger("moonkey")

_FAILURES = 5  # in a row, then the circuit opens
_PROBE_EVERY = 1.0  # seconds

NOT_TRIED = frozenset({"busy", "circuit_open", "over_budget"})
"""The kinds of outcomes of a call that was not made: they say nothing about the API."""

State = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """The last failure of the API.

    Attributes:
        what: The kind of failure, or the status of the reply.
        at: When it happened (Unix seconds).
    """

    what: str
    at: float


def failure_of(outcome: Outcome) -> str | None:
    """Return what counts against the API in an outcome: a missing reply, or a status of 500 or more."""
    if isinstance(outcome, Reply):
        return str(outcome.status) if outcome.status >= 500 else None
    return None if outcome.kind in NOT_TRIED else outcome.kind


class CircuitBreaker:
    """Closed until five calls in a row have failed; open until one succeeds. Thread-safe; it never waits.

    While the circuit is open one call a second is let through, of those with priority and of the others. Nothing
    is kept about that call: it may end, fail or disappear, and a second later the next one is let through.
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
        reset_after_fork(self.reset_lock)

    def reset_lock(self) -> None:
        """Make a new lock, in the child of a fork."""
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """``open``: the API has been failing."""
        return "closed" if self._opened_at is None else "open"

    @property
    def opened_for(self) -> float | None:
        """For how many seconds it has been open, or ``None``."""
        opened_at = self._opened_at
        return None if opened_at is None else max(self._clock() - opened_at, 0.0)

    def refuses(self, priority: bool = True) -> bool:
        """Return whether a call would be refused now. Changes nothing. For ``priority`` see :meth:`admit`."""
        return self._opened_at is not None and self._clock() < self._next_probe[priority]

    def admit(self, priority: bool = True) -> bool:
        """Return whether a call may be made now. While the circuit is open, this uses up the probe of this second.

        Calls with ``priority`` are about credentials that were accepted before. They have probes of their own: the
        replies to calls about junk may prove nothing, and must not keep the circuit open.
        """
        if self._opened_at is None:  # as usual
            return True
        with self._lock:
            now = self._clock()
            if self._opened_at is None:
                return True
            if now < self._next_probe[priority]:
                return False
            self._next_probe[priority] = now + _PROBE_EVERY
            return True

    def remember(self, outcome: Outcome) -> None:
        """Keep the failure in an outcome, if there is one, for a health report."""
        kind = failure_of(outcome)
        if kind is not None:
            self.last_error = UpstreamError(kind, self._wall())

    def count(self, outcome: Outcome, is_api_reply: Callable[[Reply], bool]) -> None:
        """Count an outcome. A reply below 500 that does not come from the API itself proves nothing."""
        if failure_of(outcome) is not None:
            self._count_failure(outcome)
        elif not self._failures and self._opened_at is None:
            return  # nothing to end: the reply need not be read
        elif isinstance(outcome, Reply) and is_api_reply(outcome):
            self._count_success()

    def _count_failure(self, outcome: Outcome) -> None:
        with self._lock:
            self._failures += 1
            opens = self._opened_at is None and self._failures >= _FAILURES
            if opens:
                self._opened_at = self._clock()
                self._next_probe = dict.fromkeys((True, False), self._opened_at + _PROBE_EVERY)
        if opens:
            cause = (
                (outcome.cause or outcome.kind)
                if isinstance(outcome, TransportError)
                else f"status {outcome.status}"
            )
            logger.warning(
                "the API at %s keeps failing, at last with: %s; calls are held back",
                outcome.address,
                cause,
                extra={"reason": "circuit_open", "address": outcome.address, "cause": cause},
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
