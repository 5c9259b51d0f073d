"""Counting what happened, and saying it at the end."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from fleet.soak_model import Asked, Judge, Outages

from support.fleets import Answer

_SHOWN = 3  # wrong answers of each sort that are printed in full
_SORTS = 20


class Figures:
    """Bounded: counters by kind, and the first wrong answers. Thread-safe."""

    def __init__(self, judge: Judge, upstream: Outages, redis: Outages) -> None:
        self.wrong = 0
        self._judge = judge
        self._upstream = upstream
        self._redis = redis
        self._lock = threading.Lock()
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._in_outage: Counter[tuple[str, int]] = Counter()
        self._sources: Counter[tuple[str, bool, str]] = Counter()
        self._worst: dict[str, float] = {}
        self._calls: dict[bool, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._shown: dict[str, list[str]] = {}
        self._actions: Counter[str] = Counter()

    def note(self, asked: Asked, answer: Answer) -> None:
        """Judge an answer and count it."""
        fault = self._judge.fault(asked, answer)
        after = self._judge.seconds_after(asked, answer)
        upstream_away = self._upstream.touch(answer.sent_at, answer.came_at, recovery=0)
        redis_away = self._redis.touch(answer.sent_at, answer.came_at, recovery=0)
        with self._lock:
            self._statuses[asked.kind, answer.status] += 1
            if upstream_away:
                self._in_outage[asked.kind, answer.status] += 1
            if answer.status == 200:
                kind = "token" if asked.issued_at is None else "JWT"
                self._sources[kind, redis_away, answer.body.get("source", "?")] += 1
            if after is not None:
                self._worst[after[0]] = max(after[1], self._worst.get(after[0], 0.0))
            if fault is not None:
                self._add_wrong(f"{asked.kind} {answer.status}", f"{fault}; {asked}; {answer}")

    def note_wrong(self, what: str) -> None:
        """Something else went wrong, such as a request without an answer: ``"sort: details"``."""
        sort, _, details = what.partition(": ")
        with self._lock:
            self._add_wrong(sort, details)

    def note_action(self, what: str) -> None:
        """Somebody signed in, a session was revoked, or something was taken away."""
        with self._lock:
            self._actions[what] += 1

    def note_calls(self, redis_away: bool, calls: int, seconds: float) -> None:
        """So many calls of the API in so many seconds, while it was well."""
        with self._lock:
            self._calls[redis_away][0] += calls
            self._calls[redis_away][1] += seconds

    def lines(self) -> list[str]:
        """All of it, to be printed."""
        with self._lock:
            total = sum(self._statuses.values())
            return [
                *_table("Requests by kind and status", self._statuses),
                f"  {total} in all",
                *_table("Those while the API was away or disturbed", self._in_outage),
                f"  {_share(self._in_outage)} of them 503",
                *self._source_lines(),
                "Worst time after a revocation at which a request that was let in had been sent:",
                *(f"  {what}: {seconds:.2f} s" for what, seconds in sorted(self._worst.items())),
                *([] if self._worst else ["  none was let in afterwards"]),
                *self._call_lines(),
                "What was done: " + ", ".join(f"{what} {count}" for what, count in sorted(self._actions.items())),
                f"Outages: API {len(self._upstream)} ({self._upstream.seconds():.0f} s), "
                f"Redis {len(self._redis)} ({self._redis.seconds():.0f} s)",
                *(f"WRONG {sort}: {what}" for sort, shown in sorted(self._shown.items()) for what in shown),
                f"Wrong answers: {self.wrong}",
            ]

    def _add_wrong(self, sort: str, what: str) -> None:
        self.wrong += 1
        if sort in self._shown or len(self._shown) < _SORTS:
            shown = self._shown.setdefault(sort, [])
            if len(shown) < _SHOWN:
                shown.append(what)

    def _source_lines(self) -> list[str]:
        lines = []
        for kind, away in sorted({(kind, away) for kind, away, _ in self._sources}):
            found = {
                source: n for (one, state, source), n in self._sources.items() if (one, state) == (kind, away)
            }
            shares = ", ".join(f"{source} {n / sum(found.values()):.1%}" for source, n in sorted(found.items()))
            lines.append(f"  {kind}, Redis {'away' if away else 'there'}: {shares}")
        return ["Where the answers that let somebody in came from:", *lines]

    def _call_lines(self) -> list[str]:
        lines = []
        for away, (calls, seconds) in sorted(self._calls.items()):
            if seconds:
                state = "away" if away else "there"
                lines.append(f"  Redis {state}: {calls / seconds:.0f} a second ({seconds:.0f} s looked at)")
        return ["Calls of the API, while it was well:", *lines]


def _table(title: str, counts: Counter[tuple[str, int]]) -> list[str]:
    kinds = sorted({kind for kind, _ in counts})
    rows = [
        f"  {kind}: " + ", ".join(f"{status} {n}" for (one, status), n in sorted(counts.items()) if one == kind)
        for kind in kinds
    ]
    return [f"{title}:", *rows]


def _share(counts: Counter[tuple[str, int]]) -> str:
    total = sum(counts.values())
    return f"{sum(n for (_, status), n in counts.items() if status == 503) / total:.1%}" if total else "none"
