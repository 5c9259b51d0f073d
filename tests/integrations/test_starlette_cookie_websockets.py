"""WebSockets of browsers with cookies: judged by their Origin always, and told of new cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from integrations.starlette_visits import bearer, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from moonkey_core import AsyncMoonKey, CookieSettings
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from support.bindings import without_binding
from support.servers import serve_asgi
from support.visitors import GONE, JWT, OURS, PAGE, pair, signed_in_long_ago


@require_auth
async def me(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-own", b"1")])
    await websocket.send_text(websocket.state.moonkey.user.id)


async def optional(websocket: WebSocket) -> None:
    auth = await get_auth(websocket)
    await websocket.accept()
    await websocket.send_text(auth.state)


async def late(websocket: WebSocket) -> None:
    """While the handshake is under way, the user signs out in another window."""
    auth = await get_auth(websocket)
    assert auth.session is not None
    client: AsyncMoonKey = websocket.app.state.client
    client.revocations.add(session_id=auth.session.id)
    await websocket.accept()
    await websocket.send_text("accepted")


@pytest.fixture(params=["eager", "lazy", "unbound"])
def url(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[str]:
    more: dict[str, Any] = {"lazy": request.param == "lazy", "bind_websockets": request.param != "unbound"}
    client = AsyncMoonKey(**options(emulator, cookies=CookieSettings()))
    middleware = [Middleware(MoonKeyMiddleware, client=client, **more)]
    routes = [WebSocketRoute("/me", me), WebSocketRoute("/optional", optional), WebSocketRoute("/late", late)]
    app = Starlette(routes=routes, middleware=middleware)
    app.state.client = client
    with serve_asgi(app) as url:
        yield url.replace("http", "ws")


def own_origin(url: str) -> dict[str, str]:
    return {"Origin": url.replace("ws", "http")}


def refused(url: str, headers: dict[str, str]) -> Any:
    """The HTTP response to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as error, connect(url, additional_headers=headers):
        pass
    return error.value.response


def set_cookies(headers: Any) -> dict[str, str]:
    lines = headers.get_all("set-cookie")
    assert all({"Secure", "HttpOnly"} <= set(line.split("; ")) for line in lines)
    return without_binding({name: rest.split(";")[0] for name, _, rest in (line.partition("=") for line in lines)})


def answered(websocket: ClientConnection) -> Any:
    assert websocket.response is not None
    return websocket.response.headers


def test_from_a_page_of_this_site(url: str, ada: SignedIn) -> None:
    with connect(f"{url}/me", additional_headers={**pair(ada), **own_origin(url)}) as websocket:
        assert websocket.recv() == ada.user_id
        assert answered(websocket).get_all("set-cookie") == []


@pytest.mark.rule("S43", "connection")
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, OURS, PAGE])
def test_from_anywhere_else(url: str, emulator: Emulator, headers: dict[str, str]) -> None:
    person = signed_in_long_ago(emulator)
    response = refused(f"{url}/me", {**pair(person), **headers})
    assert (response.status_code, json.loads(response.body)["error"]) == (403, "cross_site_request")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get_all("set-cookie") == []
    with connect(f"{url}/optional", additional_headers={**pair(person), **headers}) as websocket:
        assert websocket.recv() == "rejected"
        assert answered(websocket).get_all("set-cookie") == []
    assert emulator.requests() == {}


@pytest.mark.rule("S42", "S43")
def test_a_credential_in_a_header_needs_no_origin(url: str, ada: SignedIn) -> None:
    with connect(f"{url}/me", additional_headers={**bearer(ada), "Origin": "https://evil.example"}) as websocket:
        assert websocket.recv() == ada.user_id


@pytest.mark.rule("S40")
def test_the_acceptance_renews_an_old_jwt(url: str, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    with connect(f"{url}/me", additional_headers={**pair(person), **own_origin(url)}) as websocket:
        assert websocket.recv() == person.user_id
        (fresh,) = (found := set_cookies(answered(websocket))).values()
        assert set(found) == {JWT}
        assert fresh not in ("", person.session_jwt)
        assert answered(websocket)["x-own"] == "1"


@pytest.mark.rule("S46", "connection")
def test_a_handshake_on_its_way_does_not_bring_the_jwt_back(url: str, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    headers = {**pair(person), **own_origin(url)}
    with connect(f"{url}/late", additional_headers=headers) as websocket:
        assert answered(websocket).get_all("set-cookie") == []
    assert refused(f"{url}/me", headers).status_code == 401


@pytest.mark.rule("S28", "S45", "connection")
def test_a_denial_takes_dead_cookies_along(url: str, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    response = refused(f"{url}/me", {**pair(person), **own_origin(url)})
    assert (response.status_code, set_cookies(response.headers)) == (401, GONE)
    assert response.headers["cache-control"] == "no-store"
    with connect(f"{url}/optional", additional_headers={**pair(person), **own_origin(url)}) as websocket:
        assert websocket.recv() == "rejected"
        assert set_cookies(answered(websocket)) == GONE
