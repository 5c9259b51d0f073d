"""A real process of the fleet that revokes sessions at a rate, told so over a pipe."""

from __future__ import annotations

import random
import time
from multiprocessing.connection import Connection
from typing import Any

import ours

from moonkey_core import Settings
from moonkey_core.redis import RedisRevocations
from moonkey_core.revocations import new_table

PATIENCE = 30.0


def write(pipe: Connection, redis_url: str) -> None:
    """Obey until the pipe ends."""
    settings = Settings.load(ours.options("http://127.0.0.1:9", redis_url=redis_url), {})
    feed = RedisRevocations(settings, new_table(settings, None))
    feed.acquire()
    feed.start()
    session = 0
    try:
        while True:
            try:
                rate, seconds = pipe.recv()
            except EOFError:
                return
            times = revoke(feed, rate, seconds, session)
            session += len(times)
            pipe.send(times)
    finally:
        feed.close()


def revoke(feed: RedisRevocations, rate: float, seconds: float, first: int) -> list[float]:
    """Revoke sessions for so long, by chance ``rate`` in a second. Returns when, by the clock of this machine."""
    chance, times = random.Random(first), list[float]()
    at, end = time.monotonic(), time.monotonic() + seconds
    while rate and (at := at + chance.expovariate(rate)) < end:
        time.sleep(max(at - time.monotonic(), 0.0))
        times.append(time.time())
        feed.revocations.add(session_id=f"session_{first + len(times):032d}")
    time.sleep(max(end - time.monotonic(), 0.0))
    late = time.monotonic() + PATIENCE
    while feed.unsent and time.monotonic() < late:
        time.sleep(0.01)
    return times


def table_of(count: int, pipe: Connection) -> None:
    """Fill the table of a process, and send how many bytes of memory that took."""
    bounds = {"max_revocations": count, "max_untold_revocations": count}
    settings = Settings.load(ours.options("http://127.0.0.1:9", **bounds), {})
    table = new_table(settings, None)
    before = _resident()
    for place in range(count):
        table.add(session_id=f"session_{place:032d}")
    pipe.send((len(table), _resident() - before))


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def sealed_entries(count: int, stream: str, redis_url: str) -> list[bytes]:
    """Return sealed entries as a process of this fleet writes them."""
    from moonkey_core._crypto import fleet_sealers
    from moonkey_core.redis.entries import seal_entry
    from moonkey_core.revocations import Revocation

    settings: Any = Settings.load(ours.options("http://127.0.0.1:9", redis_url=redis_url), {})
    sealer = fleet_sealers(settings, "feed")[0]
    now = time.time()
    return [
        seal_entry(sealer, stream, Revocation(f"session_{place:032d}", None, None, now)) for place in range(count)
    ]
