"""The remote part: distinct opaque tokens, an upstream that takes 5 ms, 64 at once, one asynchronous process."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import contenders_remote as who
from contenders_remote import FAST, OWN, PLAIN, Remote
from results import Bar, Goal, Section, Table, number
from service import Upstream
from timing import settle
from tokens import bad, key_set, opaque

DELAY = 0.005  # seconds
AT_ONCE = 64


@dataclass
class Found:
    """Per round: verifications per second, client CPU per verification (µs), and latencies (ms)."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Opaque tokens, distinct, 5 ms upstream, 64 at once")
    rounds, window = (3, 0.2) if quick else (9, 0.4)
    with Upstream(key_set(), delay=DELAY) as upstream:
        asyncio.run(_race(section, upstream, rounds, window))
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


async def _race(section: Section, upstream: Upstream, rounds: int, window: float) -> None:
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
    for contender in contenders:  # connections are made before the first round that counts
        await _window(contender, numbers, 0.1, Found())
    settle()
    for turn in range(rounds):
        shift = turn % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            await _window(contender, numbers, window, found[contender.name])
    for contender in contenders:
        await contender.close()
    _report(section, contenders, found)


async def _window(remote: Remote, numbers: Iterator[int], seconds: float, found: Found) -> None:
    """Sixty-four workers verify one token after another until the time is over."""
    start, cpu = time.perf_counter(), time.process_time()
    end, latencies = start + seconds, list[float]()

    async def worker() -> None:
        while (began := time.perf_counter()) < end:
            if not await remote.verify(opaque(next(numbers))):
                raise ValueError(f"{remote.name} refused a good token while it was timed")
            latencies.append((time.perf_counter() - began) * 1e3)

    await asyncio.gather(*(worker() for _ in range(1 if remote.serial else AT_ONCE)))
    count = len(latencies)
    found.rates.append(count / (time.perf_counter() - start))
    found.cpu.append((time.process_time() - cpu) / count * 1e6)
    found.latencies += latencies


def _report(section: Section, contenders: list[Remote], found: dict[str, Found]) -> None:
    columns = ["client", "verifications/s", "client CPU, µs each", "p50, ms", "p99, ms"]
    table = Table("Verifications per second (median of windows)", columns)
    rates = {name: statistics.median(one.rates) for name, one in found.items()}
    for name in sorted(rates, key=rates.__getitem__, reverse=True):
        one = found[name]
        spots = statistics.quantiles(one.latencies, n=100)
        row = [number(rates[name]), number(statistics.median(one.cpu)), number(spots[49]), number(spots[98])]
        table.rows.append([name, *row])
    table.notes.append(
        "remote rates move by 15 % and more with the machine's load; CPU per verification is steadier"
    )
    section.tables.append(table)
    section.bars += [Bar("remote", name, rate, ours=name in OWN) for name, rate in rates.items()]
    section.goals.append(_goal(contenders, found, rates))


def _goal(contenders: list[Remote], found: dict[str, Found], rates: dict[str, float]) -> Goal:
    sdks = {one.name: rates[one.name] for one in contenders if one.sdk}
    best = max(sdks, key=sdks.__getitem__) if sdks else ""
    measured, met = "no fast transport", None
    if FAST in rates and best:
        pairs = zip(found[FAST].rates, found[best].rates, strict=True)
        ratio = statistics.median(one / two for one, two in pairs)
        measured, met = f"{number(rates[FAST])}/s, {number(ratio)} x {best}", ratio >= 1
    if PLAIN in rates:
        measured += f" (plain httpx: {number(rates[PLAIN])}/s)"
    what = "remote, distinct tokens, 5 ms upstream, 64 at once, one async process, fast transport"
    peer = f"{number(sdks[best])}/s ({best})" if best else ""
    return Goal("remote", what, "≥ the fastest peer SDK in the run", measured, met, peer)
