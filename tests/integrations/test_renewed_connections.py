"""A connection of each framework goes on with a newer credential, over real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flask_socketio  # type: ignore[import-untyped]
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path
from fastapi import FastAPI, WebSocket
from flask import Flask, Response, request
from integrations.django_visits import Configure
from integrations.starlette_visits import bearer, options
from integrations.stream_items import silent, ticks
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import moonkey_django
import moonkey_flask
from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKeyError
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import require
from moonkey_core.streams import AsyncBoundStream, BoundStream
from moonkey_flask import FlaskMoonKey, current_user, require_auth
from moonkey_starlette import MoonKeyMiddleware, bound_session, bound_stream, get_auth
from moonkey_starlette.fastapi import CurrentUser
from support import quick
from support.scripted import wait_until
from support.servers import serve_asgi, serve_wsgi
from support.step_ups import stepped_up
from support.visitors import SESSION

pytestmark = pytest.mark.rule("S52", "connection")

streams: list[Any] = []
"""What the streaming views have made, newest last."""


def told(error: MoonKeyError) -> dict[str, Any]:
    return {"refused": error.reason}


async def arenew(stream: AsyncBoundStream[Any], credential: str) -> dict[str, Any]:
    try:
        auth = require(await stream.renew(credential))
    except MoonKeyError as error:
        return told(error)
    return {"user": auth.user.id}


def renew(stream: BoundStream[Any], credential: str) -> dict[str, Any]:
    try:
        return {"user": require(stream.renew(credential)).user.id}
    except MoonKeyError as error:
        return told(error)


def kept(stream: Any) -> Any:
    streams.append(stream)
    return stream


async def starlette_events(request: Request) -> StreamingResponse:
    return StreamingResponse(kept(bound_stream(request, silent())), media_type="text/event-stream")


async def starlette_renew(request: Request) -> JSONResponse:
    return JSONResponse(await arenew(streams[-1], (await request.body()).decode()))


@contextmanager
def starlette(emulator: Emulator) -> Iterator[str]:
    client = AsyncMoonKey(**options(emulator))
    routes = [Route("/events", starlette_events), Route("/renew", starlette_renew, methods=["POST"])]
    with serve_asgi(Starlette(routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)])) as url:
        yield url


@contextmanager
def flask(emulator: Emulator) -> Iterator[str]:
    app = Flask("renewed")
    FlaskMoonKey(app, **options(emulator))

    @app.get("/events")
    def events() -> Response:
        return Response(kept(moonkey_flask.bound_stream(ticks())), mimetype="text/event-stream")

    @app.post("/renew")
    def renewed() -> dict[str, Any]:
        return renew(streams[-1], request.get_data(as_text=True))

    with serve_wsgi(app) as url:
        yield url


async def django_asynchronous(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(kept(moonkey_django.bound_stream(request, silent())))


def django_plain(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(kept(moonkey_django.bound_stream(request, ticks())))


async def django_arenew(request: HttpRequest) -> JsonResponse:
    return JsonResponse(await arenew(streams[-1], request.body.decode()))


def django_renew(request: HttpRequest) -> JsonResponse:
    return JsonResponse(renew(streams[-1], request.body.decode()))


class AsgiUrls:
    urlpatterns = [path("events", django_asynchronous), path("renew", django_arenew)]


class WsgiUrls:
    urlpatterns = [path("events", django_plain), path("renew", django_renew)]


@pytest.fixture(params=["starlette", "flask", "django-asgi", "django-wsgi"])
def url(request: pytest.FixtureRequest, emulator: Emulator, settings: Any, configure: Configure) -> Iterator[str]:
    streams.clear()
    if request.param == "starlette":
        served: Any = starlette(emulator)
    elif request.param == "flask":
        served = flask(emulator)
    else:
        is_asgi = request.param == "django-asgi"
        settings.ROOT_URLCONF = AsgiUrls if is_asgi else WsgiUrls
        configure()
        served = serve_asgi(ASGIHandler(), lifespan="off") if is_asgi else serve_wsgi(WSGIHandler())
    with served as url:
        yield url


def test_a_stream(url: str, emulator: Emulator, ada: SignedIn) -> None:
    """A late request with the token of before ends what was begun with it, and not what was renewed."""
    ben = emulator.sign_in(email="ben@example.com")
    with quick.stream("GET", url + "/events", headers=bearer(ada)) as response:
        chunks = response.iter_text()
        assert "tick" in next(chunks)
        left = streams[-1]
        newer = stepped_up(emulator, ada)
        for wrong, reason in ((ben.session_token, "renewal_refused"), ("a b", "malformed_credentials")):
            assert quick.post(url + "/renew", content=wrong).json() == {"refused": reason}
        assert quick.post(url + "/renew", content=newer).json() == {"user": ada.user_id}
        assert left.auth.session.id == ada.session_id
        with quick.stream("GET", url + "/events", headers=bearer(ada)) as late:
            assert late.status_code == 401
        assert quick.post(url + "/renew", content=newer).json() == {"user": ada.user_id}  # it goes on
        emulator.revoke(ada.session_id)
        assert quick.post(url + "/renew", content=newer).json()["refused"] in (
            "session_unknown",
            "revoked_credentials",
        )
        assert all("tick" in chunk for chunk in chunks)  # and then it is over, in good order


class Site:
    """An app whose WebSocket takes newer credentials in messages of its own form."""

    def __init__(self, emulator: Emulator, **more: Any) -> None:
        self.app = FastAPI()
        self.client = AsyncMoonKey(**options(emulator, **more))
        self.app.websocket("/chat")(self.chat)
        self.app.websocket("/early")(self.early)
        self.app.add_middleware(MoonKeyMiddleware, client=self.client)

    async def chat(self, websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_json({"user": user.id})
        async for message in websocket.iter_json():
            if "renew" in message:
                try:
                    await bound_session(websocket).renew(message["renew"], **message.get("asks", {}))
                except MoonKeyError as error:
                    await websocket.send_json(told(error))
                    continue
            auth = await get_auth(websocket)
            await websocket.send_json({"factors": len(auth.session.factors) if auth.is_authenticated else None})

    async def early(self, websocket: WebSocket, user: CurrentUser) -> None:
        with pytest.raises(ConfigurationError, match="Accept the WebSocket first"):
            bound_session(websocket)
        await websocket.accept()
        await websocket.send_text("checked")


Handshake = Callable[[SignedIn, str], dict[str, str]]
HANDSHAKES: dict[str, Handshake] = {
    "token": lambda person, _: bearer(person),
    "jwt": lambda person, _: {"session-token": person.session_jwt},
    "cookie": lambda person, own: {"cookie": f"{SESSION}={person.session_token}", "origin": own},
}


@pytest.mark.parametrize("kind", HANDSHAKES)
def test_a_websocket(emulator: Emulator, ada: SignedIn, kind: str) -> None:
    site = Site(emulator, cookies=True)
    ben = emulator.sign_in(email="ben@example.com")
    with serve_asgi(site.app) as own:
        url = own.replace("http", "ws")
        with connect(url + "/chat", additional_headers=HANDSHAKES[kind](ada, own)) as websocket:

            def say(**message: Any) -> Any:
                websocket.send(json.dumps(message))
                return json.loads(websocket.recv(10))

            assert json.loads(websocket.recv(10)) == {"user": ada.user_id}
            newer = stepped_up(emulator, ada)
            for wrong, reason in (
                (ben.session_token, "renewal_refused"),
                (ben.session_jwt, "renewal_refused"),
                (emulator.sign_in(email="ada@example.com").session_token, "renewal_refused"),
                (ada.session_jwt[:-8] + "AAAAAAAA", None),
                ("never-existed", "session_unknown"),
                ("", "malformed_credentials"),
                (None, "malformed_credentials"),
            ):
                assert reason in (say(renew=wrong)["refused"], None), wrong
            assert say(renew=newer) == {"factors": 2}
            quick.get(own + "/openapi.json", headers=bearer(ada))  # the token of before is found dead
            assert say() == {"factors": 2}
            assert len(site.client._session_watcher) == 1
            emulator.revoke(ada.session_id)
            quick.get(own + "/openapi.json", headers={"session-token": newer})
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401


def test_a_websocket_that_is_not_bound_yet(emulator: Emulator, ada: SignedIn) -> None:
    with (
        serve_asgi(Site(emulator).app) as own,
        connect(own.replace("http", "ws") + "/early", additional_headers=bearer(ada)) as websocket,
    ):
        assert websocket.recv(10) == "checked"


def test_socketio(emulator: Emulator, ada: SignedIn) -> None:
    """Later events of the client are judged by the newer credential, too."""
    app = Flask(__name__)
    FlaskMoonKey(app, **options(emulator))
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    ticked, ended = threading.Event(), threading.Event()

    @sockets.on("connect")  # type: ignore[untyped-decorator]
    @require_auth
    def connected(auth: Any = None) -> None:
        stream = kept(moonkey_flask.bound_stream(ticks()))

        def until_over() -> None:
            for chunk in stream:
                assert chunk == "data: tick\n\n"
                ticked.set()
            ended.set()

        sockets.start_background_task(until_over)

    @sockets.on("renew")  # type: ignore[untyped-decorator]
    def renewed(credential: str) -> dict[str, Any]:
        return renew(streams[-1], credential)

    @sockets.on("who")  # type: ignore[untyped-decorator]
    @require_auth(max_staleness=0)
    def who() -> str:
        return current_user.id

    sockets.on_error_default(lambda error: {"refused": getattr(error, "reason", repr(error))})
    client = sockets.test_client(app, headers=bearer(ada))
    assert client.emit("who", callback=True) == ada.user_id
    newer = stepped_up(emulator, ada)
    ben = emulator.sign_in(email="ben@example.com")
    assert client.emit("renew", ben.session_token, callback=True) == {"refused": "renewal_refused"}
    assert client.emit("renew", newer, callback=True) == {"user": ada.user_id}
    assert client.emit("who", callback=True) == ada.user_id
    assert wait_until(ticked.is_set)
    assert not ended.is_set()
    emulator.revoke(ada.session_id)
    assert "refused" in client.emit("who", callback=True)
    assert wait_until(ended.is_set)


def test_what_is_not_bound(emulator: Emulator, ada: SignedIn) -> None:
    async def go() -> None:
        async with AsyncMoonKey(**options(emulator)) as client:
            auth = await client.authenticate(bearer(ada))
            bound = client.bind(auth, bearer(ada))
            assert require(await bound.renew(ada.session_token)).user.id == ada.user_id
            assert len(client._session_watcher) == 0

    asyncio.run(go())
