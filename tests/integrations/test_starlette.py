"""What is Starlette's own: where the identity lives, foreign gates, endpoints of all kinds, lazy apps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from integrations.starlette_visits import bearer, drive, names, options, scope
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, MoonKeyError, PermissionDenied
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, get_client, require_auth
from support.servers import serve_asgi

if TYPE_CHECKING:
    from starlette.requests import Request as OnlyForTheTypeChecker


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def site(emulator: Emulator, *routes: Route | Mount, **more: Any) -> Starlette:
    middleware = [Middleware(MoonKeyMiddleware, **options(emulator, **more))]
    return Starlette(routes=list(routes), middleware=middleware)


async def user_seen(request: Request) -> Response:
    user = request.user
    return JSONResponse([user.is_authenticated, user.identity, user.display_name, request.auth.scopes])


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


@requires("authenticated")
async def foreign(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


@requires("authenticated")
def foreign_sync(request: Request) -> Response:
    return PlainTextResponse(request.user.identity)


# --- set-up


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
        given = {"type": kind, "state": {}}
        await MoonKeyMiddleware(app, **options(emulator))(given, receive, send)
        assert seen[0] is given
        assert seen[1:] == [receive, send]
        assert given == {"type": kind, "state": {}}


# --- foreign gates


def test_the_user_and_permissions_of_starlette(emulator: Emulator, ada: SignedIn) -> None:
    """S27 with a caller who is known: Starlette's own contract."""
    app = site(emulator, Route("/user", user_seen), Route("/foreign", foreign), Route("/sync", foreign_sync))
    with serve_asgi(app) as url, httpx.Client(base_url=url) as browser:
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


@pytest.mark.parametrize("attribute", ["is_authenticated", "identity", "display_name", "scopes"])
def test_what_cannot_be_known_is_never_nobody(emulator: Emulator, ada: SignedIn, attribute: str) -> None:
    """S27: whatever another gate reads, an outage ends in 503."""

    async def reads(request: Request) -> Response:
        getattr(request.auth if attribute == "scopes" else request.user, attribute)
        raise AssertionError("went on without knowing who asks")

    app = site(emulator, Route("/reads", reads), Route("/foreign", foreign), Route("/sync", foreign_sync))
    with serve_asgi(app) as url, httpx.Client(base_url=url) as browser:
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

    async def for_the_type_checker(anything: OnlyForTheTypeChecker) -> Response:
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
    with serve_asgi(app) as url, httpx.Client(base_url=url, headers=bearer(ada)) as browser:
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
        assert [browser.request(method, "/documents").status_code for method in ("GET", "HEAD", "POST")] == [401] * 3
        assert browser.put("/documents").text == "open"


def test_what_the_gate_cannot_guard_is_told_at_once() -> None:
    async def nothing(item_id: int) -> None: ...

    async def streamed(request: Request) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="finds no request in .*nothing"):
        require_auth(nothing)
    with pytest.raises(TypeError, match="generator"):
        require_auth(streamed)
    with pytest.raises(TypeError, match="decorate its methods"):
        require_auth(Documents)
    with pytest.raises(TypeError, match="function or a method"):
        require_auth(Starlette())


async def test_without_the_middleware_the_missing_line_is_named() -> None:
    request = Request(scope())
    for call in (get_auth(request), require_auth(plain)(request)):
        with pytest.raises(ConfigurationError, match=r"app\.add_middleware\(MoonKeyMiddleware\)"):
            await call
    with pytest.raises(ConfigurationError, match=r"app\.add_middleware\(MoonKeyMiddleware\)"):
        get_client(request)

    async def wrong(item, request_id=None):  # type: ignore[no-untyped-def]
        raise AssertionError

    with pytest.raises(ConfigurationError, match="took 'item' of .*wrong"):
        await require_auth(wrong)("an item")


def test_the_app_s_own_handler_wins(emulator: Emulator) -> None:
    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, MoonKeyError)
        return PlainTextResponse(error.reason, status_code=418)

    app = site(emulator, Route("/me", require_auth(plain)))
    app.add_exception_handler(MoonKeyError, handler)
    with serve_asgi(app) as url:
        response = httpx.get(f"{url}/me")
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
        httpx.get(url)


async def test_the_client_is_at_hand(emulator: Emulator, ada: SignedIn) -> None:
    client = AsyncMoonKey(**options(emulator))

    async def sign_out(request: Request) -> Response:
        assert get_client(request) is client
        await get_client(request).sessions.revoke(session_id=request.state.moonkey.session.id)
        return Response(status_code=204)

    routes = [Route("/out", require_auth(sign_out), methods=["POST"])]
    with serve_asgi(Starlette(routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)])) as url:
        assert httpx.post(f"{url}/out", headers=bearer(ada)).status_code == 204
        assert httpx.post(f"{url}/out", headers=bearer(ada)).status_code == 401


