"""Calls that are broken off at any point leave nothing behind that later calls would wait for."""

from __future__ import annotations

import asyncio
import time

import pytest

from moonkey_core import Settings
from moonkey_core._plan import Fetch, Reply
from moonkey_core._transport.exchange import AsyncExchange
from support.patience import PATIENCE
from support.scripted import Received, Scripted, reply, scripted

_TURNS = 60  # of the event loop, from the beginning of a call to beyond its end


def answered(request: Received) -> list[bytes | float]:
    return [reply(200, {"path": request.path})]


def settings(server: Scripted, transport: str) -> Settings:
    return Settings.load({"secret_key": "sk_test_" + "L" * 30, "base_url": server.url, "transport": transport})


@pytest.mark.long
@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
def test_cancelled_in_any_turn_of_the_loop(transport: str) -> None:
    async def cancelled(exchange: AsyncExchange, url: str, turns: int) -> None:
        end = time.monotonic() + PATIENCE
        fetch = Fetch("DELETE", url + "/cancelled", json={})  # each takes a new connection
        call = asyncio.ensure_future(exchange(fetch, end))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def work(server: Scripted) -> None:
        exchange = AsyncExchange(settings(server, transport))
        for _ in range(3):
            for turns in range(_TURNS):
                await cancelled(exchange, server.url, turns)
        for _ in range(6):
            assert isinstance(
                await exchange(Fetch("GET", server.url + "/good"), time.monotonic() + PATIENCE), Reply
            )
        await exchange.aclose()

    with scripted(answered) as server:
        asyncio.run(work(server))
