"""What was reported as published is refused by every process that counts as live, however slow the link is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from moonkey_core import _clock
from moonkey_core.redis.client import async_client
from moonkey_core.redis.stream import HistoryLost, Stream
from moonkey_core.revocations import RevocationHandle
from moonkey_core.settings import Secret
from support.feeds import MakeProcess, Process, is_published, settings_for
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.tcp_proxy import Link, TcpProxy

LAG = 1.0  # seconds


class SlowFleet:
    """Processes, each with a link of its own to Redis."""

    def __init__(self, server: RedisServer, proxy: TcpProxy, stack: ExitStack, count: int) -> None:
        self.links: list[Link] = []
        self.processes: list[Process] = []
        for number in range(count):
            link = proxy.link(f"process {number}", server.port)
            options = {"redis_url": f"redis://127.0.0.1:{link.port}/0", "max_revocation_lag": LAG}
            process = Process(settings_for(server, **options))
            stack.callback(process.feed.close)
            self.links.append(link)
            self.processes.append(process)
        assert wait_until(lambda: all(one.is_live for one in self.processes), PATIENCE)

    def delay(self, seconds: float, *numbers: int) -> None:
        """Let each piece take so long, one way: on these links, or on all."""
        for number, link in enumerate(self.links):
            if not numbers or number in numbers:
                link.set(delay=seconds)


@pytest.fixture
def fleet(server: RedisServer) -> Iterator[SlowFleet]:
    with ExitStack() as stack:
        yield SlowFleet(server, stack.enter_context(TcpProxy()), stack, 3)


def longest_late(handle: RevocationHandle, others: list[Process], session_id: str) -> tuple[bool, float]:
    """Whether it came to be published, and how many seconds later the last other one still accepted the session.

    A process accepts it while it counts as live and does not know of it. The time is looked at before that.
    """
    published_at, last = None, 0.0
    end = time.monotonic() + 4 * LAG
    while time.monotonic() < end:
        if published_at is None and handle.state == "published":
            published_at = _clock.elapsed()
            end = time.monotonic() + 2.5 * LAG
        for one in others:
            now = _clock.elapsed()
            accepts = one.feed.caught_up(now) and not one.refuses(session_id)
            if accepts and published_at is not None:
                last = max(last, now - published_at)
        time.sleep(0.002)
    return published_at is not None, last


@pytest.mark.long
@pytest.mark.parametrize("delay", [0.05, 0.15, 0.2, 0.3, 0.5, 0.8])
def test_a_link_that_is_slow_for_all(fleet: SlowFleet, delay: float) -> None:
    one, *others = fleet.processes
    fleet.delay(delay)
    time.sleep(2 * delay)
    found = []
    for number in range(3):
        handle = one.known.add(session_id=f"sess_{number}")
        found.append(longest_late(handle, others, f"sess_{number}"))
    assert all(late <= LAG for _, late in found)
    if delay <= 0.15:  # within the time of one call, which a busy machine may not keep each time
        assert any(published for published, _ in found)


@pytest.mark.long
@pytest.mark.parametrize(("lag", "delay"), [(1.0, 0.05), (2.0, 0.3)])
def test_a_process_that_starts_on_a_slow_link(server: RedisServer, lag: float, delay: float) -> None:
    """Connecting takes many round trips: together they may take longer than one call.

    So do the calls of a process that waits until its stream is old enough: it looks at what the others do.
    """
    with TcpProxy() as proxy, ExitStack() as stack:
        link = proxy.link("slow", server.port)
        link.set(delay=delay)
        options = {"redis_url": f"redis://127.0.0.1:{link.port}/0", "max_revocation_lag": lag}
        process = Process(settings_for(server, **options))
        stack.callback(process.feed.close)
        assert wait_until(lambda: process.is_live, 2 * PATIENCE)
        assert is_published(process.known.add(session_id="sess_1"))


@pytest.mark.long
def test_calls_that_wait_for_each_other_are_in_time(server: RedisServer) -> None:
    """Each takes two of the five seconds that it may take; the last one has the connection after four."""

    async def work(link: Link) -> None:
        client = async_client(Secret(f"redis://127.0.0.1:{link.port}/0"), 60.0, 1)
        stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
        link.set(delay=1.0)
        found = await asyncio.gather(*(stream.newest_id() for _ in range(3)))
        assert len(set(found)) == 1
        await client.connection_pool.disconnect()

    with TcpProxy() as proxy:
        asyncio.run(work(proxy.link("slow", server.port)))


@pytest.mark.long
@pytest.mark.parametrize("slow", [0, 1], ids=["the one that revokes", "another one"])
def test_a_link_that_is_slow_for_one(fleet: SlowFleet, slow: int) -> None:
    one, *others = fleet.processes
    fleet.delay(0.2, slow)
    for number in range(3):
        handle = one.known.add(session_id=f"sess_{number}")
        _, late = longest_late(handle, others, f"sess_{number}")
        assert late <= LAG


def test_one_that_may_not_write_counts_as_behind(server: RedisServer, make_process: MakeProcess) -> None:
    """It reads all the while. The others cannot know what it has revoked, and go on."""
    server.client.execute_command("ACL", "SETUSER", "one", "on", ">word", "~*", "&*", "+@all")
    url = f"redis://one:word@127.0.0.1:{server.port}/0"
    one, other = make_process(redis_url=url), make_process()
    assert wait_until(lambda: one.is_live and other.is_live)
    server.client.execute_command("ACL", "SETUSER", "one", "-@write")
    handle = one.known.add(session_id="sess_1")
    assert wait_until(lambda: not one.is_live)
    assert handle.wait(0.0) == "pending"
    second = other.known.add(session_id="sess_2")
    assert wait_until(
        lambda: second.state == "published"
    )  # a wait ends at once where the feed is lost for a moment
    assert wait_until(lambda: one.refuses("sess_2"))
    assert wait_until(lambda: other.is_live)
    assert not other.refuses("sess_1")
    assert not one.is_live
    server.client.execute_command("ACL", "SETUSER", "one", "+@all")
    assert wait_until(lambda: handle.state == "published")
    assert wait_until(lambda: one.is_live and other.refuses("sess_1"))


def test_what_goes_into_an_epoch_that_has_ended_is_not_published(server: RedisServer) -> None:
    """The others read another stream already."""

    async def work() -> None:
        client = async_client(Secret(server.url), 5.0, 2)
        stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
        server.client.delete("moonkey:test:epoch")
        with pytest.raises(HistoryLost):
            await stream.publish([b"sealed"])
        await client.connection_pool.disconnect()

    asyncio.run(work())


def test_replicas_have_to_have_it(
    server: RedisServer, make_process: MakeProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with _replica_of(server) as replica:
        one = make_process(redis_replicas=1)
        assert wait_until(lambda: one.is_live)
        assert is_published(one.known.add(session_id="sess_1"))
        replica.pause()
        handle = one.known.add(session_id="sess_2")
        assert handle.wait(0.3) == "pending"
        assert wait_until(lambda: "feed_not_replicated" in {one.__dict__.get("reason") for one in caplog.records})
        replica.resume()
        assert is_published(handle)
    handle = one.known.add(session_id="sess_3")
    added_at = _clock.elapsed()
    assert handle.wait(0.3) == "pending"
    # The others know of it, so none is behind for as long as there is no replica.
    assert wait_until(lambda: (one.feed.lag() or 0) + added_at + 3 * LAG < _clock.elapsed() and one.is_live)
    assert handle.state == "pending"


def _replica_of(server: RedisServer) -> RedisServer:
    class Replica(RedisServer):
        def start(self, *options: str) -> None:
            super().start(
                "--replicaof", "127.0.0.1", str(server.port), "--repl-diskless-sync-delay", "0", *options
            )
            assert wait_until(lambda: self.client.info("replication")["master_link_status"] == "up", PATIENCE)

    return Replica()
