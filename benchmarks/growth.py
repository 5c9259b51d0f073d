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
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import ours
import scripted
from results import Figure, Goal, Section, Table, number, seconds_left
from tokens import key_set, mint_many, opaque

from moonkey_core import MoonKey

SPOTS = [100, 1_000, 10_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000]
JWT_SPOTS = [100, 1_000, 5_000, 20_000]
SLICE, SLICES = 100, 20  # the cost at a spot is the median of the twenty slices of a hundred after it
AFTER = SLICE * SLICES
CACHED = 100_000  # sessions; also the default bound
TRACED = 20_000  # sessions, for tracemalloc, which makes everything several times slower
MOST = 330.0  # seconds for the opaque tokens; less where the whole run would take too long
FLAT = 1.3
TTL = 60.0  # seconds; the longest that the API's answers may be reused
MEGABYTE = 1e6


@dataclass
class Curve:
    """CPU microseconds per verification by how many tokens were seen, and the process's memory there, in bytes.

    ``ratio`` is the median of slices over those of a new client, which got the same tokens at the same moment:
    what else the machine does hits both.
    """

    how: str = ""
    cost: dict[int, float] = field(default_factory=dict)
    ratio: dict[int, float] = field(default_factory=dict)
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
    """CPU microseconds per verification of these requests."""
    authenticate = client.authenticate
    start = time.thread_time()
    answers = [authenticate(one) for one in headers]
    seconds = time.thread_time() - start
    if not all(answers):
        raise ValueError("a good token was refused")
    return seconds / len(headers) * 1e6


def _headers(tokens: list[str]) -> list[dict[str, str]]:
    return [{"authorization": f"Bearer {token}"} for token in tokens]


class Climb:
    """Verifies slice after slice on one client. Notes memory at a spot, then cost over the slices after it."""

    def __init__(self, make: Callable[[], MoonKey], spots: list[int], how: str = "") -> None:
        self.client = make()
        self.curve = Curve(how, base=base())
        self._make, self._spots = make, spots
        self._spot, self._young = 0, self.client
        self._pairs: list[tuple[float, float]] = []

    def step(self, done: int, tokens: list[str]) -> bool:
        """Verify one slice; ``done`` counts it in. Whether this is a spot."""
        headers = _headers(tokens)
        own = timed(self.client, headers)
        if self._spot:
            self._pairs.append((own, timed(self._young, headers)))
            if len(self._pairs) == SLICES or done in self._spots:
                self._note_cost()
        if done not in self._spots:
            return False
        self.curve.memory[done] = resident()
        self._spot, self._young = done, self._make()
        return True

    def _note_cost(self) -> None:
        self.curve.cost[self._spot] = statistics.median(own for own, _ in self._pairs)
        self.curve.ratio[self._spot] = statistics.median(own / young for own, young in self._pairs)
        self._young.close()
        self._spot, self._young, self._pairs = 0, self.client, []


def grow_opaque(most: int, seconds: float) -> Curve:
    """Distinct opaque tokens, each answer kept for as long as may be; a million of them go through."""

    def make() -> MoonKey:
        return scripted.client(session_cache_ttl=TTL)[0]

    timed(make(), _headers([opaque(10_000_000 + n) for n in range(SLICE)]))  # whatever is made on first use
    climb = Climb(make, SPOTS, scripted.client()[1])
    end = time.monotonic() + seconds
    for at in range(0, most + AFTER, SLICE):
        climb.step(at + SLICE, [opaque(n) for n in range(at, at + SLICE)])
        if time.monotonic() > end:
            break
    climb.client.close()
    return climb.curve


