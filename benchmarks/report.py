"""Tables on the screen, ``results.md`` and the chart."""

from __future__ import annotations

import tomllib
from pathlib import Path

import chart
import machine
from results import Goal, Section, Table

REASONS = Path(__file__).with_name("reasons.toml")
GOALS = ["what", "to reach", "measured", "best of the others, in this run", "missed", "reason"]
METHOD = """\
All contenders of a table run in the same process of the same run, in turn, each round beginning with another one;
a figure is the median over the rounds, a ratio the median of the ratios of slices of the same round. The garbage
collector stays on. Before it is timed, each contender has to accept a good token and refuse one with a changed
signature and one whose time is over. Ours runs with issuer and audience set and a user's defaults otherwise, and
begins at the request's headers; the others are handed the token itself. The mock service is a process of its own;
there is no TLS, which flatters whoever opens a connection per call.
"""


def show(section: Section, seconds: float) -> None:
    """Print a section."""
    print(f"\n=== {section.title} ({seconds:.0f} s)\n")
    for table in section.tables:
        print("\n".join(_plain(table)), end="\n\n")
    for goal in section.goals:
        print(f"  {_verdict(goal):>8}  {goal.what}: {goal.measured} (to reach: {goal.to_reach})")
    for line in section.failed:
        print(f"  NOT RUN   {line}")
    print(flush=True)


def write(sections: dict[str, Section], folder: Path, seconds: float, *, partial: bool) -> list[Path]:
    """Write the results; those of a partial run under a name of their own, so that they replace no whole ones."""
    stem = "results-partial" if partial else "results"
    picture = folder / f"{stem}.svg"
    drawn = chart.draw(list(sections.values()), picture)
    goals = Table("", GOALS, [_goal_row(goal) for one in sections.values() for goal in one.goals])
    parts = ["# Benchmark results", "", *machine.describe(), f"- the run took {seconds:.0f} s", ""]
    if partial:
        parts += ["**A partial or quick run: not for comparing figures.**", ""]
    parts += [METHOD, *(["![The figures as a chart](" + picture.name + ")", ""] if drawn else [])]
    parts += ["## What was to be reached", "", *_markdown(goals), ""]
    for section in sections.values():
        parts += [f"## {section.title}", ""]
        for table in section.tables:
            parts += [f"### {table.title}", "", *_markdown(table), ""]
        parts += [f"Not run: {line}\n" for line in section.failed]
    text = folder / f"{stem}.md"
    text.write_text("\n".join(parts).rstrip() + "\n")
    return [text, picture] if drawn else [text]


def _verdict(goal: Goal) -> str:
    return {True: "reached", False: "MISSED", None: "unknown"}[goal.met]


def _goal_row(goal: Goal) -> list[str]:
    missed = {True: "", False: "**missed**", None: "not measured"}[goal.met]
    reason = "" if goal.met else reasons().get(goal.id, "")
    return [goal.what, goal.to_reach, goal.measured, goal.peer, missed, reason]


def reasons() -> dict[str, str]:
    """The reasons that have been written down for misses."""
    return {name: str(text) for name, text in tomllib.loads(REASONS.read_text()).items()}


def _markdown(table: Table) -> list[str]:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    return [*lines, *([""] if table.notes else []), *(f"- {note}" for note in table.notes)]


def _plain(table: Table) -> list[str]:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [table.title, lines[0], "-" * len(lines[0]), *lines[1:], *(f"({note})" for note in table.notes)]
