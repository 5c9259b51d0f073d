"""Closed by default: a machine passes where the gate of the view itself lets it, and nowhere else."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask
from integrations.django_visits import visit_asgi, visit_wsgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey
from moonkey_core.emulator.oidc.server import OidcEmulator
from moonkey_core.provider import OIDC
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import RequireAuth

Status = Callable[[str, str], int]


def provider(oidc: OidcEmulator) -> OIDC:
    return OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks(), allow_machines=True, leeway=0)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def flask(oidc: OidcEmulator, _: Any) -> Status:
    app = Flask("machines")
    moonkey_flask.FlaskMoonKey(app, provider=provider(oidc), required=True)
    app.add_url_rule("/users", "users", lambda: "users")
    app.add_url_rule("/all", "all", moonkey_flask.require_auth(allow_machines=True)(lambda: "all"))
    client = app.test_client()
    return lambda where, token: client.get(where, headers=bearer(token)).status_code


def django(oidc: OidcEmulator, settings: Any, visit: Callable[..., Any]) -> Status:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("view")

    urls: Any = types.ModuleType("urls_of_a_test")
    gate = moonkey_django.require_auth(allow_machines=True)
    urls.urlpatterns = [path("users", view), path("all", gate(view))]
    settings.ROOT_URLCONF, settings.MOONKEY = urls, {"PROVIDER": provider(oidc), "REQUIRED": True}
    return lambda where, token: int(visit(where, token).status_code)


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("endpoint")


def starlette(oidc: OidcEmulator, _: Any) -> Status:
    gate = moonkey_starlette.require_auth(allow_machines=True)
    ours = Middleware(MoonKeyMiddleware, client=AsyncMoonKey(provider=provider(oidc)), required=True)
    app = Starlette(routes=[Route("/users", endpoint), Route("/all", gate(endpoint))], middleware=[ours])
    return visited(app)


def fastapi(oidc: OidcEmulator, _: Any) -> Status:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, client=AsyncMoonKey(provider=provider(oidc)), required=True)

    @app.get("/users")
    async def users() -> str:
        return "users"

    @app.get("/all")
    async def everything(auth: Annotated[Any, Depends(RequireAuth(allow_machines=True))]) -> str:
        return "all"

    return visited(app)


def visited(app: Any) -> Status:
    client = TestClient(app)
    return lambda where, token: client.get(where, headers=bearer(token)).status_code


SITES: dict[str, Callable[[OidcEmulator, Any], Status]] = {
    "flask": flask,
    "django-wsgi": lambda oidc, settings: django(oidc, settings, visit_wsgi),
    "django-asgi": lambda oidc, settings: django(oidc, settings, visit_asgi),
    "starlette": starlette,
    "fastapi": fastapi,
}


@pytest.mark.rule("S53", "jwt")
@pytest.mark.parametrize("make", SITES.values(), ids=SITES.keys())
def test_a_machine_passes_where_the_gate_of_the_view_lets_it(
    make: Callable[[OidcEmulator, Any], Status], oidc: OidcEmulator, settings: Any
) -> None:
    status = make(oidc, settings)
    machine, user = oidc.token(kind="machine"), oidc.token()
    assert (status("/users", machine), status("/all", machine)) == (403, 200)
    assert (status("/users", user), status("/all", user)) == (200, 200)
    assert (status("/users", "nonsense"), status("/all", "nonsense")) == (401, 401)
