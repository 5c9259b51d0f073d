"""A wrong setting that shows when an ASGI app starts: its start-up fails, and nothing is served."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from integrations.starlette_visits import drive, on_a_loop, options, scope
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, Stytch
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware, session_routes
from support import quick
from support.servers import serve_asgi

MakeApp = Callable[..., Any]
KEY = {"secret_key": "sk_test_x"}

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"secret_key": "pk_test_x"}, ConfigurationError, "public key"),
    ({"secret_key": '"sk_test_x"'}, ConfigurationError, "quotes"),
    ({**KEY, "jwt_isuer": "x"}, ConfigurationError, "Did you mean 'jwt_issuer'"),
    ({**KEY, "require": True}, ConfigurationError, "Did you mean 'required'"),
    ({**KEY, "public_path": ["/"]}, ConfigurationError, "Did you mean 'public_paths'"),
    ({**KEY, "roles": {"admin"}}, ConfigurationError, "@require_auth"),
    ({**KEY, "public_paths": ["/"]}, ConfigurationError, "Add required=True"),
    ({**KEY, "required": "no"}, ConfigurationError, "required must be True or False"),
    ({**KEY, "required": None}, ConfigurationError, "required must be True or False"),
    ({**KEY, "redis_url": "redis://h/abc"}, ConfigurationError, "database"),
    ({**KEY, "templates": "/no/such/directory"}, ConfigurationError, "no directory"),
    ({**KEY, "templates": 7}, TypeError, "templates must be"),
    ({"client": "sk_test_x"}, TypeError, "AsyncMoonKey, not a str"),
    ({"client": AsyncMoonKey("sk_test_x"), "realm": "x"}, TypeError, "not both"),
]


class Life:
    """What became of the app's own lifespan."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def span(self, app: Any) -> AsyncIterator[None]:
        self.events.append("start")
        yield
        self.events.append("end")


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def closing_over(app: ASGIApp) -> ASGIApp:
    """A middleware that does not show what it stands around."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return call


async def never(request: Request) -> Response:
    raise AssertionError


async def never_connected(websocket: WebSocket) -> None:
    raise AssertionError


def starlette(wrong: dict[str, Any], life: Life) -> Any:
    routes = [Route("/", never), WebSocketRoute("/ws", never_connected)]
    return Starlette(routes=routes, lifespan=life.span, middleware=[Middleware(MoonKeyMiddleware, **wrong)])


def fastapi(wrong: dict[str, Any], life: Life) -> Any:
    app = FastAPI(lifespan=life.span)
    app.add_middleware(MoonKeyMiddleware, **wrong)
    app.add_route("/", never)
    app.add_api_websocket_route("/ws", never_connected)
    return app


def among_others(wrong: dict[str, Any], life: Life) -> Any:
    app = Starlette(routes=[Route("/", never), WebSocketRoute("/ws", never_connected)], lifespan=life.span)
    app.add_middleware(Passing)
    app.add_middleware(CORSMiddleware)
    app.add_middleware(MoonKeyMiddleware, **wrong)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(Passing)
    return app


def around_what_shows_nothing(wrong: dict[str, Any], life: Life) -> Any:
    app = starlette(wrong, life)
    app.user_middleware.append(Middleware(closing_over))
    return app


APPS = pytest.mark.parametrize(
    "make", [starlette, fastapi, among_others, around_what_shows_nothing], ids=lambda make: make.__name__
)


@pytest.mark.rule("S26")
@APPS
@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG, ids=[row[2] for row in WRONG])
def test_the_start_up_fails_and_says_why(make: MakeApp, wrong: Any, kind: type[Exception], said: str) -> None:
    life = Life()

    @on_a_loop
    async def start() -> None:
        app, sent = make(wrong, life), list[Any]()

        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.raises(kind) as caught:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        assert sent == [{"type": "lifespan.startup.failed", "message": str(caught.value)}]
        assert said in str(caught.value)

    start()
    assert life.events == []


@pytest.mark.rule("S26")
@APPS
@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG[::4], ids=[row[2] for row in WRONG[::4]])
def test_without_a_start_up_each_request_raises_it(
    make: MakeApp, wrong: Any, kind: type[Exception], said: str
) -> None:
    life = Life()

    @on_a_loop
    async def ask() -> None:
        app = make(wrong, life)
        for one in (scope(), scope(), scope(method="OPTIONS"), scope("websocket", "/ws"), scope("something.new")):
            with pytest.raises(kind) as caught:
                await drive(app, one)
            assert said in str(caught.value)

    ask()
    assert life.events == []


@APPS
def test_a_test_client_raises_it(make: MakeApp) -> None:
    app, life = make(WRONG[0][0], Life()), Life()
    with pytest.raises(ConfigurationError, match="public key"), TestClient(make(WRONG[0][0], life)):
        raise AssertionError
    client = TestClient(app)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="public key"):
            client.get("/")
    with pytest.raises(ConfigurationError, match="public key"), client.websocket_connect("/ws"):
        raise AssertionError
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    assert life.events == []


def test_too_many_arguments() -> None:
    app = Starlette(routes=[Route("/", never)])
    app.add_middleware(MoonKeyMiddleware, AsyncMoonKey("sk_test_x"), True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by keyword"), TestClient(app):
        raise AssertionError


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_pages_that_cannot_sign_in(kind: type[Starlette]) -> None:
    """The provider's own script sets the cookies, and no page is named where it does."""
    provider = Stytch("project-test-1", "secret-test-1", cookies_by="browser")
    wrong: dict[str, Any] = {"provider": provider, "cookies": {}, "cache_secret": "c" * 32}
    life = Life()
    app = kind(routes=[session_routes()], lifespan=life.span)
    app.add_middleware(MoonKeyMiddleware, **wrong)
    with pytest.raises(ConfigurationError, match=r"\(sign_in\) has no page"), TestClient(app):
        raise AssertionError
    assert life.events == []
    app = kind(routes=[session_routes()])
    app.add_middleware(MoonKeyMiddleware, **wrong, sign_in={"page": "/login"})
    with TestClient(app) as http:
        assert http.get("/auth/session").json() == {"authenticated": False}


