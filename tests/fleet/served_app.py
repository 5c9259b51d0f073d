"""One small app per framework, to be served by any server: ``application`` is the one that ``SERVED_APP`` names.

The same paths in all: ``/me`` and ``/async-me`` need a session (a plain and an async view), ``/health`` is the
worker's report, ``/doctor`` that of the doctor (but in FastAPI). A POST to one of ``served_revocations.ACTIONS``
revokes, and says what became of that. Settings come from the environment. Each response names its process.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from fleet import shifted_clock  # noqa: F401 - before what looks at the clock
from fleet.served_revocations import ACTIONS, ASYNC_ACTIONS

from moonkey_core import AsyncMoonKey, Auth, MoonKey

WORKER_HEADER = "x-worker"


def _identity(auth: Auth) -> dict[str, Any]:
    assert auth.user is not None
    assert auth.session is not None
    return {"user": auth.user.id, "session": auth.session.id, "source": auth.source}


def _report(client: MoonKey | AsyncMoonKey) -> dict[str, Any]:
    health, lag = client.health(), client.revocation_lag()
    return {
        "feed": health.feed,
        "known": health.revocations,
        "unsent": health.unsent,
        "lag": lag.session_jwt.fleet,
        "lags": dataclasses.asdict(lag),
    }


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

    @app.get("/doctor")
    def doctor() -> Any:
        from moonkey_flask.doctor import worker_report

        return worker_report().to_dict()

    @app.post("/<any(" + ", ".join(map(repr, ACTIONS)) + "):action>")
    def act(action: str) -> Any:
        return ACTIONS[action](get_client(), request.get_json())

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

    def doctor(request: HttpRequest) -> HttpResponse:
        from moonkey_django.doctor import worker_report

        return JsonResponse(worker_report(request).to_dict())

    @csrf_exempt
    def act(request: HttpRequest) -> HttpResponse:
        return JsonResponse(ACTIONS[request.path[1:]](get_client(), json.loads(request.body)))

    views = [path("me", me), path("async-me", async_me), path("health", health), path("doctor", doctor)]
    return [*views, *(path(action, act) for action in ACTIONS)]


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from moonkey_starlette import MoonKeyMiddleware, get_client, require_auth

    @require_auth
    def me(request: Request) -> Response:
        return JSONResponse(_identity(request.state.moonkey))

    @require_auth
    async def async_me(request: Request) -> Response:
        return JSONResponse(_identity(request.state.moonkey))

    async def health(request: Request) -> Response:
        return JSONResponse(_report(get_client(request)))

    async def doctor(request: Request) -> Response:
        from moonkey_starlette.doctor import worker_report

        return JSONResponse(worker_report(request).to_dict())

    async def act(request: Request) -> Response:
        action = ASYNC_ACTIONS[request.url.path[1:]]
        return JSONResponse(await action(get_client(request), await request.json()))

    return Starlette(
        routes=[
            Route("/me", me),
            Route("/async-me", async_me),
            Route("/health", health),
            Route("/doctor", doctor),
            *(Route(f"/{action}", act, methods=["POST"]) for action in ASYNC_ACTIONS),
        ],
        middleware=[Middleware(_Signed), Middleware(MoonKeyMiddleware)],
    )


class _Signed:
    """ASGI middleware: each response says which process gave it."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def signed(message: Any) -> None:
            if message["type"] == "http.response.start":
                line = (WORKER_HEADER.encode(), str(os.getpid()).encode())
                message = {**message, "headers": [*message["headers"], line]}
            await send(message)

        await self._app(scope, receive, signed)


def _fastapi() -> Any:
    from fastapi import Depends, FastAPI, Request

    from moonkey_starlette import MoonKeyMiddleware, get_client
    from moonkey_starlette.fastapi import CurrentAuth, RequireAuth

    app = FastAPI(openapi_url=None)
    app.add_middleware(MoonKeyMiddleware)
    app.add_middleware(_Signed)

    async def me(auth: CurrentAuth) -> Any:
        return _identity(auth)

    async def health(request: Request) -> Any:
        return _report(get_client(request))

    async def act(request: Request) -> Any:
        return await ASYNC_ACTIONS[request.url.path[1:]](get_client(request), await request.json())

    # The annotations name what is imported here, where FastAPI would not find it.
    me.__annotations__["auth"] = CurrentAuth
    health.__annotations__["request"] = act.__annotations__["request"] = Request
    for path in ("/me", "/async-me"):
        app.add_api_route(path, me, dependencies=[Depends(RequireAuth())])
    app.add_api_route("/health", health)
    for action in ASYNC_ACTIONS:
        app.add_api_route(f"/{action}", act, methods=["POST"])
    return app


def _chosen() -> Any:
    name = os.environ["SERVED_APP"]
    if name == "flask":
        return _flask()
    if name == "starlette":
        return _starlette()
    if name == "fastapi":
        return _fastapi()
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
