"""The clock of a machine that is wrong: the wall clock of this process, moved by as much as a file says.

``SHIFTED_CLOCK`` names the file, which holds seconds and may change at any time, as when a clock is set. To be
imported before all else. The monotonic clock goes on as always.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_READ_EVERY = 0.05  # seconds


def _shifted(path: Path) -> None:
    wall, monotonic = time.time, time.monotonic
    offset, read_next = 0.0, float("-inf")

    def shifted() -> float:
        nonlocal offset, read_next
        now = monotonic()
        if now >= read_next:
            read_next = now + _READ_EVERY
            offset = float(path.read_text())
        return wall() + offset

    time.time = shifted


if os.environ.get("SHIFTED_CLOCK"):
    _shifted(Path(os.environ["SHIFTED_CLOCK"]))
