"""Two small apps that are served by several processes: Flask for gunicorn, Starlette for uvicorn.

The same paths in both: ``/me`` needs a session, ``/revoke`` ends one, ``/revoke-user`` refuses all that a user
has, ``/sign-out`` does both, ``/revoke-all`` and ``/rotate`` end all of a user's, ``/health`` is the worker's
report. Settings come from the environment; where they name cookies, the ready-made routes are below ``/auth``.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from flask import Flask, request
from flask import Response as FlaskResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_flask import FlaskMoonKey, current_auth
from moonkey_flask import require_auth as flask_require_auth
from moonkey_flask import session_routes as flask_session_routes
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth, session_routes

_WORKER = "x-worker"


def _identity(auth: Auth) -> dict[str, Any]:
    assert auth.user is not None
    assert auth.session is not None
    return {"user": auth.user.id, "session": auth.session.id, "source": auth.source}


def _report(client: MoonKey | AsyncMoonKey) -> dict[str, Any]:
    lag = dataclasses.asdict(client.revocation_lag())
    health = client.health()
    return {"feed": health.feed, "circuit": health.circuit, "known": health.revocations, "lag": lag}


def flask_app() -> Flask:
    """The Flask app."""
    app = Flask(__name__)
    FlaskMoonKey(app)
    client: MoonKey = app.extensions["moonkey"]

    @app.get("/worker")
    def worker() -> Any:
        return {}

    @app.get("/me")
    @flask_require_auth
    def me() -> Any:
        return _identity(current_auth)

    @app.get("/health")
    def health() -> Any:
        return _report(client)

    @app.post("/revoke")
    def revoke() -> Any:
        return {"state": client.sessions.revoke(session_id=request.get_json()["session_id"])}

    @app.post("/revoke-all")
    def revoke_all() -> Any:
        return {"state": client.sessions.revoke_all(request.get_json()["user_id"]).state}

    @app.post("/rotate")
    def rotate() -> Any:
        return {"state": client.sessions.rotate(**request.get_json(), session_expires_in=60).state}

    @app.post("/revoke-user")
    def revoke_user() -> Any:
        client.revocations.add(user_id=request.get_json()["user_id"])
        return {}

    @app.post("/sign-out")
    def sign_out() -> Any:
        user_id = request.get_json()["user_id"]
        client.revocations.add(user_id=user_id)
        client.sessions.revoke_all(user_id)
        return {}

    @app.after_request
    def sign(response: FlaskResponse) -> FlaskResponse:
        response.headers[_WORKER] = str(os.getpid())
        return response

    if client.settings.cookies is not None:
        app.register_blueprint(flask_session_routes())
    return app


class _Signed:
    """Every answer says which process gave it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_WORKER.encode(), str(os.getpid()).encode())]
            await send(message)

        await self._app(scope, receive, signed)


def starlette_app() -> Starlette:
    """The Starlette app."""
    client = AsyncMoonKey()

    async def worker(request: Request) -> Response:
        return JSONResponse({})

    @require_auth
    async def me(request: Request) -> Response:
        return JSONResponse(_identity(await get_auth(request)))

    async def health(request: Request) -> Response:
        return JSONResponse(_report(client))

    async def revoke(request: Request) -> Response:
        state = await client.sessions.revoke(session_id=(await request.json())["session_id"])
        return JSONResponse({"state": state})

    async def revoke_all(request: Request) -> Response:
        ended = await client.sessions.revoke_all((await request.json())["user_id"])
        return JSONResponse({"state": ended.state})

    async def rotate(request: Request) -> Response:
        rotated = await client.sessions.rotate(**(await request.json()), session_expires_in=60)
        return JSONResponse({"state": rotated.state})

    async def revoke_user(request: Request) -> Response:
        client.revocations.add(user_id=(await request.json())["user_id"])
        return JSONResponse({})

    async def sign_out(request: Request) -> Response:
        user_id = (await request.json())["user_id"]
        client.revocations.add(user_id=user_id)
        await client.sessions.revoke_all(user_id)
        return JSONResponse({})

    return Starlette(
        routes=[
            *(Route(f"/{view.__name__}", view) for view in (worker, health)),
            Route("/me", me),
            Route("/revoke", revoke, methods=["POST"]),
            Route("/revoke-user", revoke_user, methods=["POST"]),
            Route("/sign-out", sign_out, methods=["POST"]),
            Route("/revoke-all", revoke_all, methods=["POST"]),
            Route("/rotate", rotate, methods=["POST"]),
            *([session_routes()] if client.settings.cookies is not None else []),
        ],
        middleware=[Middleware(_Signed), Middleware(MoonKeyMiddleware, client=client)],
    )
