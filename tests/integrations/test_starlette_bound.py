"""WebSockets that are closed with 4401 when the session is over, over real sockets; and those that are not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from integrations.starlette_visits import bearer, on_a_loop, options, scope
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from moonkey_core import AsyncMoonKey, MoonKey, PermissionDenied
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from moonkey_starlette.fastapi import CurrentUser
from support import quick
from support.scripted import wait_until
from support.servers import serve_asgi
from support.visitors import SESSION, pair, signed_in_long_ago

OVER = (4401, "Unauthorized")


class Site:
    """Endpoints that stand for the kinds there are; ``ended`` is what each has seen of its end."""

    def __init__(self, emulator: Emulator, **more: Any) -> None:
        self.ended: list[Any] = []
        self.go_on = threading.Event()
        self.app = FastAPI()
        middleware = {name: more.pop(name) for name in ("lazy", "bind_websockets", "required") if name in more}
        self.client = AsyncMoonKey(**options(emulator, **more))
        for name in ("listens", "talks", "waits", "leaves", "looks_later", "parallel", "refuses", "checks"):
            self.app.websocket(f"/{name}")(getattr(self, name))
        self.app.add_middleware(MoonKeyMiddleware, client=self.client, **middleware)

    async def listens(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        async for text in websocket.iter_text():
            await websocket.send_text(text)
        self.ended.append("listens")

    async def talks(self, websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_text(user.id)
        try:
            while True:
                await websocket.send_text("tick")
                await asyncio.sleep(0.01)
        except WebSocketDisconnect as error:
            self.ended.append(error.code)

    async def waits(self, websocket: WebSocket) -> None:
        """Lets the disconnect through, as many do."""
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()

    async def leaves(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await asyncio.to_thread(self.go_on.wait, 10)
        await websocket.close(4000, "own")

    async def looks_later(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text((await get_auth(websocket)).state)
        await self.listens_on(websocket)

    async def parallel(self, websocket: WebSocket) -> None:
        """It waits for a message already when somebody looks."""
        await websocket.accept()
        waiting = asyncio.create_task(self.listens_on(websocket))
        await asyncio.sleep(0.05)
        await websocket.send_text((await get_auth(websocket)).state)
        await waiting

    async def listens_on(self, websocket: WebSocket) -> None:
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect as error:
            self.ended.append(error.code)

    async def refuses(self, websocket: WebSocket) -> None:
        """Finds something to object to when it is over already."""
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive()
        self.ended.append("refuses")
        raise PermissionDenied

    async def checks(self, websocket: WebSocket) -> None:
        """Asks for each message whether its sender may still speak."""

        @require_auth(max_staleness=0)
        async def may(websocket: WebSocket) -> None:
            """Nothing more."""

        await may(websocket)  # which the handshake's own answer is good for, once
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()
        await may(websocket)


@contextmanager
def served(site: Site) -> Iterator[str]:
    with serve_asgi(site.app) as url:
        yield url.replace("http", "ws")


@pytest.fixture
def site(emulator: Emulator) -> Site:
    return Site(emulator)


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with served(site) as url:
        yield url


def closed(websocket: ClientConnection, seconds: float = 10) -> tuple[int, str] | None:
    """Code and reason of the close, once it has come."""
    try:
        while True:
            websocket.recv(seconds)
    except ConnectionClosed as error:
        return (error.rcvd.code, error.rcvd.reason) if error.rcvd else None


@contextmanager
def opened(url: str, path: str, person: SignedIn | None) -> Iterator[ClientConnection]:
    """A WebSocket that has got its first message."""
    with connect(url + path, additional_headers=bearer(person) if person else {}) as websocket:
        websocket.recv(10)
        yield websocket


def server_errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.rule("S52", "connection")
class TestRevoked:
    @pytest.mark.parametrize(
        ("path", "ended"),
        [("/listens", ["listens"]), ("/talks", [1006]), ("/waits", []), ("/refuses", ["refuses"])],
    )
    def test_it_is_closed_and_the_app_is_told(
        self, site: Site, url: str, ada: SignedIn, path: str, ended: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        with opened(url, path, ada) as websocket:
            site.client.revocations.add(session_id=ada.session_id)
            assert closed(websocket) == OVER
        assert wait_until(lambda: site.ended == ended)
        assert wait_until(lambda: len(site.client._session_watcher) == 0)
        assert server_errors(caplog) == []

    def test_by_another_client(self, emulator: Emulator, url: str, ada: SignedIn) -> None:
        with (
            opened(url, "/listens", ada) as websocket,
            MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client,
        ):
            client.sessions.revoke(session_token=ada.session_token)
            assert closed(websocket) == OVER

    @pytest.mark.parametrize("kind", ["token", "jwt", "cookie", "pair", "old pair"])
    def test_ended_elsewhere_and_one_more_request_finds_out(
        self, emulator: Emulator, ada: SignedIn, kind: str
    ) -> None:
        person = signed_in_long_ago(emulator) if kind == "old pair" else ada
        site = Site(emulator, cookies=True)
        with served(site) as url:
            own = url.replace("ws", "http")
            page = f"{own}/openapi.json"
            headers = {
                "token": bearer(person),
                "jwt": {"session-token": person.session_jwt},
                "cookie": {"cookie": f"{SESSION}={person.session_token}", "origin": own},
                "pair": {**pair(person), "origin": own},
                "old pair": {**pair(person), "origin": own},
            }
            assert quick.get(page, headers=bearer(person)).status_code == 200  # which asks the API about the token
            with connect(url + "/listens", additional_headers=headers[kind]) as websocket:
                assert websocket.recv(10) == "hello"
                emulator.revoke(person.session_id)
                assert quick.get(page, headers=bearer(person)).status_code == 200  # it is open to all
                assert closed(websocket) == OVER
            assert wait_until(lambda: len(site.client._session_watcher) == 0)

    def test_nobody_else_is(self, site: Site, url: str, emulator: Emulator, ada: SignedIn) -> None:
        eve = emulator.sign_in(email="eve@example.com")
        with opened(url, "/listens", eve) as hers, opened(url, "/listens", None) as nobody_s:
            with opened(url, "/listens", ada) as mine:
                assert wait_until(
                    lambda: len(site.client._session_watcher) == 2
                )  # who is not signed in is not bound
                site.client.revocations.add(session_id=ada.session_id)
                assert closed(mine) == OVER
            for other in (hers, nobody_s):
                other.send("still")
                assert other.recv(10) == "still"

    def test_before_it_was_accepted(self, site: Site, url: str, ada: SignedIn) -> None:
        site.client.revocations.add(session_id=ada.session_id)
        with connect(url + "/listens", additional_headers=bearer(ada)) as websocket:  # it is open to all
            assert websocket.recv(10) == "hello"
            websocket.send("nobody")  # its session is not good any more, so that nobody is signed in
            assert websocket.recv(10) == "nobody"
            assert len(site.client._session_watcher) == 0

    def test_the_app_finds_out_first(self, site: Site, url: str, emulator: Emulator, ada: SignedIn) -> None:
        with opened(url, "/checks", ada) as websocket:
            emulator.revoke(ada.session_id)
            websocket.send("may I?")
            assert closed(websocket) == OVER
        assert wait_until(lambda: len(site.client._session_watcher) == 0)


@pytest.mark.rule("S52", "connection")
class TestExpired:
    def test_at_the_end(self, site: Site, url: str, emulator: Emulator) -> None:
        with opened(url, "/listens", emulator.sign_in(minutes=0.05)) as websocket:
            assert closed(websocket) == OVER
        assert wait_until(lambda: site.ended == ["listens"])

    def test_extended_while_connected(self, site: Site, url: str, emulator: Emulator) -> None:
        with (
            MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client,
            opened(url, "/listens", person := emulator.sign_in(minutes=0.05)) as websocket,
        ):
            client.sessions.verify(session_token=person.session_token, extend=60)
            emulator.clear_requests()
            assert wait_until(lambda: emulator.requests()["POST /v1/auth/sessions/verify"] == 1)
            websocket.send("still")
            assert websocket.recv(10) == "still"
            site.client.revocations.add(session_id=person.session_id)
            assert closed(websocket) == OVER

    def test_the_api_is_away_then(self, url: str, emulator: Emulator) -> None:
        with opened(url, "/listens", emulator.sign_in(minutes=0.05)) as websocket:
            emulator.fault(status=503)
            assert closed(websocket) == OVER


class TestLazy:
    @pytest.mark.parametrize("path", ["/looks_later", "/parallel"])
    def test_bound_when_somebody_looks(self, emulator: Emulator, ada: SignedIn, path: str) -> None:
        site = Site(emulator, lazy=True)
        with served(site) as url, opened(url, path, ada) as websocket:
            assert wait_until(lambda: len(site.client._session_watcher) == 1)
            site.client.revocations.add(session_id=ada.session_id)
            assert closed(websocket) == OVER
            assert wait_until(lambda: site.ended == [4401])

    def test_not_where_nobody_looks(self, emulator: Emulator, ada: SignedIn) -> None:
        site = Site(emulator, lazy=True)
        with served(site) as url, opened(url, "/listens", ada) as websocket:
            site.client.revocations.add(session_id=ada.session_id)
            websocket.send("still")
            assert websocket.recv(10) == "still"


class TestUnbound:
    def test_if_it_is_so_configured(self, emulator: Emulator, ada: SignedIn) -> None:
        site = Site(emulator, bind_websockets=False)
        with served(site) as url, opened(url, "/listens", ada) as websocket:
            assert len(site.client._session_watcher) == 0
            site.client.revocations.add(session_id=ada.session_id)
            websocket.send("still")
            assert websocket.recv(10) == "still"

    @pytest.mark.parametrize("who", ["app", "client"])
    def test_when_it_ends_by_itself(self, site: Site, url: str, ada: SignedIn, who: str) -> None:
        with opened(url, "/leaves" if who == "app" else "/listens", ada) as websocket:
            assert wait_until(lambda: len(site.client._session_watcher) == 1)
            if who == "app":
                site.go_on.set()
                assert closed(websocket) == (4000, "own")
        assert wait_until(lambda: len(site.client._session_watcher) == 0)

    def test_when_the_server_stops(self, site: Site, ada: SignedIn) -> None:
        with ExitStack() as stack:
            with served(site) as url:
                websocket = stack.enter_context(opened(url, "/listens", ada))
            assert closed(websocket) == (1012, "")
        assert len(site.client._session_watcher) == 0


class Wire:
    """What a server is to an app, for what no server at hand does. ``sent`` is what it has got."""

    def __init__(self, *events: str) -> None:
        self.events = [{"type": f"websocket.{name}"} for name in events]
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if self.events:
            return self.events.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def bound_app(emulator: Emulator, app: ASGIApp) -> tuple[AsyncMoonKey, Callable[[SignedIn, Wire], Any]]:
    client = AsyncMoonKey(**options(emulator, session_cache_ttl=60, timeout=30))
    middleware = MoonKeyMiddleware(app, client=client)

    async def visit(person: SignedIn, wire: Wire) -> None:
        credential = [(b"session-token", person.session_token.encode())]
        await middleware(scope("websocket", headers=credential), wire.receive, wire.send)

    return client, visit


CLOSE = {"type": "websocket.close", "code": 4401, "reason": "Unauthorized"}
GONE = {"type": "websocket.disconnect", "code": 4401, "reason": "Unauthorized"}


@on_a_loop
async def test_an_app_that_takes_no_notice(emulator: Emulator, ada: SignedIn) -> None:
    seen: list[Any] = []

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(3):
            seen.append(await receive())
            with pytest.raises(OSError, match="session of this WebSocket is over"):
                await send({"type": "websocket.send", "text": "still here"})
        await send({"type": "websocket.send", "text": "still here"})  # an end that nobody needs to hear of

    client, visit = bound_app(emulator, app)
    wire = Wire("connect")
    task = asyncio.create_task(visit(ada, wire))
    async with asyncio.timeout(10):
        while not len(client._session_watcher):  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0.001)
        client.revocations.add(session_id=ada.session_id)
        await task
    assert seen == [GONE] * 3
    assert wire.sent == [{"type": "websocket.accept"}, CLOSE]


@on_a_loop
async def test_a_client_that_reads_no_more(
    emulator: Emulator, ada: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is told at once; and when it is done, the last message does not hold it up for long."""
    monkeypatch.setattr("moonkey_starlette.streams._CLOSE_SECONDS", 0.05)

    class Stuck(Wire):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.close":
                await asyncio.get_running_loop().create_future()

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        client.revocations.add(session_id=ada.session_id)
        assert await receive() == GONE

    client, visit = bound_app(emulator, app)
    wire = Stuck("connect")
    async with asyncio.timeout(10):
        await visit(ada, wire)
    assert wire.sent[-1] == CLOSE
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("error", [ConnectionResetError(), RuntimeError("closed already")])
@on_a_loop
async def test_a_client_that_has_just_gone(emulator: Emulator, ada: SignedIn, error: Exception) -> None:
    class Gone(Wire):
        async def send(self, message: Any) -> None:
            if message["type"] == "websocket.close":
                raise error

    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        client.revocations.add(session_id=ada.session_id)
        assert await receive() == GONE

    client, visit = bound_app(emulator, app)
    async with asyncio.timeout(10):
        await visit(ada, Gone("connect"))


