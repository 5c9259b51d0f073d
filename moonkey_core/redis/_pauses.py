"""How long to wait before Redis is tried again."""

from __future__ import annotations

import random

LONGEST = 2.0
"""Seconds between two tries, at most: for so long others may yet have to say again what Redis has forgotten."""

_FIRST = 1.0  # at most
_HURRY = 10.0  # seconds of such short pauses, at most: an outage that lasts is no reason to knock for ever
_JITTER = random.SystemRandom()  # workers that were forked share the state of any other


class Pauses:
    """Each is about twice as long as the one before, and of another length in each process.

    Where something waits to be said they stay shorter than half of the lag at first: nobody else knows of it.
    """

    def __init__(self, beat: float, lag: float) -> None:
        self._first = min(beat, _FIRST)
        self._urgent = lag / 2
        self.over()

    def over(self) -> None:
        """Redis has answered."""
        self._next = self._first
        self._hurried = 0.0

    def next(self, *, urgent: bool) -> float:
        """Seconds until the next try."""
        pause, self._next = self._next, min(2 * self._next, LONGEST)
        if urgent and self._hurried < _HURRY:
            pause = min(pause, self._urgent)
            self._hurried += pause
        return pause * _JITTER.uniform(0.5, 1.0)
