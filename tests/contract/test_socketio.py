"""Flask-SocketIO: a client that a gate refuses at ``connect`` is gone, and hears nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask_socketio  # type: ignore[import-untyped]
import pytest
from contract.refusals import REFUSALS, Refused
from contract.requests import bearer
from flask import Flask
from socketio import packet  # type: ignore[import-untyped]

from moonkey_core import ConfigurationError, CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, current_auth, current_user, require_auth
from support import quick
from support.servers import serve_wsgi
from support.visitors import pair

Connect = Callable[[Any], None]


def gated(asks_for: str) -> Connect:
    gate: Any = require_auth(scopes={"write"}) if asks_for == "write" else require_auth
    made: Connect = gate(lambda auth=None: None)
    return made


def read(asks_for: str) -> Connect:
    """A handler that has no gate, and reads the user itself."""

    def connect(auth: Any = None) -> None:
        assert current_user.id

    return connect


def of_a_function(sockets: Any, handler: Connect) -> None:
    sockets.on("connect")(handler)


def of_a_class(sockets: Any, handler: Connect) -> None:
    sockets.on_namespace(type("News", (flask_socketio.Namespace,), {"on_connect": staticmethod(handler)})("/"))


def beside_an_error_handler(sockets: Any, handler: Connect) -> None:
    """One that takes each error, and lets the client stay by that."""
    sockets.on_error_default(lambda error: None)
    of_a_function(sockets, handler)


PLACES = [of_a_function, of_a_class, beside_an_error_handler]
WAYS = {"gate": gated, "user": read}


def make_app(emulator: Emulator, settings: dict[str, Any] | None = None, **more: Any) -> tuple[Flask, Any]:
    app = Flask(__name__)
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    FlaskMoonKey(app, **{**usual, **(settings or {})})
    _made.append(app)
    # Without the thread that looks for clients that have gone: it would go on for as long as the process.
    return app, flask_socketio.SocketIO(app, async_mode="threading", monitor_clients=False, **more)


_made: list[Flask] = []


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    while _made:
        _made.pop().extensions["moonkey"].close()


def reasons(sockets: Any) -> list[Any]:
    """What clients are told when they are refused."""
    found: list[Any] = []

    class Noted(sockets.server.packet_class):  # type: ignore[misc]
        def encode(self) -> Any:
            if self.packet_type in (packet.DISCONNECT, packet.CONNECT_ERROR):
                found.append(self.data)
            return super().encode()

    sockets.server.packet_class = Noted
    return found


def assert_gone(app: Flask, sockets: Any, headers: dict[str, str]) -> None:
    client = sockets.test_client(app, headers=headers)
    assert not client.is_connected()
    sockets.emit("news", "for everybody")
    assert client.queue == []
    assert list(sockets.server.manager.get_participants("/", None)) == []


@pytest.mark.rule("S27", "connection")
@pytest.mark.parametrize("always_connect", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("situation", REFUSALS)
def test_a_refused_client_is_gone(
    emulator: Emulator,
    situation: str,
    place: Callable[[Any, Connect], None],
    way: str,
    always_connect: bool,
) -> None:
    refused: Refused = REFUSALS[situation]
    if way == "user" and refused.asks_for == "write":
        way = "gate"  # only a gate asks for a scope
    app, sockets = make_app(emulator, always_connect=always_connect)
    place(sockets, WAYS[way](refused.asks_for))
    told = reasons(sockets)
    assert_gone(app, sockets, refused.arrange(emulator))
    (said,) = told
    problem = said["data"]
    assert said["message"] == problem["detail"]
    assert problem["status"] == refused.status
    assert ("retry_after" in problem) == (refused.retry_after is not None)


@pytest.mark.parametrize("place", PLACES)
def test_a_signed_in_client_hears(emulator: Emulator, place: Callable[[Any, Connect], None]) -> None:
    app, sockets = make_app(emulator)
    place(sockets, gated("me"))
    token = emulator.sign_in().session_token
    client = sockets.test_client(app, headers={"Authorization": f"Bearer {token}"})
    assert client.is_connected()
    sockets.emit("news", "for everybody")
    assert [one["name"] for one in client.get_received()] == ["news"]


SITE, ORIGIN, HANDSHAKE = "Sec-Fetch-Site", "Origin", {"Upgrade": "websocket", "Connection": "Upgrade"}
OWN, PARTNER, EVIL = "http://localhost", "https://partner.example", "https://evil.example"
FROM: list[tuple[dict[str, str], bool]] = [
    ({SITE: "same-origin"}, True),
    ({ORIGIN: OWN}, True),
    ({ORIGIN: PARTNER, SITE: "cross-site"}, True),
    ({**HANDSHAKE, ORIGIN: OWN}, True),
    ({**HANDSHAKE, ORIGIN: PARTNER, SITE: "cross-site"}, True),
    ({}, False),
    ({SITE: "cross-site"}, False),
    ({SITE: "same-site"}, False),
    ({ORIGIN: EVIL}, False),
    ({ORIGIN: EVIL, SITE: "cross-site"}, False),
    (HANDSHAKE, False),
    ({**HANDSHAKE, SITE: "same-origin"}, False),
    ({**HANDSHAKE, "Upgrade": "WebSocket", ORIGIN: EVIL}, False),
    ({**HANDSHAKE, ORIGIN: "null"}, False),
]


@pytest.mark.rule("S43", "connection")
@pytest.mark.parametrize("way", WAYS)
def test_cookies_count_for_pages_of_our_own_only(emulator: Emulator, way: str) -> None:
    """Whatever origins Flask-SocketIO lets in: a page of another site acts for nobody."""
    cookies = CookieSettings(trusted_origins=(PARTNER,))
    app, sockets = make_app(emulator, {"cookies": cookies}, cors_allowed_origins="*")
    of_a_function(sockets, WAYS[way]("me"))
    told = reasons(sockets)
    person = emulator.sign_in()
    for headers, passes in FROM:
        client = sockets.test_client(app, headers={**pair(person), **headers})
        assert client.is_connected() is passes, headers
        assert [one["data"]["error"] for one in told] == ([] if passes else ["cross_site_request"]), headers
        told.clear()
        by_header = sockets.test_client(app, headers={**bearer(person.session_token), **headers})
        assert by_header.is_connected(), headers
        if passes:
            client.disconnect()
        by_header.disconnect()


def test_an_app_without_the_extension_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    of_a_function(sockets, gated("me"))
    assert_gone(app, sockets, {})
    assert "FlaskMoonKey(app)" in caplog.text


def test_over_a_socket(emulator: Emulator) -> None:
    app, sockets = make_app(emulator)
    of_a_function(sockets, gated("me"))
    polling = {"EIO": "4", "transport": "polling"}
    with serve_wsgi(app) as url, quick.Client(base_url=f"{url}/socket.io/") as browser:
        for headers, expected in (({}, "44"), (bearer(emulator.sign_in().session_token), "40")):
            opened = browser.get("", params=polling, headers=headers).text
            visit = {**polling, "sid": json.loads(opened[1:])["sid"]}
            assert browser.post("", params=visit, content="40", headers=headers).text == "OK"
            said = browser.get("", params=visit, headers=headers).text
            assert said.startswith(expected)
            assert ('"status":401' in said) == (expected == "44")
        assert len(list(sockets.server.manager.get_participants("/", None))) == 1


def test_other_events_reach_the_apps_error_handler(emulator: Emulator) -> None:
    app, sockets = make_app(emulator)
    found: list[Exception] = []
    sockets.on_error_default(found.append)
    sockets.on("connect")(lambda auth=None: None)
    sockets.on("ask")(require_auth(lambda: None))
    client = sockets.test_client(app)
    assert client.is_connected()
    client.emit("ask")
    (error,) = found
    assert (type(error).__name__, error.status) == ("MissingCredentials", 401)  # type: ignore[attr-defined]
    assert not isinstance(error, flask_socketio.ConnectionRefusedError)


@pytest.mark.parametrize("place", ["header", "cookie"])
def test_a_second_factor_that_was_recorded(emulator: Emulator, place: str) -> None:
    """A handshake brings the handle. A later event is judged anew; the client stays when the record ends."""
    app, sockets = make_app(
        emulator, {"mfa_lifetime": 3600, "mfa_scope": "credential", "cookies": CookieSettings()}
    )
    vault: Any = require_auth(mfa_max_age=timedelta(minutes=10))
    found: list[Any] = []
    sockets.on_error_default(found.append)
    of_a_function(sockets, vault(lambda auth=None: None))
    sockets.on("ask")(vault(lambda: current_user.id))
    told, client = reasons(sockets), app.extensions["moonkey"]
    person = emulator.sign_in(email="ada@example.com")
    headers = bearer(person.session_jwt) if place == "header" else {**pair(person), SITE: "same-origin"}
    assert_gone(app, sockets, headers)
    (said,) = told
    assert (said["data"]["status"], said["data"]["mfa"], said["data"]["max_age"]) == (401, True, 600)

    with app.test_request_context("/", headers=headers):
        record = client.mfa.record(current_auth)
    held = {**headers, "MFA-Handle": str(record.handle)}
    if place == "cookie":
        held = {**headers, "Cookie": f"{headers['Cookie']}; {CookieSettings().mfa_name}={record.handle}"}
    of_another = {**held, **bearer(emulator.sign_in(email="ben@example.com").session_jwt)}
    assert_gone(app, sockets, of_another)
    visitor = sockets.test_client(app, headers=held)
    assert visitor.is_connected()
    assert visitor.emit("ask", callback=True) == person.user_id
    client.revocations.add(session_id=record.id)
    assert found == []
    visitor.emit("ask")
    (error,) = found
    assert (type(error).__name__, error.mfa) == ("StepUpRequired", True)
    assert visitor.is_connected()
    visitor.disconnect()
    assert_gone(app, sockets, held)


def test_a_lost_store_lets_nobody_connect(emulator: Emulator) -> None:
    nowhere = {"mfa_scope": "user", "redis_url": "redis://127.0.0.1:1/0", "mfa_lifetime": 3600}
    app, sockets = make_app(emulator, nowhere)
    vault: Any = require_auth(mfa_max_age=timedelta(minutes=10))
    of_a_function(sockets, vault(lambda auth=None: None))
    told = reasons(sockets)
    assert_gone(app, sockets, bearer(emulator.sign_in().session_jwt))
    assert [one["data"]["status"] for one in told] == [503]


def test_elsewhere_a_missing_extension_is_the_apps_own_error() -> None:
    app = Flask(__name__)
    app.add_url_rule("/me", "me", require_auth(lambda: ""))
    app.testing = True
    with pytest.raises(ConfigurationError, match="FlaskMoonKey"):
        app.test_client().get("/me")
