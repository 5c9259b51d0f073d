"""``required=True``: everything is denied but exact paths, whatever is tried with path, host and method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integrations.starlette_visits import bearer, names, options, raw_status
from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core import ConfigurationError
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.paths import route_path
from support import quick
from support.servers import serve_asgi

ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization",
}
PUBLIC = ["/", "/public", "/live"]
cors = Middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_headers=["authorization", "session-token"])

runs: list[str] = []


async def secret(request: Request) -> Response:
    if request.state.moonkey.is_authenticated:
        return PlainTextResponse("secret")
    runs.append(f"{request.method} {request.url.path}")
    return PlainTextResponse("secret, told to a stranger")


async def public(request: Request) -> Response:
    return PlainTextResponse("public")


async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("live")
    await websocket.close()


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    runs.clear()
    yield
    assert runs == []


def required(emulator: Emulator, *, outer: Any = (), inner: Any = (), **more: Any) -> Starlette:
    settings = options(emulator, required=True, public_paths=PUBLIC, **more)
    everything = ["GET", "POST", "OPTIONS", "PURGE"]
    return Starlette(
        routes=[
            Route("/", public),
            Route("/public", public, methods=everything),
            Route("/me", secret, methods=everything),
            Route("/me/", secret, methods=everything),
            Route("/read", secret),
            WebSocketRoute("/live", live),
            WebSocketRoute("/feed", live),
            Mount("/", Route("/{path:path}", secret, methods=everything)),
        ],
        middleware=[*outer, Middleware(MoonKeyMiddleware, **settings), *inner],
    )


@pytest.fixture(scope="module")
def url(shared_emulator: Emulator) -> Iterator[str]:
    with serve_asgi(required(shared_emulator)) as url:
        yield url


def test_who_is_signed_in_may_go_everywhere(url: str, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    for target in ("/me", "/me/", "//me", "/anything"):
        assert raw_status(url, target, bearer(ada)) == 200
    response = quick.get(f"{url}/me", headers=bearer(ada))
    assert (response.headers["cache-control"], response.text) == ("private", "secret")
    assert names(response.headers["vary"]) == {"authorization", "session-token"}


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    "target",
    [
        *("/me", "/me/", "//me", "/./me", "/public/../me", "/%6de", "/me%2f", "/ME", "/me?/public", "/me;/public"),
        *("/public/", "//public", "/public%2f", "/public%2f..%2fme", "/public%0a", "/public%00", "/public%20"),
        *("/Public", "/public/x", "/public;x", "/publi%C3%A7", "/%2e/public", "/x/../public", "/%252fpublic"),
        *(
            "http://localhost/me",
            "http://public/me",
            "//localhost/public",
            "/public%23",
            "/public#/me",
            "/public%3f",
        ),
    ],
)
def test_everything_else_is_denied(url: str, target: str) -> None:
    """S26"""
    for method in ("GET", "POST", "OPTIONS", "PURGE", "HEAD"):
        assert raw_status(url, target, method=method) == 401


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    "host", ["localhost/public?", "public", "public/public#", "[::1]:80", "x/public?y=/me", ""]
)
def test_the_host_has_no_say(url: str, host: str) -> None:
    """S26: the path that is compared is not that of ``request.url``, which the Host header has a part in."""
    assert raw_status(url, "/me", {"Host": host}) in (400, 401)
    assert raw_status(url, "/public", {"Host": host}) in (200, 400)
    forwarded = {"X-Original-URL": "/public", "X-Forwarded-Prefix": "/public", "X-Rewrite-URL": "/public"}
    assert raw_status(url, "/me", forwarded) == 401


@pytest.mark.rule("S26")
@pytest.mark.parametrize("target", ["/public", "/%70ublic", "/public?x=/me", "/"])
def test_public_paths_are_open(url: str, emulator: Emulator, target: str) -> None:
    """Also with a credential that is no good, and then as public as before."""
    for headers in ({}, {"session-token": "dead"}, {"session-token": "a b"}):
        assert raw_status(url, target, headers) == 200
    assert "vary" not in quick.get(f"{url}/public", headers={"session-token": "dead"}).headers


def test_lazy_and_required(emulator: Emulator) -> None:
    ada = emulator.sign_in()
    with serve_asgi(required(emulator, lazy=True)) as url:
        emulator.clear_requests()
        assert raw_status(url, "/public", bearer(ada)) == 200
        assert emulator.requests() == {}
        assert raw_status(url, "/me", bearer(ada)) == 200
        assert raw_status(url, "/me") == 401
        emulator.stop()
        assert raw_status(url, "/me", bearer(ada)) == 503


@pytest.mark.rule("S26", "connection")
def test_websockets_as_well(url: str, emulator: Emulator) -> None:
    base = url.replace("http", "ws")
    with connect(f"{base}/live") as websocket:
        assert websocket.recv() == "live"
    for path in ("/feed", "/live/", "//live", "/nothing"):
        with pytest.raises(InvalidStatus) as refused, connect(base + path):
            pass
        assert refused.value.response.status_code == 401
    with connect(f"{base}/feed", additional_headers=bearer(emulator.sign_in())) as websocket:
        assert websocket.recv() == "live"


@pytest.mark.rule("S26")
@pytest.mark.parametrize("root", ["", "/api"])
def test_paths_are_those_of_the_app_that_is_protected(emulator: Emulator, root: str) -> None:
    """A mounted app's public paths are its own, and so are those of an app behind a prefix."""
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator, required=True, public_paths=["/public"]))]
    inner = Starlette(routes=[Route("/public", public), Route("/me", secret)], middleware=middleware)
    app = Starlette(routes=[Mount("/sub", inner), Route("/public", public), Route("/other", public)])
    with serve_asgi(app, root_path=root) as url:
        assert raw_status(url, "/sub/public") == 200
        for target in ("/sub/me", "/sub/sub/public", "/sub//public", "/sub/public/", "/sub/"):
            assert raw_status(url, target) == 401
        assert raw_status(url, "/other") == 200


