"""Apps inside of apps, and other middleware around and between: an error of ours is always answered the same."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from integrations.starlette_visits import bearer, names, options
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, require_auth
from support import quick
from support.patience import PATIENCE
from support.servers import serve_asgi

ran_afterwards = threading.Event()


@require_auth
async def me(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.user.id)


@requires("authenticated")
async def foreign(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


async def broken(request: Request) -> Response:
    raise RuntimeError("a bug of the app")


async def own_500(request: Request) -> Response:
    task = BackgroundTask(ran_afterwards.set)
    return JSONResponse({"own": 500, "who": request.state.moonkey.state}, status_code=500, background=task)


async def streamed_500(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "one "
        yield "two"

    return StreamingResponse(parts(), status_code=500)


def inner_app(**more: Any) -> Starlette:
    endpoints = (me, foreign, broken, own_500, streamed_500)
    return Starlette(routes=[Route(f"/{endpoint.__name__}", endpoint) for endpoint in endpoints], **more)


class PassingOn(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-passed"] = "yes"
        return response


def mounted(emulator: Emulator) -> ASGIApp:
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator))]
    return Starlette(routes=[Mount("/", inner_app())], middleware=middleware)


def mounted_twice(emulator: Emulator) -> ASGIApp:
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator))]
    outer = Starlette(routes=[Mount("/", inner_app())])
    return Starlette(routes=[Mount("/", outer)], middleware=middleware)


def in_debug_mode(emulator: Emulator) -> ASGIApp:
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator))]
    return Starlette(routes=[Mount("/", inner_app(debug=True))], middleware=middleware)


def wrapped(emulator: Emulator) -> ASGIApp:
    return MoonKeyMiddleware(inner_app(), **options(emulator))


def among_others(emulator: Emulator) -> ASGIApp:
    middleware = [Middleware(PassingOn), Middleware(MoonKeyMiddleware, **options(emulator)), Middleware(PassingOn)]
    return inner_app(middleware=middleware)


ARRANGEMENTS = [mounted, mounted_twice, in_debug_mode, wrapped, among_others]


@pytest.fixture(scope="module", params=ARRANGEMENTS, ids=lambda arrangement: arrangement.__name__)
def browser(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[httpx.Client]:
    with serve_asgi(request.param(shared_emulator)) as url, quick.Client(base_url=url) as client:
        yield client


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in()


def test_errors_of_ours_are_answered_the_same(browser: httpx.Client, emulator: Emulator, ada: SignedIn) -> None:
    assert browser.get("/me", headers=bearer(ada)).text == ada.user_id
    for headers, status in (({}, 401), ({"session-token": "dead"}, 401), ({"session-token": "a b"}, 400)):
        response = browser.get("/me", headers=headers)
        assert (response.status_code, response.json()["status"]) == (status, status)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
    assert browser.get("/foreign").status_code == 403
    emulator.stop()
    for path in ("/me", "/foreign"):
        response = browser.get(path, headers=bearer(ada))
        assert (response.status_code, response.json()["status"]) == (503, 503)


def test_errors_of_the_app_are_not_ours(browser: httpx.Client, ada: SignedIn) -> None:
    ran_afterwards.clear()
    response = browser.get("/own_500", headers=bearer(ada))
    assert (response.status_code, response.json()) == (500, {"own": 500, "who": "authenticated"})
    assert names(response.headers["vary"]) == {"authorization", "session-token"}
    assert ran_afterwards.wait(PATIENCE)
    response = browser.get("/streamed_500")
    assert (response.status_code, response.text) == (500, "one two")
    response = quick.get(f"{browser.base_url}/broken")  # on a connection of its own: the server ends it
    assert response.status_code == 500
    assert "problem" not in response.headers["content-type"]
