"""Bursts: a thousand requests at the same instant, no connection open yet."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import contenders_remote as who
from contenders_remote import FAST, NAMES, PLAIN, Build, Remote
from remote import DELAY, admit
from results import Figure, Goal, Section, Table, number
from service import Upstream
from timing import settle
from tokens import key_set, opaque

MANY = 1_000
BEAT = 0.001  # seconds
MOST = 25.0  # seconds that a burst may take
REPEATS, QUICK_REPEATS = 40, 2  # bursts of this project with its fast transport
PEER_REPEATS, SLOW_REPEATS = 10, 2  # of the others, and of what is over plain httpx
CONTROL = "control: tasks that only sleep"
PER_STEP = 25  # requests that arrive in one step of the loop, where they do not all come in one


@dataclass
class Burst:
    """What came of one burst. ``hold``: the longest that the loop was held, in CPU milliseconds."""

    answered: int
    calls: int
    connections: int
    seconds: float
    hold: float
    trouble: str


class Heart:
    """A task that wants to run every millisecond; ``hold``: the most CPU of its thread between two beats."""

    def __init__(self) -> None:
        self.hold = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(BEAT)
            self.hold = max(self.hold, time.thread_time() - before)

    async def stop(self) -> float:
        """CPU milliseconds of the longest hold."""
        await asyncio.sleep(BEAT * 2)
        self._task.cancel()
        return self.hold * 1e3


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
        heart.hold = 0.0
        start = time.perf_counter()
        answered, trouble = await fire(remote.verify, tokens, per_step)
        seconds = time.perf_counter() - start
        hold = await heart.stop()
        calls, connections = upstream.count("verify"), upstream.count("connections")
        return Burst(answered, calls, connections, seconds, hold, trouble)
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
        _many(section, upstream, builders, QUICK_REPEATS if quick else REPEATS)
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
        "The same cold opaque token",
        ["client", "answered", "upstream calls", "seconds", "longest hold of the loop, CPU ms"],
    )
    found = {}
    for build in builders:
        if build is who.raw_httpx:
            continue  # as with distinct tokens below, and it takes its time
        found[build] = one = asyncio.run(burst(build, upstream, [opaque(7)] * MANY, MANY))
        table.rows.append(
            [NAMES[build], f"{one.answered:,}", f"{one.calls:,}", number(one.seconds), number(one.hold)]
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


def _many(section: Section, upstream: Upstream, builders: list[Build], repeats: int) -> None:
    columns = ["client", "arriving", "answered", "upstream calls", "connections", "seconds"]
    table = Table(
        "Distinct opaque tokens",
        [*columns, "longest hold of the loop, CPU ms, best", "median", "bursts", "trouble"],
    )
    found: dict[tuple[str, int], list[Burst]] = {}
    salt = 1
    for turn in range(repeats):
        for per_step in (MANY, PER_STEP):
            found.setdefault((CONTROL, per_step), []).append(asyncio.run(control(upstream, per_step)))
            for build in builders:
                if turn >= _repeats(build, per_step, repeats):
                    continue
                one = asyncio.run(burst(build, upstream, _distinct(salt), per_step))
                found.setdefault((NAMES[build], per_step), []).append(one)
                salt += 1
    for (name, per_step), bursts in sorted(found.items(), key=lambda item: -item[0][1]):
        arriving = "all in one step" if per_step == MANY else f"{per_step} per step of the loop"
        worst = min(bursts, key=lambda one: one.answered)
        holds = [one.hold for one in bursts]
        counts = (
            ["", "", ""]
            if name == CONTROL
            else [f"{worst.answered:,}", f"{worst.calls:,}", f"{worst.connections:,}"]
        )
        times = [number(min(one.seconds for one in bursts)), number(min(holds)), number(statistics.median(holds))]
        table.rows.append([name, arriving, *counts, *times, str(len(bursts)), worst.trouble])
    table.notes.append(
        "hold: the CPU time of the loop's thread between two beats of a task that runs every millisecond"
    )
    section.tables.append(table)
    _goals(section, found)


def _repeats(build: Build, per_step: int, most: int) -> int:
    if build is who.raw_httpx:
        return int(per_step == MANY)  # it fails, and takes its time
    return min(most, most if build is who.fast else SLOW_REPEATS if build is who.plain else PEER_REPEATS)


def _goals(section: Section, found: dict[tuple[str, int], list[Burst]]) -> None:
    first = {key[0]: ones for key, ones in found.items() if key[1] == MANY and key[0] != CONTROL}
    own = {name: ones for name, ones in first.items() if name in (FAST, PLAIN)}
    others = {name: min(one.answered for one in ones) for name, ones in first.items() if name not in own}
    least = {name: min(one.answered for one in ones) for name, ones in own.items()}
    section.goals.append(
        Goal(
            "burst-distinct",
            f"{MANY:,} distinct opaque tokens at once, no connection open yet, plain httpx too",
            "all answered",
            "; ".join(
                f"{name}: {count:,} (the least of {len(own[name])} bursts)" for name, count in least.items()
            ),
            bool(least) and all(count == MANY for count in least.values()),
            "; ".join(f"{name}: {count:,}" for name, count in others.items()),
        )
    )
    for id, per_step in (("hold-one-step", MANY), ("hold-spread", PER_STEP)):
        holds = [one.hold for one in found.get((FAST, per_step), [])]
        if holds:
            names = {key[0] for key in found if key[1] == per_step} - {FAST, PLAIN, CONTROL}
            peers = {name: min(one.hold for one in found[name, per_step]) for name in names}
            section.figures.append(Figure(id, min(holds), statistics.median(holds), len(holds), peers))
