"""What docs/long-lived.md shows can be used, and what it names is there."""

from __future__ import annotations

import threading
import time

import flask_socketio  # type: ignore[import-untyped]
import pytest
from django.http import StreamingHttpResponse
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask, Response, request

from moonkey_core import AsyncMoonKey, MoonKey, MoonKeyError, streams
from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, current_user, get_client, require_auth
from moonkey_starlette.fastapi import CurrentUser
from support.documents import blocks, run, text
from support.patience import PATIENCE
from support.scripted import wait_until

DOCUMENT = "docs/long-lived.md"
IN_FASTAPI = {
    "Request": Request,
    "WebSocket": WebSocket,
    "CurrentUser": CurrentUser,
    "StreamingResponse": StreamingResponse,
    "EventSourceResponse": StreamingResponse,  # stands for that of newer releases
}


@pytest.mark.parametrize(
    ("name", "paths"), [("Starlette and FastAPI", ["/chat"]), ("Starlette and FastAPI 2", ["/events", "/export"])]
)
def test_the_routes_for_fastapi(name: str, paths: list[str]) -> None:
    app = FastAPI(openapi_url=None)
    run(DOCUMENT, name, app=app, **IN_FASTAPI)
    assert [getattr(route, "path", None) for route in app.routes] == paths


def test_the_view_for_django() -> None:
    assert run(DOCUMENT, "Django", StreamingHttpResponse=StreamingHttpResponse)["events"]


def test_the_view_for_flask() -> None:
    app = Flask("shown")
    run(DOCUMENT, "Flask", app=app, Response=Response, current_user=current_user)
    assert "events" in app.view_functions


@pytest.mark.rule("S52", "connection")
def test_a_socket_io_client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is disconnected when its session ends; an event behind a gate has been refused by then."""
    app = Flask("shown")
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    may_look = threading.Event()

    def sleep(seconds: float) -> None:
        may_look.wait(PATIENCE)
        time.sleep(seconds / 100)

    monkeypatch.setattr(sockets, "sleep", sleep)
    refused: list[Exception] = []
    sockets.on_error_default(refused.append)
    sockets.on("ask")(require_auth(lambda: None))
    run(DOCUMENT, "Flask-SocketIO", socketio=sockets, request=request)
    ada, ben = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben"))
    clients = [
        sockets.test_client(app, headers={"Authorization": f"Bearer {person.session_token}"})
        for person in (ada, ben)
    ]
    for client in clients:
        client.emit("ask")
    assert refused == []
    with app.app_context():
        get_client().sessions.revoke(session_id=ada.session_id)
    clients[0].emit("ask")
    assert [error.status for error in refused if isinstance(error, MoonKeyError)] == [401]
    assert clients[0].is_connected()
    may_look.set()
    assert wait_until(lambda: not clients[0].is_connected())
    assert clients[1].is_connected()
    clients[1].disconnect()
    assert wait_until(lambda: len(app.extensions["moonkey"]._session_watcher) == 0)


@pytest.mark.rule("S52", "connection")
def test_a_socket_io_client_is_renewed(emulator: Emulator) -> None:
    app = Flask("shown")
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    above = run(DOCUMENT, "Flask-SocketIO", socketio=sockets, request=request)
    names = {name: above[name] for name in ("seconds", "disconnect_at_end")}
    shown = run(DOCUMENT, "a Socket.IO client is renewed", socketio=sockets, request=request, **names)
    ada, ben = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben"))
    client = sockets.test_client(app, headers={"Authorization": f"Bearer {ada.session_token}"})
    told = [client.emit("renew", one, callback=True) for one in (ben.session_token, ada.session_jwt)]
    assert told == [{"renewed": False, "reason": "renewal_refused"}, {"renewed": True}]
    client.disconnect()
    assert wait_until(lambda: not shown["streams"])


def test_a_websocket_is_renewed() -> None:
    """`integrations/test_renewed_connections.py` tests one of this kind."""
    app = FastAPI(openapi_url=None)
    run(DOCUMENT, "a WebSocket is renewed", app=app, **IN_FASTAPI)
    assert [getattr(route, "path", None) for route in app.routes] == ["/live"]


def test_a_hook_renews_a_websocket() -> None:
    """`integrations/test_renewal_hooks.py` tests one of this kind."""
    app = FastAPI(openapi_url=None)
    run(DOCUMENT, "a hook renews a WebSocket", app=app, **IN_FASTAPI)
    assert [getattr(route, "path", None) for route in app.routes] == ["/live"]


def test_there_is_one_for_each_framework() -> None:
    assert len(blocks(DOCUMENT)) >= 5
    for package in ("moonkey_starlette", "moonkey_django", "moonkey_flask"):
        assert any(f"from {package} import" in block.code for block in blocks(DOCUMENT))


def test_what_is_called_is_there() -> None:
    for owner, name in (
        (AsyncMoonKey, "session_end"),
        (MoonKey, "is_over"),
        (streams, "bound_items"),
        (MoonKey, "bind"),
    ):
        assert f"{name}(" in text(DOCUMENT)
        assert callable(getattr(owner, name))
