"""One small app per framework, to be served by any server: ``application`` is the one that ``SERVED_APP`` names.

The same paths in all: ``/me`` and ``/async-me`` need a session (a plain and an async view), ``/revoke`` ends one,
``/health`` is the worker's report. Settings come from the environment. Each response names its process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from moonkey_core import AsyncMoonKey, Auth, MoonKey

WORKER_HEADER = "x-worker"


def _identity(auth: Auth) -> dict[str, Any]:
    assert auth.user is not None
    return {"user": auth.user.id, "source": auth.source}


def _report(client: MoonKey | AsyncMoonKey) -> dict[str, Any]:
    health = client.health()
    return {"feed": health.feed, "known": health.revocations, "lag": client.revocation_lag().session_jwt.fleet}


def _flask() -> Any:
    from flask import Flask, request
    from flask import Response as FlaskResponse

    from moonkey_flask import FlaskMoonKey, current_auth, get_client, require_auth

    app = Flask(__name__)
    FlaskMoonKey(app)

    @app.get("/me")
    @require_auth
    def me() -> Any:
        return _identity(current_auth)

    @app.get("/async-me")
    @require_auth
    async def async_me() -> Any:
        return _identity(current_auth)

    @app.get("/health")
    def health() -> Any:
        return _report(get_client())

    @app.post("/revoke")
    def revoke() -> Any:
        get_client().sessions.revoke(session_id=request.get_json()["session_id"])
        return {}

    @app.after_request
    def sign(response: FlaskResponse) -> FlaskResponse:
        response.headers[WORKER_HEADER] = str(os.getpid())
        return response

    return app


def _django() -> None:
    from django.conf import settings

    settings.configure(
        ROOT_URLCONF=__name__,
        SECRET_KEY="served",
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=[f"{__name__}.sign_response", "moonkey_django.MoonKeyMiddleware"],
        INSTALLED_APPS=["moonkey_django"],
    )


def sign_response(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Django middleware: each response says which process gave it."""
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction

    def signed(response: Any) -> Any:
        response[WORKER_HEADER] = str(os.getpid())
        return response

    if iscoroutinefunction(get_response):

        async def async_middleware(request: Any) -> Any:
            return signed(await get_response(request))

        return markcoroutinefunction(async_middleware)

    return lambda request: signed(get_response(request))


sign_response.sync_capable = sign_response.async_capable = True  # type: ignore[attr-defined]


def _django_urls() -> list[Any]:
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    from moonkey_django import MoonKeyRequest, get_client, require_auth

    @require_auth
    def me(request: MoonKeyRequest) -> HttpResponse:
        return JsonResponse(_identity(request.moonkey))

    @require_auth
    async def async_me(request: MoonKeyRequest) -> HttpResponse:
        return JsonResponse(_identity(await request.amoonkey()))

    def health(request: HttpRequest) -> HttpResponse:
        return JsonResponse(_report(get_client()))

    @csrf_exempt
    def revoke(request: HttpRequest) -> HttpResponse:
        get_client().sessions.revoke(session_id=json.loads(request.body)["session_id"])
        return JsonResponse({})

    return [path("me", me), path("async-me", async_me), path("health", health), path("revoke", revoke)]


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Message, Receive, Scope, Send

    from moonkey_starlette import MoonKeyMiddleware, get_client, require_auth

    @require_auth
    def me(request: Request) -> Response:
        return JSONResponse(_identity(request.state.moonkey))

    @require_auth
    async def async_me(request: Request) -> Response:
        return JSONResponse(_identity(request.state.moonkey))

    async def health(request: Request) -> Response:
        return JSONResponse(_report(get_client(request)))

    async def revoke(request: Request) -> Response:
        await get_client(request).sessions.revoke(session_id=(await request.json())["session_id"])
        return JSONResponse({})

    class Signed:
        def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def signed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    line = (WORKER_HEADER.encode(), str(os.getpid()).encode())
                    message = {**message, "headers": [*message["headers"], line]}
                await send(message)

            await self._app(scope, receive, signed)

    return Starlette(
        routes=[
            Route("/me", me),
            Route("/async-me", async_me),
            Route("/health", health),
            Route("/revoke", revoke, methods=["POST"]),
        ],
        middleware=[Middleware(Signed), Middleware(MoonKeyMiddleware)],
    )


def _chosen() -> Any:
    name = os.environ["SERVED_APP"]
    if name == "flask":
        return _flask()
    if name == "starlette":
        return _starlette()
    _django()
    if name == "django-wsgi":
        from django.core.wsgi import get_wsgi_application

        return get_wsgi_application()
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _django_urls()
    raise AttributeError(name)


application = _chosen()
