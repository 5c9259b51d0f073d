"""Clients with a feed and a store that share nothing in memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.redis import shared
from support.redis_server import RedisServer
from support.scripted import wait_until


class Fleet:
    """Makes clients that share nothing in memory, as if each were in a process of its own."""

    def __init__(self, emulator: Emulator, server: RedisServer, stack: ExitStack) -> None:
        self._stack = stack
        self._options: dict[str, Any] = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
            "redis_url": server.url,
        }

    def worker(self, **options: Any) -> MoonKey:
        shared._tables.clear()
        shared._feeds.clear()
        client = self._stack.enter_context(MoonKey(**{**self._options, **options}))
        assert wait_until(lambda: client.health().feed == "live")
        return client

    def async_worker(self, **options: Any) -> AsyncMoonKey:
        shared._tables.clear()
        shared._feeds.clear()
        return AsyncMoonKey(**{**self._options, **options})
