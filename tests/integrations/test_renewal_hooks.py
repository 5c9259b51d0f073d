"""A hook renews a connection by messages of the app's own form, in each framework and over real sockets."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flask_socketio  # type: ignore[import-untyped]
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path
from fastapi import FastAPI, WebSocket
from flask import Flask, Response
from integrations.django_visits import Configure
from integrations.starlette_visits import bearer, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import moonkey_django
import moonkey_flask
from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, MoonKeyError
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.streams import Renewal, bound_items, json_member
from moonkey_flask import FlaskMoonKey, current_user, renewal_handler, require_auth
from moonkey_starlette import MoonKeyMiddleware, bound_session, bound_stream
from moonkey_starlette.fastapi import CurrentUser
from support import quick
from support.servers import serve_asgi, serve_wsgi
from support.step_ups import stepped_up

pytestmark = pytest.mark.rule("S52", "connection")

inbox: queue.Queue[str] = queue.Queue()
"""What another request of the client has brought for its stream."""

HOOK = Renewal(json_member("renew"), answer=lambda error: f"renewed: {error.reason if error else 'yes'}\n")


def plain_items() -> Iterator[str]:
    while True:
        try:
            yield inbox.get(timeout=0.01)
        except queue.Empty:
            yield "tick\n"


async def items() -> AsyncIterator[str]:
    while True:
        try:
            yield inbox.get_nowait()
        except queue.Empty:
            yield "tick\n"
            await asyncio.sleep(0.01)


async def starlette_events(request: Request) -> StreamingResponse:
    return StreamingResponse(bound_stream(request, items(), renewal=HOOK))


async def django_asynchronous(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(moonkey_django.bound_stream(request, items(), renewal=HOOK))


def django_plain(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(moonkey_django.bound_stream(request, plain_items(), renewal=HOOK))


class AsgiUrls:
    urlpatterns = [path("events", django_asynchronous)]


class WsgiUrls:
    urlpatterns = [path("events", django_plain)]


@contextmanager
def flask(emulator: Emulator) -> Iterator[str]:
    app = Flask("hooks")
    FlaskMoonKey(app, **options(emulator))
    app.get("/events", endpoint="events")(
        lambda: Response(moonkey_flask.bound_stream(plain_items(), renewal=HOOK))
    )
    with serve_wsgi(app) as url:
        yield url


@pytest.fixture(params=["starlette", "flask", "django-asgi", "django-wsgi"])
def url(request: pytest.FixtureRequest, emulator: Emulator, settings: Any, configure: Configure) -> Iterator[str]:
    while not inbox.empty():
        inbox.get_nowait()
    if request.param == "starlette":
        client = AsyncMoonKey(**options(emulator))
        routes = [Route("/events", starlette_events)]
        middleware = [Middleware(MoonKeyMiddleware, client=client)]
        served: Any = serve_asgi(Starlette(routes=routes, middleware=middleware))
    elif request.param == "flask":
        served = flask(emulator)
    else:
        is_asgi = request.param == "django-asgi"
        settings.ROOT_URLCONF = AsgiUrls if is_asgi else WsgiUrls
        configure()
        served = serve_asgi(ASGIHandler(), lifespan="off") if is_asgi else serve_wsgi(WSGIHandler())
    with served as url:
        yield url


def test_a_stream_is_renewed_by_its_own_items(url: str, emulator: Emulator, ada: SignedIn) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    with quick.stream("GET", url + "/events", headers=bearer(ada)) as response:
        lines, seen = response.iter_lines(), list[str]()

        def next_answer() -> str:
            for line in lines:
                seen.append(line)
                if line != "tick":
                    return line
            return "it is over"

        newer = stepped_up(emulator, ada)
        for credential, said in ((ben.session_token, "renewal_refused"), (newer, "yes")):
            inbox.put(json.dumps({"renew": credential}))
            assert next_answer() == f"renewed: {said}"
        inbox.put('{"other": 1}\n')
        assert next_answer() == '{"other": 1}'  # not for the hook
        assert quick.get(url + "/events", headers=bearer(ada)).status_code == 401  # the token of before is dead
        inbox.put(json.dumps({"renew": newer}))
        assert next_answer() == "renewed: yes"  # and the stream goes on
        emulator.revoke(ada.session_id)
        inbox.put(json.dumps({"renew": newer}))
        assert next_answer() in ("renewed: session_unknown", "renewed: revoked_credentials", "it is over")
        assert next_answer() == "it is over"
    assert not any(newer in line or ben.session_token in line for line in seen)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_websocket(emulator: Emulator, ada: SignedIn, as_text: bool) -> None:
    received = list[Any]()
    app = FastAPI()
    hook = Renewal(json_member("renew"), answer=lambda error: {"renewed": error.reason if error else True})

    @app.websocket("/chat")
    async def chat(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        bound_session(websocket, renewal=hook)
        while True:
            try:  # an app that waits for messages only for a while loses none
                message = await asyncio.wait_for(websocket.receive(), 0.005)
            except TimeoutError:
                continue
            if message["type"] == "websocket.disconnect":
                return
            received.append(message.get("text") or message.get("bytes"))
            await websocket.send_json({"echo": 1})

    client = AsyncMoonKey(**options(emulator))
    app.add_middleware(MoonKeyMiddleware, client=client)
    ben = emulator.sign_in(email="ben@example.com")
    with (
        serve_asgi(app) as own,
        connect(own.replace("http", "ws") + "/chat", additional_headers=bearer(ada)) as websocket,
    ):

        def say(message: Any) -> Any:
            sent = message if isinstance(message, str) else json.dumps(message)
            websocket.send(sent if as_text else sent.encode())
            return json.loads(websocket.recv(10))

        newer = stepped_up(emulator, ada)
        assert say({"renew": ben.session_token}) == {"renewed": "renewal_refused"}
        assert say({"renew": None}) == {"renewed": "malformed_credentials"}
        assert say({"renew": newer}) == {"renewed": True}
        quick.get(own + "/openapi.json", headers=bearer(ada))  # the token of before is found dead
        for other in ("no JSON", "[1]", {"text": newer[:3]}, '{"renew": 1, "renew": 2}'):
            assert say(other) == {"echo": 1}
        emulator.revoke(ada.session_id)
        quick.get(own + "/openapi.json", headers={"session-token": newer})
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    assert len(received) == 4
    assert not any("renew" in str(one) and newer in str(one) for one in received)


@pytest.mark.parametrize("is_own", [False, True])
def test_socketio(emulator: Emulator, ada: SignedIn, is_own: bool) -> None:
    app = Flask(__name__)
    FlaskMoonKey(app, **options(emulator))
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    sockets.on("connect")(require_auth(lambda auth=None: bound(plain_items())))
    sockets.on("connect", namespace="/other")(require_auth(lambda auth=None: None))
    sockets.on("who")(require_auth(max_staleness=0)(lambda: current_user.id))
    hook = Renewal(json_member("renew"), answer=lambda error: {"refused": error.reason} if error else {"ok": 1})
    handler = renewal_handler(hook) if is_own else renewal_handler()
    sockets.on("renew")(handler)
    sockets.on("renew", namespace="/other")(handler)
    failed: list[Exception] = []
    sockets.on_error_default(lambda error: failed.append(error))

    streams: list[Any] = []

    def bound(stream: Iterator[str]) -> None:
        streams.append(moonkey_flask.bound_stream(stream))

    client = sockets.test_client(app, headers=bearer(ada))
    ben, newer = emulator.sign_in(email="ben@example.com"), stepped_up(emulator, ada)

    def renew(credential: Any, **more: Any) -> Any:
        return client.emit("renew", {"renew": credential} if is_own else credential, callback=True, **more)

    for credential, reason in ((ben.session_token, "renewal_refused"), (7, "malformed_credentials")):
        expected = {"refused": reason} if is_own else {"renewed": False, "reason": reason}
        assert renew(credential) == expected
    assert renew(newer) == ({"ok": 1} if is_own else {"renewed": True})
    assert client.emit("who", callback=True) == ada.user_id  # by the newer one, as that of before is dead
    if is_own:
        assert not client.emit("renew", {"other": 1}, callback=True)
    client.connect("/other", headers={"session-token": newer})
    renew(newer, namespace="/other")  # where nothing is bound
    assert failed
    failed.clear()
    streams.clear()  # the app has let it go
    renew(newer)
    assert failed
    assert isinstance(failed[-1], ConfigurationError)


class TestTheHook:
    @pytest.mark.parametrize(
        ("message", "found"),
        [
            ('{"renew": "x"}', "x"),
            (b'{"renew": "x", "more": [1]}', "x"),
            ({"renew": "x"}, "x"),
            ('{"renew": 7}', ""),
            ({"renew": None}, ""),
            *((other, None) for other in ("", "x", "[]", "{", b"\xff", None, 7, {"other": 1}, ["renew"], "null")),
            ('{"renew": "' + "x" * 70_000 + '"}', None),
        ],
    )
    def test_a_member(self, message: Any, found: str | None) -> None:
        assert json_member("renew")(message) == found

    def test_a_wrong_requirement(self) -> None:
        with pytest.raises(ValueError, match="factor_count"):
            Renewal(json_member("renew"), factor_count=0)

    @pytest.mark.parametrize("arguments", [("renew", None), (None, None), (json_member("renew"), "renewed")])
    def test_no_function(self, arguments: Any) -> None:
        with pytest.raises(TypeError, match="A renewal takes functions"):
            Renewal(arguments[0], answer=arguments[1])

    @pytest.mark.parametrize("make", [lambda hook: hook, lambda hook: Renewal(hook, roles={"admin"})])
    def test_what_is_refused_without_an_answer_is_logged(
        self, emulator: Emulator, ada: SignedIn, caplog: pytest.LogCaptureFixture, make: Callable[[Any], Any]
    ) -> None:
        caplog.set_level("INFO", logger="moonkey")
        ben = emulator.sign_in(email="ben@example.com")
        with MoonKey(**options(emulator)) as client:
            auth = client.authenticate(bearer(ada))
            sent: list[Any] = ["a", {"renew": ben.session_token}, "b"]
            hook = make(json_member("renew"))
            assert [*bound_items(client, auth, sent, bearer(ada), renewal=hook)] == ["a", "b"]
        (record,) = [one for one in caplog.records if "was not renewed" in one.getMessage()]
        assert ben.session_token not in caplog.text
        assert vars(record)["reason"] in ("renewal_refused", "permission_denied")

    def test_what_can_never_be_kept_is_no_refusal(self, emulator: Emulator, ada: SignedIn) -> None:
        def broken(_: object) -> str:
            raise ConfigurationError("of the app")

        with MoonKey(**options(emulator)) as client:
            auth = client.authenticate(bearer(ada))
            with pytest.raises(MoonKeyError, match="of the app"):
                next(bound_items(client, auth, ["a"], bearer(ada), renewal=broken))
