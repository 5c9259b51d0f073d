"""A route that requires a fresher credential than a provider can vouch for is refused at start, not at a visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client as DjangoClient
from django.test import override_settings
from django.urls import path
from django.views import View
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from flask import Blueprint, Flask
from flask.views import MethodView
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

import moonkey_django
from moonkey_core import OIDC, Client, ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.provider import Introspection
from moonkey_django.gates import check_gates
from moonkey_flask import FlaskMoonKey, optional_auth
from moonkey_flask import require_auth as flask_gate
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette import require_auth as starlette_gate
from moonkey_starlette.fastapi import CurrentUser, RequireAuth

ISSUER, AUDIENCE = "https://id.example.com", "https://api.example.com"
ALONE: dict[str, Any] = {"provider": OIDC(ISSUER, AUDIENCE)}
SEVERAL: dict[str, Any] = {"providers": ["moonkey", OIDC(ISSUER, AUDIENCE)], "secret_key": "sk_test_of_nobody"}
ASKED: dict[str, Any] = {
    "provider": OIDC(
        ISSUER,
        AUDIENCE,
        introspection=Introspection(f"{ISSUER}/introspect", client_id="api", client_secret="secret"),
    )
}
SHORT: dict[str, Any] = {"provider": OIDC(ISSUER, AUDIENCE, longest_life=300)}
WORDS = "max_staleness=60"


def plain() -> str:
    return "open"


class OfMethods(MethodView):
    @flask_gate(max_staleness=60)
    def get(self) -> str:
        return "open"


class OfAll(MethodView):
    decorators = [flask_gate(max_staleness=60)]

    def get(self) -> str:
        return "open"


def in_a_blueprint(app: Flask) -> None:
    part = Blueprint("part", __name__)
    part.get("/me")(flask_gate(max_staleness=60)(plain))
    app.register_blueprint(part)


FLASK: dict[str, Callable[[Flask], Any]] = {
    "a view": lambda app: app.get("/me")(flask_gate(max_staleness=60)(plain)),
    "a view for all": lambda app: app.get("/me")(optional_auth(max_staleness=60)(plain)),
    "a blueprint": in_a_blueprint,
    "a class": lambda app: app.add_url_rule("/me", view_func=OfAll.as_view("me")),
    "a method": lambda app: app.add_url_rule("/me", view_func=OfMethods.as_view("me")),
    "the app": lambda app: app.before_request(flask_gate(max_staleness=60)(lambda: None)),
}


def flask_status(options: dict[str, Any], register: Callable[[Flask], Any]) -> int:
    app = Flask("fresh", template_folder=None)
    FlaskMoonKey(app, **options)
    register(app)
    client = app.test_client()
    return {client.get("/me").status_code for _ in range(2)}.pop()


@pytest.mark.parametrize("name", FLASK)
def test_flask(name: str) -> None:
    for options in (ALONE, SEVERAL):
        assert flask_status(options, FLASK[name]) == 500
    for options in (ASKED, {"secret_key": "sk_test_of_nobody"}):
        assert flask_status(options, FLASK[name]) < 500


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("open")


async def socket(websocket: WebSocket) -> None:
    await websocket.close()


class OfEndpoints(HTTPEndpoint):
    @starlette_gate(max_staleness=60)
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("open")


STARLETTE: dict[str, Any] = {
    "a route": Route("/me", starlette_gate(max_staleness=60)(endpoint)),
    "an endpoint": Route("/me", OfEndpoints),
    "a mounted route": Mount("/sub", routes=[Route("/me", starlette_gate(max_staleness=60)(endpoint))]),
    "a WebSocket": WebSocketRoute("/me", starlette_gate(max_staleness=60)(socket)),
}


@pytest.mark.parametrize("name", STARLETTE)
def test_starlette(name: str) -> None:
    for options in (ALONE, SEVERAL):
        app = Starlette(routes=[STARLETTE[name]], middleware=[Middleware(MoonKeyMiddleware, **options)])
        with pytest.raises(ConfigurationError, match=WORDS), TestClient(app):
            pass
    app = Starlette(routes=[STARLETTE[name]], middleware=[Middleware(MoonKeyMiddleware, **ASKED)])
    with TestClient(app) as client:
        client.get("/me")


def test_without_a_lifespan() -> None:
    app = Starlette(routes=[STARLETTE["a route"]], middleware=[Middleware(MoonKeyMiddleware, **ALONE)])
    assert TestClient(app, raise_server_exceptions=False).get("/me").status_code == 500


def on_a_router(app: FastAPI) -> None:
    router = APIRouter(dependencies=[Depends(RequireAuth(max_staleness=60))])
    router.get("/me")(plain)
    app.include_router(router)


FASTAPI: dict[str, Callable[[FastAPI], Any]] = {
    "a route": lambda app: app.get("/me", dependencies=[Depends(RequireAuth(max_staleness=60))])(plain),
    "a router": on_a_router,
    "a WebSocket": lambda app: app.websocket("/me", dependencies=[Depends(RequireAuth(max_staleness=60))])(socket),
}


@pytest.mark.parametrize("name", FASTAPI)
def test_fastapi(name: str) -> None:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **ALONE)
    FASTAPI[name](app)
    with pytest.raises(ConfigurationError, match=WORDS), TestClient(app):
        pass


def test_gates_that_do_not_ask_for_it() -> None:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **ALONE)

    @app.get("/me")
    def me(user: CurrentUser) -> str:
        return user.id

    with TestClient(app) as client:
        assert client.get("/me").status_code == 401


@moonkey_django.require_auth(max_staleness=60)
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


@moonkey_django.require_auth(max_staleness=60)
async def aview(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


class Fresh(moonkey_django.RequireAuthMixin, View):
    max_staleness = 60

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


DJANGO: dict[str, Any] = {"a view": view, "an async view": aview, "a class": Fresh.as_view()}


@pytest.mark.parametrize("name", DJANGO)
def test_django(name: str) -> None:
    for options, is_refused in ((ALONE, True), (SEVERAL, True), (ASKED, False)):
        with override_settings(
            ROOT_URLCONF=(path("me", DJANGO[name]),),
            MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
            MOONKEY={key.upper(): value for key, value in options.items()},
        ):
            found = [(one.id, WORDS in one.msg) for one in check_gates()]
            response = DjangoClient(raise_request_exception=False).get("/me")
        assert found == ([("moonkey.E007", True)] if is_refused else [])
        assert response.status_code == (500 if is_refused else 401)


def test_the_bound_is_the_longest_life_that_is_accepted() -> None:
    with Client(**SHORT) as client:
        client.check_requirements(Requirements(max_staleness=305))  # leeway included
        with pytest.raises(ConfigurationError, match="max_staleness=304"):
            client.check_requirements(Requirements(max_staleness=304))
