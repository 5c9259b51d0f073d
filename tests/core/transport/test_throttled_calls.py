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


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("is_busy", [False, True])
def test_requests_wait_where_many_calls_are_under_way(is_busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    go, worked = threading.Event(), 0.0
    monkeypatch.setattr("moonkey_core._clock.worked", lambda: worked)

    def answered(_: Received) -> bytes:
        go.wait(PATIENCE)
        return reply(200, {})

    async def begun(exchange: AsyncExchange) -> int:
        """How many of twenty requests begin at once, each of which takes a second of work."""
        nonlocal worked
        count = 0
        for _ in range(20):
            count += not exchange.throttles()
            worked += 1.0
        return count

    async def work(url: str) -> None:
        exchange = AsyncExchange(Settings.load({"secret_key": "sk_test_" + "t" * 30, "base_url": url}))
        end, few = time.monotonic() + PATIENCE, exchange._loops.current().sender.few_calls
        calls = [asyncio.create_task(exchange(Fetch("GET", f"{url}/{n}"), end)) for n in range(few + is_busy)]
        await asyncio.sleep(0)  # each has begun
        assert await begun(exchange) == (1 if is_busy else 20)
        assert exchange.is_crowded == is_busy
        if is_busy:
            waiting = [asyncio.create_task(exchange.throttle()) for _ in range(20)]
            await asyncio.sleep(0)
            entering = [asyncio.create_task(exchange.enter()) for _ in range(20)]
            await asyncio.wait_for(asyncio.gather(*waiting, *entering), PATIENCE)
            await exchange.enter()
        assert not exchange.is_crowded  # none waits any more
        go.set()
        await asyncio.gather(*calls)
        assert await begun(exchange) == 20  # the calls have ended
        await exchange.aclose()

    with scripted(answered) as server:
        asyncio.run(work(server.url))


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
