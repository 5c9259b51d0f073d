"""The framework part: what a request costs more with authentication than without, in-process, no server."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import contenders_local as local
import ours
from apps import NONE, NONE_COOKIES, asgi, wsgi
from results import Section, race_figures, race_table
from service import Upstream
from timing import QUICK_ROUNDS, ROUNDS, Contender, NotFit, Pools, Series, admit, race, slice_sizes
from tokens import Flavour, key_set, mint_many, pool

FEW = 100
EACH, NEW = 20, 100_000  # new tokens in a slice; the number of the first
AGAIN = 2  # times as many slices more of the contenders whose differences have goals


@dataclass
class Framework:
    """A framework, where its contenders are, and how its apps are driven."""

    id: str
    name: str
    module: str
    apps: str
    drive: Callable[[Any], Contender]


FRAMEWORKS = [
    Framework("starlette", "Starlette", "contenders_asgi", "STARLETTE", asgi),
    Framework("flask", "Flask", "contenders_flask", "APPS", wsgi),
    Framework("django", "Django WSGI", "contenders_django", "APPS", wsgi),
    Framework("django-asgi", "Django ASGI", "contenders_django", "ASYNC", asgi),
    Framework("fastapi", "FastAPI", "contenders_asgi", "FASTAPI", asgi),
]


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Added per request inside frameworks, user and session read")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with Upstream(key_set()) as upstream:
        for framework in FRAMEWORKS:
            try:
                _framework(section, framework, upstream, loop, QUICK_ROUNDS if quick else ROUNDS)
            except NotFit as error:
                section.failed.append(f"{framework.name}: not timed: {error}")
    loop.close()
    return section


def _framework(
    section: Section, framework: Framework, upstream: Upstream, loop: asyncio.AbstractEventLoop, rounds: int
) -> None:
    contenders = [local.raw_rsa(), *_admitted(section, framework, upstream, loop)]
    flavours: set[Flavour] = {contender.flavour for contender in contenders}
    pools = Pools({flavour: pool(flavour, FEW) for flavour in flavours})
    pools.tokens[local.PAIRS] = [ours.cookie_line(jwt, upstream.url) for jwt in pools.tokens["moonkey"]]
    # Other numbers: two JWTs for one user that are made in the same second are the same.
    pools.tokens["new"] = mint_many(range(NEW, NEW + rounds * EACH))
    contenders = [replace(one, pool="new") if one.once else one for one in contenders]
    for contender in contenders:  # every token once, untimed: this is the warm case
        if not contender.name.startswith("naive") and not contender.once:
            contender.results(pools.take(contender, 0, FEW), loop)
    sizes = slice_sizes(contenders, pools, loop, rounds)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    compared = [one for one in contenders if one.kind in ("raw", "base") or (one.kind == "ours" and not one.once)]
    for name, more in race(compared, pools, loop, rounds=AGAIN * rounds, count=sizes).items():
        series[name].rounds += more.rounds
    table = race_table(framework.name, contenders, series, base=NONE)
    table.notes.append("a cookie pair over a header: less what the same cookies cost without authentication")
    if framework.id.startswith("django"):
        table.notes.append("one configuration for all of this project's rows: cookies are on in each")
    if framework.id == "django-asgi":
        table.notes.append("without the threads and tasks of Django's own around each request")
    if any(contender.hops for contender in contenders):
        table.notes.append("some do part of their work in other threads, so that all threads of the process count")
    section.tables.append(table)
    _figures(section, framework, contenders, series)


def _admitted(
    section: Section, framework: Framework, upstream: Upstream, loop: asyncio.AbstractEventLoop
) -> list[Contender]:
    found = []
    for build in getattr(importlib.import_module(framework.module), framework.apps):
        try:
            app = build(upstream)
            contender = framework.drive(app)
            if app.checks and not app.pair:
                admit(contender, loop)
        except (ImportError, NotFit) as error:
            section.failed.append(f"{framework.name}, {build.__qualname__}: not timed: {error}")
        else:
            found.append(contender)
            if app.kind == "base":
                found.append(framework.drive(replace(app, name=NONE_COOKIES, id="cookies", pair=True)))
    return found


def _figures(
    section: Section, framework: Framework, contenders: list[Contender], series: dict[str, Series]
) -> None:
    found = {one.id: one for one in race_figures(contenders, series, base=NONE)}
    pair, cookies, header = found.pop("pair", None), found.pop("cookies", None), found.get("added")
    section.figures += [replace(one, id=f"{id}-{framework.id}") for id, one in found.items()]
    if pair and cookies and header:
        # What the framework itself does with cookies, which FastAPI parses in each request, is no cost of ours.
        more = pair.value - cookies.value - header.value
        median = pair.median - cookies.median - header.median
        section.figures.append(replace(pair, id=f"pair-{framework.id}", value=more, median=median, peers={}))