def test_routes_without_cookies(emulator: Emulator) -> None:
    life = Life()
    app = Starlette(routes=[session_routes()], lifespan=life.span)
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"), TestClient(app):
        raise AssertionError
    assert life.events == []


@pytest.mark.long
def test_what_each_request_raises_holds_nothing_of_the_one_before() -> None:
    others = refusing()  # of earlier tests
    app = starlette(WRONG[0][0], Life())
    found: list[BaseException] = []

    @on_a_loop
    async def ask() -> None:
        for _ in range(50):
            try:
                await drive(app, scope())
            except ConfigurationError as error:
                found.append(error)

    ask()
    depths = {len(list(_frames(error.__traceback__))) for error in found}
    assert len(set(map(id, found))) == 50
    assert len(depths) <= 2  # the first one passed the making of the app as well
    found.clear()
    (middleware,) = [one for one in refusing() if not any(one is other for other in others)]
    assert middleware._problem is not None
    assert middleware._problem.__traceback__ is None
    assert middleware._problem.__context__ is None


def refusing() -> list[MoonKeyMiddleware]:
    """All of this process that refuse each request, as their settings are wrong."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is MoonKeyMiddleware and one._problem is not None]


def _frames(traceback: types.TracebackType | None) -> list[types.TracebackType]:
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


def test_a_right_setting_starts_the_app(emulator: Emulator) -> None:
    for make in (starlette, fastapi, among_others, around_what_shows_nothing):
        life = Life()
        with TestClient(make(options(emulator, required=True), life)) as client:
            assert client.get("/").status_code == 401
        assert life.events == ["start", "end"]


# --- made by hand


@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG, ids=[row[2] for row in WRONG])
def test_made_by_hand_it_raises_at_once(wrong: Any, kind: type[Exception], said: str) -> None:
    around: list[Any] = [Starlette(), FastAPI(), Router(), GZipMiddleware(Starlette()), closing_over(Starlette())]
    for app in around:
        with pytest.raises(kind) as caught:
            MoonKeyMiddleware(app, **wrong)
        assert said in str(caught.value)
    with pytest.raises(kind):
        Mount("/", routes=[], middleware=[Middleware(MoonKeyMiddleware, **wrong)])


@on_a_loop
async def test_made_by_hand_on_a_loop() -> None:
    """Servers import an app while theirs runs."""
    for app in (Starlette(), FastAPI(), Router(), GZipMiddleware(Starlette())):
        with pytest.raises(ConfigurationError, match="public key"):
            MoonKeyMiddleware(app, secret_key="pk_test_x")


def test_the_clients_raise_at_once() -> None:
    for make in (MoonKey, AsyncMoonKey):
        with pytest.raises(ConfigurationError, match="public key"):
            make("pk_test_x")


# --- an app in another


def test_a_sub_app_is_not_started_and_answers_nobody(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    async def fine(request: Request) -> Response:
        return PlainTextResponse("fine")

    inner_life, life = Life(), Life()
    inner = starlette({"secret_key": "pk_test_x"}, inner_life)
    routes = [Mount("/inner", inner), Route("/", fine)]
    for middleware in ([], [Middleware(MoonKeyMiddleware, **options(emulator))]):
        app = Starlette(routes=routes, middleware=middleware, lifespan=life.span)
        with serve_asgi(app) as url:
            assert quick.get(url).text == "fine"
            for _ in range(2):
                assert quick.get(f"{url}/inner/").status_code == 500
    assert "public key" in caplog.text
    assert (inner_life.events, life.events) == ([], ["start", "end"] * 2)


# --- servers


PROGRAM = """
import sys
from contextlib import asynccontextmanager
from fastapi import FastAPI
from moonkey_starlette import MoonKeyMiddleware

@asynccontextmanager
async def lifespan(app):
    print("our own start-up ran")
    yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(MoonKeyMiddleware)
"""


@pytest.mark.long
def test_uvicorn_says_why_and_ends(tmp_path: Any) -> None:
    (tmp_path / "site_of_mine.py").write_text(PROGRAM)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOONKEY_")}
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "site_of_mine:app", "--port", "0", "--host", "127.0.0.1"],
        env={**kept, "MOONKEY_SECRET_KEY": "sk_test_x", "MOONKEY_JWT_ISUER": "x"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "Did you mean MOONKEY_JWT_ISSUER" in done.stderr
    assert "Application startup failed" in done.stderr
    assert "startup complete" not in done.stderr
    assert "our own" not in done.stdout


@pytest.mark.rule("S26")
def test_a_server_without_lifespan_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    life = Life()
    with serve_asgi(fastapi({"secret_key": "pk_test_x"}, life), lifespan="off") as url:
        for _ in range(2):
            assert quick.get(url).status_code == 500
    assert caplog.text.count("holds a public key") == 2
    assert life.events == []
