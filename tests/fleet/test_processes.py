"""Feeds in real processes: forked ones, short-lived ones, and many at once."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import select
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moonkey_core.redis import AsyncRedisStore, RedisStore, shared_revocations
from support.feeds import PLACE, MakeProcess, good, settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

SCRIPT = """
import sys
import time

from moonkey_core import Settings
from moonkey_core.redis import shared_revocations

url, how = sys.argv[1:]
settings = Settings.load({"secret_key": "sk_test_fleet", "redis_url": url, "max_revocation_lag": 0.5}, {})
known, feed = shared_revocations(settings)
feed.acquire()
known.add(session_id="sess_script")
if how == "release":
    feed.release()
if how == "idle":
    while not feed.is_live:
        time.sleep(0.001)  # the feed's thread needs its turn
"""


NO_FILES = """
import resource
import sys
import time

from moonkey_core import Settings
from moonkey_core.redis import shared_revocations

settings = Settings.load({"secret_key": "sk_test_fleet", "redis_url": sys.argv[1], "max_revocation_lag": 0.5}, {})
known, feed = shared_revocations(settings)
feed.acquire()
usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
known.add(session_id="sess_script")
feed._worker._thread.join()
resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
end = time.monotonic() + 10
while not (feed.is_live and feed.unsent == 0) and time.monotonic() < end:
    time.sleep(0.01)
print("live" if feed.is_live else "lost", feed.unsent)
feed.release()
"""


def script(server: RedisServer, how: str, host: str = "127.0.0.1") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT, server.url.replace("127.0.0.1", host), how],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a script has written to its log, without what asyncio's debug mode says of a busy machine."""
    return [
        line for line in done.stderr.splitlines() if not re.fullmatch(r"Executing <.*> took [0-9.]+ seconds", line)
    ]


