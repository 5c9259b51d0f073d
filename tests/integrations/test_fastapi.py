"""What is FastAPI's own: dependencies on every level, and what the OpenAPI document says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from integrations.starlette_visits import bearer, names, options
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core import Auth, ConfigurationError, MoonKeyError, PermissionDenied
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, require_auth
from moonkey_starlette.fastapi import CurrentAuth, CurrentSession, CurrentUser, RequireAuth
from support import quick
from support.servers import serve_asgi

ORIGIN = "https://app.example"
GATED = ["/user", "/session", "/gate", "/nested", "/router/in", "/app/in", "/sub/in", "/decorated", "/sync"]


class Item(BaseModel):
    name: str


async def owner(user: CurrentUser) -> str:
    return user.id


def routes(app: FastAPI) -> None:
    @app.get("/open")
    async def everybody() -> str:
        return "open"

    @app.get("/optional")
    async def optional(auth: CurrentAuth) -> str:
        return auth.state

    @app.get("/user")
    async def user(user: CurrentUser) -> str:
        return user.id

    @app.get("/session")
    async def session(session: CurrentSession) -> str:
        return session.user_id

    @app.get("/gate")
    async def gate(auth: Annotated[Auth, Depends(RequireAuth())], user: CurrentUser) -> str:
        assert auth.user is user
        return user.id

    @app.get("/nested")
    async def nested(owner: Annotated[str, Depends(owner)]) -> str:
        return owner

    @app.get("/decorated")
    @require_auth
    async def decorated(request: Request, greeting: str = "") -> str:
        return greeting + str(request.state.moonkey.user.id)

    @app.get("/sync")
    def sync(user: CurrentUser) -> str:
        return user.id if threading.current_thread().name != "MainThread" else ""

    @app.post("/items/{number}")
    async def create(number: int, item: Item, user: CurrentUser) -> list[Any]:
        return [number, item.name, user.id]

    @app.get("/raises")
    async def raises(user: CurrentUser) -> None:
        raise PermissionDenied

    @app.websocket("/live")
    async def live(websocket: WebSocket, user: CurrentUser, auth: CurrentAuth) -> None:
        await websocket.accept()
        await websocket.send_text(user.id)
        await websocket.close()


def routers(app: FastAPI) -> None:
    router = APIRouter(prefix="/router", dependencies=[Depends(RequireAuth())])
    sub = FastAPI(dependencies=[Depends(RequireAuth())])
    within = APIRouter()
    for owned in (router, sub, within):

        @owned.get("/in")
        async def inside(request: Request) -> str:
            return str(request.state.moonkey.user.id)

    app.include_router(router)
    app.include_router(within, prefix="/app", dependencies=[Depends(RequireAuth())])
    app.mount("/sub", sub)


def site(emulator: Emulator, **more: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options(emulator, **more))
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_headers=["authorization"])
    routes(app)
    routers(app)
    return app


@pytest.fixture(scope="module", params=["eager", "lazy"])
def browser(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[httpx.Client]:
    app = site(shared_emulator, lazy=request.param == "lazy")
    with serve_asgi(app) as url, quick.Client(base_url=url) as client:
        yield client


def test_who_is_signed_in_gets_through_every_gate(
    browser: httpx.Client, emulator: Emulator, ada: SignedIn
) -> None:
    for path in GATED:
        emulator.clear_requests()
        response = browser.get(path, headers=bearer(ada))
        assert (path, response.status_code, response.json()) == (path, 200, ada.user_id)
        assert response.headers["cache-control"] == "private"
        assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}


@pytest.mark.parametrize("path", GATED)
def test_nobody_else_does(browser: httpx.Client, emulator: Emulator, ada: SignedIn, path: str) -> None:
    for headers, status in (({}, 401), ({"session-token": "dead"}, 401), ({"session-token": "a b"}, 400)):
        response = browser.get(path, headers=headers)
        assert (response.status_code, response.json()["status"]) == (status, status)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith('Bearer realm="moonkey"')
        assert response.headers["cache-control"] == "no-store"
    emulator.stop()
    assert browser.get(path, headers=bearer(ada)).status_code == 503


def test_optional_and_open_routes(browser: httpx.Client, emulator: Emulator, ada: SignedIn) -> None:
    assert browser.get("/open", headers=bearer(ada)).headers.get("vary", "") in ("", "Origin")
    assert browser.get("/optional").json() == "anonymous"
    assert browser.get("/optional", headers=bearer(ada)).json() == "authenticated"
    assert browser.get("/optional", headers={"session-token": "dead"}).json() == "rejected"
    emulator.stop()
    response = browser.get("/optional", headers=bearer(ada))
    assert response.json() == "unavailable"
    assert {"authorization", "session-token"} <= names(response.headers["vary"])


def test_who_is_refused_learns_nothing_about_parameters(browser: httpx.Client, ada: SignedIn) -> None:
    for path, body in (("/items/x", {}), ("/items/1", {"name": 5}), ("/items/1", {"name": "a"})):
        assert browser.post(path, json=body).status_code == 401
    assert browser.post("/items/x", json={}, headers=bearer(ada)).status_code == 422
    response = browser.post("/items/1", json={"name": "a"}, headers=bearer(ada))
    assert response.json() == [1, "a", ada.user_id]
    assert browser.get("/raises", headers=bearer(ada)).status_code == 403


def test_websockets(browser: httpx.Client, ada: SignedIn) -> None:
    url = str(browser.base_url).replace("http", "ws") + "/live"
    with connect(url, additional_headers=bearer(ada)) as websocket:
        assert websocket.recv() == ada.user_id
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 401


def test_refusals_carry_cors_headers(browser: httpx.Client, emulator: Emulator, ada: SignedIn) -> None:
    refused = browser.get("/user", headers={"Origin": ORIGIN})
    emulator.stop()
    unavailable = browser.get("/user", headers={"Origin": ORIGIN, **bearer(ada)})
    assert (refused.status_code, unavailable.status_code) == (401, 503)
    for response in (refused, unavailable):
        assert response.headers["access-control-allow-origin"] == ORIGIN


# --- the OpenAPI document


def test_openapi_gains_security_and_nothing_else(browser: httpx.Client) -> None:
    """Authorize on the docs page needs the schemes, and each operation's word that it takes them."""
    document = browser.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    bearer_scheme, header_scheme = schemes.pop("MoonKeyBearer"), schemes.pop("MoonKeySessionToken")
    assert schemes == {}
    assert (bearer_scheme["type"], bearer_scheme["scheme"]) == ("http", "bearer")
    assert [header_scheme[key] for key in ("type", "in", "name")] == ["apiKey", "header", "session-token"]
    either: Any = [{"MoonKeyBearer": []}, {"MoonKeySessionToken": []}]
    optional = document["paths"]["/optional"]["get"]
    assert (optional["security"], set(optional["responses"])) == ([{}, *either], {"200"})
    for path in ("/user", "/session", "/gate", "/nested", "/router/in", "/app/in", "/sync"):
        operation = document["paths"][path]["get"]
        assert operation["security"] == either
        assert operation.get("parameters", []) == []
        assert "requestBody" not in operation
        assert set(operation["responses"]) == {"200", "400", "401", "403", "503"}
    create = document["paths"]["/items/{number}"]["post"]
    assert [parameter["name"] for parameter in create["parameters"]] == ["number"]
    assert create["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Item")
    assert "security" not in document["paths"]["/open"]["get"]
    assert [one["name"] for one in document["paths"]["/decorated"]["get"]["parameters"]] == ["greeting"]
    sub = browser.get("/sub/openapi.json").json()
    assert sub["paths"]["/in"]["get"]["security"] == either
    assert browser.get("/docs").status_code == 200


