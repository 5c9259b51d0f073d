"""The test clients of Starlette and httpx, and an app whose feed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import time_machine
from freezegun import freeze_time
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from moonkey_core import AsyncMoonKey, ConfigurationError
from moonkey_core.testing import Emulators, Kit, assert_requires_auth
from moonkey_starlette import MoonKeyMiddleware, require_auth

ISSUER = "https://auth.example.com"


def site(**settings: Any) -> Starlette:
    @require_auth
    async def me(request: Request) -> JSONResponse:
        seen = {name: request.headers.get(name, "") for name in ("origin", "sec-fetch-site")}
        return JSONResponse({"user": request.state.moonkey.user.id, **seen})

    @require_auth
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.moonkey.user.id)
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    client = AsyncMoonKey(**{"secret_key": "sk_test_of_the_site", "jwt_issuer": ISSUER, **settings})
    inner = Starlette(
        routes=[Route("/me", me, methods=["GET", "POST"]), WebSocketRoute("/live", live)],
        middleware=[Middleware(MoonKeyMiddleware, client=client)],
    )
    return Starlette(routes=[Mount("/inner", inner)])


@pytest.fixture
def kit(emulators: Emulators) -> Iterator[Kit]:
    with Kit(site(cookies=True), emulators=emulators) as made:
        yield made


@pytest.mark.parametrize("by", ["header", "cookies"])
def test_a_test_client_and_its_websocket(kit: Kit, by: Any) -> None:
    ada = kit.signed_in(by=by)
    post = ada.post("/inner/me").json()
    assert post["user"] == ada.moonkey.user_id
    assert post["origin"] == ("https://testserver" if by == "cookies" else "")
    with ada, ada.websocket_connect("/inner/live") as live:
        assert live.receive_text() == ada.moonkey.user_id
        kit.faults.revoked(ada, told=True)
        with pytest.raises(WebSocketDisconnect) as closed:
            live.receive_text()
    assert closed.value.code == 4401


@pytest.mark.parametrize("by", ["header", "cookies"])
def test_an_asynchronous_client(kit: Kit, by: Any) -> None:
    async def visit() -> None:
        async with kit.signed_in(client="async", by=by) as ada:
            post = (await ada.post("/inner/me")).json()
            assert post["user"] == ada.moonkey.user_id
            assert post["sec-fetch-site"] == ("same-origin" if by == "cookies" else "")
            await assert_requires_auth(ada, "/inner/me")

    for _ in range(2):  # each on an event loop of its own
        asyncio.run(visit())


@pytest.mark.parametrize("base_url", [None, "https://app.example.com"])
def test_the_app_replaces_and_deletes_cookies(kit: Kit, base_url: str | None) -> None:
    async def visit() -> None:
        ada, grace = kit.signed_in(base_url=base_url), kit.signed_in(base_url=base_url, client="async")
        before = dict(ada.moonkey.cookies)
        kit.faults.rotate_keys()
        for _ in range(2):  # with new cookies in the second request, each of them once
            assert ada.get("/inner/me").status_code == 200
            assert (await grace.get("/inner/me")).status_code == 200
        for client in (ada, grace):
            assert {cookie.name for cookie in client.cookies.jar} == set(before) == set(dict(client.cookies))
            assert dict(client.cookies) != before
        await grace.aclose()

    asyncio.run(visit())


@pytest.mark.parametrize("client", ["sync", "async"])
def test_a_clock_that_stands_still_holds_nothing_up(client: str) -> None:
    """By a socket, too: neither the app's attempts and pauses nor the emulator wait for the frozen clock."""

    async def visit(kit: Kit) -> None:
        async def status(made: Any) -> int:
            response = made.get("/inner/me")
            return int((response if client == "sync" else await response).status_code)

        with freeze_time("2031-05-06") as clock:
            ada = kit.signed_in(client=client, by="header", unavailable=True)
            assert await status(ada) == 503
            kit.faults.clear()
            assert await status(ada) == 200
            clock.tick(timedelta(days=8))
            assert await status(ada) == 401
        thawed = kit.signed_in(client=client, by="header", credential="token")
        assert await status(thawed) == 200

    emulators = Emulators()
    try:
        with Kit(site(), emulators=emulators) as kit:
            asyncio.run(visit(kit))
        dates = httpx.get(emulators.moonkey.base_url).headers.get_list("date")
        assert [parsedate_to_datetime(one).year == datetime.now(UTC).year for one in dates] == [True]
    finally:
        emulators.close()


def test_an_old_session_by_time_machine(kit: Kit) -> None:
    started = datetime(2031, 5, 6, tzinfo=UTC)
    with time_machine.travel(started, tick=False) as clock:
        ada = kit.signed_in(by="header")
        assert ada.get("/inner/me").status_code == 200
        clock.shift(timedelta(days=8))
        assert ada.get("/inner/me").status_code == 401
        assert kit.signed_in(by="header").get("/inner/me").status_code == 200


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("local", 200)])
def test_a_feed_that_is_lost(emulators: Emulators, policy: Any, status: int) -> None:
    app = site(redis_url="redis://127.0.0.1:9", on_feed_lost=policy, max_revocation_lag=1)
    with Kit(app, emulators=emulators) as kit:
        assert kit.signed_in().get("/inner/me").status_code == 200
        kit.faults.feed_lost()
        assert kit.signed_in().get("/inner/me").status_code == status
        kit.faults.clear()
        assert kit.signed_in().get("/inner/me").status_code == 200


def test_an_app_that_needs_no_feed(emulators: Emulators) -> None:
    app = site(jwt_issuer=None)
    with Kit(app, emulators=emulators) as kit, pytest.raises(ConfigurationError, match="needs no feed"):
        kit.faults.feed_lost()
