"""S26. A gate in ``before_request`` lets the ``OPTIONS`` pass that Flask answers itself, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_cors
import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView

from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, current_user, require_auth, session_routes

pytestmark = pytest.mark.rule("S26")

ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "session-token",
}
ran: list[str] = []


class Things(MethodView):
    def get(self) -> str:
        ran.append("class")
        return "things"


class Answering(MethodView):
    def options(self) -> str:
        ran.append("own options of a class")
        return "secret"


def _put_on_app(app: Flask, _: Blueprint, gate: Callable[[], Any]) -> None:
    app.before_request(gate)


def _put_on_blueprint(_: Flask, blueprint: Blueprint, gate: Callable[[], Any]) -> None:
    blueprint.before_request(gate)


def _called_by_another(app: Flask, _: Blueprint, gate: Callable[[], Any]) -> None:
    @app.before_request
    def outer() -> Any:
        return None if request.blueprint == "moonkey" else gate()


PLACES = {"app": _put_on_app, "blueprint": _put_on_blueprint, "called": _called_by_another}


def make(emulator: Emulator, place: str, *, is_async: bool) -> Flask:
    ran.clear()
    app = Flask("options", template_folder=None)
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url, cookies=True)
    flask_cors.CORS(app, origins=[ORIGIN])
    api = Blueprint("api", __name__)
    routes = api if place == "blueprint" else app

    @require_auth
    async def asynchronous() -> None:
        ran.append(f"gate for {current_user.id}")

    @require_auth(max_staleness=0)
    def synchronous() -> None:
        ran.append(f"gate for {current_user.id}")

    PLACES[place](app, api, asynchronous if is_async else synchronous)

    @routes.get("/data")
    def data() -> str:
        ran.append("data")
        return "data"

    @routes.route("/own", methods=["GET", "OPTIONS"])
    def own() -> str:
        ran.append("own options")
        return "secret"

    @routes.route("/none", methods=["GET"], provide_automatic_options=False)
    def none() -> str:
        return "none"

    routes.add_url_rule("/things", view_func=Things.as_view("things"))
    routes.add_url_rule("/answering", view_func=Answering.as_view("answering"))
    app.register_blueprint(api)
    app.register_blueprint(session_routes())
    return app


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_what_flask_answers_itself_passes(emulator: Emulator, place: str, is_async: bool) -> None:
    client = make(emulator, place, is_async=is_async).test_client()
    emulator.clear_requests()
    for path in ("/data", "/things"):
        for headers in (
            PREFLIGHT,
            {},
            {"session-token": "dead"},
            {"Authorization": "Bearer a b"},
            {"Cookie": "__Host-moonkey_session=dead"},
        ):
            response = client.options(path, headers=headers)
            assert (response.status_code, response.data) == (200, b"")
            assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
        preflight = client.options(path, headers=PREFLIGHT)
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "session-token" in preflight.headers["Access-Control-Allow-Headers"]
    assert (ran, emulator.requests()) == ([], {})


def test_nothing_else_does(emulator: Emulator, place: str) -> None:
    client = make(emulator, place, is_async=False).test_client()
    for path in ("/own", "/answering"):
        assert client.options(path, headers=PREFLIGHT).status_code == 401
    for method in ("GET", "HEAD", "POST", "PUT", "options", "OPTION", "TRACE"):
        response = client.open("/own", method=method, headers={**PREFLIGHT, "X-HTTP-Method-Override": "OPTIONS"})
        assert response.status_code in (401, 405)
    for path in ("/none", "/nowhere", "/data/"):
        response = client.options(path, headers=PREFLIGHT)
        assert response.status_code == (401 if place != "blueprint" else 405 if path == "/none" else 404)
    assert client.get("/data").status_code == 401
    assert ran == []
    ada = emulator.sign_in()
    headers = {"session-token": ada.session_token}
    assert client.options("/own", headers=headers).data == b"secret"
    assert client.get("/data", headers=headers).data == b"data"
    assert ran == [f"gate for {ada.user_id}", "own options", f"gate for {ada.user_id}", "data"]


def test_an_app_that_calls_views_for_all_methods_runs_none(emulator: Emulator) -> None:
    """Flask itself calls no view for them; a gate on one lets nothing through where a subclass does."""

    class Always(Flask):
        def dispatch_request(self) -> Any:
            rule = request.url_rule
            assert rule is not None
            return self.view_functions[rule.endpoint]() or "nothing"

    app = Always("always", template_folder=None)
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)

    @app.get("/data")
    @require_auth
    def data() -> str:
        ran.append("data")
        return "secret"

    ran.clear()
    assert app.test_client().options("/data").data == b"nothing"
    assert ran == []
