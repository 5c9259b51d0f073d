"""What a section hands back: tables, and figures to hold against what was to be reached. Plain data, as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Table:
    """One table of results; cells are text already."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Goal:
    """One thing to reach. ``met`` is ``None`` where it could not be measured; ``peer`` is the best of others."""

    id: str
    what: str
    to_reach: str
    measured: str
    met: bool | None
    peer: str = ""


@dataclass
class Bar:
    """One bar of the chart: ``group`` is its panel."""

    group: str
    name: str
    value: float
    ours: bool = False


@dataclass
class Line:
    """One curve of the chart."""

    name: str
    x: list[float]
    y: list[float]


@dataclass
class Section:
    """All that one section found."""

    title: str
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it down as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)))


def load(path: Path) -> Section:
    """Read what ``save`` has written."""
    raw: dict[str, Any] = json.loads(path.read_text())
    return Section(
        title=raw["title"],
        tables=[Table(**one) for one in raw["tables"]],
        goals=[Goal(**one) for one in raw["goals"]],
        bars=[Bar(**one) for one in raw["bars"]],
        lines=[Line(**one) for one in raw["lines"]],
        failed=raw["failed"],
    )


def number(value: float) -> str:
    """Three figures: 0.123, 1.23, 12.3, 123, 12,300."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{digits}f}"


def rest() -> None:
    """Tell whoever runs this section that from here on it only waits: the next section may begin."""
    path = os.environ.get("BENCH_REST")
    if path:
        Path(path).touch()


def seconds_left(otherwise: float) -> float:
    """How long this section may take, so that the whole run keeps to its time."""
    until = os.environ.get("BENCH_UNTIL")
    return otherwise if until is None else max(5.0, float(until) - time.monotonic())
