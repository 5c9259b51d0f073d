"""WebSockets: refused as a request is, before they are accepted; and what happens afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from integrations.starlette_visits import bearer, drive, names, on_a_loop, options, scope
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from moonkey_core import ConfigurationError, MoonKeyError, PermissionDenied, ProviderUnavailable
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from support.servers import serve_asgi

CONNECT = {"type": "websocket.connect"}
GONE = {"type": "websocket.disconnect", "code": 1006}


@require_auth
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    user = websocket.state.moonkey.user
    await websocket.send_text(f"{user.id} {await websocket.receive_text()}")
    await websocket.close()


@requires("authenticated")
async def foreign(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.user.identity)


async def optional(websocket: WebSocket) -> None:
    auth = await get_auth(websocket)
    await websocket.accept()
    await websocket.send_text(auth.state)


async def denies(websocket: WebSocket) -> None:
    if not websocket.state.moonkey:
        await websocket.send_denial_response(PlainTextResponse("members only", status_code=402))


async def accepts_first(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    raise PermissionDenied


class Feed(WebSocketEndpoint):
    encoding = "text"

    @require_auth
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    @require_auth()
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"{websocket.user.identity} {data}")


def site(emulator: Emulator, **more: Any) -> Starlette:
    endpoints: dict[str, Any] = {
        "echo": echo,
        "foreign": foreign,
        "optional": optional,
        "denies": denies,
        "accepts-first": accepts_first,
        "feed": Feed,
    }
    return Starlette(
        routes=[WebSocketRoute(f"/{name}", endpoint) for name, endpoint in endpoints.items()],
        middleware=[Middleware(MoonKeyMiddleware, **options(emulator, **more))],
    )


@pytest.fixture(scope="module", params=["eager", "lazy"])
def url(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[str]:
    with serve_asgi(site(shared_emulator, lazy=request.param == "lazy")) as url:
        yield url.replace("http", "ws")


def refused(url: str, headers: Any = ()) -> Any:
    """The HTTP response to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as error, connect(url, additional_headers=headers):
        pass
    return error.value.response


def test_who_is_signed_in_gets_through(url: str, ada: SignedIn) -> None:
    for path in ("/echo", "/feed"):
        for headers in (bearer(ada), {"session-token": ada.session_jwt}, {"SESSION-TOKEN": ada.session_token}):
            with connect(url + path, additional_headers=headers) as websocket:
                websocket.send("hello")
                assert websocket.recv() == f"{ada.user_id} hello"


@pytest.mark.rule("S26", "S28", "connection")
@pytest.mark.parametrize("path", ["/echo", "/feed"])
def test_a_refusal_is_that_of_a_request(url: str, emulator: Emulator, ada: SignedIn, path: str) -> None:
    twice = [("Authorization", f"Bearer {ada.session_token}"), ("authorization", f"Bearer {ada.session_token}")]
    cases: list[tuple[Any, int, str | None]] = [
        ({}, 401, None),
        ({"session-token": "dead"}, 401, "invalid_token"),
        ({"session-token": "a b"}, 400, "invalid_request"),
        ({**bearer(ada), "Session-Token": ada.session_token}, 400, "invalid_request"),
        (twice, 400, "invalid_request"),
    ]
    for headers, status, code in cases:
        response = refused(url + path, headers)
        problem = json.loads(response.body)
        assert (response.status_code, problem["status"], problem.get("error")) == (status, status, code)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["www-authenticate"].startswith('Bearer realm="moonkey"')
        assert names(response.headers["vary"]) == {"authorization", "session-token"}
        assert int(response.headers["content-length"]) == len(response.body)
    emulator.stop()
    response = refused(url + path, bearer(ada))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


def test_our_own_fault_is_500(emulator: Emulator, ada: SignedIn) -> None:
    with serve_asgi(site(emulator, secret_key="sk_test_" + "0" * 32, jwt_issuer=None)) as url:
        response = refused(url.replace("http", "ws") + "/echo", bearer(ada))
    assert response.status_code == 500
    assert b"key" not in response.body


