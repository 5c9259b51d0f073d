"""Clients with a feed and a store that share nothing in memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from moonkey_core import AsyncMoonKey, MoonKey, Settings
from moonkey_core.emulator import Emulator
from moonkey_core.redis import shared
from support.feeds import begin_long_ago
from support.patience import PATIENT_LAG
from support.redis_server import RedisServer
from support.scripted import wait_until


class Fleet:
    """Makes clients that share nothing in memory, as if each were in a process of its own.

    They may be behind for long, unless a test says otherwise: what they do is counted.
    """

    def __init__(self, emulator: Emulator, server: RedisServer, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._options: dict[str, Any] = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
            "redis_url": server.url,
            "max_revocation_lag": PATIENT_LAG,
        }

    def worker(self, **options: Any) -> MoonKey:
        client = self._stack.enter_context(MoonKey(**self._alone(options)))
        assert wait_until(lambda: client.health().feed == "live")
        return client

    def async_worker(self, **options: Any) -> AsyncMoonKey:
        return AsyncMoonKey(**self._alone(options))

    def _alone(self, options: dict[str, Any]) -> dict[str, Any]:
        """The settings of one more client, which is to have a table and a feed of its own."""
        shared._tables.clear()
        shared._feeds.clear()
        chosen = {**self._options, **options}
        begin_long_ago(self._server, Settings.load(chosen, {}))
        return chosen
