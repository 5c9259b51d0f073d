"""What a Flask app sets after ``FlaskMoonKey(app)``: its request class, and its JSON provider."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Request, jsonify, request
from flask.json.provider import DefaultJSONProvider

from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, current_auth


class Own(Request):
    own = "own"


class Later(Request):
    own = "later"
    user = "of the app's own"


class OwnJson(DefaultJSONProvider):
    compact = True


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    app = Flask("later", template_folder=None)
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)

    @app.get("/who")
    def who() -> Any:
        found: Any = request
        user, session = found.user, found.session
        assert (user is None) == (session is None)
        assert current_auth.user == user
        return jsonify(user=user, session=session, own=getattr(found, "own", None))

    return app


def bearer(emulator: Emulator) -> tuple[str, dict[str, str]]:
    ada = emulator.sign_in()
    return ada.user_id, {"Authorization": f"Bearer {ada.session_token}"}


@pytest.mark.parametrize("moment", ["before the first request", "after it"])
@pytest.mark.parametrize("kind", [Own, Later])
def test_a_request_class(app: Flask, emulator: Emulator, moment: str, kind: type[Request]) -> None:
    user_id, headers = bearer(emulator)
    client = app.test_client()
    if moment == "after it":
        assert client.get("/who", headers=headers).json["user"]["id"] == user_id  # type: ignore[index]
    app.request_class = kind
    for _ in range(2):
        answer: Any = client.get("/who", headers=headers).json
        assert (answer["user"]["id"], answer["own"]) == (user_id, kind.own)  # type: ignore[attr-defined]
        anonymous: Any = client.get("/who").json
        assert (anonymous["user"], anonymous["own"]) == (None, kind.own)  # type: ignore[attr-defined]
    assert issubclass(app.request_class, kind)


def test_outside_of_a_dispatched_request(app: Flask, emulator: Emulator) -> None:
    app.request_class = Own
    user_id, headers = bearer(emulator)
    with app.test_request_context("/", headers=headers):
        found: Any = request
        assert (found.user.id, found.own) == (user_id, "own")


def test_no_class_grows(app: Flask) -> None:
    FlaskMoonKey(app, secret_key="sk_test_x")  # once more, on the same app
    client = app.test_client()
    client.get("/who")
    kinds = set()
    for _ in range(5):
        client.get("/who")
        kinds.add(app.request_class)
    assert len(kinds) == 1
    assert len(app.request_class.__mro__) <= len(Request.__mro__) + 2
    app.request_class = app.request_class  # what was read is set again
    client.get("/who")
    assert app.request_class in kinds


def test_a_json_provider(app: Flask, emulator: Emulator) -> None:
    user_id, headers = bearer(emulator)
    app.json = OwnJson(app)
    answer: Any = app.test_client().get("/who", headers=headers)
    assert answer.json["user"]["id"] == user_id
    assert b": " not in answer.data
