"""Growth and memory: what one more verification costs after so many, and what a hundred thousand sessions weigh.

No socket is in it: the network answers on the spot (``scripted.py``), so that a million verifications fit into a
minute or two and nothing but this project's own cost can grow. Each job has a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ours
import scripted
from results import Goal, Line, Section, Table, number
from tokens import key_set, mint_many, opaque

from moonkey_core import MoonKey

SPOTS = [100, 1_000, 10_000, 100_000, 200_000, 300_000, 1_000_000]
JWT_SPOTS = [100, 1_000, 5_000, 20_000]
SLICE, SLICES = 100, 20  # a spot is the median of the last twenty slices of a hundred before it
CACHED = 100_000  # sessions; also the default bound
TRACED = 20_000  # sessions, for tracemalloc, which makes everything several times slower
MOST = 130.0  # seconds for the opaque tokens
FLAT = 1.3
TTL = 60.0  # seconds; the longest that the API's answers may be reused
MEGABYTE = 1e6


@dataclass
class Curve:
    """Microseconds per verification by how many tokens were seen, and the process's memory there, in bytes."""

    how: str = ""
    cost: dict[int, float] = field(default_factory=dict)
    mean: dict[int, float] = field(default_factory=dict)
    warm: dict[int, float] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    base: int = 0


def base() -> int:
    """Bytes of this process in memory, once all that is free is given back: what grows, grows from there."""
    gc.collect()
    gc.freeze()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def timed(client: MoonKey, headers: list[dict[str, str]]) -> float:
    """Microseconds per verification of these requests."""
    authenticate = client.authenticate
    start = time.perf_counter()
    answers = [authenticate(one) for one in headers]
    seconds = time.perf_counter() - start
    if not all(answers):
        raise ValueError("a good token was refused")
    return seconds / len(headers) * 1e6


def _headers(tokens: list[str]) -> list[dict[str, str]]:
    return [{"authorization": f"Bearer {token}"} for token in tokens]


def _first_spot(make: Any, tokens: list[list[str]]) -> float:
    """The first hundred of a new client, several times: there is no other way to see that spot often."""
    return statistics.median(timed(make(), _headers(some)) for some in tokens)


def grow_opaque(most: int) -> Curve:
    """Distinct opaque tokens, each answer kept for as long as may be; a million of them go through."""

    def make() -> MoonKey:
        return scripted.client(session_cache_ttl=TTL)[0]

    many = [[opaque(10_000_000 + 1_000 * turn + n) for n in range(SPOTS[0])] for turn in range(9)]
    timed(make(), _headers(many[0]))  # whatever is made on first use
    client, how = scripted.client(session_cache_ttl=TTL)
    curve = Curve(how, {SPOTS[0]: 0.0}, base=base())
    slices: list[float] = []
    end = time.monotonic() + MOST
    for at in range(0, most, SLICE):
        slices.append(timed(client, _headers([opaque(n) for n in range(at, at + SLICE)])))
        done = at + SLICE
        if done in SPOTS:
            _note(curve, done, slices)
            slices = []
        if time.monotonic() > end:
            break
    client.close()
    curve.cost[SPOTS[0]] = _first_spot(make, many)
    return curve


def _note(curve: Curve, done: int, slices: list[float]) -> None:
    if done > SPOTS[0]:
        curve.cost[done] = statistics.median(slices[-SLICES:])
    curve.mean[done] = statistics.fmean(slices)  # all since the spot before, the garbage collector's pauses too
    curve.memory[done] = resident()


