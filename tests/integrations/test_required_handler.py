"""The app's own exception handler for ``MoonKeyError`` answers under ``required=True``, as it does for a gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from integrations.starlette_visits import bearer, names, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core import InvalidCredentials, MissingCredentials, MoonKeyError, ProviderUnavailable
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware
from support import quick
from support.servers import serve_asgi
from support.visitors import GONE, SESSION, set_by

Handler = Callable[..., Any]


async def secret(request: Request) -> Response:
    return PlainTextResponse("secret")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


def own(request: Request, error: Exception) -> Response:
    assert isinstance(error, MoonKeyError)
    return JSONResponse({"own": error.reason}, error.status, {"X-Own": "yes"})


async def aown(request: Request, error: Exception) -> Response:
    return own(request, error)


async def again(request: Request, error: Exception) -> Response:
    raise error


ROUTES = [Route("/me", secret), WebSocketRoute("/socket", socket)]


def inside_starlette(emulator: Emulator, handlers: dict[Any, Handler], **more: Any) -> ASGIApp:
    ours = Middleware(MoonKeyMiddleware, **options(emulator, required=True, **more))
    return Starlette(routes=ROUTES, middleware=[ours], exception_handlers=handlers)


def inside_fastapi(emulator: Emulator, handlers: dict[Any, Handler], **more: Any) -> ASGIApp:
    app = FastAPI(exception_handlers=handlers)
    app.add_middleware(MoonKeyMiddleware, **options(emulator, required=True, **more))
    app.add_route("/me", secret)
    app.add_api_websocket_route("/socket", socket)
    return app


def around(emulator: Emulator, handlers: dict[Any, Handler], **more: Any) -> ASGIApp:
    inner = Starlette(routes=ROUTES, exception_handlers=handlers)
    return MoonKeyMiddleware(CORSMiddleware(inner), **options(emulator, required=True, **more))


def of_a_mount(emulator: Emulator, handlers: dict[Any, Handler], **more: Any) -> ASGIApp:
    ours = Middleware(MoonKeyMiddleware, **options(emulator, required=True, **more))
    return Starlette(routes=[Mount("/", routes=ROUTES, middleware=[ours])], exception_handlers=handlers)


@pytest.fixture(params=[inside_starlette, inside_fastapi, around, of_a_mount], ids=lambda one: one.__name__)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("handler", [own, aown])
def test_it_answers(make: Any, emulator: Emulator, handler: Handler) -> None:
    ada = emulator.sign_in()
    with serve_asgi(make(emulator, {MoonKeyError: handler}, cookies=True)) as url:

        def get(**headers: str) -> httpx.Response:
            return quick.get(f"{url}/me", headers=headers)

        for headers, status, reason in (
            ({}, 401, "no_credentials"),
            ({"session-token": "dead"}, 401, "session_unknown"),
            ({"session-token": "a b"}, 400, "malformed_credentials"),
        ):
            response = get(**headers)
            assert (response.status_code, response.json()) == (status, {"own": reason})
            assert response.headers["x-own"] == "yes"
            assert {"authorization", "session-token", "cookie"} <= names(response.headers["vary"])
        dead = get(Cookie=f"{SESSION}=dead")
        assert (dead.status_code, set_by(dead)) == (401, GONE)
        assert get(**bearer(ada)).text == "secret"
        emulator.stop()
        assert (get(**bearer(ada)).status_code, get(**bearer(ada)).json()["own"][:4]) == (503, "api_")


def test_the_nearest_class_wins(make: Any, emulator: Emulator) -> None:
    def nearest(request: Request, error: Exception) -> Response:
        return PlainTextResponse("nearest", 418)

    handlers = {MoonKeyError: own, MissingCredentials: nearest, Exception: nearest, 401: nearest}
    with serve_asgi(make(emulator, handlers)) as url:
        assert quick.get(f"{url}/me").status_code == 418
        assert quick.get(f"{url}/me", headers={"session-token": "dead"}).json() == {"own": "session_unknown"}


@pytest.mark.parametrize(
    "handlers",
    [{}, {InvalidCredentials: own, ProviderUnavailable: own}, {MoonKeyError: again}, {401: own}],
    ids=["none", "others", "raises", "status"],
)
def test_without_one_the_refusal_is_the_usual(make: Any, emulator: Emulator, handlers: dict[Any, Handler]) -> None:
    with serve_asgi(make(emulator, handlers)) as url:
        response = quick.get(f"{url}/me")
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
    assert response.headers["www-authenticate"] == 'Bearer realm="moonkey"'
    assert response.headers["cache-control"] == "no-store"


def test_one_with_a_bug_is_500(make: Any, emulator: Emulator) -> None:
    def broken(request: Request, error: Exception) -> Response:
        raise RuntimeError("a bug of the app")

    with serve_asgi(make(emulator, {MoonKeyError: broken})) as url:
        assert quick.get(f"{url}/me").status_code == 500


def test_websockets(make: Any, emulator: Emulator) -> None:
    for handlers, status in (({MoonKeyError: own}, 401), ({}, 401), ({MoonKeyError: again}, 401)):
        with (
            serve_asgi(make(emulator, handlers)) as url,
            pytest.raises(InvalidStatus) as caught,
            connect(url.replace("http", "ws") + "/socket"),
        ):
            pass
        response = caught.value.response
        assert response.status_code == status
        assert ("X-Own" in response.headers) == (own in handlers.values())


def test_preflights_and_public_paths_are_as_before(make: Any, emulator: Emulator) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    with serve_asgi(make(emulator, {MoonKeyError: own}, public_paths=["/me"])) as url:
        assert quick.get(f"{url}/me").text == "secret"
    with serve_asgi(make(emulator, {MoonKeyError: own})) as url, quick.Client(base_url=url) as browser:
        response = browser.options("/me", headers=preflight)
        assert "x-own" not in response.headers
        assert response.status_code in (204, 400)
