"""What is Starlette's own: where the identity lives, foreign gates, endpoints of all kinds, lazy apps."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from integrations.starlette_visits import bearer, names, on_a_loop, options, plain, scope, site, user_seen
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, MoonKeyError, PermissionDenied
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, get_client, require_auth
from support import quick
from support.servers import serve_asgi

if TYPE_CHECKING:
    from starlette import requests as only_for_types


@requires("authenticated")
async def foreign(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


@requires("authenticated")
def foreign_sync(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


# --- set-up


@pytest.mark.long
def test_the_package_imports_no_other_framework() -> None:
    program = (
        "import sys, moonkey_starlette; "
        "assert 'starlette' in sys.modules; "
        "sys.exit(any(name in sys.modules for name in ('fastapi', 'flask', 'django', 'moonkey_core.emulator')))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_a_wrong_setting_stops_the_start(emulator: Emulator) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="MOONKEY_SECRET_KEY"):
        MoonKeyMiddleware(app, **options(emulator, secret_key="pk_test_wrong"))
    with pytest.raises(ConfigurationError, match="no setting"):
        MoonKeyMiddleware(app, **options(emulator, issuer="x"))
    with pytest.raises(TypeError, match="not both"):
        MoonKeyMiddleware(app, AsyncMoonKey(**options(emulator)), realm="x")
    with MoonKey(**options(emulator)) as client, pytest.raises(TypeError, match="AsyncMoonKey, not a MoonKey"):
        MoonKeyMiddleware(app, client)  # type: ignore[arg-type]


@on_a_loop
async def test_other_scopes_pass_untouched(emulator: Emulator) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, receive, send))

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    for kind in ("lifespan", "something.new"):
        seen.clear()
        given: Any = {"type": kind, "state": {}}
        await MoonKeyMiddleware(app, **options(emulator))(given, receive, send)
        assert seen[0] is given
        assert seen[1:] == [receive, send]
        assert given == {"type": kind, "state": {}}


# --- foreign gates


@pytest.mark.rule("S27")
def test_the_user_and_permissions_of_starlette(emulator: Emulator, ada: SignedIn) -> None:
    """S27 with a caller who is known: Starlette's own contract."""
    app = site(emulator, Route("/user", user_seen), Route("/foreign", foreign), Route("/sync", foreign_sync))
    with serve_asgi(app) as url, quick.Client(base_url=url) as browser:
        response = browser.get("/user", headers=bearer(ada))
        assert response.json() == [True, ada.user_id, "ada@example.com", ["authenticated"]]
        assert response.headers["cache-control"] == "private"
        for stranger in ({}, {"session-token": "dead"}, {"session-token": "a b"}):
            response = browser.get("/user", headers=stranger)
            assert response.json() == [False, "", "", []]
            assert names(response.headers["vary"]) == {"authorization", "session-token"}
            assert browser.get("/foreign", headers=stranger).status_code == 403
            assert browser.get("/sync", headers=stranger).status_code == 403
        assert browser.get("/foreign", headers=bearer(ada)).text == ada.user_id
        assert browser.get("/sync", headers=bearer(ada)).text == ada.user_id


@pytest.mark.rule("S27")
@pytest.mark.parametrize("attribute", ["is_authenticated", "identity", "display_name", "scopes"])
def test_what_cannot_be_known_is_never_nobody(emulator: Emulator, ada: SignedIn, attribute: str) -> None:
    """S27: whatever another gate reads, an outage ends in 503."""

    async def reads(request: Request) -> Response:
        getattr(request.auth if attribute == "scopes" else request.user, attribute)
        raise AssertionError("went on without knowing who asks")

    app = site(emulator, Route("/reads", reads), Route("/foreign", foreign), Route("/sync", foreign_sync))
    with serve_asgi(app) as url, quick.Client(base_url=url) as browser:
        emulator.stop()
        for path in ("/reads", "/foreign", "/sync"):
            response = browser.get(path, headers=bearer(ada))
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["cache-control"] == "no-store"


# --- the gate in front of endpoints


class Documents(HTTPEndpoint):
    @require_auth
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(request.state.moonkey.user.id)

    @require_auth()
    def post(self, request: Request) -> Response:
        return PlainTextResponse(threading.current_thread().name)

    async def put(self, request: Request) -> Response:
        return PlainTextResponse("open")


