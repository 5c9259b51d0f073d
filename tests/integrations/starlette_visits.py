"""What the tests of the Starlette and FastAPI packages share."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware
from support.patience import PATIENCE

P = ParamSpec("P")


def options(emulator: Emulator, **more: Any) -> dict[str, Any]:
    """The settings of a usual app."""
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return {**usual, "timeout": 30.0, **more}


def bearer(person: SignedIn) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.session_token}"}


def names(header: str) -> set[str]:
    """The members of a list-valued header, in lower case."""
    return {name.strip().lower() for name in header.split(",")}


def raw_status(url: str, target: str, headers: dict[str, str] | None = None, method: str = "GET") -> int:
    """The status for a request target that is sent to the letter."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host=True)
        for name, value in {"Host": parts.netloc, **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def scope(kind: str = "http", path: str = "/", **more: Any) -> dict[str, Any]:
    """A scope as a server makes it."""
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        **more,
    }


async def drive(app: ASGIApp, asgi_scope: dict[str, Any], events: Sequence[Message] = ()) -> list[Message]:
    """Call an app directly, for what no server that is at hand does; return what it sent."""
    left = list(events)
    sent: list[Message] = []

    async def receive() -> Message:
        sent.append({"type": "received"})
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(asgi_scope, receive, send)
    return sent


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine, run on an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def site(emulator: Emulator, *routes: BaseRoute, **more: Any) -> Starlette:
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator, **more))]
    return Starlette(routes=list(routes), middleware=middleware)


async def user_seen(request: Request) -> Response:
    user = request.user
    return JSONResponse([user.is_authenticated, user.identity, user.display_name, request.auth.scopes])


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")
