"""The goals of ``goals.toml``, and whether a figure meets them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from results import Figure, number

GOALS, BEFORE = Path(__file__).with_name("goals.toml"), Path(__file__).with_name("before.json")


@dataclass
class Target:
    """What one figure is to reach. ``goal`` is ``None`` where it is only shown."""

    id: str
    what: str
    goal: float | None = None
    aim: float | None = None
    unit: str = "raw"
    better: str = "less"
    below_peers: bool = False
    over_before: float | None = None
    before: float | None = None
    before_runs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.over_before is not None and self.before is not None:
            self.goal = self.before + self.over_before

    @property
    def text(self) -> str:
        """The goal as a cell of a table."""
        if self.goal is None:
            return "" if self.over_before is None else f"≤ before + {self.over_before:g}"
        sign = "≥" if self.better == "more" else "≤"
        return f"{sign} {self.goal:.3g} {self.unit}" + (", below every peer" if self.below_peers else "")

    def is_met(self, figure: Figure | None) -> bool | None:
        """Whether it is met; ``None`` where there is no goal or no figure."""
        if figure is None or self.goal is None:
            return None
        if self.better == "more":
            return figure.value >= self.goal
        under = not self.below_peers or all(figure.value < other for other in figure.peers.values())
        return figure.value <= self.goal and under


def targets() -> list[Target]:
    """All goals, in their order, with what was measured before where that is known."""
    kept = json.loads(BEFORE.read_text()) if BEFORE.is_file() else {"figures": {}, "runs": {}}
    before, runs = kept["figures"], kept["runs"]
    return [
        Target(**one, before=before.get(one["id"]), before_runs=runs.get(one["id"], []))
        for one in tomllib.loads(GOALS.read_text())["goal"]
    ]


def best_peer(figure: Figure | None) -> str:
    """The best of the others as a cell of a table."""
    if figure is None or not figure.peers:
        return ""
    name = min(figure.peers, key=figure.peers.__getitem__)
    return f"{number(figure.peers[name])} ({name})"


def keep_as_before() -> None:
    """Keep the figures of the record ``results.json`` as those before a change."""
    found = json.loads(BEFORE.with_name("results.json").read_text())
    every = [one for section in found["sections"].values() for one in section["figures"]]
    kept = {
        "commit": found["about"]["commit"],
        "figures": {one["id"]: one["value"] for one in every},
        "runs": {one["id"]: one["runs"] for one in every},
    }
    BEFORE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    keep_as_before()
