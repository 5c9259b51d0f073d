"""Many requests that begin at once are spread over iterations of the event loop; a few are not held up."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from moonkey_core import Settings
from moonkey_core._plan import Fetch
from moonkey_core._transport.exchange import AsyncExchange
from support.patience import PATIENCE
from support.scripted import Received, reply, scripted


@pytest.mark.parametrize(("under_way", "at_once"), [(0, 20), (8, 20), (9, 8)])
def test_requests_wait_where_many_calls_are_under_way(under_way: int, at_once: int) -> None:
    go = threading.Event()

    def answered(_: Received) -> bytes:
        go.wait(PATIENCE)
        return reply(200, {})

    async def work(url: str) -> int:
        exchange = AsyncExchange(Settings.load({"secret_key": "sk_test_" + "t" * 30, "base_url": url}))
        end = time.monotonic() + PATIENCE
        calls = [asyncio.create_task(exchange(Fetch("GET", f"{url}/{n}"), end)) for n in range(under_way)]
        await asyncio.sleep(0)  # each has begun
        begun = [asyncio.create_task(exchange.throttle()) for _ in range(20)]
        await asyncio.sleep(0)
        first = sum(one.done() for one in begun)
        await asyncio.gather(*begun)
        go.set()
        await asyncio.gather(*calls)
        begun = [asyncio.create_task(exchange.throttle()) for _ in range(20)]
        await asyncio.sleep(0)
        assert all(one.done() for one in begun)  # the calls have ended
        await exchange.aclose()
        return first

    with scripted(answered) as server:
        assert asyncio.run(work(server.url)) == at_once


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.example/v1?a=b", "https://api.example:443"),
        ("http://api.example", "http://api.example:80"),
        ("https://api.example?at=x@y:1/z", "https://api.example:443"),
        ("https://user:word@api.example:8443/x", "https://api.example:8443"),
        ("http://[::1]/x", "http://[::1]:80"),
        ("http://[::1]:81/x", "http://[::1]:81"),
    ],
)
def test_the_address_of_a_call(url: str, address: str) -> None:
    assert Fetch("GET", url).address == address
