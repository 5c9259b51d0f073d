"""Flask: where a layer of the app or of an extension answers what a gate raises, and where none does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import flask_restful  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, abort, jsonify, request
from werkzeug.exceptions import HTTPException

from moonkey_core import AuthenticationError, CookieSettings, MissingCredentials, MoonKeyError, RequestRefused
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import FlaskMoonKey, current_session, current_user, require_auth, session_routes
from moonkey_flask.refused import HttpRaiser
from support.visitors import PAGE


def make_app(emulator: Emulator, **options: Any) -> Flask:
    app = Flask(__name__)
    FlaskMoonKey(app, **{"secret_key": emulator.secret_key, "base_url": emulator.base_url, **options})
    return app


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    return make_app(emulator)


def gated(place: Flask | Blueprint) -> None:
    place.add_url_rule("/me", "me", require_auth(lambda: current_user.id))


def resource(app: Flask) -> None:
    methods = {"method_decorators": [require_auth], "get": lambda self: current_user.id}
    flask_restful.Api(app).add_resource(type("Resource", (flask_restful.Resource,), methods), "/rest")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.msg.startswith("refused")]


def own_answer(error: MoonKeyError) -> Any:
    return jsonify(own=error.reason, status=error.status), error.status


@pytest.mark.parametrize("kind", [MoonKeyError, AuthenticationError, MissingCredentials])
def test_the_apps_own_handler_is_asked_everywhere(
    app: Flask, kind: type[MoonKeyError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    app.register_error_handler(kind, own_answer)
    gated(app)
    resource(app)
    for path in ("/me", "/rest"):
        response = app.test_client().get(path)
        assert (response.status_code, response.json) == (401, {"own": "no_credentials", "status": 401}), path
    assert logged(caplog) == []


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda error: error,
    "its response": lambda error: error.get_response(),
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_may_return_the_error(app: Flask, handler: str) -> None:
    app.register_error_handler(MoonKeyError, HANDLERS[handler])
    gated(app)
    resource(app)
    for path in ("/me", "/rest"):
        response = app.test_client().get(path)
        assert (response.status_code, response.content_type) == (401, "application/problem+json"), path
        assert response.headers["www-authenticate"] == 'Bearer realm="moonkey"'


def test_a_handler_of_a_blueprint_is_asked_before_that_of_the_app(app: Flask) -> None:
    app.register_error_handler(MoonKeyError, lambda error: ("app", 401))
    for name, kind in (("http", HTTPException), ("own", MoonKeyError)):
        place = Blueprint(name, __name__, url_prefix=f"/{name}")
        place.register_error_handler(kind, lambda error: ("blueprint", 401))
        gated(place)
        app.register_blueprint(place)
    visit = app.test_client().get
    assert visit("/http/me").text == "app"
    assert visit("/own/me").text == "blueprint"


def test_http_exceptions_of_the_app_are_its_own(app: Flask) -> None:
    place = Blueprint("place", __name__)
    place.register_error_handler(HTTPException, lambda error: ("theirs", 418))
    gated(place)
    place.add_url_rule("/gone", "gone", lambda: abort(410))
    app.register_blueprint(place)
    visit = app.test_client().get
    for _ in range(2):
        assert visit("/me").status_code == 401
        assert visit("/gone").text == "theirs"


def test_what_is_raised(app: Flask) -> None:
    found: list[Any] = []

    def read() -> str:
        try:
            return current_user.id
        except HTTPException as error:
            found.append(error)
            return str(error.get_response().status_code)

    app.add_url_rule("/read", "read", read)
    assert app.test_client().get("/read").text == "401"
    (error,) = found
    assert all(isinstance(error, kind) for kind in (MissingCredentials, HTTPException))
    assert (error.code, error.name, error.description) == (401, "Unauthorized", "Sign in to continue.")
    assert str(error) == str(MissingCredentials())
    with app.test_request_context():
        assert ("www-authenticate", 'Bearer realm="moonkey"') in error.get_headers()
        assert '"status": 401' in error.get_body()


def test_outside_of_a_request_there_is_no_response(app: Flask) -> None:
    error: Any = HttpRaiser().to_raise(MissingCredentials())
    assert error.response is None
    assert error.get_response().status_code == 401


def test_the_code_of_the_api_is_kept(app: Flask) -> None:
    def refuse(code: str | None) -> str:
        raise HttpRaiser().to_raise(RequestRefused(code=code))

    app.add_url_rule("/coded", "coded", lambda: refuse("user_not_found"))
    app.add_url_rule("/uncoded", "uncoded", lambda: refuse(None))
    codes: list[str | None] = []
    app.before_request(lambda: codes.append(None))
    for path in ("/coded", "/uncoded"):
        response = app.test_client().get(path)
        assert (response.status_code, response.content_type) == (400, "application/problem+json"), path
    with app.test_request_context():
        error: Any = HttpRaiser().to_raise(RequestRefused(code="user_not_found"))
        assert (error.code, error.status, error.response.status_code) == ("user_not_found", 400, 400)


def test_a_view_that_catches_it_has_refused_nobody(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")

    def read() -> str:
        try:
            return current_user.id
        except MoonKeyError:
            return "nobody"

    app.add_url_rule("/read", "read", read)
    assert app.test_client().get("/read").text == "nobody"
    assert logged(caplog) == []


def test_a_refusal_is_in_the_log_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    gated(app)
    resource(app)
    for path in ("/me", "/rest"):
        caplog.clear()
        identity = app.test_client().get(path, headers={"X-Request-ID": "one"}).get_json()["instance"]
        assert identity == "urn:request:one"
        assert logged(caplog) == ["refused with 401: no_credentials, request one"], path


def test_a_browser_is_sent_to_sign_in(emulator: Emulator) -> None:
    app = make_app(emulator, cookies=CookieSettings())
    app.register_blueprint(session_routes())
    gated(app)
    resource(app)
    for path in ("/me", "/rest"):
        response = app.test_client().get(path, headers=PAGE)
        assert (response.status_code, response.headers["location"]) == (303, f"/auth/sign-in?next=%2F{path[1:]}")
        refused = app.test_client().get(path)
        assert (refused.status_code, refused.content_type) == (401, "application/problem+json")


def test_cookies_of_a_dead_session_are_cleared_everywhere(emulator: Emulator) -> None:
    app = make_app(emulator, cookies=CookieSettings())
    gated(app)
    resource(app)
    name = CookieSettings().session_name
    for path in ("/me", "/rest"):
        response = app.test_client(use_cookies=False).get(path, headers={"Cookie": f"{name}=dead"})
        assert response.status_code == 401
        assert any(line.startswith(f"{name}=;") for line in response.headers.getlist("set-cookie")), path


def test_the_user_of_a_request_too(app: Flask, emulator: Emulator) -> None:
    """``request.user`` and ``current_session`` in a resource: an outage is one there, too."""
    reads: dict[str, Callable[[], Any]] = {
        "user": lambda: request.user,  # type: ignore[attr-defined]
        "session": lambda: request.session,  # type: ignore[attr-defined]
        "current": lambda: current_session.id,
    }
    api = flask_restful.Api(app)
    for name, read in reads.items():
        view = type(name, (flask_restful.Resource,), {"get": lambda self, read=read: str(read())})
        api.add_resource(view, f"/{name}")
    emulator.stop()
    for name in reads:
        response = app.test_client().get(f"/{name}", headers={"Authorization": "Bearer token"})
        assert (response.status_code, response.content_type) == (503, "application/problem+json"), name
        assert int(response.headers["retry-after"]) > 0


def test_a_signed_in_user_is_served(app: Flask, emulator: Emulator) -> None:
    gated(app)
    resource(app)
    person: SignedIn = emulator.sign_in()
    for path in ("/me", "/rest"):
        response = app.test_client().get(path, headers={"Authorization": f"Bearer {person.session_token}"})
        assert person.user_id in response.text