@pytest.mark.rule("S27", "connection")
def test_a_gate_of_somebody_else_s(emulator: Emulator, ada: SignedIn) -> None:
    """S27"""
    with serve_asgi(site(emulator)) as base:
        url = base.replace("http", "ws") + "/foreign"
        with connect(url, additional_headers=bearer(ada)) as websocket:
            assert websocket.recv() == ada.user_id
        assert refused(url).status_code == 403
        emulator.stop()
        assert refused(url, bearer(ada)).status_code == 503


def test_an_optional_endpoint_runs_in_all_states(url: str, emulator: Emulator, ada: SignedIn) -> None:
    def state(headers: Any) -> Any:
        with connect(url + "/optional", additional_headers=headers) as websocket:
            return websocket.recv()

    assert state({}) == "anonymous"
    assert state({"session-token": "dead"}) == "rejected"
    assert state(bearer(ada)) == "authenticated"
    emulator.stop()
    assert state(bearer(ada)) == "unavailable"


def test_the_app_s_own_denial_is_marked(emulator: Emulator) -> None:
    with serve_asgi(site(emulator)) as url:
        response = refused(url.replace("http", "ws") + "/denies")
    assert (response.status_code, response.body) == (402, b"members only")
    assert response.headers["cache-control"] == "private"


def test_an_error_after_the_accept_closes(url: str) -> None:
    with connect(url + "/accepts-first") as websocket:
        assert websocket.recv() == "hello"
        with pytest.raises(ConnectionClosedError) as closed:
            websocket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, "Forbidden")


def raising(error: MoonKeyError, *before: Any) -> Any:
    """An app that receives and sends what ``before`` says, and then raises."""

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        for step in before:
            await (receive() if step == "receive" else send(step))
        raise error

    return app


@pytest.mark.parametrize(
    ("headers", "error", "code", "reason"),
    [
        ([(b"session-token", b"a b")], None, 4400, "Bad Request"),
        ([], None, 4401, "Unauthorized"),
        ([], PermissionDenied(), 4403, "Forbidden"),
        ([], ProviderUnavailable(), 1013, "Service Unavailable"),
        ([], ConfigurationError("x"), 1011, "Internal Server Error"),
    ],
)
@pytest.mark.parametrize("extensions", [{}, None, {"tls": {}}])
@on_a_loop
async def test_a_server_without_denial_responses_gets_a_close(
    emulator: Emulator, headers: Any, error: MoonKeyError | None, code: int, reason: str, extensions: Any
) -> None:
    """Before any accept, and not before the server has announced the client."""
    app = Starlette(routes=[WebSocketRoute("/", echo)]) if error is None else raising(error)
    asgi_scope = scope("websocket", headers=headers, extensions=extensions)
    sent = await drive(MoonKeyMiddleware(app, **options(emulator)), asgi_scope, [CONNECT])
    assert sent == [{"type": "received"}, {"type": "websocket.close", "code": code, "reason": reason}]


@on_a_loop
async def test_what_has_been_answered_is_not_answered_again(emulator: Emulator) -> None:
    close = {"type": "websocket.close", "code": 1000}
    denial = {"type": "websocket.http.response.start", "status": 402, "headers": []}
    for answer in (close, denial):
        app = MoonKeyMiddleware(raising(PermissionDenied(), "receive", answer), **options(emulator))
        with pytest.raises(PermissionDenied):
            await drive(app, scope("websocket"), [CONNECT])


@pytest.mark.parametrize("before", [(), ("receive", "receive")])
@on_a_loop
async def test_nothing_is_sent_to_who_has_gone(emulator: Emulator, before: Any) -> None:
    app = MoonKeyMiddleware(raising(PermissionDenied(), *before), **options(emulator))
    sent = await drive(app, scope("websocket"), [CONNECT, GONE] if before else [GONE])
    assert {message["type"] for message in sent} == {"received"}
