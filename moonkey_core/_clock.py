"""The clocks of this machine and of others. No other module reads the time.

Each clock is looked up when it is used. So a test that freezes or moves the time (freezegun, time-machine) does so
for all of the package at once: the age of a JWT, of a remembered result, of a revocation.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from functools import partial

__all__ = ["RemoteClock", "elapsed", "monotonic", "now", "wall", "worked"]

_MIN_TOLERANCE = 1.0  # seconds: many clocks are known in whole seconds only
_HYSTERESIS = 0.8  # of the tolerance: a clock that was wrong is right again when it is as near as this


def wall() -> float:
    """Return Unix seconds, to be compared with dates."""
    return time.time()


def now() -> datetime:
    """Return the same time as an aware datetime."""
    return datetime.fromtimestamp(wall(), UTC)


def monotonic() -> float:
    """Return seconds of a clock that is never set, for lifetimes. Freezegun moves it, too."""
    return time.monotonic()


# Under a name that freezegun does not know: it exchanges each function of `time` that it finds in a module.
_CLOCK = (
    (partial(time.clock_gettime, time.CLOCK_MONOTONIC),) if hasattr(time, "clock_gettime") else (time.monotonic,)
)


def elapsed() -> float:
    """Return seconds of a clock that no test can freeze, for deadlines of I/O and the age of the revocation feed.

    The other side of a connection does not know of a frozen clock, and a call must end in its time nevertheless.
    """
    return _CLOCK[0]()


def worked() -> float:
    """Return the CPU seconds of this thread, for how long something has held up its event loop."""
    return time.thread_time()


class RemoteClock:
    """The clock of another machine, as far as its replies prove it.

    A reply proves bounds only: the clock was read at some moment between request and reply. The estimate is kept
    while it is within the bounds, and moved to the nearer bound otherwise. So each fast reply makes it more exact,
    and a slow one does no harm.

    Attributes:
        offset: How many seconds the other clock is ahead of ours, as far as that is proven.
        is_known: Whether there was a reply.
        is_wrong: Whether the difference is greater than the tolerance.
    """

    def __init__(self, tolerance: float) -> None:
        """Begin without a difference. ``tolerance`` is in seconds."""
        self.offset: float = 0.0
        self.is_known: bool = False
        self.is_wrong: bool = False
        self._tolerance = max(tolerance, _MIN_TOLERANCE)

    def observe(self, earliest: float, latest: float, sent_at: float, received_at: float) -> bool:
        """Take in that the other clock stood between two times at a moment between two of ours (all Unix seconds).

        Args:
            earliest: The lower bound of the other clock.
            latest: Its upper bound.
            sent_at: When the request was sent, by our clock.
            received_at: When the reply arrived, by our clock.

        Returns:
            Whether ``is_wrong`` has changed.
        """
        low, high = earliest - received_at, latest - sent_at
        if self.is_known and low <= self.offset <= high:
            return False  # nothing new
        if not low <= high or not math.isfinite(high - low):
            return False  # one of the clocks was set meanwhile
        self.offset = min(max(self.offset, low), high)
        self.is_known = True
        was = self.is_wrong
        self.is_wrong = abs(self.offset) > self._tolerance * (_HYSTERESIS if was else 1.0)
        return was is not self.is_wrong

    def describe_difference(self) -> str:
        """Return where our clock stands, for a log: ``"12.3 s ahead of"`` the other one."""
        return f"{abs(self.offset):.1f} s {'behind' if self.offset > 0 else 'ahead of'}"
