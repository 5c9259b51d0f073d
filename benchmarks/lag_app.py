"""The app of the lag table: ``application``, of the framework that ``BENCH_APP`` names.

The same paths in each: ``/me`` needs a session, ``/fresh`` an answer of the API to this very request; ``/open``
is a connection that lasts as long as the session: a WebSocket, in Flask a stream. A POST to ``/revoke`` ends a
session, one to ``/cookies`` returns those of a sign-in, with a JWT of the caller's; ``/health`` is what the
process says of its feed and of its lag. The settings are in the environment, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from moonkey_core import AsyncMoonKey, CookieSettings, MoonKey, VerifiedSession

OPTIONS: dict[str, Any] = {
    "cookies": CookieSettings(insecure_development=True),
    **json.loads(os.environ.get("BENCH_OPTIONS", "{}")),
}
PAUSE = 0.05  # seconds between two items of a stream


def health_of(client: MoonKey | AsyncMoonKey) -> dict[str, Any]:
    """The state of the feed, and the bounds that the client states."""
    return {"feed": client.health().feed, "lag": dataclasses.asdict(client.revocation_lag())}


def cookies_of(client: MoonKey | AsyncMoonKey, verified: VerifiedSession, session_jwt: str) -> dict[str, Any]:
    """The cookies of a sign-in that was answered with this JWT."""
    login = VerifiedSession(verified.user, verified.session, verified.session_token, session_jwt)
    return {"cookies": client.sign_in_cookies(login)}


def _flask() -> Any:
    from flask import Flask, Response, request

    from moonkey_flask import FlaskMoonKey, bound_stream, current_user, get_client, require_auth

    app = Flask("lag")
    FlaskMoonKey(app, **OPTIONS)

    def me() -> dict[str, str]:
        return {"user": current_user.id}

    def items() -> Iterator[str]:
        while True:
            yield "."
            time.sleep(PAUSE)

    @app.get("/open")
    @require_auth
    def opened() -> Response:
        return Response(bound_stream(items()), mimetype="text/event-stream")

    @app.post("/revoke")
    def revoke() -> dict[str, str]:
        return {"state": get_client().sessions.revoke(session_id=request.get_json()["session_id"])}

    @app.post("/cookies")
    def cookies() -> dict[str, Any]:
        client, body = get_client(), request.get_json()
        verified = client.sessions.verify(session_token=body["session_token"])
        return cookies_of(client, verified, body["session_jwt"])

    app.get("/me", endpoint="me")(require_auth(me))
    app.get("/fresh", endpoint="fresh")(require_auth(max_staleness=0)(me))
    app.get("/health", endpoint="health")(lambda: health_of(get_client()))
    return app


def _fastapi() -> Any:
    from fastapi import Depends, FastAPI, Request, WebSocket

    from moonkey_starlette import MoonKeyMiddleware, get_client
    from moonkey_starlette.fastapi import CurrentUser, RequireAuth

    app = FastAPI(openapi_url=None)
    app.add_middleware(MoonKeyMiddleware, **OPTIONS)

    async def me(user: Any) -> dict[str, str]:
        return {"user": user.id}

    async def opened(websocket: Any, user: Any) -> None:
        await websocket.accept()
        await websocket.send_text("open")
        async for _ in websocket.iter_text():
            """Nothing is done with it."""

    async def revoke(request: Any) -> dict[str, str]:
        return {"state": await get_client(request).sessions.revoke(**await request.json())}

    async def cookies(request: Any) -> dict[str, Any]:
        client, body = get_client(request), await request.json()
        verified = await client.sessions.verify(session_token=body["session_token"])
        return cookies_of(client, verified, body["session_jwt"])

    async def health(request: Any) -> dict[str, Any]:
        return health_of(get_client(request))

    # The annotations name what is imported here, where FastAPI would not find it.
    me.__annotations__["user"] = opened.__annotations__["user"] = CurrentUser
    opened.__annotations__["websocket"] = WebSocket
    for endpoint in (revoke, cookies, health):
        endpoint.__annotations__["request"] = Request
    app.get("/me")(me)
    app.get("/fresh", dependencies=[Depends(RequireAuth(max_staleness=0))])(me)
    app.websocket("/open")(opened)
    app.post("/revoke")(revoke)
    app.post("/cookies")(cookies)
    app.get("/health")(health)
    return app


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    from moonkey_starlette import MoonKeyMiddleware, get_client, require_auth

    async def me(request: Request) -> Response:
        return JSONResponse({"user": request.state.moonkey.user.id})

    @require_auth
    async def opened(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("open")
        async for _ in websocket.iter_text():
            """Nothing is done with it."""

    async def revoke(request: Request) -> Response:
        return JSONResponse({"state": await get_client(request).sessions.revoke(**await request.json())})

    async def cookies(request: Request) -> Response:
        client, body = get_client(request), await request.json()
        verified = await client.sessions.verify(session_token=body["session_token"])
        return JSONResponse(cookies_of(client, verified, body["session_jwt"]))

    async def health(request: Request) -> Response:
        return JSONResponse(health_of(get_client(request)))

    routes = [
        Route("/me", require_auth(me)),
        Route("/fresh", require_auth(max_staleness=0)(me)),
        WebSocketRoute("/open", opened),
        Route("/revoke", revoke, methods=["POST"]),
        Route("/cookies", cookies, methods=["POST"]),
        Route("/health", health),
    ]
    return Starlette(routes=routes, middleware=[Middleware(MoonKeyMiddleware, **OPTIONS)])


application = {"flask": _flask, "fastapi": _fastapi, "starlette": _starlette}[os.environ["BENCH_APP"]]()