# --- lazy


def test_lazy_asks_nobody_before_a_gate_does(emulator: Emulator, ada: SignedIn) -> None:
    async def early(request: Request) -> Response:
        pending = request.state.moonkey
        assert repr(pending) == "PendingAuth()"
        assert not hasattr(pending, "_private")
        for read in (lambda: pending.is_authenticated, lambda: bool(pending), lambda: request.user.is_authenticated):
            with pytest.raises(ConfigurationError, match=r"await get_auth\(request\)"):
                read()
        found = await asyncio.gather(*(get_auth(request) for _ in range(5)))
        assert all(auth is request.state.moonkey for auth in found)
        assert pending.user == found[0].user  # one who has kept the stand-in sees the same
        assert repr(pending) == repr(found[0])
        return PlainTextResponse(request.user.identity if pending else "nobody")

    routes = [Route("/plain", plain), Route("/early", early), Route("/me", require_auth(plain))]
    app = site(emulator, *routes, Route("/user", user_seen), lazy=True)
    with serve_asgi(app) as url, httpx.Client(base_url=url, headers=bearer(ada)) as browser:
        emulator.clear_requests()
        response = browser.get("/plain")
        assert (response.status_code, "vary" in response.headers) == (200, False)
        assert emulator.requests() == {}
        assert browser.get("/early").text == ada.user_id
        assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}
        assert browser.get("/me").status_code == 200
        assert httpx.get(f"{url}/me").status_code == 401
        assert httpx.get(f"{url}/early").text == "nobody"


def test_lazy_and_a_gate_of_somebody_else_s(
    emulator: Emulator, ada: SignedIn, caplog: pytest.LogCaptureFixture
) -> None:
    app = site(emulator, Route("/foreign", foreign), lazy=True)
    with serve_asgi(app) as url:
        response = httpx.get(f"{url}/foreign", headers=bearer(ada))
    assert response.status_code == 500
    assert "get_auth" not in response.text
    assert "await get_auth(request)" in caplog.text


