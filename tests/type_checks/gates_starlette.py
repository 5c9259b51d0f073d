"""Endpoints of Starlette as users write them. Checked with mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from moonkey_core import Auth, AuthenticatedAuth
from moonkey_starlette import (
    AuthenticatedRequest,
    AuthenticatedWebSocket,
    MoonKeyMiddleware,
    MoonKeyRequest,
    MoonKeyWebSocket,
    get_auth,
    require_auth,
)


@require_auth
async def me(request: AuthenticatedRequest) -> JSONResponse:
    auth = await get_auth(request)
    assert_type(auth, AuthenticatedAuth)
    return JSONResponse({"user_id": request.state.moonkey.user.id, "session_id": auth.session.id})


@require_auth(max_staleness=0)
def blocking(request: AuthenticatedRequest) -> JSONResponse:
    return JSONResponse({"user_id": request.state.moonkey.user.id, "own": request.state.own})


@require_auth
async def plain(request: Request) -> Response:
    return Response()


@require_auth(factors={"totp"})
async def echo(websocket: AuthenticatedWebSocket) -> None:
    auth = await get_auth(websocket)
    await websocket.send_text(websocket.state.moonkey.user.id + auth.session.id)


async def optional(request: MoonKeyRequest) -> Response:
    if request.state.moonkey.is_authenticated:
        return Response(request.state.moonkey.user.id)
    return Response()


async def optional_too(request: Request) -> Response:
    auth = await get_auth(request)
    assert_type(auth, Auth)
    return Response(auth.user.id if auth.is_authenticated else "nobody")


async def optional_echo(websocket: MoonKeyWebSocket) -> None:
    auth = websocket.state.moonkey
    if auth.is_authenticated:
        await websocket.send_text(auth.user.id)


async def optional_echo_too(websocket: WebSocket) -> None:
    auth = await get_auth(websocket)
    if auth.is_authenticated:
        await websocket.send_text(auth.user.id)


class Endpoint(HTTPEndpoint):
    @require_auth
    async def get(self, request: AuthenticatedRequest) -> Response:
        return Response(request.state.moonkey.user.id)


app = Starlette(
    routes=[
        Route("/me", me),
        Route("/blocking", blocking),
        Route("/plain", plain),
        Route("/endpoint", Endpoint),
        WebSocketRoute("/echo", echo),
    ],
    middleware=[Middleware(MoonKeyMiddleware)],
)


async def called(request: AuthenticatedRequest, other: MoonKeyRequest, websocket: AuthenticatedWebSocket) -> None:
    assert_type(await me(request), JSONResponse)
    assert_type(await blocking(request), JSONResponse)
    echoed: Coroutine[Any, Any, None] = echo(websocket)
    await echoed
    await optional(request)
    other.state.moonkey.user.id.upper()  # type: ignore[union-attr]
    await me(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await me()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
