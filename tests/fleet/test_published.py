"""The handle of a revocation: who knows of it, and waiting for that; a wait never hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from moonkey_core._publication import Ticket
from moonkey_core.redis.publish_queue import PublishQueue
from moonkey_core.redis.reader import Reader
from moonkey_core.redis.stream import Stream
from moonkey_core.revocations import RevocationHandle, Revocations, RevocationState
from support.feeds import MakeProcess, Process, is_published, stream_names
from support.forks import forks, in_child
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until


@pytest.fixture(params=["thread", "task"])
def wait(request: pytest.FixtureRequest) -> Any:
    """``wait(handle, seconds)``, blocking a thread or awaited."""
    if request.param == "thread":
        return lambda handle, seconds: handle.wait(seconds)
    return lambda handle, seconds: asyncio.run(handle.wait_async(seconds))


def live(process: Process) -> Process:
    assert wait_until(lambda: process.is_live)
    return process


def returns_early(wait: Any, handle: RevocationHandle, state: RevocationState = "pending") -> None:
    began = time.monotonic()
    assert wait(handle, 2 * PATIENCE) == state
    assert time.monotonic() - began < PATIENCE  # it need not wait for its whole time


def test_what_is_published_is_in_redis_and_in_the_others(make_process: MakeProcess, wait: Any) -> None:
    one, other = live(make_process()), live(make_process())
    handle = one.known.add(session_id="sess_1")
    assert wait(handle, PATIENCE) == handle.state == "published"
    assert repr(handle) == "RevocationHandle(state='published')"
    assert one.feed.unsent == 0
    assert wait_until(lambda: other.refuses("sess_1"))


def test_waiting_without_a_time_takes_that_of_the_settings(server: RedisServer, make_process: MakeProcess) -> None:
    one = live(make_process(publish_timeout=0.05, max_revocation_lag=1.5))
    server.pause()
    handle = one.known.add(session_id="sess_1")
    assert handle.wait() == asyncio.run(handle.wait_async()) == "pending"
    server.resume()
    assert is_published(handle)


def test_there_is_no_feed(wait: Any) -> None:
    handle = Revocations(retention=60).add(session_id="sess_1")
    returns_early(wait, handle, "local")


def test_redis_is_known_to_be_away_and_comes_back(
    server: RedisServer, make_process: MakeProcess, wait: Any
) -> None:
    one = live(make_process())
    server.kill()
    assert wait_until(lambda: not one.is_live)
    handle = one.known.add(user_id="user_1")
    returns_early(wait, handle)
    server.start()
    assert wait_until(lambda: handle.state == "published")
    returns_early(wait, handle, "published")


def test_a_wait_that_is_under_way_ends_when_redis_goes_away(
    server: RedisServer, make_process: MakeProcess, wait: Any
) -> None:
    one = live(make_process(max_revocation_lag=1.5))
    server.pause()
    handle = one.known.add(session_id="sess_1")
    threading.Timer(0.2, server.kill).start()
    returns_early(wait, handle)


def test_a_wait_that_is_under_way_ends_when_the_feed_is_closed(
    server: RedisServer, make_process: MakeProcess, wait: Any
) -> None:
    one = live(make_process(max_revocation_lag=1.5))
    server.pause()
    handle = one.known.add(session_id="sess_1")
    threading.Timer(0.2, one.feed.close).start()
    returns_early(wait, handle)


def test_the_feed_is_closed_already(make_process: MakeProcess, wait: Any) -> None:
    one = live(make_process())
    one.feed.close()
    returns_early(wait, one.known.add(session_id="sess_1"))


def test_it_does_not_wait_until_all_is_read_again(
    server: RedisServer, make_process: MakeProcess, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and repairing what Redis has lost takes a while where much is known."""
    may_read = threading.Event()
    read_all = Reader.read_all

    async def read_later(reader: Reader, stream: Stream) -> None:
        await asyncio.to_thread(may_read.wait, PATIENCE)
        await read_all(reader, stream)

    other = make_process(max_revocation_lag=5.0)
    assert wait_until(lambda: other.is_live)
    monkeypatch.setattr(Reader, "read_all", read_later)
    one = make_process(max_revocation_lag=5.0)
    try:
        assert wait(one.known.add(session_id="sess_1"), PATIENCE / 2) == "published"
        assert wait(one.known.add(session_id="sess_2"), PATIENCE / 2) == "published"
        assert wait_until(lambda: other.refuses("sess_2"))
        assert other.refuses("sess_1")
        assert not one.is_live
    finally:
        may_read.set()
    assert wait_until(lambda: one.is_live)
    (name,) = stream_names(server)
    assert server.client.xlen(name) == 3  # the mark at the beginning, and each of them once