async def test_who_waits_goes_on_when_the_first_is_cancelled(emulator: Emulator, ada: SignedIn) -> None:
    answers: list[Any] = []

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(asgi_scope)
        first, second = (asyncio.create_task(get_auth(connection)) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        answers.append((await second).is_authenticated)

    emulator.fault("/v1/auth/sessions/verify", delay=0.05)
    headers = [(b"Authorization", bearer(ada)["Authorization"].encode())]
    async with AsyncMoonKey(**options(emulator)) as client:
        await drive(MoonKeyMiddleware(app, client, lazy=True), scope(headers=headers))
    assert answers == [True]


# --- as if the middleware were not there


def test_headers_of_the_app_are_kept(emulator: Emulator, ada: SignedIn) -> None:
    async def endpoint(request: Request) -> Response:
        response = PlainTextResponse(str(request.state.moonkey.is_authenticated))
        response.raw_headers += [(b"vary", b"Accept"), (b"Vary", b"authorization"), (b"set-cookie", b"a=1")]
        response.raw_headers += [(b"cache-control", b"max-age=5"), (b"set-cookie", b"b=2")]
        return response

    with serve_asgi(site(emulator, Route("/", endpoint))) as url:
        headers = httpx.get(url, headers=bearer(ada)).headers
    assert headers.get_list("vary") == ["Accept, authorization, Session-Token"]
    assert headers.get_list("cache-control") == ["max-age=5"]
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_stream_is_handed_on_piece_by_piece(emulator: Emulator, ada: SignedIn) -> None:
    go_on = threading.Event()

    async def endpoint(request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "first"
            await asyncio.to_thread(go_on.wait, 5)
            yield request.state.moonkey.user.id

        return StreamingResponse(parts())

    app = site(emulator, Route("/", endpoint))
    with serve_asgi(app) as url, httpx.stream("GET", url, headers=bearer(ada)) as response:
        # Nobody had looked when the headers went out; that somebody might is told anyway.
        assert names(response.headers["vary"]) == {"authorization", "session-token"}
        pieces = response.iter_text()
        assert next(pieces) == "first"
        go_on.set()
        assert "".join(pieces) == ada.user_id


def test_a_background_task_runs_after_the_response(emulator: Emulator, ada: SignedIn) -> None:
    go_on, done = threading.Event(), threading.Event()
    seen: list[str] = []

    async def endpoint(request: Request) -> Response:
        async def later() -> None:
            await asyncio.to_thread(go_on.wait, 5)
            seen.append(request.state.moonkey.user.id)
            done.set()

        return PlainTextResponse("done", background=BackgroundTask(later))

    with serve_asgi(site(emulator, Route("/", require_auth(endpoint)))) as url:
        assert httpx.get(url, headers=bearer(ada)).text == "done"
        go_on.set()
        assert done.wait(5)
    assert seen == [ada.user_id]


colour: ContextVar[str] = ContextVar("colour")


class Painter:
    """An outer layer that sets a context variable and reads, afterwards, what became of it."""

    seen: list[str] = []

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        colour.set("blue")
        await self.app(scope, receive, send)
        self.seen.append(colour.get())


def test_context_variables_go_in_and_out(emulator: Emulator, ada: SignedIn) -> None:
    async def endpoint(request: Request) -> Response:
        found = colour.get()
        colour.set("red")
        return PlainTextResponse(found)

    Painter.seen.clear()
    with serve_asgi(Painter(site(emulator, Route("/", endpoint)))) as url, httpx.Client() as browser:
        assert [browser.get(url, headers=bearer(ada)).text for _ in range(2)] == ["blue", "blue"]
    assert Painter.seen.count("red") == 2


# --- one identity per request


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "the pool", "visits": []}


def test_many_people_on_one_connection(emulator: Emulator) -> None:
    """S25, and the state of the lifespan stays what it was."""

    async def endpoint(request: Request) -> Response:
        auth, state = request.state.moonkey, request.state
        left_over = getattr(state, "mark", None)
        state.mark = auth.user.id if auth else None
        state.visits.append(auth.state)
        return JSONResponse([auth.user.id if auth else None, left_over, state.pool, len(state.visits)])

    app = site(emulator, Route("/", endpoint))
    app.router.lifespan_context = lifespan
    people = [emulator.sign_in(email=f"person{number}@example.com") for number in range(4)]
    with serve_asgi(app, lifespan="on") as url, httpx.Client() as browser:
        count = 0
        for _ in range(3):
            for person in (*people, None):
                count += 1
                headers = {} if person is None else bearer(person)
                expected = [None if person is None else person.user_id, None, "the pool", count]
                assert browser.get(url, headers=headers).json() == expected


async def test_a_state_that_requests_share_never_holds_an_identity(emulator: Emulator, ada: SignedIn) -> None:
    """S25: there are servers that give one dict to all requests of a connection."""
    shared: dict[str, Any] = {"pool": "the pool", "moonkey": "of the app"}
    both_in = asyncio.Barrier(2)

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(asgi_scope)
        await both_in.wait()
        state = asgi_scope["state"]
        who = "ada" if request.state.moonkey else "nobody"
        setattr(request.state, who, True)
        assert {"pool", "moonkey", who} <= set(state) == set(state.copy())
        assert len(state) == len(list(state))
        assert "nothing" not in state
        del state[who]
        request.state.last = who
        found.append(who)
        for change in (partial(setattr, request.state, "moonkey", None), partial(state.pop, "moonkey")):
            with pytest.raises(TypeError, match="read-only"):
                change()

    found: list[str] = []
    headers = [(b"authorization", bearer(ada)["Authorization"].encode())]
    async with AsyncMoonKey(**options(emulator)) as client:
        visits = (drive(MoonKeyMiddleware(app, client), scope(headers=h, state=shared)) for h in (headers, []))
        await asyncio.gather(*visits)
    assert sorted(found) == ["ada", "nobody"]
    assert shared == {"pool": "the pool", "moonkey": "of the app", "last": found[-1]}


def test_outer_layers_see_what_inner_ones_found(emulator: Emulator, ada: SignedIn) -> None:
    seen: list[Any] = []

    async def endpoint(request: Request) -> Response:
        request.state.tenant = "acme"
        return PlainTextResponse("")

    class Outer:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            before = Request(scope).state
            before.request_id = "r1"
            await self.app(scope, receive, send)
            seen.append([before.tenant, scope["state"]["request_id"], scope["user"].identity, scope["route"].path])

    inner = Middleware(MoonKeyMiddleware, **options(emulator))
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Outer), inner])
    with serve_asgi(app) as url:
        httpx.get(url, headers=bearer(ada))
    assert seen == [["acme", "r1", ada.user_id, "/"]]


@pytest.fixture
def example(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    from examples.starlette_app import app

    app.middleware_stack = None  # made anew, for this test's emulator
    with serve_asgi(app) as url:
        yield url


def test_the_example(example: str, emulator: Emulator, ada: SignedIn) -> None:
    assert "Everybody" in httpx.get(example).text
    assert "anonymous" in httpx.get(f"{example}/hello").text
    assert httpx.get(f"{example}/me").status_code == 401
    assert httpx.get(f"{example}/me", headers=bearer(ada)).json() == {"user_id": ada.user_id}
