"""A route that asks for permissions which follow from roles: 403 without them, 503 where that cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask
from integrations.django_visits import visit_asgi, visit_wsgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core.emulator import StytchEmulator
from moonkey_flask import FlaskMoonKey, current_auth
from moonkey_starlette import MoonKeyMiddleware, get_auth
from moonkey_starlette.fastapi import RequireAuth
from support.patience import PATIENT
from support.scripted import wait_until
from support.stytch_clients import provider_of

WAITS: dict[str, Any] = dict(PATIENT)
READ, WRITE = {"documents:read"}, {"documents:write"}
Visit = Callable[[str, str], int]
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]


@pytest.fixture(scope="module")
def running() -> Iterator[StytchEmulator]:
    with StytchEmulator() as emulator:
        yield emulator


@pytest.fixture
def project(running: StytchEmulator) -> StytchEmulator:
    running.reset()
    return running


def flask_app(project: StytchEmulator) -> Iterator[Visit]:
    app = Flask("roles")
    FlaskMoonKey(app, provider=provider_of(project), **WAITS)

    def shown() -> dict[str, Any]:
        return {"state": current_auth.state}

    app.add_url_rule("/open", "open", shown)
    for name, asked in (("read", READ), ("write", WRITE)):
        app.add_url_rule(f"/{name}", name, moonkey_flask.require_auth(permissions=asked)(shown))
    client = app.test_client()
    yield (
        lambda where, credential: client.get(where, headers={"authorization": f"Bearer {credential}"}).status_code
    )
    app.extensions["moonkey"].close()


def shown(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"state": request.moonkey.state})  # type: ignore[attr-defined]


class Urls:
    urlpatterns = [
        path("open", shown),
        path("read", moonkey_django.require_auth(permissions=READ)(shown)),
        path("write", moonkey_django.require_auth(permissions=WRITE)(shown)),
    ]


async def shown_later(request: Any) -> JsonResponse:
    return JsonResponse({"state": (await request.amoonkey()).state})


class AsyncUrls:
    urlpatterns = [
        path("open", shown_later),
        path("read", moonkey_django.require_auth(permissions=READ)(shown_later)),
        path("write", moonkey_django.require_auth(permissions=WRITE)(shown_later)),
    ]


def django_app(visit: Any, urls: Any, *, lazy: bool) -> Callable[[StytchEmulator], Iterator[Visit]]:
    def made(project: StytchEmulator) -> Iterator[Visit]:
        values = {
            "PROVIDER": provider_of(project),
            "LAZY": lazy,
            **{name.upper(): one for name, one in WAITS.items()},
        }
        with override_settings(MOONKEY=values, ROOT_URLCONF=urls, MIDDLEWARE=MIDDLEWARE):
            yield lambda where, credential: visit(where, credential).status_code

    return made


def starlette_app(*, lazy: bool) -> Callable[[StytchEmulator], Iterator[Visit]]:
    def made(project: StytchEmulator) -> Iterator[Visit]:
        async def view(request: Request) -> JSONResponse:
            return JSONResponse({"state": (await get_auth(request)).state})

        app = Starlette(
            routes=[
                Route("/open", view),
                Route("/read", moonkey_starlette.require_auth(permissions=READ)(view)),
                Route("/write", moonkey_starlette.require_auth(permissions=WRITE)(view)),
            ],
            middleware=[Middleware(MoonKeyMiddleware, provider=provider_of(project), lazy=lazy, **WAITS)],
        )
        with TestClient(app) as client:
            yield (
                lambda where, credential: (
                    client.get(where, headers={"authorization": f"Bearer {credential}"}).status_code
                )
            )

    return made


def fastapi_app(project: StytchEmulator) -> Iterator[Visit]:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, provider=provider_of(project), **WAITS)

    @app.get("/open")
    async def opened() -> dict[str, str]:
        return {}

    @app.get("/read", dependencies=[Depends(RequireAuth(permissions=READ))])
    async def read() -> dict[str, str]:
        return {}

    @app.get("/write", dependencies=[Depends(RequireAuth(permissions=WRITE))])
    async def write() -> dict[str, str]:
        return {}

    with TestClient(app) as client:
        yield (
            lambda where, credential: (
                client.get(where, headers={"authorization": f"Bearer {credential}"}).status_code
            )
        )


APPS: dict[str, Callable[[StytchEmulator], Iterator[Visit]]] = {
    "flask": flask_app,
    "django": django_app(visit_wsgi, Urls, lazy=False),
    "django lazy": django_app(visit_wsgi, Urls, lazy=True),
    "django asgi": django_app(visit_asgi, AsyncUrls, lazy=False),
    "starlette": starlette_app(lazy=False),
    "starlette lazy": starlette_app(lazy=True),
    "fastapi": fastapi_app,
}


@pytest.fixture(params=APPS)
def visit(request: pytest.FixtureRequest, project: StytchEmulator) -> Iterator[Visit]:
    yield from APPS[request.param](project)


def test_403_without_a_permission_and_503_where_it_cannot_be_known(visit: Visit, project: StytchEmulator) -> None:
    ada, eve = project.sign_in("ada@example.com", roles=["editor"]), project.sign_in("eve@example.com")
    project.fault("/v1/rbac/policy", status=500)
    for credential in (ada.session_token, ada.session_jwt):
        assert visit("/open", credential) == 200
        assert visit("/write", credential) == 503
    project.clear_faults()
    assert wait_until(lambda: visit("/read", ada.session_token) == 200)  # a failure is shared for a moment
    for person, expected in ((ada, 200), (eve, 403)):
        for credential in (person.session_token, person.session_jwt, person.session_jwt):
            assert visit("/read", credential) == 200
            assert visit("/write", credential) == expected
    assert visit("/write", "made-up") == 401