# --- mistakes, and an app's own tests


def test_without_the_middleware_the_missing_line_is_named() -> None:
    app = FastAPI()
    routes(app)
    with TestClient(app) as client:
        for path in ("/user", "/optional", "/decorated"):
            with pytest.raises(ConfigurationError, match=r"app\.add_middleware\(MoonKeyMiddleware\)"):
                client.get(path)
        with pytest.raises(ConfigurationError, match="MoonKeyMiddleware"), client.websocket_connect("/live"):
            pass


def test_a_gate_without_parentheses_is_told_at_once() -> None:
    """FastAPI would make a gate for each request, and never ask it."""
    app = FastAPI()
    with pytest.raises(TypeError, match=r"Depends\(RequireAuth\(\)\)"):
        app.get("/", dependencies=[Depends(RequireAuth)])(owner)

    async def endpoint(auth: Annotated[Any, Depends(RequireAuth)]) -> None: ...

    with pytest.raises(TypeError, match=r"Depends\(RequireAuth\(\)\)"):
        app.get("/")(endpoint)


def test_gates_can_be_overridden_in_an_app_s_own_tests(emulator: Emulator) -> None:
    app = site(emulator)
    app.dependency_overrides[RequireAuth()] = lambda: "nobody checks"
    with serve_asgi(app) as url:
        assert quick.get(f"{url}/router/in").status_code == 500  # the gate is open; the view finds no user
        app.dependency_overrides.clear()
        assert quick.get(f"{url}/router/in").status_code == 401


def test_the_app_s_own_handler_wins(emulator: Emulator) -> None:
    app = site(emulator)

    @app.exception_handler(MoonKeyError)
    async def handler(request: Request, error: MoonKeyError) -> JSONResponse:
        return JSONResponse(error.reason, status_code=418)

    with serve_asgi(app) as url:
        response = quick.get(f"{url}/user")
    assert (response.status_code, response.json()) == (418, "no_credentials")
