"""Starlette and FastAPI: what a gate raises, and who answers it."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import pytest
from contract.asgi_layers import CatchAll
from contract.refusals import REFUSALS, assert_kept
from fastapi import APIRouter, Depends, FastAPI
from integrations.starlette_visits import bearer, drive, on_a_loop, options, scope
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from moonkey_core import (
    AuthenticationError,
    ConfigurationError,
    CookieSettings,
    MissingCredentials,
    MoonKeyError,
    RequestRefused,
)
from moonkey_core.auth import to_raise
from moonkey_core.emulator import Emulator
from moonkey_core.gate import require
from moonkey_starlette import MoonKeyMiddleware, require_auth, session_routes
from moonkey_starlette.fastapi import RequireAuth
from moonkey_starlette.fastapi import session_routes as session_router
from moonkey_starlette.refused import HttpRefusal, check_handlers
from support.visitors import PAGE

BARE = 'Bearer realm="moonkey"'


@require_auth
async def me(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.user.id)


def starlette_app(emulator: Emulator, *more: Any, handlers: Any = None, **settings: Any) -> Starlette:
    layers = [Middleware(MoonKeyMiddleware, **options(emulator, **settings)), Middleware(CatchAll)]
    return Starlette(routes=[Route("/me", me), *more], middleware=layers, exception_handlers=handlers)


def fastapi_app(emulator: Emulator, *more: Any, handlers: Any = None, **settings: Any) -> FastAPI:
    app = FastAPI(routes=list(more), exception_handlers=handlers)
    app.add_middleware(CatchAll)
    app.add_middleware(MoonKeyMiddleware, **options(emulator, **settings))
    app.get("/me", dependencies=[Depends(RequireAuth())])(lambda: None)
    return app


MAKERS: list[Callable[..., Any]] = [starlette_app, fastapi_app]


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest, emulator: Emulator) -> Callable[..., Any]:
    return lambda *more, **settings: request.param(emulator, *more, **settings)


def visit(app: Any) -> TestClient:
    return TestClient(app, follow_redirects=False)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.msg.startswith("refused")]


async def own_answer(request: Request, error: Any) -> Response:
    return JSONResponse({"own": error.reason}, error.status)


def own_sync_answer(request: Request, error: Any) -> Response:
    return JSONResponse({"own": error.reason}, error.status)


@pytest.mark.parametrize("handler", [own_answer, own_sync_answer])
@pytest.mark.parametrize("kind", [MoonKeyError, AuthenticationError, MissingCredentials])
def test_the_apps_own_handler_is_asked(
    make: Callable[..., Any], handler: Any, kind: type[MoonKeyError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    app = make(handlers={kind: handler, 401: other, HTTPException: other})
    response = visit(app).get("/me")
    assert (response.status_code, response.json()) == (401, {"own": "no_credentials"})
    assert logged(caplog) == []


async def other(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"theirs: {getattr(error, 'status_code', None)}", 418)


def sync_other(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"theirs: {getattr(error, 'status_code', None)}", 418)


@pytest.mark.parametrize("handler", [other, sync_other])
def test_the_apps_http_exceptions_are_its_own(make: Callable[..., Any], handler: Any) -> None:
    """Before a refusal and after it, by status and by class."""

    async def refuse(request: Request) -> Response:
        raise HTTPException(int(request.path_params["status"]))

    app = make(Route("/{status:int}", refuse), handlers={401: handler, HTTPException: handler})
    client = visit(app)
    for _ in range(2):
        assert [client.get(f"/{status}").text for status in (401, 404)] == ["theirs: 401", "theirs: 404"]
        assert client.get("/me").headers["content-type"] == "application/problem+json"


def caught(app: Any, found: list[Any]) -> Any:
    """Keep what an endpoint reads raise, and answer all the same."""

    async def endpoint(request: Request) -> Response:
        try:
            require(request.state.moonkey)
        except MoonKeyError as error:
            found.append(error)
            found.append(getattr(error, "response", None) if request.query_params else None)
        return PlainTextResponse("nobody")

    app.router.routes.append(Route("/caught", endpoint))
    return visit(app)


def test_what_is_raised(make: Callable[..., Any]) -> None:
    found: list[Any] = []
    assert caught(make(), found).get("/caught?respond").text == "nobody"
    error, response = found
    assert isinstance(error, MissingCredentials)
    assert isinstance(error, HTTPException)
    assert isinstance(error, fastapi.HTTPException)  # FastAPI is in use in this process
    assert (error.status_code, error.detail) == (401, "Sign in to continue.")
    assert error.headers == {
        "cache-control": "no-store",
        "vary": "Authorization, Session-Token",
        "www-authenticate": BARE,
        "x-content-type-options": "nosniff",
    }
    assert (response.status_code, response.headers["www-authenticate"]) == (401, BARE)
    assert str(error) == str(MissingCredentials())
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is MissingCredentials
    error.__traceback__ = None
    assert error.reply() is None  # the request is over, and nothing else has kept it


def test_the_code_of_the_api_is_kept(make: Callable[..., Any]) -> None:
    async def refuse(request: Request) -> Response:
        error: Any = to_raise(request.state.moonkey, RequestRefused(code="user_not_found"))
        assert (error.code, error.status_code) == ("user_not_found", 400)
        raise error

    response = visit(make(Route("/refuse", refuse))).get("/refuse")
    assert (response.status_code, response.json()["status"]) == (400, 400)


def test_an_endpoint_that_catches_it_has_refused_nobody(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    assert caught(make(), []).get("/caught").text == "nobody"
    assert logged(caplog) == []


def test_a_refusal_is_in_the_log_once(make: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    visit(make()).get("/me", headers={"X-Request-ID": "one"})
    assert logged(caplog) == ["refused with 401: no_credentials, request one"]


def test_a_browser_is_sent_to_sign_in(emulator: Emulator) -> None:
    cookies = CookieSettings()
    with_router = fastapi_app(emulator, cookies=cookies)
    with_router.include_router(session_router())
    for app in (starlette_app(emulator, session_routes(), cookies=cookies), with_router):
        for headers, status in ((PAGE, 303), ({}, 401)):
            response = visit(app).get("/me?tab=1", headers=headers)
            assert response.status_code == status
        response = visit(app).get("/me?tab=1", headers=PAGE)
        assert response.headers["location"] == "/auth/sign-in?next=%2Fme%3Ftab%3D1"
        assert "www-authenticate" not in response.headers


def test_a_browser_below_a_mounted_app_is_sent_there_too(emulator: Emulator) -> None:
    inner = Starlette(routes=[Route("/me", me)], middleware=[Middleware(CatchAll)])
    app = starlette_app(emulator, session_routes(), Mount("/inner", inner), cookies=CookieSettings())
    response = visit(app).get("/inner/me", headers=PAGE)
    assert (response.status_code, response.headers["location"]) == (303, "/auth/sign-in?next=%2Finner%2Fme")


def test_a_mounted_app_answers_by_its_own_handlers(emulator: Emulator) -> None:
    """Those of the app around it are not asked."""
    inner = Starlette(routes=[Route("/me", me)])
    handled = Starlette(routes=[Route("/me", me)], exception_handlers={MoonKeyError: own_answer})
    mounts = (Mount("/inner", inner), Mount("/handled", handled))
    app = starlette_app(emulator, *mounts, handlers={MoonKeyError: own_sync_answer})
    assert visit(app).get("/me").json() == {"own": "no_credentials"}
    assert visit(app).get("/handled/me").json() == {"own": "no_credentials"}
    assert visit(app).get("/inner/me").headers["content-type"] == "application/problem+json"


def test_cookies_of_a_dead_session_are_cleared(make: Callable[..., Any]) -> None:
    name = CookieSettings().session_name
    response = visit(make(cookies=CookieSettings())).get("/me", headers={"Cookie": f"{name}=dead"})
    assert response.status_code == 401
    assert any(line.startswith(f"{name}=;") for line in response.headers.get_list("set-cookie"))


@pytest.mark.parametrize("situation", REFUSALS)
def test_a_layer_that_answers_http_exceptions_itself(emulator: Emulator, situation: str) -> None:
    """Its body, and MoonKey's status and headers, without those that describe a body."""

    class Answering(fastapi.routing.APIRoute):
        def get_route_handler(self) -> Any:
            usual = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await usual(request)
                except HTTPException as error:
                    return JSONResponse({"foreign": error.detail}, error.status_code, error.headers)

            return handle

    refused = REFUSALS[situation]
    gate = RequireAuth(scopes={"write"}) if refused.asks_for == "write" else RequireAuth()
    router = APIRouter(route_class=Answering, dependencies=[Depends(gate)])
    router.get("/answered")(lambda: None)
    app = fastapi_app(emulator)
    app.include_router(router)
    response = visit(app).get("/answered", headers=refused.arrange(emulator))
    assert_kept(response, refused)
    assert (response.headers["content-type"], response.headers["cache-control"]) == (
        "application/json",
        "no-store",
    )
    assert list(response.json()) == ["foreign"]