def test_the_gate_on_all_kinds_of_endpoints(emulator: Emulator, ada: SignedIn) -> None:
    def in_a_thread(request: Request) -> Response:
        return PlainTextResponse(threading.current_thread().name)

    async def by_annotation(anything: Request) -> Response:
        return PlainTextResponse(anything.state.moonkey.user.id)

    async def for_the_type_checker(anything: only_for_types.Request) -> Response:
        return PlainTextResponse(anything.state.moonkey.user.id)

    async def bare(anything):  # type: ignore[no-untyped-def]
        return PlainTextResponse(anything.state.moonkey.user.id)

    async def configured(greeting: str, request: Request) -> Response:
        return PlainTextResponse(greeting)

    async def any_connection(connection: HTTPConnection) -> Response:
        return PlainTextResponse(connection.user.identity)

    app = site(
        emulator,
        Route("/thread", require_auth(in_a_thread)),
        Route("/annotation", require_auth(by_annotation)),
        Route("/type-checker", require_auth()(for_the_type_checker)),
        Route("/bare", require_auth(bare)),
        Route("/partial", require_auth(partial(configured, "hello"))),
        Route("/connection", require_auth(any_connection)),
        Route("/documents", Documents),
        Mount("/inner", Starlette(routes=[Route("/me", require_auth(by_annotation))])),
    )
    with serve_asgi(app) as url, quick.Client(base_url=url, headers=bearer(ada)) as browser:
        assert browser.get("/thread").text not in (threading.current_thread().name, "MainThread")
        assert "worker" in browser.get("/thread").text.lower()
        assert browser.get("/partial").text == "hello"
        for path in ("/annotation", "/type-checker", "/bare", "/connection", "/documents", "/inner/me"):
            assert browser.get(path).text == ada.user_id
        assert "worker" in browser.post("/documents").text.lower()
        browser.headers.clear()
        for path in ("/thread", "/annotation", "/type-checker", "/bare", "/partial", "/connection", "/inner/me"):
            for method in ("GET", "HEAD"):
                assert browser.request(method, path).status_code == 401
        assert [browser.request(method, "/documents").status_code for method in ("GET", "HEAD", "POST")] == [
            401
        ] * 3
        assert browser.put("/documents").text == "open"


def test_what_the_gate_cannot_guard_is_told_at_once() -> None:
    async def nothing(item_id: int) -> None: ...

    async def streamed(request: Request) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"finds no request in .*nothing"):
        require_auth(nothing)
    with pytest.raises(TypeError, match="generator"):
        require_auth(streamed)
    with pytest.raises(TypeError, match="decorate its methods"):
        require_auth(Documents)
    with pytest.raises(TypeError, match="function or a method"):
        require_auth(Starlette())


@on_a_loop
async def test_without_the_middleware_the_missing_line_is_named() -> None:
    request = Request(scope())
    for call in (get_auth(request), require_auth(plain)(request)):
        with pytest.raises(ConfigurationError, match=r"app\.add_middleware\(MoonKeyMiddleware\)"):
            await call
    with pytest.raises(ConfigurationError, match=r"app\.add_middleware\(MoonKeyMiddleware\)"):
        get_client(request)

    async def wrong(item, request_id=None):  # type: ignore[no-untyped-def]
        raise AssertionError

    with pytest.raises(ConfigurationError, match=r"took 'item' of .*wrong"):
        await require_auth(wrong)("an item")


def test_the_app_s_own_handler_wins(emulator: Emulator) -> None:
    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, MoonKeyError)
        return PlainTextResponse(error.reason, status_code=418)

    app = site(emulator, Route("/me", require_auth(plain)))
    app.add_exception_handler(MoonKeyError, handler)
    with serve_asgi(app) as url:
        response = quick.get(f"{url}/me")
        assert (response.status_code, response.text) == (418, "no_credentials")
        assert names(response.headers["vary"]) == {"authorization", "session-token"}


def test_an_error_after_the_start_breaks_the_response_off(emulator: Emulator) -> None:
    """It must not look like a whole one, and no second one may follow it."""

    async def endpoint(request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "beginning"
            raise PermissionDenied

        return StreamingResponse(parts())

    with serve_asgi(site(emulator, Route("/", endpoint))) as url, pytest.raises(httpx.RemoteProtocolError):
        quick.get(url)


def test_the_client_is_at_hand(emulator: Emulator, ada: SignedIn) -> None:
    client = AsyncMoonKey(**options(emulator))

    async def sign_out(request: Request) -> Response:
        assert get_client(request) is client
        await get_client(request).sessions.revoke(session_id=request.state.moonkey.session.id)
        return Response(status_code=204)

    routes = [Route("/out", require_auth(sign_out), methods=["POST"])]
    with serve_asgi(Starlette(routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)])) as url:
        assert quick.post(f"{url}/out", headers=bearer(ada)).status_code == 204
        assert quick.post(f"{url}/out", headers=bearer(ada)).status_code == 401