@on_a_loop
async def test_cancelled(emulator: Emulator, ada: SignedIn) -> None:
    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        bound.set()
        await receive()

    client, visit = bound_app(emulator, app)
    bound = asyncio.Event()
    task = asyncio.create_task(visit(ada, Wire("connect")))
    await bound.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(client._session_watcher) == 0
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.long
@on_a_loop
async def test_two_thousand_and_one_of_them_is_revoked(emulator: Emulator, ada: SignedIn) -> None:
    async def app(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    client, visit = bound_app(emulator, app)
    people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(20)]
    wires = [Wire("connect") for _ in range(2000)]
    tasks = [asyncio.create_task(visit(people[place % 20], wire)) for place, wire in enumerate(wires)]
    mine = Wire("connect")
    task = asyncio.create_task(visit(ada, mine))
    async with asyncio.timeout(90):
        while len(client._session_watcher) < 2001:  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0.01)
        client.revocations.add(session_id=ada.session_id)
        await task
    assert mine.sent[-1] == CLOSE
    assert not any(task.done() for task in tasks)
    assert len(client._session_watcher) == 2000
    for person in people:
        client.revocations.add(user_id=person.user_id)
    async with asyncio.timeout(90):
        await asyncio.gather(*tasks)
    assert all(wire.sent[-1] == CLOSE for wire in wires)
    assert len(client._session_watcher) == 0
