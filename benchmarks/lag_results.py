"""What was seen after all the revocations, as a table, and what of it is over its bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lag_setups import Line
from lag_watch import ALLOWANCE, SESSION, WHERE, Seen, Where
from results import Goal, Section, Table

TITLE = "How long a revoked session is accepted"
FEW = 20  # lines about what could not be measured


@dataclass(frozen=True)
class One:
    """One revocation: what was measured, on which server, where it was revoked, and what was seen."""

    line: Line
    server: str
    where: Where
    seen: Seen


@dataclass
class Found:
    """All that was seen, and what could not be measured."""

    seen: list[One] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def table_of(found: Found, servers: list[str], values: dict[str, float]) -> Table:
    """A line for each configuration; credentials with the same bounds share it, and the worst of them counts."""
    table = Table("Seconds: here · fleet · elsewhere", ["configuration", "credentials", "bound", *servers])
    by_line: dict[Line, dict[tuple[str, Where], Seen]] = {}
    for one in sorted(found.seen, key=lambda one: one.line):
        by_line.setdefault(one.line, {})[one.server, one.where] = one.seen
    rows: dict[tuple[str, bool, str], list[Line]] = {}
    for line, seen in by_line.items():
        bounds = " · ".join(_bound_cell(seen, where) for where in WHERE)
        rows.setdefault((line.words, line.is_connection, bounds), []).append(line)
    for (words, _, bounds), lines in rows.items():
        cells = [
            " · ".join(_cell(by_line[line].get((server, where)) for line in lines) for where in WHERE)
            for server in servers
        ]
        table.rows.append([words, ", ".join(line.what for line in lines), bounds, *cells])
    table.notes += [
        "settings: " + ", ".join(f"`{name}={value:g}`" for name, value in values.items()),
        "JWT: dated ahead by the leeway where it is verified locally; old: refreshed at the API just before",
        "cookies: a token and a JWT, of which the token decides where JWTs are not verified locally",
        f"connection: a WebSocket, in Flask a stream; end: the known end of its session ({SESSION} s here)",
        "allowance: the duration of the request that was accepted last; for a connection, of the longest request "
        f"to its process meanwhile, at least {ALLOWANCE:g} s",
        "0: no request that was sent after the revoking call had returned was accepted. **!**: over the bound",
    ]
    return table


def _bound_cell(seen: dict[tuple[str, Where], Seen], where: Where) -> str:
    one = next((one for (_, place), one in seen.items() if place == where), None)
    if one is None:
        return "-"
    return "end" if one.bound is None else f"{one.bound:g}"


def _cell(all_seen: Iterable[Seen | None]) -> str:
    """The worst of some."""
    seen = [one for one in all_seen if one is not None]
    if not seen:
        return "-"
    worst = max(one.lag for one in seen)
    return f"{worst:.2f}{' **!**' if any(one.is_over for one in seen) else ''}" if worst else "0"


def findings(found: Found) -> Section:
    """What is over a bound, and what could not be measured."""
    section = Section(TITLE)
    over = [one for one in found.seen if one.seen.is_over]
    for one in over:
        section.failed.append(
            f"OVER THE BOUND: {one.server}; {one.line.words}; {one.line.what}; {one.where}: {one.seen.lag:.2f} s, "
            f"at most {one.seen.allowed:.2f}; the call had returned {one.seen.state or 'nothing'}"
        )
    odd = sum((one.seen.odd for one in found.seen), start=Counter[int]())
    if odd:
        section.failed.append(f"answers that are neither 200 nor 401: {dict(odd)}")
    section.failed += found.failed[:FEW]
    if len(found.failed) > FEW:
        section.failed.append(f"and {len(found.failed) - FEW} more")
    asked = sum(one.seen.asked for one in found.seen)
    section.goals.append(
        Goal(
            "lag-table",
            "a revoked session is accepted no longer than the README's table says",
            "none over its bound",
            f"{len(over)} of {len(found.seen)} revocations over it; {asked} requests after them",
            bool(found.seen) and not over and not found.failed,
        )
    )
    return section
