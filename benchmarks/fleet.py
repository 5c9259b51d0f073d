"""Four workers and a real redis-server: how long a session that one has revoked passes at the others."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import fleet_worker
import ours
from fleet_worker import PATIENCE
from redis_process import PROGRAM, RedisProcess
from results import Goal, Section, Table
from service import Upstream
from tokens import bad, good, key_set, mint_many

WORKERS = 4
UNCOUNTED = 10
SETTLE = 3.0  # seconds for the feed to be heard


@dataclass
class Lags:
    """Milliseconds until the last worker refused, one for each revocation; ``never`` counts the others."""

    since_call: list[float] = field(default_factory=list)
    since_return: list[float] = field(default_factory=list)
    never: int = 0


class Worker:
    """A worker process and the pipe to it."""

    def __init__(self, base_url: str, redis_url: str) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=fleet_worker.work, args=(theirs, base_url, redis_url), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, order: str, value: Any) -> Any:
        """An order and its answer."""
        self.pipe.send((order, value))
        return answer(self.pipe)

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.join(3)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def answer(pipe: Connection) -> Any:
    """What a worker says, in bounded time."""
    if not pipe.poll(PATIENCE * 3):
        raise TimeoutError("a worker does not answer")
    return pipe.recv()


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section(f"A session revoked in one of {WORKERS} workers, until all refuse it")
    if PROGRAM is None:
        section.failed.append("no redis-server (or valkey-server) is installed: skipped")
    elif not ours.has_setting("redis_url"):
        section.failed.append("this version has no feed: skipped")
    else:
        with Upstream(key_set()) as upstream, RedisProcess() as redis:
            workers = [Worker(upstream.url, redis.url) for _ in range(WORKERS)]
            try:
                _run(section, workers, upstream, 40 if quick else 210)
            finally:
                for worker in workers:
                    worker.end()
    return section


def _run(section: Section, workers: list[Worker], upstream: Upstream, rounds: int) -> None:
    for worker in workers:
        _admit(worker)
    _settle(workers, upstream)
    tokens = mint_many(range(rounds))
    upstream.set(reset=True)
    lags, first = Lags(), Lags()
    for turn, token in enumerate(tokens):
        answers = [worker.ask("accepts", token) for worker in workers]  # each of them: they are to know it
        if not all(answers):
            raise ValueError("a worker refused a good token")
        _revoke(workers, turn, token, first if turn < UNCOUNTED else lags)
        if first.never + lags.never > 3:
            lags.never += first.never
            break
    _report(section, lags, upstream.count("verify"))


def _admit(worker: Worker) -> None:
    if not worker.ask("accepts", good("moonkey", 999_999)):
        raise ValueError("a worker refused a good token")
    for what, token in bad("moonkey").items():
        if worker.ask("accepts", token):
            raise ValueError(f"a worker accepted a token with {what}")


def _settle(workers: list[Worker], upstream: Upstream) -> None:
    """Wait until JWTs are verified without asking the API, which is when every worker hears the feed."""
    end, user = time.monotonic() + SETTLE, 1_000_000
    while time.monotonic() < end:
        upstream.set(reset=True)
        user += 1
        token = good("moonkey", user)
        for worker in workers:
            worker.ask("accepts", token)
        if upstream.count("verify") == 0:
            return
        time.sleep(0.1)


def _revoke(workers: list[Worker], turn: int, token: str, lags: Lags) -> None:
    """Revoke in one worker, each in its turn, while all the others look all the time."""
    revoker = workers[turn % len(workers)]
    watchers = [worker for worker in workers if worker is not revoker]
    for worker in watchers:
        if not worker.ask("watch", token):
            raise ValueError("a worker refused a good token")
    start, returned, own = revoker.ask("revoke", (f"sess_{turn}", token))
    seen = [own, *(answer(worker.pipe) for worker in watchers)]
    times = [one for one in seen if one is not None]
    if len(times) < len(seen):
        lags.never += 1
        return
    lags.since_call.append((max(times) - start) * 1e3)
    lags.since_return.append((max(times) - returned) * 1e3)


def _report(section: Section, lags: Lags, asked: int) -> None:
    table = Table("Milliseconds until the last worker refuses", ["since", "p50", "p99", "max"])
    rows = {"the call of `sessions.revoke`, which asks the API": lags.since_call, "its return": lags.since_return}
    for name, values in rows.items():
        if len(values) > 1:
            table.rows.append([name, *(f"{one:.1f}" for one in _spots(values))])
    table.notes.append(f"{len(lags.since_call)} revocations; {lags.never} not seen by all within {PATIENCE:g} s")
    table.notes.append(f"{asked} calls to the API to verify meanwhile; a watcher looks every half millisecond")
    section.tables.append(table)
    measured, met = f"{lags.never} not seen by all", False
    if len(lags.since_call) > 1:
        p50, p99, most = _spots(lags.since_call)
        measured = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms ({lags.never} never)"
        met = p99 <= 100 and most <= 1_000 and not lags.never
    section.goals.append(
        Goal(
            "fleet",
            f"revocation seen by all of a {WORKERS}-worker fleet",
            "p99 ≤ 100 ms; never over `max_revocation_lag` (1 s)",
            measured,
            met,
            "a JWT's own lifetime (not measured)",
        )
    )


def _spots(values: list[float]) -> tuple[float, float, float]:
    spots = statistics.quantiles(values, n=100, method="inclusive")
    return spots[49], spots[98], max(values)
