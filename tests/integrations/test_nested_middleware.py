"""S25. Middleware inside of middleware: with the same client, one request is verified once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from integrations.django_visits import Configure, Visit
from integrations.starlette_visits import bearer, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from moonkey_core import AsyncMoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django import signals
from moonkey_starlette import MoonKeyMiddleware, require_auth
from moonkey_starlette.fastapi import CurrentUser
from support import quick
from support.servers import serve_asgi
from support.visitors import JWT, pair, set_by, signed_in_long_ago, verifications

pytestmark = pytest.mark.rule("S25")


@require_auth
async def me(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.user.id)


async def who(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.state)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.state.moonkey.user.id)
    await websocket.receive()


@pytest.fixture
def client(emulator: Emulator) -> AsyncMoonKey:
    return AsyncMoonKey(**options(emulator, cookies=True))


ROUTES = [Route("/me", me), Route("/who", who), WebSocketRoute("/socket", socket)]


def ours(client: AsyncMoonKey, **more: Any) -> list[Middleware]:
    return [Middleware(MoonKeyMiddleware, client=client, **more)]


def mounted(client: AsyncMoonKey, outer: dict[str, Any], inner: dict[str, Any]) -> ASGIApp:
    inside = Starlette(routes=ROUTES, middleware=ours(client, **inner))
    return Starlette(routes=[Mount("/", inside)], middleware=ours(client, **outer))


def twice(client: AsyncMoonKey, outer: dict[str, Any], inner: dict[str, Any]) -> ASGIApp:
    return Starlette(routes=ROUTES, middleware=[*ours(client, **outer), *ours(client, **inner)])


def wrapped(client: AsyncMoonKey, outer: dict[str, Any], inner: dict[str, Any]) -> ASGIApp:
    return MoonKeyMiddleware(twice(client, inner, inner), client=client, **outer)


def in_fastapi(client: AsyncMoonKey, outer: dict[str, Any], inner: dict[str, Any]) -> ASGIApp:
    inside = FastAPI(middleware=ours(client, **inner))

    @inside.get("/me")
    async def me(user: CurrentUser) -> Response:
        return PlainTextResponse(user.id)

    inside.add_route("/who", who)
    inside.add_api_websocket_route("/socket", socket)
    app = FastAPI(middleware=ours(client, **outer))
    app.mount("/", inside)
    return app


@pytest.fixture(params=[mounted, twice, wrapped, in_fastapi], ids=lambda one: one.__name__)
def arrange(request: pytest.FixtureRequest) -> Any:
    return request.param


WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"lazy": True}, {}),
    ({}, {"lazy": True}),
    ({"lazy": True}, {"lazy": True}),
    ({"required": True}, {"required": True}),
    ({"bind_websockets": False}, {}),
    ({}, {"bind_websockets": False}),
]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def browser(arrange: Any, way: Any, client: AsyncMoonKey) -> Iterator[httpx.Client]:
    with serve_asgi(arrange(client, *way)) as url, quick.Client(base_url=url) as browser:
        yield browser


@pytest.mark.long
def test_one_call_for_a_token(browser: httpx.Client, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    for headers in (bearer(ada), {"session-token": ada.session_token}):
        emulator.clear_requests()
        assert browser.get("/me", headers=headers).text == ada.user_id
        assert verifications(emulator) == 1
    old = signed_in_long_ago(emulator)
    renewed = browser.get("/me", headers=pair(old))
    assert (renewed.text, set(set_by(renewed))) == (old.user_id, {JWT})
    assert verifications(emulator) == 1
    emulator.clear_requests()
    assert browser.get("/me", headers={"session-token": "dead"}).status_code == 401
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 1


def test_one_call_for_a_websocket_which_ends_with_its_session(
    browser: httpx.Client, client: AsyncMoonKey, way: Any, emulator: Emulator
) -> None:
    if any(one.get("lazy") for one in way):
        pytest.skip("the endpoint reads the identity without a wait")
    ada = emulator.sign_in()
    emulator.clear_requests()
    url = str(browser.base_url).replace("http", "ws") + "/socket"
    with connect(url, additional_headers=bearer(ada)) as websocket:
        assert websocket.recv(10) == ada.user_id
        assert verifications(emulator) == 1
        client.revocations.add(session_id=ada.session_id)
        with pytest.raises(Exception, match="4401"):
            websocket.recv(10)


class Replacing:
    """A layer between the two that signs somebody else in, or out."""

    def __init__(self, app: ASGIApp, header: tuple[bytes, bytes], *, in_place: bool) -> None:
        self.app, self.header, self.in_place = app, header, in_place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            changed = [pair for pair in scope["headers"] if pair[0] != b"session-token"] + [self.header]
            if self.in_place:
                scope["headers"][:] = changed
            else:
                scope["headers"] = changed
        await self.app(scope, receive, send)


@pytest.mark.parametrize("in_place", [True, False])
def test_what_a_layer_between_has_changed_is_verified(
    client: AsyncMoonKey, emulator: Emulator, ada: SignedIn, in_place: bool
) -> None:
    bob = emulator.sign_in("bob@example.com")
    for header, expected in (
        ((b"session-token", bob.session_token.encode()), (200, bob.user_id)),
        ((b"session-token", b"dead"), (401, None)),
        ((b"x-other", b"x"), (401, None)),
    ):
        layer = Middleware(Replacing, header, in_place=in_place)
        app = Starlette(routes=ROUTES, middleware=[*ours(client), layer, *ours(client)])
        with serve_asgi(app) as url:
            response = quick.get(f"{url}/me", headers={"session-token": ada.session_token})
        assert response.status_code == expected[0]
        assert expected[1] in (None, response.text)


def test_another_client_verifies_anew(client: AsyncMoonKey, emulator: Emulator, ada: SignedIn) -> None:
    other = AsyncMoonKey(**options(emulator, realm="other"))
    app = Starlette(routes=ROUTES, middleware=[*ours(client), *ours(other)])
    with serve_asgi(app) as url:
        emulator.clear_requests()
        assert quick.get(f"{url}/me", headers=bearer(ada)).text == ada.user_id
    assert verifications(emulator) == 2


OURS = "moonkey_django.MoonKeyMiddleware"


@pytest.mark.parametrize("path", ["/me", "/ame"])
@pytest.mark.parametrize("between", [[], ["integrations.django_browsing_site.sync_only"]], ids=["async", "sync"])
def test_django_with_the_middleware_listed_twice(
    visit: Visit, configure: Configure, settings: Any, emulator: Emulator, path: str, between: list[str]
) -> None:
    settings.ROOT_URLCONF = "integrations.django_browsing_site"
    settings.MIDDLEWARE = [OURS, *between, OURS]
    configure(COOKIES={})
    told: list[object] = []

    def note(**about: object) -> None:
        told.append(about["auth"])

    signals.authenticated.connect(note)
    try:
        ada = emulator.sign_in()
        emulator.clear_requests()
        assert visit(path, ada.session_token).json()["user"] == ada.user_id
        assert (verifications(emulator), len(told)) == (1, 1)
        old = signed_in_long_ago(emulator)
        response = visit(path, Cookie=pair(old)["Cookie"])
        assert response.json()["user"] == old.user_id
        assert JWT in response.cookies
        assert verifications(emulator) == 1
    finally:
        signals.authenticated.disconnect(note)
