"""A small site on each stack for providers other than MoonKey. No view knows which provider there is.

``/protected`` and ``/other-colour`` (asynchronous where that is not), ``/optional``, ``/reader`` (a scope),
``/strict`` (``max_staleness=0``, where the provider can be asked), ``/strong`` (``acr_values``), ``/personal``
(``allow_actor=False``), and
``POST /end``, which revokes the caller's own session; and the ready-made routes for programs, under ``/auth``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Any

from contract.stacks import AS_SENT_ASGI, AS_SENT_WSGI
from fastapi import Depends, FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_core.gate import RequirementOptions
from moonkey_flask import FlaskMoonKey, current_auth, optional_auth
from moonkey_flask import require_auth as flask_require
from moonkey_flask import session_routes as flask_routes
from moonkey_starlette import MoonKeyMiddleware, require_auth, session_routes
from moonkey_starlette.fastapi import CurrentAuth, RequireAuth
from moonkey_starlette.fastapi import session_routes as fastapi_routes
from support.servers import serve_asgi, serve_wsgi

Options = Mapping[str, Any]
Serve = Callable[[Options], AbstractContextManager[str]]

DEMANDS: dict[str, RequirementOptions] = {
    "/reader": {"scopes": {"read"}},
    "/strict": {"max_staleness": 0},
    "/strong": {"acr_values": ["2"]},
    "/personal": {"allow_actor": False},
}


def demands(client: MoonKey | AsyncMoonKey) -> dict[str, RequirementOptions]:
    """The demands that the providers of a client can meet."""
    members = client.providers.values() or (client,)
    can_ask = all("introspect" in one.capabilities for one in members)
    return {path: one for path, one in DEMANDS.items() if can_ask or "max_staleness" not in one}


def told(auth: Auth) -> dict[str, Any]:
    """What a view says of its caller."""
    assert auth.user is not None
    assert auth.session is not None
    return {
        "user": auth.user.id,
        "session": auth.session.id,
        "provider": auth.provider,
        "scope": auth.scope,
        "source": auth.source,
    }


def state(auth: Auth) -> dict[str, Any]:
    """What a view says of any visitor."""
    return {"state": auth.state, "reason": auth.error.reason if auth.error else None}


def end(client: MoonKey | AsyncMoonKey, auth: Auth) -> dict[str, Any]:
    """Revoke the session of the caller, as an app would anybody's."""
    assert auth.session is not None
    client.revocations.add(session_id=auth.session.id, provider=auth.provider)
    return {"ended": auth.session.id}


def closing(client: AsyncMoonKey) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """The lifespan of an app that has made its client itself."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with client:
            yield

    return lifespan


def flask_app(client: MoonKey) -> Flask:
    app = Flask(__name__)
    FlaskMoonKey(app, client=client)
    app.register_blueprint(flask_routes(mode="header"))

    async def other_colour() -> Any:
        return told(current_auth)

    def protected() -> Any:
        return told(current_auth)

    app.get("/protected")(flask_require(protected))
    app.get("/other-colour")(flask_require(other_colour))
    app.get("/optional", endpoint="optional")(optional_auth(lambda: state(current_auth)))
    app.post("/end", endpoint="end")(flask_require(lambda: end(client, current_auth)))
    for path, demand in demands(client).items():
        app.get(path, endpoint=path)(flask_require(**demand)(protected))
    return app


def starlette_app(client: AsyncMoonKey) -> Starlette:
    async def protected(request: Request) -> Response:
        return JSONResponse(told(request.state.moonkey))

    def other_colour(request: Request) -> Response:
        return JSONResponse(told(request.state.moonkey))

    async def optional(request: Request) -> Response:
        return JSONResponse(state(request.state.moonkey))

    async def end_own(request: Request) -> Response:
        return JSONResponse(end(client, request.state.moonkey))

    routes = [
        Route("/protected", require_auth(protected)),
        Route("/other-colour", require_auth(other_colour)),
        Route("/optional", optional),
        Route("/end", require_auth(end_own), methods=["POST"]),
        session_routes(mode="header"),
        *(Route(path, require_auth(**demand)(protected)) for path, demand in demands(client).items()),
    ]
    middleware = [Middleware(MoonKeyMiddleware, client=client)]
    return Starlette(routes=routes, middleware=middleware, lifespan=closing(client))


def fastapi_app(client: AsyncMoonKey) -> FastAPI:
    app = FastAPI(lifespan=closing(client))
    app.add_middleware(MoonKeyMiddleware, client=client)
    app.include_router(fastapi_routes(mode="header"))

    async def protected(auth: CurrentAuth) -> Any:
        return told(auth)

    @app.get("/other-colour")
    def other_colour(auth: Annotated[Auth, Depends(RequireAuth())]) -> Any:
        return told(auth)

    @app.get("/optional")
    async def optional(auth: CurrentAuth) -> Any:
        return state(auth)

    @app.post("/end")
    async def end_own(auth: Annotated[Auth, Depends(RequireAuth())]) -> Any:
        return end(client, auth)

    for path, demand in {"/protected": RequirementOptions(), **demands(client)}.items():
        app.get(path, dependencies=[Depends(RequireAuth(**demand))])(protected)
    return app


@contextmanager
def _flask(options: Options) -> Iterator[str]:
    with MoonKey(**options) as client, serve_wsgi(flask_app(client), **AS_SENT_WSGI) as url:
        yield url


@contextmanager
def _starlette(options: Options) -> Iterator[str]:
    with serve_asgi(starlette_app(AsyncMoonKey(**options)), **AS_SENT_ASGI) as url:
        yield url


@contextmanager
def _fastapi(options: Options) -> Iterator[str]:
    with serve_asgi(fastapi_app(AsyncMoonKey(**options)), **AS_SENT_ASGI) as url:
        yield url


@contextmanager
def _django_settings(options: Options) -> Iterator[None]:
    from contract.django_provider_site import urls
    from django.test import override_settings

    with MoonKey(**options) as client:
        root = urls(demands(client))
    with override_settings(
        ROOT_URLCONF=root,
        MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        MOONKEY={name.upper(): value for name, value in options.items()},
    ):
        yield


@contextmanager
def _django_wsgi(options: Options) -> Iterator[str]:
    from django.core.handlers.wsgi import WSGIHandler

    with _django_settings(options), serve_wsgi(WSGIHandler(), **AS_SENT_WSGI) as url:
        yield url


@contextmanager
def _django_asgi(options: Options) -> Iterator[str]:
    from django.core.handlers.asgi import ASGIHandler

    with _django_settings(options), serve_asgi(ASGIHandler(), lifespan="off", **AS_SENT_ASGI) as url:
        yield url


PROVIDER_STACKS: dict[str, Serve] = {
    "flask-wsgi": _flask,
    "django-wsgi": _django_wsgi,
    "django-asgi": _django_asgi,
    "starlette": _starlette,
    "fastapi": _fastapi,
}