class TestScripts:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    @pytest.mark.parametrize("how", ["release", "exit", "idle"])
    def test_what_a_short_one_revokes_is_said(
        self, how: str, host: str, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one = make_process()
        assert wait_until(lambda: one.is_live)
        done = script(server, how, host)
        for _ in range(4):  # a feed has half a second to say it, which a busy machine may not give each time
            done = script(server, how, host) if said(done) else done
        assert (done.returncode, done.stdout, said(done)) == (0, "", [])
        assert wait_until(lambda: one.refuses("sess_script"))

    def test_neither_hangs_nor_prints_where_redis_is_gone(self, server: RedisServer) -> None:
        server.kill()
        done = script(server, "exit")
        assert done.returncode == 0
        assert "feed: ended before Redis had 1 revocations" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr

    def test_neither_hangs_nor_prints_where_redis_hangs(self, server: RedisServer) -> None:
        server.pause()
        done = script(server, "exit")
        server.resume()
        assert done.returncode == 0
        assert "feed: ended before Redis had 1 revocations" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr

    def test_the_feed_comes_back_where_it_could_not_begin(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one = make_process()
        assert wait_until(lambda: one.is_live)
        done = subprocess.run(
            [sys.executable, "-c", NO_FILES, server.url],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "live 0\n")
        assert "feed: lost (OSError)" in done.stderr
        assert wait_until(lambda: one.refuses("sess_script"))


class Child:
    """A forked process that does ``work`` with a way to tell us and a way to be told to end."""

    def __init__(self, work: Callable[[Callable[[str], None], Callable[[], str]], None]) -> None:
        self._out, theirs = os.pipe()
        mine, self._in = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: that is the point
            self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                work(lambda text: void(os.write(theirs, text.encode())), lambda: os.read(mine, 100).decode())
                code = 0
            finally:
                os._exit(code)
        os.close(theirs)
        os.close(mine)

    def tells(self, seconds: float = 10.0) -> str:
        ready, _, _ = select.select([self._out], [], [], seconds)
        return os.read(self._out, 100).decode() if ready else ""

    def told(self, text: str) -> None:
        os.write(self._in, text.encode())

    def ended(self) -> int:
        statuses: list[int] = []

        def over() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            statuses.extend([status] if pid else [])
            return bool(pid)

        if not wait_until(over, 10):
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._out)
        os.close(self._in)
        return statuses[0] if statuses else -1


def void(_: object) -> None:
    return None


@forks
class TestForks:
    def test_parent_and_children_go_on_each_with_its_own(self, server: RedisServer) -> None:
        settings = settings_for(server)
        known, feed = shared_revocations(settings)
        assert feed is not None
        feed.acquire()
        known.add(session_id="before")
        assert wait_until(lambda: feed.is_live)

        def work(tell: Callable[[str], None], told: Callable[[], str]) -> None:
            assert not feed.caught_up(0.0)
            assert known.refuses("before", "u", None)
            assert wait_until(lambda: feed.is_live)
            tell("live")
            mine = told()
            known.add(session_id=mine)
            everyone = ("child 0", "child 1", "child 2", "parent")
            assert wait_until(lambda: all(known.refuses(session, "u", None) for session in everyone))
            tell("heard")
            told()

        children = [Child(work) for _ in range(3)]
        assert [child.tells() for child in children] == ["live"] * 3
        known.add(session_id="parent")
        for place, child in enumerate(children):
            child.told(f"child {place}")
        assert [child.tells() for child in children] == ["heard"] * 3
        assert all(wait_until(lambda n=n: known.refuses(f"child {n}", "u", None)) for n in range(3))  # type: ignore[misc]
        assert feed.is_live
        for child in children:
            child.told("end")
        assert [child.ended() for child in children] == [0] * 3
        assert wait_until(lambda: feed.is_live)
        known.add(session_id="afterwards")
        assert feed.lag() is not None
        feed.close()

    def test_while_locks_are_held(self, server: RedisServer) -> None:
        known, feed = shared_revocations(settings_for(server))
        assert feed is not None
        feed.acquire()
        locks: list[Any] = [known._lock, feed._lock, feed._queue._lock, feed._queue.own._lock]
        for lock in locks:
            lock.acquire()

        def work(tell: Callable[[str], None], _: Callable[[], str]) -> None:
            known.add(session_id="sess_1")
            assert wait_until(lambda: feed.is_live)
            tell("live")

        child = Child(work)
        for lock in locks:
            lock.release()
        assert child.tells() == "live"
        assert child.ended() == 0
        assert wait_until(lambda: feed.is_live)
        assert wait_until(lambda: known.refuses("sess_1", "u", None))
        feed.close()

    def test_a_closed_feed_stays_closed(self, server: RedisServer) -> None:
        _, feed = shared_revocations(settings_for(server))
        assert feed is not None
        feed.close()

        def work(tell: Callable[[str], None], _: Callable[[], str]) -> None:
            feed.start()
            tell("closed" if feed._worker._thread.ident is None else "running")

        child = Child(work)
        assert child.tells() == "closed"
        assert child.ended() == 0

    def test_stores(self, server: RedisServer) -> None:
        store, tasks = RedisStore(settings_for(server)), AsyncRedisStore(settings_for(server))
        store.put(PLACE, good())

        def works() -> bool:
            return store.get(PLACE) is not None and asyncio.run(tasks.get(PLACE)) is not None

        assert works()

        def work(tell: Callable[[str], None], _: Callable[[], str]) -> None:
            tell("fine" if works() and works() else "broken")

        child = Child(work)
        assert child.tells() == "fine"
        assert child.ended() == 0
        assert works()
        store.close()

    def test_a_fork_inside_a_loop_leaves_the_connections_of_the_parent_alone(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def work() -> list[bool]:
            store, threads = AsyncRedisStore(settings_for(server)), RedisStore(settings_for(server))
            await store.put(PLACE, good())
            assert threads.get(PLACE) is not None

            def forget(tell: Callable[[str], None], _: Callable[[], str]) -> None:
                gc.collect()
                tell("gone")

            child = Child(forget)
            assert child.tells() == "gone"
            assert child.ended() == 0
            found = [await store.get(PLACE) is not None, threads.get(PLACE) is not None]
            await store.aclose()
            threads.close()
            return found

        assert asyncio.run(work()) == [True, True]
        assert caplog.records == []
