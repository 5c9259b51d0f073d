"""What single routes ask, where frameworks differ: how it is written, and what else is going on in the request."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views import View
from fastapi import Depends, FastAPI
from flask import Flask, request
from integrations.django_visits import Configure
from integrations.starlette_visits import bearer, drive, on_a_loop, options, scope, site
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import Requirements
from moonkey_django.identity import attach
from moonkey_django.middleware import MoonKeyMiddleware as DjangoMiddleware
from moonkey_flask import FlaskMoonKey, current_auth, optional_auth
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from moonkey_starlette.fastapi import CurrentUser, RequireAuth
from moonkey_starlette.identity import identity_of
from support import quick
from support.patience import PATIENCE
from support.scripted import wait_until
from support.servers import serve_asgi

VERIFY = "POST /v1/auth/sessions/verify"
GATES: list[Callable[..., Any]] = [
    moonkey_flask.require_auth,
    moonkey_flask.optional_auth,
    moonkey_django.require_auth,
    moonkey_starlette.require_auth,
    RequireAuth,
]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("name", ["max_staleness", "grace_seconds"])
@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "5"])
def test_a_wrong_number_is_told_at_once(gate: Callable[..., Any], name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        gate(**{name: wrong})


def test_a_wrong_number_on_a_class_of_views() -> None:
    class Wrong(moonkey_django.RequireAuthMixin, View):
        max_staleness = -1

    class Right(moonkey_django.RequireAuthMixin, View):
        pass

    with pytest.raises(ValueError, match="max_staleness"):
        Wrong.as_view()
    with pytest.raises(ValueError, match="grace_seconds"):
        Right.as_view(grace_seconds=-1)
    assert callable(Wrong.as_view(max_staleness=1))


# --- Flask


def test_an_optional_view_sees_what_came_of_it(emulator: Emulator, ada: SignedIn) -> None:
    app = Flask(__name__)
    FlaskMoonKey(app, **options(emulator))

    @app.get("/")
    @optional_auth(max_staleness=0)
    def seen() -> list[Any]:
        return [current_auth.state, request.user is not None]  # type: ignore[attr-defined]

    @app.before_request
    def look() -> None:
        before.append(current_auth.state)

    before: list[str] = []
    headers = {"Authorization": f"Bearer {ada.session_jwt}"}
    visitor = app.test_client()
    assert visitor.get("/", headers=headers).get_json() == ["authenticated", True]
    emulator.revoke(ada.session_id)
    assert visitor.get("/", headers=headers).get_json() == ["rejected", False]
    assert before == ["authenticated", "authenticated"]
    assert visitor.get("/").get_json() == ["anonymous", False]


def test_nothing_is_asked_twice_where_nobody_has_looked(emulator: Emulator, ada: SignedIn) -> None:
    app = Flask(__name__)
    FlaskMoonKey(app, **options(emulator))

    @app.get("/")
    @moonkey_flask.require_auth(max_staleness=0)
    def view() -> str:
        return current_auth.source

    emulator.clear_requests()
    assert app.test_client().get("/", headers=bearer(ada)).text == "remote"
    assert emulator.requests()[VERIFY] == 1


# --- Django


def test_request_moonkey_acts_as_the_identity_of_the_moment(
    configure: Configure, rf: RequestFactory, emulator: Emulator, ada: SignedIn
) -> None:
    @moonkey_django.require_auth(max_staleness=0)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(lazy.source)

    emulator.clear_requests()
    request: Any = rf.get("/", headers={"authorization": f"Bearer {ada.session_jwt}"})
    identity = attach(request)
    lazy = request.moonkey
    assert (repr(lazy), isinstance(lazy, Auth)) == ("LazyAuth()", True)
    assert emulator.requests() == {}
    assert lazy.user.id == ada.user_id
    assert lazy == lazy == identity.auth == copy.copy(lazy)
    assert lazy != new_auth()
    assert (hash(lazy), repr(lazy), bool(lazy)) == (hash(identity.auth), repr(identity.auth), True)
    assert pickle.loads(pickle.dumps(lazy)).user == lazy.user
    assert view(request).content == b"remote"
    emulator.revoke(ada.session_id)
    assert lazy
    assert view(request).status_code == 401
    assert lazy.is_rejected
    assert view(request).status_code == 401


def test_a_lazy_asgi_request_asks_once(configure: Configure, emulator: Emulator, ada: SignedIn) -> None:
    @moonkey_django.require_auth(max_staleness=0)
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.moonkey.source)  # type: ignore[attr-defined]

    async def visited(credential: str) -> HttpResponse:
        headers = [(b"authorization", f"Bearer {credential}".encode())]
        response: HttpResponse = await DjangoMiddleware(view)(ASGIRequest(scope(headers=headers), io.BytesIO()))  # type: ignore[misc]
        return response

    configure(LAZY=True)
    for credential in (ada.session_token, ada.session_jwt, ada.session_jwt):
        emulator.clear_requests()
        assert asyncio.run(visited(credential)).content == b"remote"
        assert emulator.requests()[VERIFY] == 1


# --- Starlette


async def source(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.source)


def test_a_lazy_app_asks_once(emulator: Emulator, ada: SignedIn) -> None:
    routes = [Route("/strict", require_auth(max_staleness=0)(source)), Route("/plain", require_auth(source))]
    with serve_asgi(site(emulator, *routes, lazy=True)) as url, quick.Client(base_url=url) as browser:
        for path in ("/strict", "/plain"):
            emulator.clear_requests()
            assert browser.get(path, headers=bearer(ada)).text == "remote"
            assert emulator.requests()[VERIFY] == 1


@on_a_loop
async def test_a_gates_answer_stands_against_an_older_one_that_comes_later(
    emulator: Emulator, ada: SignedIn
) -> None:
    seen: list[Any] = []

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(asgi_scope)
        plain = asyncio.create_task(get_auth(connection))
        assert await asyncio.to_thread(wait_until, lambda: emulator.requests()[VERIFY] == 1)
        emulator.revoke(ada.session_id)
        identity = identity_of(connection)
        seen.append((await identity.meet(Requirements(max_staleness=0))).state)
        seen.append((await plain).state)
        seen.append((await get_auth(connection)).state)

    headers = [(b"authorization", bearer(ada)["Authorization"].encode())]
    async with AsyncMoonKey(**options(emulator)) as client:
        emulator.clear_requests()
        emulator.fault("/v1/auth/sessions/verify", delay=0.3, times=1)
        await drive(MoonKeyMiddleware(app, client, lazy=True), scope(headers=headers))
    assert seen == ["rejected", "rejected", "rejected"]


class Feed(WebSocketEndpoint):
    encoding = "text"

    @require_auth(max_staleness=0)
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"{websocket.user.identity} {data}")


@pytest.mark.rule("S52", "connection")
def test_a_long_connection_ends_with_its_session(emulator: Emulator, ada: SignedIn) -> None:
    """Each message is a request of its own to such a gate."""
    headers = {"Authorization": f"Bearer {ada.session_jwt}"}
    with (
        serve_asgi(site(emulator, WebSocketRoute("/feed", Feed))) as url,
        connect(url.replace("http", "ws") + "/feed", additional_headers=headers) as websocket,
    ):
        websocket.send("one")
        assert websocket.recv(timeout=PATIENCE) == f"{ada.user_id} one"
        emulator.revoke(ada.session_id)
        websocket.send("two")
        with pytest.raises(ConnectionClosedError) as closed:
            websocket.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


# --- FastAPI


class Stricter(RequireAuth):
    """A gate of an app's own."""


