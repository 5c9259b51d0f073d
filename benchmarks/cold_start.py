"""How long a process that starts takes to know what is revoked: ``python benchmarks/cold_start.py [ENTRIES]``.

A process adds so many revocations (60,000 unless given) to a redis-server of the benchmark's own. Then other
processes start, one after another. Of each, a line says after how many seconds it knew all of them, and how much
CPU time that took.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from redis_process import RedisProcess

ENTRIES = 60_000
STARTS = 5
PATIENCE = 300.0  # seconds
SETTLE = 5.0  # seconds, in which what is to be prepared for others is prepared
LAG = 20.0  # seconds that a process may be behind: so long that a busy machine does not begin anew


def feed(redis_url: str) -> tuple[Any, Any]:
    """Return the table and the feed of this process."""
    from moonkey_core import Settings
    from moonkey_core.redis import shared_revocations

    values = {"secret_key": "sk_test_cold", "redis_url": redis_url, "max_revocation_lag": LAG}
    return shared_revocations(Settings.load(values, {}))


def start(pipe: Connection, redis_url: str, count: int) -> None:
    """Be a process that starts: send the seconds and the CPU seconds until all is known."""
    for name in ("cryptography.hazmat.primitives.ciphers.aead", "redis.asyncio"):
        import_module(name)  # loading the packages is not what is measured

    known, started = feed(redis_url)
    began, cpu = time.monotonic(), time.process_time()
    started.acquire()
    started.start()
    while len(known) < count and time.monotonic() - began < PATIENCE:
        time.sleep(0.01)
    pipe.send((len(known), time.monotonic() - began, time.process_time() - cpu))
    started.close()


def main() -> None:
    """Print a line for each start."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    context = get_context("spawn")
    with RedisProcess() as server:
        known, sender = feed(server.url)
        sender.acquire()
        sender.start()
        for number in range(count):
            known.add(session_id=f"session-test-{number:08}-{hash(number) & 0xFFFFFFFF:08x}")
        end = time.monotonic() + PATIENCE
        while sender.unsent and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(SETTLE)
        for _ in range(STARTS):
            ours, theirs = context.Pipe()
            process = context.Process(target=start, args=(theirs, server.url, count))
            process.start()
            found, seconds, cpu = ours.recv()
            process.join(PATIENCE)
            print(f"{found} of {count} known after {seconds:.2f} s, CPU {cpu:.2f} s")
        sender.close()


if __name__ == "__main__":
    main()