def test_the_feed_is_opened_again(make_process: MakeProcess, wait: Any) -> None:
    one = live(make_process())
    one.feed.close()
    handle = one.known.add(session_id="sess_1")
    one.feed.acquire()
    one.feed.start()
    assert wait_until(lambda: handle.state == "published")


def test_the_thread_has_no_event_loop(
    make_process: MakeProcess, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError("no file descriptors are left")

    monkeypatch.setattr("moonkey_core.redis.worker.ThreadEventLoop", none)
    one = make_process()
    returns_early(wait, one.known.add(session_id="sess_1"))


@forks
def test_the_child_of_a_fork_waits_for_its_own_only(server: RedisServer, make_process: MakeProcess) -> None:
    one = live(make_process(max_revocation_lag=1.5))
    server.pause()
    handle = one.known.add(session_id="sess_1")

    def work() -> bool:
        returns_early(lambda handle, seconds: handle.wait(seconds), handle)
        returns_early(lambda handle, seconds: asyncio.run(handle.wait_async(seconds)), handle)
        return True

    assert in_child(work)
    server.resume()
    assert is_published(handle)

    def own() -> bool:
        return is_published(one.known.add(session_id="sess_2"))

    assert in_child(own)


def test_a_task_that_is_cancelled_leaves_nothing_behind(server: RedisServer, make_process: MakeProcess) -> None:
    one = live(make_process(max_revocation_lag=1.5))
    server.pause()
    handle = one.known.add(session_id="sess_1")

    async def work() -> None:
        task = asyncio.create_task(handle.wait_async(PATIENCE))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert not one.feed._queue._callbacks
    server.resume()
    assert is_published(handle)


def test_many_wait_at_once(make_process: MakeProcess) -> None:
    one = live(make_process())
    found: list[RevocationState] = []

    def work(number: int) -> None:
        found.append(one.known.add(session_id=f"sess_{number}").wait(PATIENCE))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == ["published"] * 40
    assert not one.feed._queue._callbacks


def test_both_secrets_have_to_be_published(server: RedisServer, make_process: MakeProcess, wait: Any) -> None:
    """While a secret is being changed, processes that know only one of the two read another stream."""
    secrets = {"cache_secret": "b" * 32, "previous_cache_secret": "a" * 32}
    both = live(make_process(**secrets))
    old = live(make_process(cache_secret="a" * 32))
    new = live(make_process(cache_secret="b" * 32))
    handle = both.known.add(session_id="sess_1")
    assert len(handle._tickets) == 2
    assert wait(handle, PATIENCE) == "published"
    assert wait_until(lambda: old.refuses("sess_1") and new.refuses("sess_1"))
    former = both.feed._former
    assert former is not None
    former.close()  # the weakest counts
    assert wait(both.known.add(session_id="sess_2"), 0.3) == "pending"


def queue() -> PublishQueue:
    return PublishQueue(Revocations(retention=60), lambda: None)


def handle_in(*states: RevocationState) -> RevocationHandle:
    """One handle for revocations in these states."""
    table, handles = Revocations(retention=60), []
    for number, state in enumerate(states):
        sending = queue()
        table.listeners = () if state == "local" else (sending.put,)
        handles.append(table.add(session_id=f"sess_{number}"))
        if state == "published":
            sending.take_unsent()
            sending.mark_sent()
    return RevocationHandle.joined(handles)


@pytest.mark.parametrize(
    ("states", "weakest"),
    [
        ((), "local"),
        (("published",), "published"),
        (("published", "pending"), "pending"),
        (("pending", "local", "published"), "local"),
        (("published", "published"), "published"),
    ],
)
def test_the_weakest_counts(states: tuple[RevocationState, ...], weakest: RevocationState) -> None:
    assert handle_in(*states).state == weakest


def test_a_listener_that_fails_has_told_no_process(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> Ticket:
        raise ValueError

    table = Revocations(retention=60)
    table.listeners = (fail,)
    assert table.add(session_id="sess_1").state == "local"


def test_what_is_acknowledged_in_parts() -> None:
    sending, table = queue(), Revocations(retention=60)
    table.listeners = (sending.put,)
    first, second = (table.add(session_id=one) for one in ("sess_1", "sess_2"))
    sending.take_unsent()
    third = table.add(session_id="sess_3")
    sending.mark_sent(1)
    assert [one.state for one in (first, second, third)] == ["published", "pending", "pending"]
    assert sending.unsent == 2
    sending.mark_sent()
    assert [one.state for one in (first, second, third)] == ["published", "published", "pending"]
    assert not sending.is_empty
    sending.take_unsent()
    sending.mark_sent()
    assert third.state == "published"
    assert sending.is_empty
