"""A feed that is closed: its thread ends, so that it may be opened again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from moonkey_core.redis.stream import Stream
from support.feeds import MakeProcess
from support.patience import PATIENCE
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
