"""How many entries are sealed, sent or read in one go."""

from __future__ import annotations

_FIRST, _FEWEST, _MOST = 100, 10, 500


class BatchSize:
    """As many as take a given time, so that the other tasks of the event loop have their turn in between.

    Args:
        seconds: The time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.value: int = _FIRST

    def note(self, count: int, seconds: float) -> None:
        """Note how many seconds a batch of ``count`` has taken."""
        if seconds > self._seconds:
            self.value = max(self.value // 2, _FEWEST)
        elif count >= self.value and seconds < self._seconds / 2:
            self.value = min(2 * self.value, _MOST)
