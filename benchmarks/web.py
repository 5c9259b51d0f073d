"""The framework part: what a request costs more with authentication than without, in-process, no server."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps import NONE, OURS, asgi, wsgi
from results import Bar, Goal, Section, Table, number
from service import Upstream
from timing import Contender, NotFit, Pools, Series, admit, race, slice_sizes
from tokens import Flavour, key_set, pool

FEW = 100
SLICE = 0.01  # seconds


@dataclass
class Framework:
    """A framework, where its contenders are, how its apps are driven, and the most that ours may add (µs)."""

    name: str
    module: str
    apps: str
    drive: Callable[[Any], Contender]
    most: float


FRAMEWORKS = [
    Framework("Starlette", "contenders_asgi", "STARLETTE", asgi, 6),
    Framework("Flask", "contenders_flask", "APPS", wsgi, 12),
    Framework("Django WSGI", "contenders_django", "APPS", wsgi, 15),
    Framework("FastAPI", "contenders_asgi", "FASTAPI", asgi, 30),
]


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Added per request inside frameworks, warm")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with Upstream(key_set()) as upstream:
        for framework in FRAMEWORKS:
            _framework(section, framework, upstream, loop, 5 if quick else 21)
    loop.close()
    return section


def _framework(
    section: Section, framework: Framework, upstream: Upstream, loop: asyncio.AbstractEventLoop, rounds: int
) -> None:
    contenders = _admitted(section, framework, upstream, loop)
    flavours: set[Flavour] = {contender.flavour for contender in contenders}
    pools = Pools({flavour: pool(flavour, FEW) for flavour in flavours})
    for contender in contenders:  # every token once, untimed: this is the warm case
        if not contender.name.startswith("naive"):
            contender.results(pools.take(contender, 0, FEW), loop)
    sizes = slice_sizes(contenders, pools, loop, SLICE)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    _report(section, framework, contenders, series)


def _admitted(
    section: Section, framework: Framework, upstream: Upstream, loop: asyncio.AbstractEventLoop
) -> list[Contender]:
    found = []
    for build in getattr(importlib.import_module(framework.module), framework.apps):
        try:
            app = build(upstream)
            contender = framework.drive(app)
            if app.checks:
                admit(contender, loop)
        except (ImportError, NotFit) as error:
            section.failed.append(f"{framework.name}, {build.__name__}: not timed: {error}")
        else:
            found.append(contender)
    return found


def _report(
    section: Section, framework: Framework, contenders: list[Contender], series: dict[str, Series]
) -> None:
    base = series[NONE]
    table = Table(framework.name, ["contender", "µs per request", "added, µs"])
    for name, one in sorted(series.items(), key=lambda item: item[1].median):
        table.rows.append([name, number(one.median), "" if one is base else f"+{number(one.added(base))}"])
    section.tables.append(table)
    group = framework.name.split()[0].lower()
    added = {name: one.added(base) for name, one in series.items() if one is not base}
    section.bars += [Bar(group, name, value, ours=name == OURS) for name, value in added.items()]
    peers = {name: value for name, value in added.items() if name != OURS}
    best = min(peers, key=peers.__getitem__)
    mine = added.get(OURS)
    section.goals.append(
        Goal(
            f"web-{group}",
            f"added per request, warm, whole middleware: {framework.name}",
            f"≤ {framework.most:g} µs",
            "not measured" if mine is None else f"{number(mine)} µs",
            None if mine is None else mine <= framework.most,
            f"{number(peers[best])} µs ({best})",
        )
    )
