"""The budget of calls: how many verifications a process asks of the API in a second, and whose go first."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import TransportError

MAX_WAIT = 1.0
"""Seconds that a call about a known session waits for its turn at most; with a budget below 1, for one turn."""

_BURST_SECONDS = 0.5
_RESERVE = 0.25  # of a burst, for known sessions
_SPREAD = 2.0  # seconds over which the next tries of refused clients are spread
_RANDOM = random.SystemRandom()  # forked workers share the state of any other generator


class CallBudget:
    """The decision which calls may be made now, which later, and which not. Thread-safe; it never waits itself.

    A token bucket. After a pause, half a second's worth of calls may be made at once. Of that, a quarter is left
    to known sessions. Where nothing is left they take the next tokens in advance, so what others ask for never
    keeps them waiting: the others get a token only when no known session waits for one.

    Args:
        rate: Calls in a second.
        clock: Returns monotonic seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = _clock.elapsed) -> None:
        self._rate = rate
        self._burst = max(rate * _BURST_SECONDS, 1.0)
        self._longest_wait = max(MAX_WAIT, 1.0 / rate)
        self._reserve = min(self._burst * _RESERVE, self._burst - 1.0)
        self._clock = clock
        self._tokens = self._burst
        self._counted_at = clock()
        self._reset_lock()
        reset_after_fork(self._reset_lock)

    def _reset_lock(self) -> None:
        self._lock = threading.Lock()

    def take(self, is_known: bool, seconds: float) -> float | TransportError:
        """Take the token of a call, and return how many seconds to wait before it; or refuse it.

        Args:
            is_known: Whether it is about a session that this process has verified before.
            seconds: How many seconds the call has left.
        """
        with self._lock:
            now = self._clock()
            self._tokens = min(self._tokens + max(now - self._counted_at, 0.0) * self._rate, self._burst)
            self._counted_at = now
            needed = 1.0 if is_known else 1.0 + self._reserve
            wait = max((needed - self._tokens) / self._rate, 0.0)
            if wait <= (min(self._longest_wait, seconds) if is_known else 0.0):
                self._tokens -= 1.0
                return wait
        return TransportError("over_budget", unsent=True, retry_after=wait + _RANDOM.uniform(0.0, _SPREAD))
