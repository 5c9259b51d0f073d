"""A small site on each stack whose app records second factors and starts of sessions.

``/vault`` and ``/other-vault`` (asynchronous where that is not) ask for a recent second factor. ``POST /verified``
records one, ``POST /end`` ends it, ``POST /started`` notes a sign-in, and ``/me`` tells what is known. ``/young``
asks for a young session, where the app notes starts. In Flask and Django, ``/stream`` asks as ``/vault`` does, and
lasts until the record has ended. The session routes are mounted under ``/auth``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Annotated, Any

from contract.provider_sites import closing
from contract.stacks import AS_SENT_ASGI, AS_SENT_WSGI
from fastapi import Depends, FastAPI
from flask import Flask, stream_with_context
from flask import Response as FlaskResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_flask import FlaskMoonKey, current_auth
from moonkey_flask import bound_stream as flask_stream
from moonkey_flask import require_auth as flask_require
from moonkey_flask import session_routes as flask_routes
from moonkey_starlette import MoonKeyMiddleware, require_auth
from moonkey_starlette import session_routes as starlette_routes
from moonkey_starlette.fastapi import RequireAuth
from moonkey_starlette.fastapi import session_routes as fastapi_routes
from support.patience import PATIENCE
from support.servers import serve_asgi, serve_wsgi

Options = Mapping[str, Any]
Serve = Callable[[Options], AbstractContextManager[str]]

TEN_MINUTES = timedelta(minutes=10)
VAULT: dict[str, Any] = {"mfa_max_age": TEN_MINUTES}
YOUNG: dict[str, Any] = {"session_max_age": timedelta(hours=1)}


SignedIn = Annotated[Auth, Depends(RequireAuth())]
WithMfa = Annotated[Auth, Depends(RequireAuth(**VAULT))]
Young = Annotated[Auth, Depends(RequireAuth(**YOUNG))]


def mode(options: Options) -> Any:
    return "cookies" if options.get("cookies") else "header"


def told(auth: Auth) -> dict[str, Any]:
    """What is known of a caller."""
    assert auth.user is not None
    assert auth.session is not None
    started_at = auth.session.started_at
    return {
        "user": auth.user.id,
        "mfa": None if auth.mfa is None else auth.mfa.to_dict(),
        "started_at": None if started_at is None else started_at.timestamp(),
        "soon": auth.session.expires_soon(timedelta(days=30)),
        "very_soon": auth.session.expires_soon(timedelta(minutes=1)),
    }


def parts(auth: Auth, pause: float = 0.01) -> Iterator[str]:
    """The id of the record that counts, and at its end ``None``. Each part is sent at once."""
    yield f"{told(auth)['mfa']['id']}\n"
    deadline = time.monotonic() + PATIENCE
    while told(auth)["mfa"] is not None and time.monotonic() < deadline:
        time.sleep(pause)
        yield ".\n"
    yield f"{told(auth)['mfa']}\n"


def flask_app(options: Options) -> Flask:
    app = Flask(__name__)
    client = MoonKey(**options)
    FlaskMoonKey(app, client=client)
    app.register_blueprint(flask_routes(mode=mode(options)))

    def vault() -> Any:
        return told(current_auth)

    async def other_vault() -> Any:
        return told(current_auth)

    def verified() -> Any:
        return client.mfa.record(current_auth).to_dict()

    def end() -> Any:
        client.mfa.end(current_auth)
        return {}

    def started() -> Any:
        return client.sessions.note_start(current_auth).to_dict()

    def stream() -> Any:
        return FlaskResponse(stream_with_context(flask_stream(parts(current_auth))))

    app.get("/stream")(flask_require(**VAULT)(stream))
    app.get("/vault")(flask_require(**VAULT)(vault))
    app.get("/other-vault")(flask_require(**VAULT)(other_vault))
    app.get("/me", endpoint="me")(flask_require(vault))
    app.post("/verified")(flask_require(verified))
    app.post("/end")(flask_require(end))
    app.post("/started")(flask_require(started))
    if options.get("note_starts"):
        app.get("/young", endpoint="young")(flask_require(**YOUNG)(vault))
    return app


def starlette_app(options: Options) -> Starlette:
    client = AsyncMoonKey(**options)

    async def vault(request: Request) -> Response:
        return JSONResponse(told(request.state.moonkey))

    def other_vault(request: Request) -> Response:
        return JSONResponse(told(request.state.moonkey))

    async def verified(request: Request) -> Response:
        return JSONResponse((await client.mfa.record(request.state.moonkey)).to_dict())

    async def end(request: Request) -> Response:
        await client.mfa.end(request.state.moonkey)
        return JSONResponse({})

    async def started(request: Request) -> Response:
        return JSONResponse((await client.sessions.note_start(request.state.moonkey)).to_dict())

    routes = [
        Route("/vault", require_auth(**VAULT)(vault)),
        Route("/other-vault", require_auth(**VAULT)(other_vault)),
        Route("/me", require_auth(vault)),
        Route("/verified", require_auth(verified), methods=["POST"]),
        Route("/end", require_auth(end), methods=["POST"]),
        Route("/started", require_auth(started), methods=["POST"]),
        starlette_routes(mode=mode(options)),
        *([Route("/young", require_auth(**YOUNG)(vault))] if options.get("note_starts") else []),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)], lifespan=closing(client)
    )


def fastapi_app(options: Options) -> FastAPI:
    client = AsyncMoonKey(**options)
    app = FastAPI(lifespan=closing(client))
    app.add_middleware(MoonKeyMiddleware, client=client)
    app.include_router(fastapi_routes(mode=mode(options)))

    @app.get("/vault")
    async def vault(auth: WithMfa) -> Any:
        return told(auth)

    @app.get("/other-vault")
    def other_vault(auth: WithMfa) -> Any:
        return told(auth)

    @app.get("/me")
    async def me(auth: SignedIn) -> Any:
        return told(auth)

    @app.post("/verified")
    async def verified(auth: SignedIn) -> Any:
        return (await client.mfa.record(auth)).to_dict()

    @app.post("/end")
    async def end(auth: SignedIn) -> Any:
        await client.mfa.end(auth)
        return {}

    @app.post("/started")
    async def started(auth: SignedIn) -> Any:
        return (await client.sessions.note_start(auth)).to_dict()

    if options.get("note_starts"):

        @app.get("/young")
        async def young(auth: Young) -> Any:
            return told(auth)

    return app


@contextmanager
def _flask(options: Options) -> Iterator[str]:
    with serve_wsgi(flask_app(options), **AS_SENT_WSGI) as url:
        yield url


@contextmanager
def _starlette(options: Options) -> Iterator[str]:
    with serve_asgi(starlette_app(options), **AS_SENT_ASGI) as url:
        yield url


@contextmanager
def _fastapi(options: Options) -> Iterator[str]:
    with serve_asgi(fastapi_app(options), **AS_SENT_ASGI) as url:
        yield url


@contextmanager
def _django_settings(options: Options, *, is_async: bool) -> Iterator[None]:
    from contract.django_mfa_site import urls
    from django.test import override_settings

    ours = override_settings(
        MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        MOONKEY={name.upper(): value for name, value in options.items()},
    )
    with ours:  # the routes are made of these settings
        routes = urls(mode(options), notes_starts=bool(options.get("note_starts")), is_async=is_async)
        with override_settings(ROOT_URLCONF=routes):
            yield


@contextmanager
def _django_wsgi(options: Options) -> Iterator[str]:
    from django.core.handlers.wsgi import WSGIHandler

    with _django_settings(options, is_async=False), serve_wsgi(WSGIHandler(), **AS_SENT_WSGI) as url:
        yield url


@contextmanager
def _django_asgi(options: Options) -> Iterator[str]:
    from django.core.handlers.asgi import ASGIHandler

    with (
        _django_settings(options, is_async=True),
        serve_asgi(ASGIHandler(), lifespan="off", **AS_SENT_ASGI) as url,
    ):
        yield url


MFA_STACKS: dict[str, Serve] = {
    "flask-wsgi": _flask,
    "django-wsgi": _django_wsgi,
    "django-asgi": _django_asgi,
    "starlette": _starlette,
    "fastapi": _fastapi,
}
