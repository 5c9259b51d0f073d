"""Bursts: a thousand requests at the same instant, no connection open yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import contenders_remote as who
from contenders_remote import FAST, NAMES, PLAIN, Build, Remote
from remote import DELAY, admit
from results import Goal, Section, Table, number
from service import Upstream
from timing import settle
from tokens import key_set, opaque

MANY = 1_000
BEAT = 0.001  # seconds
MOST = 25.0  # seconds that a burst may take
PER_STEP = 25  # requests that arrive in one step of the loop, where they do not all come in one


@dataclass
class Burst:
    """What came of one burst. Lags are milliseconds."""

    answered: int
    calls: int
    connections: int
    seconds: float
    lag: float
    trouble: str


class Heart:
    """A task that wants to run every millisecond; ``lag`` is the longest that it was kept waiting."""

    def __init__(self) -> None:
        self.lag = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(BEAT)
            self.lag = max(self.lag, time.perf_counter() - before - BEAT)

    async def stop(self) -> float:
        """Milliseconds of the longest lag."""
        await asyncio.sleep(BEAT * 2)
        self._task.cancel()
        return self.lag * 1e3


async def fire(verify: Callable[[str], Awaitable[object]], tokens: list[str], per_step: int) -> tuple[int, str]:
    """Verify all at once, or so many with each step of the loop; how many were good, and the first trouble."""
    tasks = []
    for place, token in enumerate(tokens, start=1):
        tasks.append(asyncio.ensure_future(verify(token)))
        if place % per_step == 0:
            await asyncio.sleep(0)
    done, late = await asyncio.wait(tasks, timeout=MOST)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    errors = [error for task in done if (error := task.exception()) is not None]
    good = sum(1 for task in done if task.exception() is None and task.result())
    trouble = type(errors[0]).__name__ if errors else "refused or unavailable" if good < len(tokens) else ""
    return good, trouble


async def burst(build: Build, upstream: Upstream, tokens: list[str], per_step: int) -> Burst:
    """One burst on a new client."""
    remote = build(upstream)
    try:
        upstream.set(reset=True)
        settle()  # the modules of all the others are here as well; their weight is not this one's
        heart = Heart()
        await asyncio.sleep(0.05)
        heart.lag = 0.0
        start = time.perf_counter()
        answered, trouble = await fire(remote.verify, tokens, per_step)
        seconds = time.perf_counter() - start
        lag = await heart.stop()
        calls, connections = upstream.count("verify"), upstream.count("connections")
        return Burst(answered, calls, connections, seconds, lag, trouble)
    finally:
        await remote.close()


async def control(upstream: Upstream, per_step: int) -> Burst:
    """As many tasks that only sleep for as long as the upstream takes: the loop's own part of the lag."""

    async def sleeps(token: str) -> bool:
        await asyncio.sleep(DELAY)
        return True

    async def close() -> None:
        pass

    return await burst(lambda _: Remote("", sleeps, close), upstream, _distinct(0), per_step)


def _distinct(salt: int) -> list[str]:
    return [opaque(salt * MANY + number) for number in range(MANY)]


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section(f"Bursts of {MANY:,} requests, no connection open yet, 5 ms upstream")
    builders: list[Build] = [who.fast, who.plain, who.stytch, who.raw_aiohttp, *([] if quick else [who.raw_httpx])]
    with Upstream(key_set(), delay=DELAY) as upstream:
        for build in list(builders):
            trouble = asyncio.run(_unfit(build, upstream))
            if trouble:
                section.failed.append(f"{build.__name__}: not run: {trouble}")
                builders.remove(build)
        _one(section, upstream, builders)
        _many(section, upstream, builders)
    return section


async def _unfit(build: Build, upstream: Upstream) -> str:
    try:
        remote = build(upstream)
        await admit(remote)
        await remote.close()
    except (ImportError, ValueError) as error:
        return str(error)
    return ""


def _one(section: Section, upstream: Upstream, builders: list[Build]) -> None:
    table = Table(
        "The same cold opaque token", ["client", "answered", "upstream calls", "seconds", "longest lag, ms"]
    )
    found = {}
    for build in builders:
        if build is who.raw_httpx:
            continue  # as with distinct tokens below, and it takes its time
        found[build] = one = asyncio.run(burst(build, upstream, [opaque(7)] * MANY, MANY))
        table.rows.append(
            [NAMES[build], f"{one.answered:,}", f"{one.calls:,}", number(one.seconds), number(one.lag)]
        )
    section.tables.append(table)
    mine = [one for build, one in found.items() if build in (who.fast, who.plain)]
    peer = min((one.calls for build, one in found.items() if build not in (who.fast, who.plain)), default=None)
    section.goals.append(
        Goal(
            "burst-one",
            f"{MANY:,} concurrent requests with one cold opaque token",
            "1 upstream call",
            " / ".join(f"{one.calls} call(s), {one.answered:,} answered" for one in mine),
            bool(mine) and all(one.calls == 1 and one.answered == MANY for one in mine),
            "" if peer is None else f"{peer:,} calls",
        )
    )


def _many(section: Section, upstream: Upstream, builders: list[Build]) -> None:
    columns = ["client", "arriving", "answered", "upstream calls", "connections", "seconds", "longest lag, ms"]
    table = Table("Distinct opaque tokens", [*columns, "trouble"])
    found: dict[tuple[str, int], Burst] = {}
    for salt, per_step in enumerate((MANY, PER_STEP), start=1):
        arriving = "all in one step" if per_step == MANY else f"{per_step} per step of the loop"
        idle = asyncio.run(control(upstream, per_step))
        table.rows.append(["control: tasks that only sleep", arriving, "", "", "", *_times(idle), ""])
        for build in builders:
            if build is who.raw_httpx and per_step != MANY:
                continue
            one = asyncio.run(burst(build, upstream, _distinct(salt), per_step))
            found[NAMES[build], per_step] = one
            counts = [f"{one.answered:,}", f"{one.calls:,}", f"{one.connections:,}"]
            table.rows.append([NAMES[build], arriving, *counts, *_times(one), one.trouble])
    table.notes.append("lag: how long a task that wants to run every millisecond was kept waiting at most")
    section.tables.append(table)
    _goals(section, found)


def _times(one: Burst) -> list[str]:
    return [number(one.seconds), number(one.lag)]


def _goals(section: Section, found: dict[tuple[str, int], Burst]) -> None:
    own = {key: one for key, one in found.items() if key[0] in (FAST, PLAIN) and key[1] == MANY}
    others = {key[0]: one for key, one in found.items() if key[0] not in (FAST, PLAIN) and key[1] == MANY}
    section.goals.append(
        Goal(
            "burst-distinct",
            f"{MANY:,} distinct opaque tokens at once, no connection open yet, plain httpx too",
            "all answered",
            "; ".join(f"{key[0]}: {one.answered:,} in {number(one.seconds)} s" for key, one in own.items()),
            bool(own) and all(one.answered == MANY for one in own.values()),
            "; ".join(f"{name}: {one.answered:,}" for name, one in others.items()),
        )
    )
    whole, spread = found.get((FAST, MANY)), found.get((FAST, PER_STEP))
    measured = "no fast transport"
    if whole and spread:
        measured = f"{number(whole.lag)} ms (arriving {PER_STEP} per step of the loop: {number(spread.lag)} ms)"
    section.goals.append(
        Goal(
            "burst-lag",
            "the same: heartbeat lag with the fast transport",
            "≤ 10 ms",
            measured,
            None if whole is None else whole.lag <= 10,
            "; ".join(f"{name}: {number(one.lag)} ms" for name, one in others.items()),
        )
    )
