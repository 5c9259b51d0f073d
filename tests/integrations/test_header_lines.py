"""S3, S41. How often the header lines of an ASGI request are gone through does not depend on their number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from fastapi import FastAPI
from integrations.django_visits import Configure
from integrations.starlette_visits import options, plain, scope
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware, require_auth, session_routes
from moonkey_starlette.fastapi import CurrentUser
from moonkey_starlette.fastapi import session_routes as fastapi_routes

pytestmark = pytest.mark.rule("S3", "S41")

NAMES = ["cookie", "authorization", "session-token", "origin", "x-forwarded-for", "accept"]
BOUND = 60


class Lines(list[tuple[bytes, bytes]]):
    """Counts how often somebody goes through it. A copy counts for itself no more."""

    passes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self.passes += 1
        return super().__iter__()


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


@pytest.fixture(params=["starlette", "fastapi", "django"])
def app(request: pytest.FixtureRequest, emulator: Emulator, configure: Configure, settings: Any) -> ASGIApp:
    chosen = options(emulator, cookies=True, trusted_proxies=["127.0.0.1"])
    if request.param == "django":
        settings.ROOT_URLCONF, settings.DEBUG = "integrations.django_browsing_site", False
        configure(COOKIES={}, TRUSTED_PROXIES=["127.0.0.1"])
        return ASGIHandler()  # type: ignore[return-value]
    middleware = [Middleware(MoonKeyMiddleware, **chosen)]
    if request.param == "starlette":
        routes = [
            session_routes(url_prefix="/auth"),
            Route("/me", require_auth(plain)),
            WebSocketRoute("/socket", require_auth(socket)),
        ]
        return Starlette(routes=routes, middleware=middleware)
    served = FastAPI(middleware=middleware)
    served.include_router(fastapi_routes(url_prefix="/auth"))

    @served.get("/me")
    def me(user: CurrentUser) -> str:
        return user.id

    @served.websocket("/socket")
    async def over_socket(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()

    return served


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["/me", "/auth/sign-in", "/socket"])
def test_how_often_lines_are_gone_through(app: ASGIApp, path: str, name: str) -> None:
    if path == "/socket" and isinstance(app, ASGIHandler):
        pytest.skip("Django has no WebSockets")
    kind, started = ("websocket", "websocket.connect") if path == "/socket" else ("http", "http.request")

    def passes(count: int) -> int:
        lines = Lines([(b"host", b"x"), *[(name.encode(), b"a=b")] * count])
        made = scope(kind, path, headers=lines, client=("127.0.0.1", 1))
        assert asyncio.run(answered(app, made, {"type": started}))
        return lines.passes

    passes(2)  # what is made once is made
    few = passes(2)
    assert passes(1000) == few <= BOUND


async def answered(app: ASGIApp, made: dict[str, Any], first: Message) -> list[Message]:
    """What an app sends to a client that says no more, and stays."""
    sent: list[Message] = []
    events = [first]

    async def receive() -> Message:
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(made, receive, send)
    return sent
