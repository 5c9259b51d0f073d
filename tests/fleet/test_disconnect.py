"""No connection to Redis is left open, in whichever turn of the event loop its closing is cancelled."""

from __future__ import annotations

import asyncio
import gc

import pytest

from moonkey_core.redis.client import async_client, disconnect
from moonkey_core.settings import Secret
from support.feeds import MakeProcess
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until


@pytest.mark.parametrize("turns", range(1, 6))
def test_closing_that_is_cancelled_closes(server: RedisServer, turns: int) -> None:
    async def work() -> None:
        client = async_client(Secret(server.url), PATIENCE, 3)
        await asyncio.gather(*(client.execute_command("TIME") for _ in range(3)))
        connections = [*client.connection_pool._available_connections]
        assert any(one.is_connected for one in connections)
        closing = asyncio.ensure_future(disconnect(client))
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert not any(one.is_connected for one in connections)

    asyncio.run(work())


def test_a_feed_that_is_cancelled_in_each_turn_closes_its_connections(
    server: RedisServer, make_process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonkey_core.redis.worker._CANCEL_AGAIN_SECONDS", 0.0)
    process = make_process()
    wait_until(lambda: process.feed.is_live)
    assert _connected(server) > 1
    process.feed.close()
    wait_until(lambda: _connected(server) == 1)  # the one that looks
    gc.collect()  # a connection that was left open says so now, which fails the test


def _connected(server: RedisServer) -> int:
    return len(server.client.client_list())
