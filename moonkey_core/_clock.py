"""The clocks of this machine. Nothing else in the package asks for the time.

Each is looked up when it is used, so a test that freezes or moves the time (freezegun, time-machine) does so for
all of the package at once: the age of a JWT, of what is remembered, of a revocation.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from functools import partial

__all__ = ["RemoteClock", "elapsed", "monotonic", "now", "wall"]

_LEAST_TOLERANCE = 1.0  # seconds: a clock that is told in whole seconds cannot be blamed for less
_HYSTERESIS = 0.8  # of the tolerance: a clock that was wrong is right again when it is as near as this


def wall() -> float:
    """Unix seconds: what dates are compared with."""
    return time.time()


def now() -> datetime:
    """The same as an aware datetime."""
    return datetime.fromtimestamp(wall(), UTC)


def monotonic() -> float:
    """Seconds that no one sets: for how long something short-lived is remembered. Freezegun moves them, too."""
    return time.monotonic()


# Under a name that freezegun does not know: it exchanges each function of `time` that it finds in a module.
_CLOCK = (
    (partial(time.clock_gettime, time.CLOCK_MONOTONIC),) if hasattr(time, "clock_gettime") else (time.monotonic,)
)


def elapsed() -> float:
    """Seconds that no test can freeze: deadlines of I/O, and how far the feed of revocations is behind.

    The other side of a connection knows nothing of a frozen clock, and a call must end in its time nevertheless.
    """
    return _CLOCK[0]()


class RemoteClock:
    """``offset`` is how many seconds it is ahead of ours, as far as that is proven; ``is_known``: it was heard.

    What it says only proves bounds: it was read at some moment between a question and its answer. The estimate is
    kept while it is within them, and else brought to the nearer bound. So every quick answer makes it more exact,
    and a slow one does no harm.
    """

    def __init__(self, tolerance: float) -> None:
        self.offset = 0.0
        self.is_known = False
        self.is_wrong = False
        self._tolerance = max(tolerance, _LEAST_TOLERANCE)

    def observe(self, earliest: float, latest: float, sent_at: float, received_at: float) -> bool:
        """Take in that it stood between ``earliest`` and ``latest`` at a moment between those two of ours.

        Whether ``is_wrong`` has changed by that: the difference is more than the tolerance, or is no longer.
        """
        low, high = earliest - received_at, latest - sent_at
        if not low <= high or not math.isfinite(high - low):
            return False  # one of the clocks was set meanwhile
        self.offset = min(max(self.offset, low), high)
        self.is_known = True
        was = self.is_wrong
        self.is_wrong = abs(self.offset) > self._tolerance * (_HYSTERESIS if was else 1.0)
        return was is not self.is_wrong

    def describe_difference(self) -> str:
        """Where our clock stands, for a log: ``"12.3 s ahead of"`` the other one."""
        return f"{abs(self.offset):.1f} s {'behind' if self.offset > 0 else 'ahead of'}"