_part = st.sampled_from(["/", "a", "b", "/a", "/b", "", "\n", "é"])
_path = st.lists(_part, max_size=5).map("".join)


@given(path=_path, root=_path)
def test_the_route_path_is_the_one_that_is_routed_by(path: str, root: str) -> None:
    for scope in ({"path": path, "root_path": root}, {"path": root + path, "root_path": root}, {"path": path}):
        assert route_path(scope) == get_route_path(scope)


@pytest.mark.rule("S26")
@pytest.mark.parametrize("paths", ["/health", ["health"], ["/docs/*"], ["/users/{id}"], ["/a?b"], ["/a#b"], [""]])
def test_what_is_no_exact_path(emulator: Emulator, paths: Any) -> None:
    with pytest.raises(ConfigurationError, match="public_paths"):
        MoonKeyMiddleware(Starlette(), **options(emulator), required=True, public_paths=paths)


def test_public_paths_alone_protect_nothing(emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError, match="Add required=True"):
        MoonKeyMiddleware(Starlette(), **options(emulator), public_paths=["/health"])


# --- CORS


def assert_granted(response: httpx.Response) -> None:
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("where", ["outer", "inner", "behind gzip"])
def test_a_preflight_is_answered_by_the_cors_middleware(emulator: Emulator, where: str) -> None:
    layers: dict[str, Any] = {
        "outer": {"outer": [cors]},
        "inner": {"inner": [cors]},
        "behind gzip": {"inner": [Middleware(GZipMiddleware), cors]},
    }
    with serve_asgi(required(emulator, **layers[where])) as url, quick.Client(base_url=url) as browser:
        for path in ("/me", "/read", "/nothing", "/public"):
            assert_granted(browser.options(path, headers=PREFLIGHT))
        # What only looks like one gets nowhere.
        for missing in ("Origin", "Access-Control-Request-Method"):
            headers = {name: value for name, value in PREFLIGHT.items() if name != missing}
            assert browser.options("/me", headers=headers).status_code == 401
        assert browser.post("/me", headers=PREFLIGHT).status_code == 401


def test_a_refusal_carries_cors_headers_in_the_documented_order(emulator: Emulator) -> None:
    ada = emulator.sign_in()
    with serve_asgi(required(emulator, outer=[cors])) as url, quick.Client(base_url=url) as browser:
        refused = browser.get("/me", headers={"Origin": ORIGIN})
        emulator.stop()
        unavailable = browser.get("/me", headers={"Origin": ORIGIN, **bearer(ada)})
    assert (refused.status_code, unavailable.status_code) == (401, 503)
    for response in (refused, unavailable):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "origin" in names(response.headers["vary"])


class Override:
    """A layer that changes the method, as some do for old clients: nothing behind it can be told beforehand."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "method": "GET"} if scope["type"] == "http" else scope, receive, send)


@pytest.mark.rule("S26")
@pytest.mark.parametrize("inner", [[], [Middleware(Override)], [Middleware(Override), cors]])
def test_a_preflight_that_nobody_answers_grants_nothing_and_runs_nothing(emulator: Emulator, inner: Any) -> None:
    """S26, whatever the method."""
    with serve_asgi(required(emulator, inner=inner)) as url, quick.Client(base_url=url) as browser:
        for path in ("/me", "/me/", "/read", "/nothing"):
            response = browser.options(path, headers=PREFLIGHT)
            assert (response.status_code, response.content) == (204, b"")
            assert [name for name in response.headers if name.startswith("access-control")] == []
        authenticated = browser.options("/me", headers={**PREFLIGHT, **bearer(emulator.sign_in())})
        assert (authenticated.status_code, authenticated.text) == (200, "secret")
