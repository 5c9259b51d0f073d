"""A fleet of up to a thousand workers and a real Redis: what the feed costs there, and how fast it is.

One process of the fleet is real, and revokes sessions. The others are simulated: each has two connections and
sends exactly what a real one sends (recorded from the package's own code), but does nothing with what it hears. So
the CPU of Redis is that of a real fleet, and a thousand processes fit on this machine. An entry has arrived when
the kernel has it: the time that the simulation takes to get to it does not count.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import ours
from fleet_commands import Commands, record
from fleet_readers import Readers
from fleet_siblings import Siblings
from fleet_writer import PATIENCE, sealed_entries, table_of, write
from redis_process import PROGRAM, RedisProcess
from results import Goal, Section, Table

READERS = (10, 100, 1000)
RATES = (0, 1, 10, 50)
LAG = 1.0  # seconds: the default of max_revocation_lag
SECONDS = 18.0
WARM_UP = 1.0
MEMORY = 1_000_000
MACHINES = 50
SIBLINGS = 20
_SEALED = 1_000  # distinct entries, added again and again: they are equally long


@dataclass
class Cost:
    """What one fleet cost."""

    readers: int
    rate: float
    commands: float  # a second and reader
    redis: float  # of a core
    simulator: float  # of a core
    lags: list[float]  # milliseconds, sorted
    missed: int


class Writer:
    """The real process, and the pipe to it."""

    def __init__(self, redis_url: str) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=write, args=(theirs, redis_url), daemon=True)
        self._process.start()
        theirs.close()
        self.times: list[float] = []  # at which it has revoked, in the last fleet

    def end(self) -> None:
        """End it."""
        self.pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("What the feed of revocations costs a large fleet")
    if PROGRAM is None:
        section.failed.append("no redis-server (or valkey-server) is installed: skipped")
        return section
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    import redis

    seconds = 3.0 if quick else SECONDS
    with RedisProcess() as server:
        writer = Writer(server.url)
        client: Any = redis.Redis.from_url(server.url, protocol=2, socket_timeout=30)
        try:
            root, epoch, stream = _feed(client)
            alone = _alone(client, writer, seconds)
            commands = record(root.decode(), epoch)
            costs = [
                _cost(client, server.port, writer, (readers, rate, seconds), commands, (epoch, stream))
                for readers in (READERS[:2] if quick else READERS)
                for rate in (RATES[::2] if quick else RATES)
            ]
            shared = _shared(client, server, writer, seconds, commands, (epoch, stream))
        finally:
            writer.end()
        _report(section, costs, alone)
        _report_shared(section, shared)
        _memory(section, client, stream.decode(), server.url, 20_000 if quick else MEMORY)
    return section


def _feed(client: Any) -> tuple[bytes, bytes, bytes]:
    """Wait until the real process has made the stream; return the root of all names, the epoch, and the stream."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for key in client.scan_iter("moonkey:*:feed:epoch"):
            root, epoch = key.removesuffix(b":epoch"), client.get(key)
            return root, epoch, root + b":" + epoch.split(b".")[0]
        time.sleep(0.05)
    raise TimeoutError("the real process has made no stream")


def _alone(client: Any, writer: Writer, seconds: float) -> float:
    """Return how many commands a second the real process sends while nothing happens."""
    before, began = client.info("stats")["total_commands_processed"], time.monotonic()
    writer.pipe.send((0, seconds))
    _answer(writer.pipe)
    after = client.info("stats")["total_commands_processed"]
    return float((after - before - 1) / (time.monotonic() - began))


def _shared(
    client: Any,
    server: RedisProcess,
    writer: Writer,
    seconds: float,
    commands: Commands,
    names: tuple[bytes, bytes],
) -> tuple[Cost, list[float]]:
    """Run the largest fleet where the processes of each machine share a reader; the last machine is real.

    Returns:
        What it cost, and the lags of the real processes (milliseconds, sorted).
    """
    with Siblings(server.url, SIBLINGS) as siblings:
        others = MACHINES - 1
        order = (others, 10.0, seconds)
        cost = _cost(client, server.port, writer, order, commands, names, others * (SIBLINGS - 1))
        return cost, sorted(siblings.lags(writer.times))


def _cost(
    client: Any,
    port: int,
    writer: Writer,
    order: tuple[int, float, float],
    commands: Commands,
    names: tuple[bytes, bytes],
    told: int = 0,
) -> Cost:
    """Run one fleet."""
    count, rate, seconds = order
    epoch, stream = names
    ((last_id, _),) = client.xrevrange(stream, count=1)
    readers = Readers(port, count, commands, epoch, last_id, LAG, told)
    try:
        readers.run(WARM_UP)
        readers.forget()
        before, began = client.info("all"), time.monotonic()
        writer.pipe.send((rate, seconds))
        busy = readers.run(seconds)
        took, after = time.monotonic() - began, client.info("all")
        readers.run(0.5)  # what was revoked last
        writer.times = times = _answer(writer.pipe)
    finally:
        readers.close()
    seen = readers.seen
    known = min(len(times), len(seen.ids))
    lags = sorted(
        (at - times[place]) * 1e3 for place, at in zip(seen.places, seen.times, strict=True) if place < known
    )
    used = [info["used_cpu_user"] + info["used_cpu_sys"] for info in (before, after)]
    sent = after["total_commands_processed"] - before["total_commands_processed"]
    return Cost(
        count,
        rate,
        sent / took / (count + 1),
        (used[1] - used[0]) / took,
        busy / took,
        lags,
        len(times) * count - len(lags),
    )


