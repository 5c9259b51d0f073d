"""Tables on the screen, the record ``results.json``, and ``results.md`` with its picture, made of the record."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tomllib
from pathlib import Path
from typing import Any

import goals
import machine
import picture
from goals import Target, best_peer
from results import Figure, Section, Table, number, section_of

REASONS = Path(__file__).with_name("reasons.toml")
FIGURES = [
    "what",
    "goal",
    "aim",
    "before",
    "now",
    "spread of the runs",
    "median",
    "slices",
    "best peer, in this run",
]
COUNTS = ["what", "to reach", "measured", "best of the others, in this run", "", "reason"]
METHOD = """\
CPU time of the thread, or of the whole process where other threads do part of the work. All contenders of a table
run in one process, in turn, each round beginning with another one, in slices of about 4 ms. **The best slice
decides**: what else the machine does makes a slice slower, and never faster. The median is beside it, and includes
the garbage collector, which stays on. Figures without a unit are multiples of one raw RSA-2048 verification in the
same process. Before it is timed, each contender has to accept a good token and refuse one with a changed signature
and one whose time is over. Ours runs with issuer and audience set and a user's defaults otherwise, and begins at
the request's headers; the others are handed the token itself. Every route of a framework reads the user and the
session. The mock service is a process of its own; there is no TLS, which flatters what opens a connection per
call.
"""


def show(section: Section, seconds: float) -> None:
    """Print a section."""
    print(f"\n=== {section.title} ({seconds:.0f} s)\n")
    for table in section.tables:
        print("\n".join(_plain(table)), end="\n\n")
    found = {one.id: one for one in section.figures}
    for target in goals.targets():
        if target.id in found:
            verdict = _verdict(target.is_met(found[target.id])) or "-"
            print(f"  {verdict:>8}  {target.what}: {number(found[target.id].value)} {target.unit} {target.text}")
    for goal in section.goals:
        print(f"  {_verdict(goal.met):>8}  {goal.what}: {goal.measured} (to reach: {goal.to_reach})")
    for line in section.failed:
        print(f"  NOT RUN   {line}")
    print(flush=True)


def record(sections: dict[str, Section], other: dict[str, Any] | None, *, partial: bool) -> dict[str, Any]:
    """All that a run found, as plain data. ``other`` is what another build of Python measured."""
    plain = {name: dataclasses.asdict(section) for name, section in sections.items()}
    return {"about": {}, "partial": partial, "other": other, "sections": plain}


def median_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The first of several runs' records, with the median of all runs for each figure.

    What is counted and was missed in one of the runs is missed. The tables are those of the first run.
    """
    found = records[0]
    for name, section in found["sections"].items():
        again = [one["sections"][name] for one in records if name in one["sections"]]
        for figure in section["figures"]:
            same = [one for other in again for one in other["figures"] if one["id"] == figure["id"]]
            figure["runs"] = [one["value"] for one in same]
            figure["value"] = statistics.median(figure["runs"])
            figure["median"] = statistics.median(one["median"] for one in same)
            figure["peers"] = {
                peer: statistics.median(one["peers"][peer] for one in same if peer in one["peers"])
                for peer in figure["peers"]
            }
        for place, goal in enumerate(section["goals"]):
            missed = [
                one for other in again for one in other["goals"] if one["id"] == goal["id"] and one["met"] is False
            ]
            section["goals"][place] = missed[0] if missed else goal
        section["failed"] = list(dict.fromkeys(line for other in again for line in other["failed"]))
    return found


def write(found: dict[str, Any], folder: Path) -> list[Path]:
    """Write the record, and the results made of it; those of a partial run under a name of their own."""
    stem = "results-partial" if found["partial"] else "results"
    saved = folder / f"{stem}.json"
    saved.write_text(_as_json(found))
    return [saved, *write_results(saved)]


def write_results(saved: Path) -> list[Path]:
    """Make ``results.md`` and its picture of a record, whole."""
    found = json.loads(saved.read_text())
    sections = {name: section_of(raw) for name, raw in found["sections"].items()}
    figures = {one.id: one for section in sections.values() for one in section.figures}
    targets = goals.targets()
    drawing, text = saved.with_suffix(".svg"), saved.with_suffix(".md")
    about = found["about"]
    drawn = picture.draw(targets, figures, drawing, f"moonkey {about['commit']}, {about['date']}")
    parts = ["# Benchmark results", "", *machine.lines(about), ""]
    if found["partial"]:
        parts += ["**A partial or quick run: not for comparing figures.**", ""]
    runs = max((len(one.runs) for one in figures.values()), default=1)
    if runs > 1:
        parts += [f"{runs} runs: each figure is the median of theirs; the tables below are the first run's.", ""]
    parts += [METHOD, *([f"![Each figure as a multiple of its goal]({drawing.name})", ""] if drawn else [])]
    parts += ["## What is to be reached", "", *_markdown(_goal_table(targets, figures, found["other"])), ""]
    counts = Table("", COUNTS)
    for section in sections.values():
        for goal in section.goals:
            reason = "" if goal.met else reasons().get(goal.id, "")
            counts.rows.append([goal.what, goal.to_reach, goal.measured, goal.peer, _mark(goal.met), reason])
    if counts.rows:
        parts += ["## What is counted", "", *_markdown(counts), ""]
    for section in sections.values():
        parts += [f"## {section.title}", ""]
        for table in section.tables:
            parts += [f"### {table.title}", "", *_markdown(table), ""]
        parts += [f"Not run: {line}\n" for line in section.failed]
    text.write_text("\n".join(parts).rstrip() + "\n")
    return [text, drawing] if drawn else [text]


def _goal_table(targets: list[Target], figures: dict[str, Figure], other: dict[str, Any] | None) -> Table:
    table = Table("", [*FIGURES, *(["other build"] if other else []), "", "reason"])
    for target in targets:
        figure = figures.get(target.id)
        now = ["not measured", "", "", ""] if figure is None else _cells(figure)
        before = "" if target.before is None else number(target.before) + _spread(target.before_runs, " ({})")
        cells = [target.what, target.text, "" if target.aim is None else f"{target.aim:g}", before, *now]
        elsewhere = other["figures"].get(target.id) if other else None
        met = target.is_met(figure)
        reason = "" if met else reasons().get(target.id, "")
        others = ["" if elsewhere is None else number(elsewhere)] if other else []
        mark = "" if figure is not None and met is None else _mark(met)
        table.rows.append([*cells, best_peer(figure), *others, mark, reason])
    if other:
        table.notes.append(f"other build: {other['build']}")
    return table


def _cells(figure: Figure) -> list[str]:
    return [number(figure.value), _spread(figure.runs, "{}"), number(figure.median), str(figure.slices)]


def _spread(runs: list[float], shown: str) -> str:
    """The least and the most of several runs; nothing for one."""
    return shown.format(f"{number(min(runs))} to {number(max(runs))}") if len(runs) > 1 else ""


def _as_json(found: dict[str, Any]) -> str:
    """One line for each section and each fact, so that a difference can be read."""
    about = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found["about"].items())
    sections = ",\n".join(f"{json.dumps(name)}: {json.dumps(raw)}" for name, raw in found["sections"].items())
    flags = f'"partial": {json.dumps(found["partial"])},\n"other": {json.dumps(found["other"])}'
    return f'{{"about": {{\n{about}\n}},\n{flags},\n"sections": {{\n{sections}\n}}}}\n'


def _verdict(met: bool | None) -> str:
    return {True: "met", False: "MISSED", None: ""}[met]


def _mark(met: bool | None) -> str:
    return {True: "met", False: "**missed**", None: "not measured"}[met]


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