def grow_jwts(most: int) -> Curve:
    """Distinct JWTs at first sight, and those seen before, by how many were seen."""
    tokens = mint_many(range(most + AFTER + SLICE))

    def make() -> MoonKey:
        return ours.blocking("http://127.0.0.1:9", jwks=key_set())

    timed(make(), _headers(tokens[-SLICE:]))  # whatever is made on first use
    climb = Climb(make, JWT_SPOTS)
    for at in range(0, most + AFTER, SLICE):
        done = at + SLICE
        if climb.step(done, tokens[at:done]):
            seen = _headers(tokens[: done : max(1, done // 2_000)])
            climb.curve.warm[done] = statistics.median(timed(climb.client, seen) for _ in range(5))
    climb.client.close()
    return climb.curve


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


def trace_jwts(most: int, seconds: float) -> tuple[int, int]:
    """How many JWTs were verified and their sessions read, in at most so many seconds, and the bytes held.

    They are signed as they are needed: most of the time goes there, and none of them gets too old.
    """
    client = ours.blocking("http://127.0.0.1:9", jwks=key_set())
    begun = mint_many(range(10_000_000, 10_000_000 + SLICE))
    _read_all(client, begun)
    end, step, done = time.monotonic() + seconds, 1_000, 0
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    while done < most and time.monotonic() < end:
        tokens = mint_many(range(done, done + step))
        _read_all(client, tokens)
        done += step
    tokens.clear()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    client.close()
    return done, held


def _read_all(client: MoonKey, tokens: list[str]) -> None:
    for headers in _headers(tokens):
        if not ours.read(client.authenticate(headers)):
            raise ValueError("a good token was refused")


def measure(quick: bool) -> Section:
    """Run the section. Each job has a new process, whose memory is nobody else's.

    The long one runs beside the others, which does no harm: it counts CPU, and compares at the same moment.
    """
    section = Section("Growth and memory")
    if not ours.has_setting("session_cache_ttl"):
        section.failed.append("this version does not remember sessions: not measured")
        return section
    context, seconds = get_context("spawn"), min(MOST, seconds_left(MOST))
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(1, context, max_tasks_per_child=1) as other:
        opaque_curve = one.submit(grow_opaque, 10_000 if quick else SPOTS[-1], seconds)
        jwt_curve = other.submit(grow_jwts, 5_000 if quick else JWT_SPOTS[-1])
        traced = other.submit(trace).result()
        jwts_held = other.submit(trace_jwts, 3_000 if quick else CACHED, seconds).result()
        curve, jwts = opaque_curve.result(), jwt_curve.result()
    _growth(section, curve, jwts)
    _memory(section, curve, jwts, traced)
    _jwt_memory(section, *jwts_held)
    return section


def _jwt_memory(section: Section, count: int, held: int) -> None:
    """The whole count, or as many as the time allowed, which the table says."""
    each = held / count
    section.tables[-1].rows.append(
        [
            f"{count:,} JWTs, sessions read, by tracemalloc",
            f"{number(held / MEGABYTE)} ({number(each)} bytes each)",
        ]
    )
    if count < CACHED:
        section.failed.append(f"memory of {CACHED:,} JWTs: taken from {count:,}, for which there was time")
    section.figures.append(Figure("memory-jwt", each * CACHED / MEGABYTE, each * CACHED / MEGABYTE, 1))


def _growth(section: Section, curve: Curve, jwts: Curve) -> None:
    columns = ["tokens seen", "opaque, µs", "x a new client", "JWT at first sight, µs", "x a new client"]
    title = "CPU per verification by how many distinct tokens were seen before"
    table = Table(title, [*columns, "JWT seen before, µs"])
    for spot in sorted({*curve.cost, *jwts.cost}):
        values = [one.get(spot) for one in (curve.cost, curve.ratio, jwts.cost, jwts.ratio, jwts.warm)]
        table.rows.append([f"{spot:,}", *("" if value is None else number(value) for value in values)])
    table.notes.append(
        f"opaque: no socket, {curve.how}; `session_cache_ttl={TTL:g}`, so that every answer is kept"
    )
    table.notes.append("a new client verifies the same tokens at the same moment, and has seen fewer than 2,000")
    section.tables.append(table)
    rise, jwt_rise = max(curve.ratio.values()), max(jwts.ratio.values())
    whole = max(curve.cost) >= SPOTS[-1] and max(jwts.cost) >= JWT_SPOTS[-1]
    flat = rise <= FLAT and jwt_rise <= FLAT
    section.goals.append(
        Goal(
            "growth",
            "cost per verification from 100 to 1,000,000 distinct opaque tokens (JWTs to 20,000)",
            f"flat (nowhere over {FLAT:g} x a new client)",
            f"to {max(curve.cost):,} tokens: x {number(rise)}; to {max(jwts.cost):,} JWTs: x {number(jwt_rise)}",
            flat if whole or not flat else None,
        )
    )


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
