"""The clocks of this machine. Nothing else in the package asks for the time.

Each is looked up when it is used, so a test that freezes or moves the time (freezegun, time-machine) does so for
all of the package at once: the age of a JWT, of what is remembered, of a revocation.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

__all__ = ["elapsed", "monotonic", "now", "wall"]


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