def grow_jwts(most: int) -> Curve:
    """Distinct JWTs at first sight, and those seen before, by how many were seen."""
    tokens = mint_many(range(most + SPOTS[0] * 9))

    def make() -> MoonKey:
        return ours.blocking("http://127.0.0.1:9", jwks=key_set())

    extra = [tokens[most + turn * SPOTS[0] : most + (turn + 1) * SPOTS[0]] for turn in range(9)]
    timed(make(), _headers(extra[0]))  # whatever is made on first use
    client = make()
    curve = Curve("", {SPOTS[0]: 0.0}, base=base())
    slices: list[float] = []
    for at in range(0, most, SLICE):
        slices.append(timed(client, _headers(tokens[at : at + SLICE])))
        done = at + SLICE
        if done in JWT_SPOTS:
            _note(curve, done, slices)
            slices = []
            step = max(1, done // 2_000)
            seen = _headers(tokens[:done:step])
            curve.warm[done] = statistics.median(timed(client, seen) for _ in range(5))
    client.close()
    curve.cost[SPOTS[0]] = _first_spot(make, extra)
    return curve


def trace() -> float:
    """Bytes that Python holds for each remembered session, by tracemalloc."""
    client, _ = scripted.client(session_cache_ttl=TTL)
    timed(client, _headers([opaque(1_000_000 + n) for n in range(SLICE)]))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(0, TRACED, SLICE):
        timed(client, _headers([opaque(n) for n in range(at, at + SLICE)]))
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / TRACED


def apart(job: Any, *arguments: Any) -> Any:
    """Run a job in a new process, whose memory is nobody else's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(job, *arguments).result()


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Growth and memory")
    if not ours.has_setting("session_cache_ttl"):
        section.failed.append("this version does not remember sessions: not measured")
        return section
    traced = apart(trace)
    jwts: Curve = apart(grow_jwts, 5_000 if quick else JWT_SPOTS[-1])
    curve: Curve = apart(grow_opaque, 10_000 if quick else SPOTS[-1])
    _growth(section, curve, jwts)
    _memory(section, curve, jwts, traced)
    return section


def _growth(section: Section, curve: Curve, jwts: Curve) -> None:
    columns = ["tokens seen", "opaque, µs", "opaque, mean since the row above, µs", "JWT at first sight, µs"]
    table = Table("Cost per verification by how many distinct tokens were seen", [*columns, "JWT seen before, µs"])
    for spot in sorted({*curve.cost, *jwts.cost}):
        values = [one.get(spot) for one in (curve.cost, curve.mean, jwts.cost, jwts.warm)]
        table.rows.append([f"{spot:,}", *("" if value is None else number(value) for value in values)])
    table.notes.append(
        f"opaque: no socket, {curve.how}; `session_cache_ttl={TTL:g}`, so that every answer is kept"
    )
    section.tables.append(table)
    section.lines += [
        Line("opaque token (no socket)", list(curve.cost), list(curve.cost.values())),
        Line("JWT at first sight", list(jwts.cost), list(jwts.cost.values())),
        Line("JWT seen before", list(jwts.warm), list(jwts.warm.values())),
    ]
    rise, jwt_rise = _rise(curve.cost), _rise(jwts.cost)
    whole = max(curve.cost) >= SPOTS[-1] and max(jwts.cost) >= JWT_SPOTS[-1]
    flat = rise <= FLAT and jwt_rise <= FLAT
    section.goals.append(
        Goal(
            "growth",
            "cost per verification from 100 to 1,000,000 distinct opaque tokens (JWTs to 20,000)",
            f"flat (dearest spot ≤ {FLAT:g} x the first)",
            f"to {max(curve.cost):,} tokens: x {number(rise)}; to {max(jwts.cost):,} JWTs: x {number(jwt_rise)}",
            flat if whole or not flat else None,
        )
    )


def _rise(cost: dict[int, float]) -> float:
    """The dearest spot over the first."""
    return max(cost.values()) / next(iter(cost.values()))


def _memory(section: Section, curve: Curve, jwts: Curve, traced: float) -> None:
    table = Table("Memory of the process", ["verified sessions", "more than before the first, MB"])
    for spot, bytes_ in curve.memory.items():
        table.rows.append([f"{spot:,} opaque tokens", number(max(0.0, (bytes_ - curve.base) / MEGABYTE))])
    most = max(jwts.memory)
    each = (jwts.memory[most] - jwts.base) / most
    table.rows.append([f"{most:,} JWTs", f"{number(each * most / MEGABYTE)} ({number(each)} bytes each)"])
    table.notes.append(f"tracemalloc, over {TRACED:,} sessions: {number(traced)} bytes each")
    table.notes.append(f"the bound is the default: {CACHED:,} sessions, the oldest going first")
    section.tables.append(table)
    what = f"memory, {CACHED:,} verified sessions cached"
    reach = "≤ 150 MB, flat after that"
    full, double = curve.memory.get(CACHED), curve.memory.get(CACHED * 2)
    if full is None or double is None:
        guess = traced * CACHED / MEGABYTE
        section.goals.append(
            Goal("memory", what, reach, f"not run so far ({number(guess)} MB by tracemalloc)", None)
        )
        return
    held, more = (full - curve.base) / MEGABYTE, (double - full) / MEGABYTE
    by_trace = number(traced * CACHED / MEGABYTE)
    measured = f"{number(held)} MB ({by_trace} MB by tracemalloc); {more:+.1f} MB after as many more"
    section.goals.append(Goal("memory", what, reach, measured, held <= 150 and more <= 0.1 * held))
