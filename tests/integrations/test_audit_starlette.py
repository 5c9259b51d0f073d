"""The audit of Starlette and FastAPI apps: what it says of each endpoint, and the holes that it finds."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.security import HTTPBearer, OAuth2PasswordBearer
from flask import Flask
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from moonkey_core.audit import Verdict, assert_all_protected, audit_routes
from moonkey_core.errors import ConfigurationError
from moonkey_starlette import MoonKeyMiddleware, optional_auth, public, require_auth, session_routes
from moonkey_starlette.audit import audit_routes as audit_starlette
from moonkey_starlette.fastapi import CurrentAuth, CurrentUser, RequireAuth
from moonkey_starlette.fastapi import session_routes as fastapi_routes

SETTINGS: dict[str, Any] = {"secret_key": "sk_test_of_nobody", "base_url": "http://127.0.0.1:9", "cookies": {}}
OURS = Middleware(MoonKeyMiddleware, **SETTINGS)
CLOSED = Middleware(MoonKeyMiddleware, required=True, public_paths=["/health"], **SETTINGS)


def verdicts(app: Any) -> dict[str, str]:
    return {one.where: one.verdict.value for one in audit_routes(app).endpoints}


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


class Both(HTTPEndpoint):
    @require_auth(allow_machines=True)
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("get")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("post")


class Late(WebSocketEndpoint):
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    @require_auth
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        return None


@pytest.mark.rule("S53")
def test_a_starlette_app_with_one_planted_hole() -> None:
    routes = [Route("/me", require_auth(hello)), Mount("/in", routes=[WebSocketRoute("/hole", socket)])]
    app = Starlette(routes=routes, middleware=[OURS])
    assert verdicts(app) == {"GET /me": "protected", "WEBSOCKET /in/hole": "unprotected"}
    with pytest.raises(AssertionError, match="WEBSOCKET /in/hole is unprotected: socket"):
        assert_all_protected(app)


def test_mounts_hosts_classes_session_routes_and_foreign_apps() -> None:
    inner = Starlette(routes=[Route("/a", hello)], middleware=[CLOSED])
    app = Starlette(
        routes=[
            session_routes(url_prefix="/auth"),
            Mount("/inner", inner),
            Host("api.example.com", Starlette(routes=[Route("/b", require_auth(hello))])),
            Mount("/static", StaticFiles(directory=".")),
            Mount("/foreign", foreign),
            Mount("/wsgi", app=public(foreign_app(), reason="a feed")),
            Route("/both", Both),
            Route("/other", requires("authenticated")(hello)),
            Route("/maybe", optional_auth(hello)),
        ],
        middleware=[OURS],
    )
    found = {one.where: one for one in audit_routes(MoonKeyMiddleware(app, **SETTINGS)).endpoints}
    of_sessions = [one for one in found.values() if one.path.startswith("/auth/")]
    assert {one.verdict for one in of_sessions} == {Verdict.PUBLIC}
    assert found["GET /auth/sign-in"].said_by == "session route: sign_in"
    assert {where: one.verdict.value for where, one in found.items() if one not in of_sessions} == {
        "GET /inner/a": "protected",
        "GET //api.example.com/b": "protected",
        "GET /static/*": "public",
        "ANY /foreign/*": "unknown",
        "ANY /wsgi/*": "public",
        "GET /both": "protected",
        "POST /both": "unprotected",
        "GET /other": "guarded by something else",
        "GET /maybe": "public",
    }
    assert found["GET /inner/a"].said_by == "MoonKeyMiddleware(required=True)"
    assert found["GET /both"].demands == {"allow_machines": True}
    assert found["ANY /wsgi/*"].said_by == "@public: a feed"


def foreign_app() -> Any:
    class Feed:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise NotImplementedError

    return Feed()


def test_closed_by_default() -> None:
    routes = [
        Route("/me", hello),
        Route("/health", hello),
        Route("/open", public(reason="a probe")(Both)),
        WebSocketRoute("/socket", socket),
        Mount("/static", StaticFiles(directory=".")),
        Mount("/assets", public(StaticFiles(directory="."))),
        Mount("/foreign", foreign),
    ]
    app = Starlette(routes=routes, middleware=[CLOSED])
    found = {one.where: one for one in assert_all_protected(app, strict=True).endpoints}
    assert {where for where, one in found.items() if one.verdict is Verdict.PUBLIC} == {
        "GET /health",
        "POST /open",
        "GET /assets/*",
    }
    assert found["GET /health"].said_by == "public_paths of the middleware"
    assert found["GET /static/*"].verdict is Verdict.PROTECTED


def test_a_gate_that_comes_too_late_or_protects_nothing() -> None:
    class Habit(HTTPEndpoint):
        decorators = [require_auth]

        async def get(self, request: Request) -> Response:
            return PlainTextResponse("get")

    app = Starlette(routes=[WebSocketRoute("/late", Late), Route("/habit", Habit)], middleware=[OURS])
    late, habit = sorted(audit_routes(app).void_gates)
    assert "comes too late" in late
    assert "only Flask reads that attribute" in habit
    assert verdicts(app) == {"WEBSOCKET /late": "unprotected", "GET /habit": "unprotected"}


def user_of(token: Annotated[str, Depends(OAuth2PasswordBearer("token"))]) -> str:
    return token


def mine(user: CurrentUser) -> str:
    return user.id


def fastapi_app(**options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.add_middleware(MoonKeyMiddleware, **SETTINGS)
    app.include_router(fastapi_routes())

    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.id

    @app.get("/mine")
    async def through(user: Annotated[str, Depends(mine)]) -> str:
        return user

    @app.post("/admin", dependencies=[Depends(RequireAuth(roles={"admin"}))])
    async def admin() -> str:
        return "admin"

    @app.get("/open")
    @public
    async def opened() -> str:
        return "open"

    @app.get("/reads")
    async def reads(auth: CurrentAuth) -> str:
        return auth.state

    @app.get("/scheme")
    async def scheme(credentials: Annotated[Any, Depends(HTTPBearer())]) -> str:
        return "scheme"

    @app.get("/other")
    async def other(user: Annotated[str, Depends(user_of)]) -> str:
        return user

    inner = APIRouter(prefix="/inner")
    inner.add_api_websocket_route("/socket", socket)
    outer = APIRouter(prefix="/outer", dependencies=[Depends(RequireAuth())])
    outer.include_router(inner)
    app.include_router(outer)
    app.include_router(inner)
    return app


@pytest.mark.rule("S53")
def test_a_fastapi_app_with_planted_holes() -> None:
    found = {one.where: one for one in audit_routes(fastapi_app()).endpoints if "/auth/" not in one.path}
    assert {where: one.verdict.value for where, one in found.items()} == {
        "GET /openapi.json": "public",
        "GET /docs": "public",
        "GET /docs/oauth2-redirect": "public",
        "GET /redoc": "public",
        "GET /me": "protected",
        "GET /mine": "protected",
        "POST /admin": "protected",
        "GET /open": "public",
        "GET /reads": "unprotected",
        "GET /scheme": "unprotected",
        "GET /other": "guarded by something else",
        "WEBSOCKET /outer/inner/socket": "protected",
        "WEBSOCKET /inner/socket": "unprotected",
    }
    assert found["GET /me"].said_by == "CurrentUser"
    assert found["GET /mine"].said_by == "Depends(mine)"
    assert found["POST /admin"].demands == {"roles": ["admin"]}
    assert found["GET /other"].said_by == "Depends(user_of)"
    assert "CurrentAuth refuses no request" in found["GET /reads"].hint
    assert "HTTPBearer reads a credential and checks none" in found["GET /scheme"].hint


def test_a_dependency_of_the_app_stands_before_all_of_its_routes() -> None:
    app = fastapi_app(dependencies=[Depends(RequireAuth())])
    audit = assert_all_protected(app)
    found = {one.where: one for one in audit.endpoints}
    assert "Depends(RequireAuth()) of the app" in found["WEBSOCKET /inner/socket"].said_by
    assert found["GET /auth/sign-in"].verdict is Verdict.PUBLIC


def test_parameters_that_only_look_like_gates_are_all_told() -> None:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **SETTINGS)
    for path in ("/one", "/two"):

        @app.get(path)
        async def default(user: Any = CurrentUser) -> str:
            return "open"

    void = audit_routes(app).void_gates
    assert [one.partition(":")[0] for one in void] == ["GET /one", "GET /two"]


def test_a_mark_that_has_no_effect_keeps_the_app_from_serving() -> None:
    async def rewrites(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.testclient import TestClient

    between = Middleware(BaseHTTPMiddleware, dispatch=rewrites)
    app = Starlette(routes=[Route("/open", public(copy()))], middleware=[CLOSED, between])
    with pytest.raises(ConfigurationError, match="BaseHTTPMiddleware stands between"), TestClient(app):
        pass
    beside = Starlette(routes=[Route("/open", public(copy()))], middleware=[between, CLOSED])
    with TestClient(beside) as client:
        assert client.get("/open").text == "hello"


def copy() -> Any:
    async def hello_again(request: Request) -> Response:
        return PlainTextResponse("hello")

    return hello_again


def test_what_is_no_app() -> None:
    with pytest.raises(ConfigurationError, match="no Starlette app in this Flask"):
        audit_starlette(Flask("x"))


@pytest.mark.parametrize("app", [Starlette, FastAPI])
def test_a_router_with_a_middleware_of_its_own_is_closed(app: Any) -> None:
    made = app(routes=[Mount("/in", Router([Route("/a", hello)], middleware=[CLOSED])), Route("/hole", hello)])
    assert verdicts(made)["GET /in/a"] == "protected"
    assert verdicts(made)["GET /hole"] == "unprotected"


def test_the_mend_of_a_route_of_fastapi_is_a_dependency() -> None:
    app = FastAPI(openapi_url=None)
    app.get("/hole")(lambda: "open")
    (found,) = audit_routes(app).unprotected
    assert found.hint == "Use CurrentUser or Depends(RequireAuth()), or mark it with @public."