def test_equal_gates_and_others() -> None:
    same = (RequireAuth(max_staleness=0), RequireAuth(max_staleness=0))
    assert len({*same}) == 1
    assert RequireAuth() == RequireAuth()
    others = {RequireAuth(), same[0], RequireAuth(grace_seconds=0), Stricter(), Stricter(max_staleness=0)}
    assert len(others) == 5
    assert RequireAuth() != Requirements()
    assert "max_staleness=0" in repr(same[0])


def test_an_override_replaces_gates_of_its_own_configuration(emulator: Emulator, ada: SignedIn) -> None:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options(emulator))

    @app.get("/user")
    async def user(user: CurrentUser, auth: Annotated[Auth, Depends(RequireAuth())]) -> list[str]:
        assert auth.user is not None
        return [user.id, auth.user.id]

    @app.get("/strict")
    async def strict(auth: Annotated[Auth, Depends(RequireAuth(max_staleness=0))]) -> str:
        return auth.source

    with serve_asgi(app) as url, quick.Client(base_url=url) as browser:
        assert browser.get("/user", headers=bearer(ada)).json() == [ada.user_id] * 2
        auth = known_of(emulator, ada)
        app.dependency_overrides[RequireAuth()] = lambda: auth
        assert browser.get("/user").json() == [ada.user_id] * 2
        assert browser.get("/strict").status_code == 401
        app.dependency_overrides[RequireAuth(max_staleness=0)] = lambda: auth
        assert browser.get("/strict").json() == auth.source


def known_of(emulator: Emulator, person: SignedIn) -> Auth:
    with MoonKey(**options(emulator)) as client:
        return client.authenticate({"session-token": person.session_token})