def _answer(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE * 3):
        raise TimeoutError("the real process does not answer")
    return pipe.recv()


def _report(section: Section, costs: list[Cost], alone: float) -> None:
    columns = ["workers", "revocations/s", "commands/s and worker", "Redis, % of a core", "p50", "p99", "max"]
    table = Table(f"Redis and lag, with max_revocation_lag={LAG:g}", [*columns, "simulation, % of a core"])
    for one in costs:
        lags = [f"{at:.1f}" for at in _spots(one.lags)] if one.lags else ["", "", ""]
        cells = [f"{one.readers:,}", f"{one.rate:g}", f"{one.commands:.1f}", f"{one.redis * 100:.1f}"]
        table.rows.append([*cells, *lags, f"{one.simulator * 100:.0f}"])
    missed = sum(one.missed for one in costs)
    table.notes.append(
        "lag: milliseconds from the call of `revocations.add` to the arrival at a worker, each counts"
    )
    table.notes.append(f"{missed} of {missed + sum(len(one.lags) for one in costs)} arrivals were missed")
    table.notes.append(f"a real worker that is idle sends {alone:.1f} commands/s; each holds 2 connections")
    table.notes.append("where the simulation is near 100 % of a core, readers come late and the lag is theirs")
    section.tables.append(table)
    largest = next((one for one in costs if (one.readers, one.rate) == (1000, 10)), None)
    measured, met = "not run", None
    if largest is not None and largest.lags:
        p50, p99, most = _spots(largest.lags)
        measured = (
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms; Redis {largest.redis * 100:.1f} % of a core"
        )
        met = p99 <= 100 and largest.redis <= 0.15 and not largest.missed
    what = "1,000 workers, 10 revocations/s"
    section.goals.append(Goal("fleet-scale", what, "p99 ≤ 100 ms; Redis ≤ 15 % of a core", measured, met))


def _report_shared(section: Section, shared: tuple[Cost, list[float]]) -> None:
    cost, lags = shared
    columns = ["commands/s and worker", "Redis, % of a core", "p50", "p99", "max"]
    table = Table(f"{MACHINES * SIBLINGS:,} workers on {MACHINES} machines, with feed_directory", columns)
    p50, p99, most = _spots(lags) if lags else (float("nan"),) * 3
    commands = cost.commands * (cost.readers + 1) / (MACHINES * SIBLINGS)
    table.rows.append([f"{commands:.1f}", f"{cost.redis * 100:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{most:.1f}"])
    table.notes.append(
        f"10 revocations/s; lag: milliseconds until {SIBLINGS} real processes, which share one reader, have it"
    )
    section.tables.append(table)
    measured = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms; Redis {cost.redis * 100:.1f} % of a core"
    section.goals.append(
        Goal(
            "fleet-scale-shared",
            f"the same on {MACHINES} machines, with feed_directory",
            "p99 ≤ 100 ms; Redis ≤ 15 % of a core",
            measured,
            p99 <= 100 and cost.redis <= 0.15,
        )
    )


def _spots(lags: list[float]) -> tuple[float, float, float]:
    """Return p50, p99 and the maximum of sorted values."""
    return lags[len(lags) // 2], lags[min(int(len(lags) * 0.99), len(lags) - 1)], lags[-1]


def _memory(section: Section, client: Any, stream: str, redis_url: str, count: int) -> None:
    sealed = sealed_entries(_SEALED, stream, redis_url)
    before = client.info("memory")["used_memory"]
    for start in range(0, count, _SEALED):
        with client.pipeline(transaction=False) as pipe:
            for one in sealed[: count - start]:
                pipe.execute_command("XADD", stream, "*", "entry", one)
            pipe.execute()
    in_redis = client.info("memory")["used_memory"] - before
    pipe, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=table_of, args=(count, theirs), daemon=True)
    process.start()
    known, in_process = _answer(pipe)
    process.join(5)
    if known != count:
        section.failed.append(f"memory of a process: it holds {known:,} of {count:,} revocations")
    table = Table(f"Memory of {count:,} revoked sessions", ["where", "MB", "bytes each"])
    for where, size in (("the stream in Redis", in_redis), ("the table of a process", in_process)):
        table.rows.append([where, f"{size / 1e6:.0f}", f"{size / count:.0f}"])
    section.tables.append(table)
    assert ours.has_setting("max_revocations")
