"""Counting what happened in a scenario, and saying it in a line."""

from __future__ import annotations

import threading
import time
from collections import Counter

from chaos.model import CLOCK_NOTICED, Asked, Judge

from support.fleets import Answer

_SHOWN = 3  # wrong answers of each sort that are printed in full
_SORTS = 20


class Tally:
    """Bounded: counters by kind, and the first wrong answers. Thread-safe."""

    def __init__(self, judge: Judge) -> None:
        self.wrong: Counter[str] = Counter()
        self.begun = time.monotonic()
        self._judge = judge
        self._lock = threading.Lock()
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._latest: dict[str, float] = {}
        self._shown: dict[str, list[str]] = {}
        self._actions: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._unanswered = 0

    def note(self, asked: Asked, answer: Answer) -> None:
        """Judge an answer and count it."""
        fault = self._judge.fault(asked, answer)
        after = self._judge.seconds_after(asked, answer)
        with self._lock:
            self._statuses[asked.kind, answer.status] += 1
            if after is not None and fault is None:
                self._latest[after[0]] = max(after[1], self._latest.get(after[0], 0.0))
            if fault is not None:
                sort, _, details = fault.partition(": ")
                self._add_wrong(sort, f"{details}; {asked}; {answer}")

    def note_no_answer(self, what: str, side: int, sent_at: float, error: Exception) -> None:
        """A request got no answer. That is wrong unless a worker there was killed or stopped."""
        expected = self._judge.spans.felt("worker", side, sent_at, time.monotonic())
        with self._lock:
            self._unanswered += 1
            if not expected:
                self._add_wrong("no answer", f"{what}: {type(error).__name__}: {error}")

    def note_wrong(self, what: str) -> None:
        """Something else went wrong: ``"sort: details"``."""
        sort, _, details = what.partition(": ")
        with self._lock:
            self._add_wrong(sort, details)

    def note_action(self, what: str) -> None:
        """Somebody signed in, or something was taken away."""
        with self._lock:
            self._actions[what] += 1

    def note_ending(self, path: str, state: str) -> None:
        """A session was ended, or all of a user."""
        with self._lock:
            self._endings["elsewhere" if path.startswith("/_emulator") else state or "without a verdict"] += 1

    def note_end_of_user(self, user_id: str, side: int, begun: float) -> None:
        """All sessions of a user were revoked "until now": by a clock that was just set, maybe a wrong time."""
        if self._judge.spans.changed("clock", side, begun - CLOCK_NOTICED, time.monotonic()):
            self._judge.misdated.add(user_id)

    def line(self) -> str:
        """All of it in one line."""
        with self._lock:
            requests = sum(self._statuses.values())
            unknown = sum(count for (_, status), count in self._statuses.items() if status == 503)
            latest = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(self._latest.items()))
            return (
                f"{requests} requests ({unknown / max(requests, 1):.1%} 503, {self._unanswered} unanswered); "
                f"revocations: {_counts(self._endings)}; accepted at the latest: {latest or 'none'}"
            )

    def details(self) -> list[str]:
        """The first wrong answers, and what was done."""
        with self._lock:
            found = [f"{sort}: {what}" for sort, shown in sorted(self._shown.items()) for what in shown]
            return [*found, f"done: {_counts(self._actions)}", *self._rows()]

    def _rows(self) -> list[str]:
        kinds = sorted({kind for kind, _ in self._statuses})
        return [
            f"{kind}: "
            + ", ".join(f"{status} {n}" for (one, status), n in sorted(self._statuses.items()) if one == kind)
            for kind in kinds
        ]

    def _add_wrong(self, sort: str, what: str) -> None:
        self.wrong[sort] += 1
        if sort in self._shown or len(self._shown) < _SORTS:
            shown = self._shown.setdefault(sort, [])
            if len(shown) < _SHOWN:
                shown.append(f"at {time.monotonic() - self.begun:.1f} s: {what}")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"
