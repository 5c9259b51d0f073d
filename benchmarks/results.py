"""What a section hands back: tables, and figures to hold against the goals. Plain data, as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timing import Contender, Series


@dataclass
class Table:
    """One table of results; cells are text already."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Goal:
    """One thing to reach that is not one number. ``met`` is ``None`` where it could not be measured."""

    id: str
    what: str
    to_reach: str
    measured: str
    met: bool | None
    peer: str = ""


@dataclass
class Figure:
    """One number that ``goals.toml`` has a goal for, by its id.

    ``peers``: the same of others in this run. ``runs``: the value of each run, where ``value`` is their median.
    """

    id: str
    value: float
    median: float
    slices: int
    peers: dict[str, float] = field(default_factory=dict)
    runs: list[float] = field(default_factory=list)


@dataclass
class Section:
    """All that one section found."""

    title: str
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it down as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)))


def section_of(raw: dict[str, Any]) -> Section:
    """Return the section that ``dataclasses.asdict`` made this of."""
    return Section(
        title=raw["title"],
        tables=[Table(**one) for one in raw["tables"]],
        goals=[Goal(**one) for one in raw["goals"]],
        figures=[Figure(**one) for one in raw["figures"]],
        failed=raw["failed"],
    )


def load(path: Path) -> Section:
    """Read what ``save`` has written."""
    return section_of(json.loads(path.read_text()))


def race_table(
    title: str, contenders: Sequence[Contender], series: dict[str, Series], base: str | None = None
) -> Table:
    """One row for each contender; with ``base``, what it adds to that one."""
    raw = next(series[one.name] for one in contenders if one.kind == "raw")
    added = [] if base is None else ["added, µs", "added, x raw RSA"]
    table = Table(title, ["contender", "CPU µs, best", "median", "x raw RSA", *added, "slices", "note"])
    for contender in sorted(contenders, key=lambda one: series[one.name].best):
        one, cells = series[contender.name], list[str]()
        if base is not None:
            more = one.added(series[base])
            is_more = contender.kind not in ("raw", "base")
            cells = [f"{more:+.1f}", f"{more / raw.best:+.2f}"] if is_more else ["", ""]
        figures = [number(one.best), number(one.median), number(one.ratio(raw))]
        table.rows.append([contender.name, *figures, *cells, str(len(one.rounds)), contender.note])
    return table


def race_figures(
    contenders: Sequence[Contender], series: dict[str, Series], base: str | None = None, prefix: str = ""
) -> Iterable[Figure]:
    """The figures of all contenders that have an id: in raw verifications, alone or added to ``base``."""
    raw = next(series[one.name] for one in contenders if one.kind == "raw").best
    less = _ZERO if base is None else series[base]
    peers = {one.name: (series[one.name].best - less.best) / raw for one in contenders if one.kind == "peer"}
    for contender in contenders:
        if contender.id:
            one = series[contender.name]
            yield Figure(
                prefix + contender.id,
                (one.best - less.best) / raw,
                (one.median - less.median) / raw,
                len(one.rounds),
                peers,
            )


class _Zero:
    best = median = 0.0


_ZERO = _Zero()


def number(value: float) -> str:
    """Three figures: 0.123, 1.23, 12.3, 123, 12,300."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    digits = 3 if size < 1 else 2 if size < 10 else 1
    return f"{value:.{digits}f}"


def rest() -> None:
    """Tell what runs this section that from here on it only waits: the next section may begin."""
    path = os.environ.get("BENCH_REST")
    if path:
        Path(path).touch()


def seconds_left(otherwise: float) -> float:
    """How long this section may take, so that the whole run keeps to its time."""
    until = os.environ.get("BENCH_UNTIL")
    return otherwise if until is None else max(5.0, float(until) - time.monotonic())
