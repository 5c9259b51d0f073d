"""A redis-server for each test, and processes' worth of feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from moonkey_core import Settings
from moonkey_core.events import Event, Hooks
from moonkey_core.redis import RedisRevocations
from moonkey_core.revocations import Revocations, retention
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


def settings_for(server: RedisServer, **options: Any) -> Settings:
    chosen = {"secret_key": "sk_test_fleet", "redis_url": server.url, "max_revocation_lag": 0.5, **options}
    return Settings.load({name: value for name, value in chosen.items() if value is not None}, {})


class Process:
    """What one process of the fleet has: a table and a feed."""

    def __init__(self, settings: Settings) -> None:
        self.known = Revocations(
            retention=retention(settings), maxsize=settings.max_revocations, leeway=settings.leeway
        )
        self.feed = RedisRevocations(settings, self.known)
        self.heard: list[Event] = []
        self.hooks = Hooks()
        self.hooks.add(self.heard.append)
        self.feed.acquire(self.hooks)

    def refuses(self, session_id: str) -> bool:
        return self.known.refuses(session_id, "user_1", None)

    @property
    def is_live(self) -> bool:
        return self.feed.is_live


MakeProcess = Callable[..., Process]


@pytest.fixture
def make_process(server: RedisServer) -> Iterator[MakeProcess]:
    """``make_process(**settings)``: one more process of the fleet, its feed closed after the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Process:
            process = Process(settings_for(server, **options))
            stack.callback(process.feed.close)
            return process

        yield make
