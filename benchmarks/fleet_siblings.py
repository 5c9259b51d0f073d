"""Real processes of one machine that share a reader of the feed, and note when each revocation comes."""

from __future__ import annotations

import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Self

import ours
from fleet_writer import PATIENCE

from moonkey_core import Settings
from moonkey_core.redis import RedisRevocations
from moonkey_core.revocations import Revocation, Revocations, new_table


class Siblings:
    """All of them."""

    def __init__(self, redis_url: str, count: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._pipes: list[Connection] = []
        context = get_context("spawn")
        self._processes = []
        for _ in range(count):
            pipe, theirs = context.Pipe()
            made = context.Process(target=hear, args=(theirs, redis_url, self._folder.name), daemon=True)
            made.start()
            theirs.close()
            self._pipes.append(pipe)
            self._processes.append(made)

    def __enter__(self) -> Self:
        """Wait until all are live."""
        for pipe in self._pipes:
            if not pipe.poll(PATIENCE * 3) or not pipe.recv():
                raise TimeoutError("a process has not become live")
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        self._folder.cleanup()

    def lags(self, times: list[float]) -> list[float]:
        """Return all lags, in milliseconds.

        Args:
            times: When the sessions were revoked.
        """
        found: list[float] = []
        for pipe in self._pipes:
            pipe.send("times")
            if not pipe.poll(PATIENCE):
                raise TimeoutError("a process does not answer")
            arrived = pipe.recv()[-len(times) :]
            found.extend((at - began) * 1e3 for at, began in zip(arrived, times, strict=True))
        return found


class Noting(Revocations):
    """A table that notes when an entry comes."""

    times: list[float]

    def receive(self, entry: Revocation) -> None:
        """Take it in."""
        super().receive(entry)
        self.times.append(time.time())


def hear(pipe: Connection, redis_url: str, folder: str) -> None:
    """Say when the process is live, and then when each entry came, until the pipe ends."""
    settings = Settings.load(ours.options("http://127.0.0.1:9", redis_url=redis_url, feed_directory=folder), {})
    table = new_table(settings, None)
    table.__class__ = Noting
    assert isinstance(table, Noting)
    table.times = []
    feed = RedisRevocations(settings, table)
    feed.acquire()
    end = time.monotonic() + PATIENCE
    while not feed.is_live and time.monotonic() < end:
        time.sleep(0.05)
    pipe.send(feed.is_live)
    try:
        while True:
            pipe.recv()
            pipe.send(table.times)
    except EOFError:
        feed.close()
