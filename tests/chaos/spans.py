"""What was disturbed when, and how late the machine itself was, in monotonic seconds."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Part = Literal["redis", "api", "worker", "clock", "api clock"]

RECOVERY = 3.0
"""Seconds after a fault for which it may still be felt: an open breaker lets one call a second through, and a feed
that has found Redis empty waits for one lag until the others have repeated what they said."""

HEALING = 6.0
"""Seconds after a fault within which a process that was cut off has connected again (a pause of 2 s at most, as
long again for the others to publish what Redis has lost, and the lag), so that all know what it has to say."""


@dataclass(eq=False)
class Span:
    """Something was disturbed.

    Attributes:
        part: What: Redis or the API as one side sees it, the workers of a side, its clock, or that of the API.
        sides: For which sides.
        delays_pending: Whether an entry that Redis has not confirmed may wait meanwhile, while other workers hear
            the feed: they cannot know of it. Not where all lose Redis together.
    """

    part: Part
    sides: frozenset[int]
    begun: float
    ended: float | None = None
    delays_pending: bool = False

    def touches(self, start: float, end: float, recovery: float) -> bool:
        return self.begun <= end and (self.ended is None or self.ended + recovery >= start)


class Spans:
    """All that was disturbed. Thread-safe: tuples are swapped."""

    def __init__(self) -> None:
        self._all: tuple[Span, ...] = ()
        self._lock = threading.Lock()

    @contextmanager
    def during(self, part: Part, sides: Iterable[int], *, delays_pending: bool = False) -> Iterator[Span]:
        """Note a disturbance from before its first moment to after its last."""
        span = Span(part, frozenset(sides), time.monotonic(), delays_pending=delays_pending)
        with self._lock:
            self._all = (*self._all, span)
        try:
            yield span
        finally:
            span.ended = time.monotonic()

    def felt(self, part: Part, side: int, start: float, end: float, recovery: float = RECOVERY) -> bool:
        """Whether a side may have felt a disturbance of that part at any time between the two."""
        return any(
            one.part == part and side in one.sides and one.touches(start, end, recovery) for one in self._all
        )

    def changed(self, part: Part, side: int, start: float, end: float) -> bool:
        """Whether a disturbance of that part began or ended for a side between the two."""
        return any(
            one.part == part
            and side in one.sides
            and any(start <= moment <= end for moment in (one.begun, one.ended or math.inf))
            for one in self._all
        )

    def calm_at(self, since: float, seconds: float, spans: Iterable[Span]) -> float:
        """The end of the first ``seconds`` after ``since`` in which none of these was felt, healing included."""
        found = since
        for one in sorted(spans, key=lambda one: one.begun):
            if one.begun > found + seconds:
                break
            if one.ended is None:
                return math.inf
            if one.ended + HEALING > found:
                found = one.ended + HEALING
        return found + seconds

    def of(self, *parts: Part, delaying: bool = False) -> list[Span]:
        return [one for one in self._all if one.part in parts and (one.delays_pending or not delaying)]

    def seconds(self, part: Part) -> float:
        now = time.monotonic()
        return sum((now if one.ended is None else one.ended) - one.begun for one in self._all if one.part == part)


class Metronome:
    """How late this machine gives a process its turn: a thread that is woken again and again."""

    _BEAT = 0.02
    _KEPT = 20_000  # the last ones, by far enough for one scenario

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=self._KEPT)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def worst(self, start: float = -math.inf, end: float = math.inf) -> float:
        """By how many seconds it was late at most, between the two."""
        return max((late for at, late in list(self._late) if at >= start and at - late <= end), default=0.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            due = time.monotonic() + self._BEAT
            time.sleep(self._BEAT)
            now = time.monotonic()
            self._late.append((now, now - due))