@requires("authenticated")
async def foreign(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


def test_an_outage_at_a_foreign_gate(make: Callable[..., Any], emulator: Emulator) -> None:
    app = make(Route("/foreign", foreign))
    emulator.stop()
    response = visit(app).get("/foreign", headers={"Authorization": "Bearer token"})
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert int(response.headers["retry-after"]) > 0


def test_an_identity_that_is_read_before_it_is_known(make: Callable[..., Any], emulator: Emulator) -> None:
    async def read(request: Request) -> Response:
        return PlainTextResponse(str(request.state.moonkey.is_authenticated))

    app = make(Route("/read", read), lazy=True)
    response = visit(app).get("/read", headers=bearer(emulator.sign_in()))
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")


def test_a_response_that_has_begun_is_not_answered_again(emulator: Emulator) -> None:
    found: list[MoonKeyError] = []

    async def begun(request: Request) -> Response:
        def parts() -> Iterator[str]:
            yield "one "
            try:
                require(request.state.moonkey)
            except MoonKeyError as error:
                found.append(error)
                raise

        return StreamingResponse(parts())

    app = Starlette(routes=[Route("/begun", begun)])
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    with pytest.raises(MissingCredentials):
        visit(app).get("/begun")
    assert [type(error) for error in found] == [MissingCredentials]


CODES = {401: 4401, 403: 4403, 503: 1013, 500: 1011}


@pytest.mark.parametrize("situation", REFUSALS)
@on_a_loop
async def test_without_denial_responses_a_websocket_is_closed(emulator: Emulator, situation: str) -> None:
    refused = REFUSALS[situation]
    gate = require_auth(scopes={"write"}) if refused.asks_for == "write" else require_auth

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    sent = refused.arrange(emulator)
    lines = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    for app in (
        starlette_app(emulator, WebSocketRoute("/", gate(socket)), handlers={HTTPException: other}),
        fastapi_app(emulator, WebSocketRoute("/", gate(socket)), handlers={401: other, 403: sync_other}),
    ):
        messages = await drive(app, scope("websocket", headers=lines), [{"type": "websocket.connect"}])
        assert messages[0] == {"type": "received"}
        assert [(one["type"], one["code"]) for one in messages[1:]] == [("websocket.close", CODES[refused.status])]


def test_a_gate_behind_an_accepted_websocket_closes_it(make: Callable[..., Any]) -> None:
    async def late(websocket: WebSocket) -> None:
        await websocket.accept()
        require(websocket.state.moonkey)

    with visit(make(WebSocketRoute("/late", late))).websocket_connect("/late") as websocket:
        message = websocket.receive()
    assert (message["type"], message["code"]) == ("websocket.close", 4401)


@pytest.fixture
def checked_again() -> Iterator[None]:
    check_handlers.cache_clear()
    yield
    check_handlers.cache_clear()


@pytest.mark.parametrize("put", [None, {}, ({}, {}), ([], []), ({HTTPException: other},)])
def test_of_starlette_the_place_of_its_handlers(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, checked_again: None, put: Any
) -> None:
    """A release that keeps them elsewhere is refused at the start."""

    async def call(self: Any, asgi_scope: Scope, receive: Receive, send: Send) -> None:
        if put is not None:
            asgi_scope["starlette.exception_handlers"] = put
        await self.app(asgi_scope, receive, send)

    monkeypatch.setattr(ExceptionMiddleware, "__call__", call)
    with pytest.raises(ConfigurationError, match=r"starlette \(\d.*starlette\.exception_handlers"):
        MoonKeyMiddleware(Starlette(), **options(emulator))


def test_the_classes_of_one_error_are_few(emulator: Emulator) -> None:
    found: list[Any] = []
    client = caught(starlette_app(emulator), found)
    for _ in range(3):
        client.get("/caught")
    errors = [one for one in found if one is not None]
    assert len({type(error) for error in errors}) == 1
    assert all(isinstance(error, HttpRefusal) for error in errors)
