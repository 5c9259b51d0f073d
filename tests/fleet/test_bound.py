"""Connections that end because of what another process has said, through a real Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.streams import bound_items
from moonkey_starlette import MoonKeyMiddleware
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.servers import serve_asgi

pytestmark = pytest.mark.long

SCRIPT = """
import sys

from moonkey_core import MoonKey

secret_key, base_url, redis_url, token = sys.argv[1:]
with MoonKey(secret_key, base_url=base_url, redis_url=redis_url, max_revocation_lag=0.5) as client:
    client.sessions.revoke(session_token=token)
"""


ONE_REQUEST = """
import sys

from moonkey_core import MoonKey

secret_key, base_url, redis_url, token = sys.argv[1:]
with MoonKey(secret_key, base_url=base_url, redis_url=redis_url, max_revocation_lag=0.5) as client:
    assert client.authenticate({"session-token": token}).error.reason == "session_unknown"
"""


def options(emulator: Emulator, server: RedisServer, **more: Any) -> dict[str, Any]:
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "redis_url": server.url}
    return {**usual, "max_revocation_lag": 0.5, **more}


def revoke_elsewhere(emulator: Emulator, server: RedisServer, person: SignedIn, script: str = SCRIPT) -> None:
    """Sign somebody out in a process of its own, or run another script there."""
    subprocess.run(
        [
            *(sys.executable, "-X", "dev", "-W", "error", "-c", script),
            *(emulator.secret_key, emulator.base_url, server.url, person.session_token),
        ],
        cwd=Path(__file__).parents[2],
        timeout=30,
        check=True,
    )


async def listens(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    async for _ in websocket.iter_text():
        """Nothing is done with it."""


@pytest.mark.rule("S52", "connection")
def test_a_websocket(emulator: Emulator, server: RedisServer) -> None:
    person, other = emulator.sign_in(email="a@example.com"), emulator.sign_in(email="b@example.com")
    client = AsyncMoonKey(**options(emulator, server))
    middleware = [Middleware(MoonKeyMiddleware, client=client)]
    app = Starlette(routes=[WebSocketRoute("/", listens)], middleware=middleware)
    with serve_asgi(app) as url:
        url = url.replace("http", "ws")
        with (
            connect(url, additional_headers={"session-token": person.session_token}) as mine,
            connect(url, additional_headers={"session-token": other.session_token}) as hers,
        ):
            assert mine.recv(10) == hers.recv(10) == "hello"
            assert wait_until(lambda: client.health().feed == "live")
            revoke_elsewhere(emulator, server, person)
            with pytest.raises(ConnectionClosed) as closed:
                mine.recv(10)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "Unauthorized")
            assert len(client._session_watcher) == 1
    asyncio.run(client.aclose())


@pytest.mark.rule("S52", "connection")
def test_a_stream_in_a_thread(emulator: Emulator, server: RedisServer) -> None:
    person = emulator.sign_in()
    headers = {"session-token": person.session_token}
    with MoonKey(**options(emulator, server)) as client:
        stream = bound_items(client, client.authenticate(headers), iter(int, 1), headers)
        assert next(stream) == 0
        assert wait_until(lambda: client.health().feed == "live")
        revoke_elsewhere(emulator, server, person)
        assert wait_until(lambda: next(stream, None) is None)


@pytest.mark.rule("S52", "connection")
def test_a_request_elsewhere_finds_out_that_the_session_is_over(emulator: Emulator, server: RedisServer) -> None:
    """The process that it comes to has never seen the session, and tells the others of the token."""
    person, other = emulator.sign_in(email="a@example.com"), emulator.sign_in(email="b@example.com")
    headers = {"session-token": person.session_token}

    async def go() -> None:
        async with AsyncMoonKey(**options(emulator, server, jwt_issuer=emulator.issuer)) as client:
            kinds = (headers, {"session-token": person.session_jwt}, {"session-token": other.session_token})
            tasks = []
            for one in kinds:
                auth = await client.authenticate(one)
                tasks.append(asyncio.create_task(client.session_end(auth, one)))
            assert await asyncio.to_thread(wait_until, lambda: client.health().feed == "live", 10)
            emulator.revoke(person.session_id)
            await asyncio.to_thread(revoke_elsewhere, emulator, server, person, ONE_REQUEST)
            async with asyncio.timeout(10):
                assert [await task for task in tasks[:2]] == ["revoked"] * 2
            assert not tasks[2].done()
            tasks[2].cancel()

    asyncio.run(go())
    with MoonKey(**options(emulator, server)) as client:
        mine = {"session-token": other.session_token}
        stream = bound_items(client, client.authenticate(mine), iter(int, 1), mine)
        assert next(stream) == 0
        assert wait_until(lambda: client.health().feed == "live")
        emulator.revoke(other.session_id)
        revoke_elsewhere(emulator, server, other, ONE_REQUEST)
        assert wait_until(lambda: next(stream, None) is None)


@pytest.mark.rule("S52", "connection")
def test_a_feed_that_is_away_for_longer_than_anything_is_kept(emulator: Emulator, server: RedisServer) -> None:
    """What Redis has forgotten by the time it is back, the API still knows."""
    person = emulator.sign_in()
    headers = {"session-token": person.session_token}

    async def go() -> str:
        async with AsyncMoonKey(**options(emulator, server, jwt_max_age=2, leeway=0)) as client:
            auth = await client.authenticate(headers)
            task = asyncio.create_task(client.session_end(auth, headers))
            assert await asyncio.to_thread(wait_until, lambda: client.health().feed == "live", 10)
            emulator.revoke(person.session_id)
            server.kill()
            async with asyncio.timeout(20):
                return await task

    assert asyncio.run(go()) == "revoked"
