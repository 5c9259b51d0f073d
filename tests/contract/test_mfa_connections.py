"""A second factor that the app has recorded, where a WebSocket or a stream begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from contract.mfa_clients import MFA, SAME, assert_asked
from contract.mfa_sites import VAULT, SignedIn, WithMfa, told
from contract.provider_sites import closing
from contract.requests import OWN, bearer, handshake
from contract.stacks import AS_SENT_ASGI
from fastapi import Depends, FastAPI
from fastapi import Response as FastResponse
from fastapi import WebSocket as FastWebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus

from moonkey_core import AsyncMoonKey, Auth, CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_core.emulator import SignedIn as Person
from moonkey_starlette import MoonKeyMiddleware, bound_stream, require_auth
from moonkey_starlette.fastapi import RequireAuth
from support import quick
from support.servers import serve_asgi
from support.visitors import all_set_by, pair


async def socket(websocket: WebSocket) -> None:
    """Say what is known of the caller, as often as asked."""
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_json(told(websocket.state.moonkey))


async def parts(auth: Auth) -> Any:
    yield str(told(auth)["mfa"]["id"])


def starlette_app(client: AsyncMoonKey) -> Starlette:
    async def stream(request: Request) -> Response:
        return StreamingResponse(bound_stream(request, parts(request.state.moonkey)))

    async def verified(request: Request) -> Response:
        return JSONResponse((await client.mfa.record(request.state.moonkey)).to_dict())

    async def end(request: Request) -> Response:
        await client.mfa.end(request.state.moonkey)
        return JSONResponse({})

    routes = [
        WebSocketRoute("/socket", require_auth(**VAULT)(socket)),
        Route("/stream", require_auth(**VAULT)(stream)),
        Route("/verified", require_auth(verified), methods=["POST"]),
        Route("/end", require_auth(end), methods=["POST"]),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)], lifespan=closing(client)
    )


def fastapi_app(client: AsyncMoonKey) -> FastAPI:
    app = FastAPI(lifespan=closing(client))
    app.add_middleware(MoonKeyMiddleware, client=client)

    @app.websocket("/socket", dependencies=[Depends(RequireAuth(**VAULT))])
    async def fast_socket(websocket: FastWebSocket) -> None:
        await socket(websocket)

    @app.get("/stream")
    async def stream(request: Request, auth: WithMfa) -> FastResponse:
        return StreamingResponse(bound_stream(request, parts(auth)))

    @app.post("/verified")
    async def verified(auth: SignedIn) -> Any:
        return (await client.mfa.record(auth)).to_dict()

    @app.post("/end")
    async def end(auth: SignedIn) -> Any:
        await client.mfa.end(auth)
        return {}

    return app


APPS: dict[str, Callable[[AsyncMoonKey], Any]] = {"starlette": starlette_app, "fastapi": fastapi_app}


@contextmanager
def open_site(stack: str, emulator: Emulator, **more: Any) -> Iterator[httpx.Client]:
    options = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "jwt_issuer": emulator.issuer,
        "mfa_lifetime": 3600,
        "mfa_scope": "credential",
        "timeout": 30.0,
        **more,
    }
    app = APPS[stack](AsyncMoonKey(**options))
    with serve_asgi(app, **AS_SENT_ASGI) as url, quick.Client(base_url=url) as http:
        yield http


def refused(http: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    """The response to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught, handshake(http, [*headers.items()]):
        pass
    found = caught.value.response
    return httpx.Response(found.status_code, headers=[*found.headers.raw_items()], content=bytes(found.body))


def of_cookies(person: Person) -> dict[str, str]:
    return {**pair(person), "Origin": OWN}


def of_header(person: Person) -> dict[str, str]:
    return bearer(person.session_jwt)


PLACES = {"header": of_header, "cookie": of_cookies}
on_each_stack = pytest.mark.parametrize("stack", ["starlette", pytest.param("fastapi", marks=pytest.mark.long)])


def holding(http: httpx.Client, headers: dict[str, str], place: str) -> dict[str, str]:
    """The headers of a client that has verified a second factor, with its handle."""
    recorded = http.post("/verified", headers={**SAME, **headers})
    assert recorded.status_code == 200, recorded.text
    if place == "header":
        return {**headers, "MFA-Handle": recorded.headers["mfa-handle"]}
    return {**headers, "Cookie": f"{headers['Cookie']}; {MFA}={all_set_by(recorded)[MFA]}"}


@on_each_stack
@pytest.mark.parametrize("place", PLACES)
def test_a_connection_begins_with_a_handle_only(stack: str, place: str, emulator: Emulator) -> None:
    more = {"cookies": CookieSettings()} if place == "cookie" else {}
    with open_site(stack, emulator, **more) as http:
        ada, ben = (PLACES[place](emulator.sign_in(email=f"{name}@example.com")) for name in ("ada", "ben"))
        assert_asked(refused(http, ada))
        assert_asked(http.get("/stream", headers={**SAME, **ada}))
        held = holding(http, ada, place)
        with handshake(http, [*held.items()]) as websocket:
            websocket.send("who?")
            assert '"method":"totp"' in str(websocket.recv(10)).replace(" ", "")
            streamed = http.get("/stream", headers={**SAME, **held})
            assert streamed.status_code == 200, streamed.text
            assert streamed.text.startswith("mfa_")
            # The end of the record closes no connection that was begun with it: the session is as good as before.
            assert http.post("/end", headers={**SAME, **held}).status_code == 200
            websocket.send("who?")
            assert '"mfa":null' in str(websocket.recv(10)).replace(" ", "")
        assert_asked(refused(http, held))
        assert_asked(http.get("/stream", headers={**SAME, **held}))
        again = holding(http, ada, place)
        of_another = (
            {**ben, "MFA-Handle": again["MFA-Handle"]}
            if place == "header"
            else {**ben, "Cookie": f"{ben['Cookie']}; {again['Cookie'].rpartition('; ')[2]}"}
        )
        assert_asked(refused(http, of_another))
        assert_asked(http.get("/stream", headers={**SAME, **of_another}))


@on_each_stack
def test_the_scope_of_a_user(stack: str, emulator: Emulator) -> None:
    """A handshake looks the record up as a request does; without the store it is 503, never let through."""
    with open_site(stack, emulator, mfa_scope="user", mfa_single_process=True) as http:
        ada = of_header(emulator.sign_in(email="ada@example.com"))
        assert_asked(refused(http, ada))
        assert http.post("/verified", headers=ada).status_code == 200
        with handshake(http, [*of_header(emulator.sign_in(email="ada@example.com")).items()]) as websocket:
            websocket.send("who?")
            assert '"method":"totp"' in str(websocket.recv(10)).replace(" ", "")
            assert http.post("/end", headers=ada).status_code == 200
            websocket.send("who?")
            assert '"mfa":null' in str(websocket.recv(10)).replace(" ", "")
    nowhere = {"mfa_scope": "user", "redis_url": "redis://127.0.0.1:1/0"}
    with open_site(stack, emulator, **nowhere) as http:
        ada = of_header(emulator.sign_in(email="ada@example.com"))
        for found in (refused(http, ada), http.get("/stream", headers=ada)):
            assert found.status_code == 503, found.text
            assert "www-authenticate" not in found.headers
