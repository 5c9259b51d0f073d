"""A redis-server for each test, and processes' worth of feeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.feeds import MakeProcess, Process, settings_for
from support.redis_server import RedisServer, need_redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as running:
        yield running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that has just begun need not be waited for as long as in earnest."""
    monkeypatch.setattr("moonkey_core.redis.worker.MAX_PAUSE", 0.25)


@pytest.fixture
def make_process(server: RedisServer) -> Iterator[MakeProcess]:
    """``make_process(**settings)``: one more process of the fleet, its feed closed after the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Process:
            process = Process(settings_for(server, **options))
            stack.callback(process.feed.close)
            return process

        yield make
