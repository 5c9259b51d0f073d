"""A feed that is closed: its thread ends, so that it may be opened again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from moonkey_core.redis.stream import Stream
from support.feeds import MakeProcess, begin_long_ago, is_published, settings_for
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long


def test_a_cancellation_that_was_swallowed_does_not_keep_the_thread(
    make_process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As redis-py does, where it comes at the wrong moment."""
    waiting, swallowed = threading.Event(), threading.Event()

    async def wait(_self: Stream, _seconds: float) -> tuple[list[tuple[float, object]], bool]:
        waiting.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if swallowed.is_set():
                raise
            swallowed.set()
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(Stream, "wait", wait)
    process = make_process(max_revocation_lag=30)  # the task of the wait is the same all the time
    process.feed.start()
    assert waiting.wait(PATIENCE)
    thread = process.feed._worker._thread
    process.feed.close()
    assert swallowed.wait(PATIENCE)
    assert wait_until(lambda: not thread.is_alive())


def test_a_thread_that_goes_on_does_not_stop_the_next_one(make_process: MakeProcess, server: RedisServer) -> None:
    """As one that waits for a server which does not answer, longer than ``close`` waits for it."""
    patient = {"max_revocation_lag": 20.0}  # however busy the machine is, Redis is not taken for lost
    begin_long_ago(server, settings_for(server, **patient))
    one, other = make_process(**patient), make_process(**patient)
    assert wait_until(lambda: one.is_live and other.is_live)
    old, thread = one.feed._worker, one.feed._worker._thread
    cancel, running = old._cancel, old._running
    assert running is not None
    old._cancel = lambda: None  # type: ignore[method-assign]
    one.feed.close()
    assert thread.is_alive()
    one.feed.acquire(one.hooks)
    first = one.known.add(session_id="sess_1")
    assert is_published(first)
    assert wait_until(lambda: one.is_live)
    running[0].call_soon_threadsafe(cancel)
    assert wait_until(lambda: not thread.is_alive())
    second = one.known.add(session_id="sess_2")
    assert second.wait(PATIENCE) == "published"
    assert wait_until(lambda: other.refuses("sess_1") and other.refuses("sess_2"))
    assert one.is_live


def test_what_the_thread_of_before_has_not_sent_is_sent_by_the_next_one(
    make_process: MakeProcess, server: RedisServer
) -> None:
    one, other = make_process(), make_process()
    assert wait_until(lambda: one.is_live and other.is_live)
    old = one.feed._worker
    server.pause()
    revoked = one.known.add(session_id="sess_1")
    one.feed.close()
    assert revoked.state == "pending"
    one.feed.acquire(one.hooks)  # and nothing else: no request comes
    server.resume()
    assert wait_until(lambda: not old._thread.is_alive())
    assert is_published(revoked)
    assert wait_until(lambda: other.refuses("sess_1"))
