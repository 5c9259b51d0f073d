"""Flask, closed by default: its configuration, and the events of Flask-SocketIO."""

from __future__ import annotations

from typing import Any

import flask_socketio  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, Response
from flask.views import MethodView

from moonkey_core.emulator import Emulator
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_flask import FlaskMoonKey, current_auth, public


def made(emulator: Emulator, config: dict[str, Any] | None = None, **options: Any) -> Flask:
    app = Flask("closed", static_folder=None)
    app.config.update(config or {})
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url, **options)
    app.add_url_rule("/me", "me", lambda: "me")
    return app


def status(app: Flask, path: str = "/me", **more: Any) -> int:
    return app.test_client().open(path, **more).status_code


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.mark.rule("S53")
@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        ({}, {}, 200),
        ({}, {"required": True}, 401),
        ({"MOONKEY_REQUIRED": True}, {}, 401),
        ({"MOONKEY_REQUIRED": None}, {}, 200),
        ({"MOONKEY_REQUIRED": True}, {"required": False}, 200),
        ({"MOONKEY_REQUIRED": False}, {"required": True}, 401),
    ],
)
def test_an_argument_comes_before_the_configuration(
    emulator: Emulator, config: dict[str, Any], options: dict[str, Any], expected: int
) -> None:
    assert status(made(emulator, config, **options)) == expected


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"MOONKEY_REQUIRED": "true"}, {}, "must be True or False"),
        ({"MOONKEY_REQUIERD": True}, {}, "Did you mean .*required"),
        ({}, {"required": 1}, "must be True or False"),
        ({}, {"requierd": True}, "Did you mean 'required'"),
    ],
)
def test_a_wrong_value_or_name_is_an_error(
    emulator: Emulator, config: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        made(emulator, config, **options)


@pytest.mark.rule("S26")
def test_a_value_that_comes_too_late_is_an_error(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    app = made(emulator)
    app.config["MOONKEY_REQUIRED"] = True
    assert [status(app), status(app)] == [500, 500]
    assert "MOONKEY_REQUIRED in app.config has no effect" in caplog.text


@pytest.mark.rule("S53")
def test_what_runs_no_view_is_left_to_flask(emulator: Emulator) -> None:
    app = made(emulator, required=True)

    @app.route("/own", methods=["OPTIONS", "GET"], provide_automatic_options=False)
    def own() -> Response:
        raise AssertionError("the view ran")

    assert status(app, "/nothing") == 404
    assert status(app, method="DELETE") == 405
    assert status(app, method="OPTIONS") == 200
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert status(app, "/own", method="OPTIONS", headers=preflight) == 204
    assert status(app, "/own", method="OPTIONS") == 401


@pytest.mark.rule("S53")
def test_each_method_of_a_class_and_each_nested_blueprint(emulator: Emulator) -> None:
    app = made(emulator, required=True)

    class Some(MethodView):
        @public
        def get(self) -> str:
            return "get"

        def post(self) -> str:
            return "post"

    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    inner.add_url_rule("/some", view_func=Some.as_view("some"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    assert [status(app, "/some", method=one) for one in ("GET", "HEAD", "POST")] == [200, 200, 401]
    person = emulator.sign_in()
    assert status(app, "/some", method="POST", headers=bearer(person.session_token)) == 200


@pytest.mark.rule("S53")
def test_a_view_that_is_replaced_is_judged_anew(emulator: Emulator) -> None:
    app = made(emulator, required=True)
    app.view_functions["me"] = public(lambda: "open")
    assert status(app) == 200
    app.view_functions["me"] = lambda: "closed"
    assert status(app) == 401


@pytest.mark.rule("S53", "connection")
def test_events_are_closed_too(emulator: Emulator) -> None:
    app = made(emulator, required=True)
    sockets: Any = flask_socketio.SocketIO(app, async_mode="threading")
    ran: list[str] = []

    def connect(auth: Any = None) -> None:
        ran.append("connect")

    def connect_openly(auth: Any = None) -> None:
        ran.append("connect")

    def ping() -> None:
        ran.append(f"ping of {current_auth.state}")

    def state() -> None:
        ran.append(str(current_auth.state))

    def gone(reason: Any = None) -> None:
        ran.append("disconnect")

    sockets.on("connect", namespace="/closed")(connect)
    sockets.on("connect", namespace="/open")(public(connect_openly))
    sockets.on("ping", namespace="/open")(ping)
    sockets.on("state", namespace="/open")(public(state))
    sockets.on("disconnect", namespace="/open")(gone)
    assert not sockets.test_client(app, namespace="/closed").is_connected("/closed")
    assert ran == []
    client = sockets.test_client(app, namespace="/open")
    with pytest.raises(MoonKeyError):
        client.emit("ping", namespace="/open")
    client.emit("state", namespace="/open")
    client.disconnect(namespace="/open")
    assert ran == ["connect", "anonymous", "disconnect"]
    ran.clear()
    person = emulator.sign_in()
    for path in ("/closed", "/open"):
        signed_in = sockets.test_client(app, namespace=path, headers=bearer(person.session_token))
        assert signed_in.is_connected(path)
    signed_in.emit("ping", namespace="/open")
    assert ran == ["connect", "connect", "ping of authenticated"]
