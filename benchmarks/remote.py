"""The remote part: distinct opaque tokens, an upstream that takes 5 ms, 64 at once, one asynchronous process."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import contenders_local as local
import contenders_remote as who
from contenders_remote import FAST, NAMES, PLAIN, Remote
from results import Figure, Section, Table, number
from service import Upstream
from timing import QUICK_ROUNDS, ROUNDS, Series, settle
from tokens import bad, key_set, mint, opaque

DELAY = 0.005  # seconds
AT_ONCE = 64
SLOW = 500.0  # CPU microseconds a call; what needs more gets one call for each worker in a slice
CALLS = 4  # calls of each of the 64 workers in a slice of the others


@dataclass
class Found:
    """Per slice: client CPU per verification (µs), seconds, calls; and all latencies (ms)."""

    cpu: Series = field(default_factory=lambda: Series([]))
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Opaque tokens, distinct, 5 ms upstream, 64 at once")
    with Upstream(key_set(), delay=DELAY) as upstream:
        asyncio.run(_race(section, upstream, QUICK_ROUNDS if quick else ROUNDS))
    return section


async def admit(remote: Remote) -> None:
    """Raises ``ValueError`` unless it takes a good token and refuses bad ones."""
    if not await _taken(remote, opaque(1)):
        raise ValueError("refused a good token")
    for what, token in bad("opaque").items():
        if await _taken(remote, token):
            raise ValueError(f"accepted a token: {what}")


async def _taken(remote: Remote, token: str) -> bool:
    try:
        return bool(await remote.verify(token))
    except Exception:
        return False


async def _race(section: Section, upstream: Upstream, rounds: int) -> None:
    contenders, numbers = [], itertools.count(10)
    for build in who.NAMES:
        try:
            contender = build(upstream)
            await admit(contender)
        except (ImportError, ValueError) as error:
            section.failed.append(f"{build.__name__}: not timed: {error}")
        else:
            contenders.append(contender)
    found = {contender.name: Found() for contender in contenders}
    calls = {}
    for contender in contenders:  # connections are made before the first slice that counts
        first = Found()
        await _slice(contender, numbers, 1, first)
        await _slice(contender, numbers, 1, first)
        calls[contender.name] = 1 if first.cpu.best > SLOW else CALLS
    raw, signed = local.raw_rsa(), mint(1)
    raw_found, argument = Series([]), raw.wrap(signed)
    settle()
    for turn in range(rounds):
        shift = turn % len(contenders)
        raw_found.rounds.append(raw.results([argument] * 100, asyncio.get_running_loop())[0] * 1e4)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            await _slice(contender, numbers, calls[contender.name], found[contender.name])
    for contender in contenders:
        await contender.close()
    _report(section, contenders, found, raw_found)


async def _slice(remote: Remote, numbers: Iterator[int], calls: int, found: Found) -> None:
    """Sixty-four workers verify so many tokens each, one after another. What blocks the loop has one worker."""
    latencies = list[float]()

    async def worker() -> None:
        for _ in range(calls):
            began = time.perf_counter()
            if not await remote.verify(opaque(next(numbers))):
                raise ValueError(f"{remote.name} refused a good token while it was timed")
            latencies.append((time.perf_counter() - began) * 1e3)

    start, cpu = time.perf_counter(), time.process_time_ns()  # of all threads: some ask for addresses in one
    await asyncio.gather(*(worker() for _ in range(8 if remote.serial else AT_ONCE)))
    count = len(latencies)
    found.cpu.rounds.append((time.process_time_ns() - cpu) / count / 1e3)
    found.rates.append(count / (time.perf_counter() - start))
    found.latencies += latencies


def _report(section: Section, contenders: list[Remote], found: dict[str, Found], raw: Series) -> None:
    columns = [
        "client",
        "CPU µs a call, best",
        "median",
        "x raw RSA",
        "calls/s, best",
        "median",
        "p50, ms",
        "p99, ms",
    ]
    table = Table("Client CPU of a verification, and verifications per second", [*columns, "slices"])
    for name in sorted(found, key=lambda one: found[one].cpu.best):
        one = found[name]
        spots = statistics.quantiles(one.latencies, n=100)
        cells = [
            one.cpu.best,
            one.cpu.median,
            one.cpu.best / raw.best,
            max(one.rates),
            statistics.median(one.rates),
        ]
        row = [*map(number, cells), number(spots[49]), number(spots[98]), str(len(one.rates))]
        table.rows.append([name, *row])
    table.notes.append(f"a raw RSA-2048 verification in this process: {number(raw.best)} µs")
    table.notes.append("rates and latencies move with the machine's load; CPU hardly does")
    section.tables.append(table)
    _figures(section, contenders, found)


def _figures(section: Section, contenders: list[Remote], found: dict[str, Found]) -> None:
    sdks = {one.name: found[one.name].cpu for one in contenders if one.sdk}
    if FAST in found and sdks:
        best = min(sdks, key=lambda name: sdks[name].best)
        mine, peer = found[FAST].cpu, sdks[best]
        value, median = mine.best / peer.best, mine.median / peer.median
        section.figures.append(Figure("remote-fast", value, median, len(mine.rounds), {best: 1.0}))
    bare = NAMES[who.raw_httpx]
    if PLAIN in found and bare in found:
        mine_, theirs = found[PLAIN].rates, found[bare].rates
        value, median = max(mine_) / max(theirs), statistics.median(mine_) / statistics.median(theirs)
        section.figures.append(Figure("remote-plain", value, median, len(mine_), {bare: 1.0}))
