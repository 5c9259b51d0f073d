"""Requests as the app and its outer layers see them: lazy, streamed, shared, and as if nobody stood between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from integrations.starlette_visits import bearer, drive, names, on_a_loop, options, plain, scope, site, user_seen
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core import AsyncMoonKey, ConfigurationError
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from support import quick
from support.patience import PATIENCE
from support.scripted import wait_until
from support.servers import serve_asgi


@requires("authenticated")
async def foreign(request: Request) -> Response:
    raise AssertionError("went on without knowing who asks")


@pytest.mark.rule("S30")
def test_all_that_the_user_of_a_request_holds_shows_no_credential(emulator: Emulator, ada: SignedIn) -> None:
    shown: list[str] = []

    async def show(request: Request) -> Response:
        shown.extend((repr(request.user), repr(vars(request.user)), repr(dict(request.state.__dict__))))
        return PlainTextResponse(request.user.identity)

    client = TestClient(site(emulator, Route("/", show)))
    assert client.get("/", headers=bearer(ada)).text == ada.user_id
    assert len(shown) == 3
    assert ada.session_token.removeprefix("session_") not in "".join(shown)


# --- lazy


def test_lazy_asks_nobody_before_a_gate_does(emulator: Emulator, ada: SignedIn) -> None:
    async def early(request: Request) -> Response:
        pending = request.state.moonkey
        assert repr(pending) == "LazyAuth()"
        assert not hasattr(pending, "_private")
        for read in (
            lambda: pending.is_authenticated,
            lambda: bool(pending),
            lambda: request.user.is_authenticated,
        ):
            with pytest.raises(ConfigurationError, match=r"await get_auth\(request\)"):
                read()
        found = await asyncio.gather(*(get_auth(request) for _ in range(5)))
        assert all(auth is request.state.moonkey for auth in found)
        assert pending.user == found[0].user  # one who has kept the stand-in sees the same
        assert repr(pending) == repr(found[0])
        return PlainTextResponse(request.user.identity if pending else "nobody")

    routes = [Route("/plain", plain), Route("/early", early), Route("/me", require_auth(plain))]
    app = site(emulator, *routes, Route("/user", user_seen), lazy=True)
    with serve_asgi(app) as url, quick.Client(base_url=url, headers=bearer(ada)) as browser:
        emulator.clear_requests()
        response = browser.get("/plain")
        assert (response.status_code, "vary" in response.headers) == (200, False)
        assert emulator.requests() == {}
        assert browser.get("/early").text == ada.user_id
        assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}
        assert browser.get("/me").status_code == 200
        assert quick.get(f"{url}/me").status_code == 401
        assert quick.get(f"{url}/early").text == "nobody"


@pytest.mark.rule("S28")
def test_asking_for_an_identity_counts_as_reading_it(emulator: Emulator, ada: SignedIn) -> None:
    """What an endpoint has asked for on its own account, it may go by in ways that are not seen."""

    async def asks(request: Request) -> Response:
        await get_auth(request)
        return PlainTextResponse("asked")

    for lazy in (True, False):
        with serve_asgi(site(emulator, Route("/asks", asks), lazy=lazy)) as url:
            response = quick.get(f"{url}/asks", headers=bearer(ada))
        assert ("vary" in response.headers) is lazy
        assert response.headers.get("cache-control") == ("private" if lazy else None)


def test_lazy_and_a_gate_of_somebody_else_s(
    emulator: Emulator, ada: SignedIn, caplog: pytest.LogCaptureFixture
) -> None:
    app = site(emulator, Route("/foreign", foreign), lazy=True)
    with serve_asgi(app) as url:
        response = quick.get(f"{url}/foreign", headers=bearer(ada))
    assert response.status_code == 500
    assert "get_auth" not in response.text
    assert "await get_auth(request)" in caplog.text


@on_a_loop
async def test_who_waits_goes_on_when_the_first_is_cancelled(emulator: Emulator, ada: SignedIn) -> None:
    answers: list[Any] = []

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(asgi_scope)
        first, second = (asyncio.create_task(get_auth(connection)) for _ in range(2))
        assert await asyncio.to_thread(wait_until, lambda: sum(emulator.requests().values()) == 1)
        first.cancel()
        answers.append((await second).is_authenticated)

    emulator.fault("/v1/auth/sessions/verify", delay=0.5)
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
        headers = quick.get(url, headers=bearer(ada)).headers
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
    with serve_asgi(app) as url, quick.stream("GET", url, headers=bearer(ada)) as response:
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
        assert quick.get(url, headers=bearer(ada)).text == "done"
        go_on.set()
        assert done.wait(PATIENCE)
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
    with serve_asgi(Painter(site(emulator, Route("/", endpoint)))) as url, quick.Client() as browser:
        assert [browser.get(url, headers=bearer(ada)).text for _ in range(2)] == ["blue", "blue"]
    assert Painter.seen.count("red") == 2


# --- one identity per request


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "the pool", "visits": []}


@pytest.mark.rule("S25")
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
    with serve_asgi(app, lifespan="on") as url, quick.Client() as browser:
        count = 0
        for _ in range(3):
            for person in (*people, None):
                count += 1
                headers = {} if person is None else bearer(person)
                expected = [None if person is None else person.user_id, None, "the pool", count]
                assert browser.get(url, headers=headers).json() == expected


@pytest.mark.rule("S25")
@on_a_loop
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
            seen.append(
                [before.tenant, scope["state"]["request_id"], scope["user"].identity, scope["endpoint"].__name__]
            )

    inner = Middleware(MoonKeyMiddleware, **options(emulator))
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Outer), inner])
    with serve_asgi(app) as url:
        quick.get(url, headers=bearer(ada))
    assert seen == [["acme", "r1", ada.user_id, "endpoint"]]
