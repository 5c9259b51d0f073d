"""What is Flask's own: the extension, decorators on all kinds of views, and where the identity lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g, jsonify, request, send_file
from flask.testing import FlaskClient
from flask.views import MethodView, View

from moonkey_core import ConfigurationError, MoonKey, MoonKeyError
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import (
    FlaskMoonKey,
    current_auth,
    current_session,
    current_user,
    get_client,
    optional_auth,
    require_auth,
)
from support import quick
from support.scripted import wait_until
from support.servers import serve_wsgi


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    app = Flask(__name__)
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer)
    return app


def bearer(person: SignedIn) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.session_token}"}


def views(app: Flask) -> None:
    @app.get("/bare")
    @require_auth
    def bare() -> Any:
        return jsonify(current_user.id)

    @app.get("/called")
    @require_auth()
    def called() -> Any:
        return {"user": current_user.id}, 200, {"X-Extra": "1"}

    @app.get("/async")
    @require_auth
    async def asynchronous() -> Any:
        return Response(current_user.id, mimetype="text/plain")

    @app.get("/generator")
    @require_auth
    def generator() -> Any:
        user_id = current_user.id

        def parts() -> Iterator[str]:
            yield user_id

        return parts()

    class Method(MethodView):
        @require_auth
        def get(self) -> str:
            return current_user.id

        @require_auth()
        async def post(self) -> str:
            return current_user.id

    class Decorated(View):
        decorators = [require_auth]

        def dispatch_request(self) -> str:
            return current_user.id

    class AsyncDecorated(View):
        decorators = [require_auth]

        async def dispatch_request(self) -> str:  # type: ignore[override] # Flask runs it, its types do not say so
            return current_user.id

    app.add_url_rule("/method", view_func=Method.as_view("method"))
    app.add_url_rule("/decorated", view_func=Decorated.as_view("decorated"))
    app.add_url_rule("/async-decorated", view_func=AsyncDecorated.as_view("async-decorated"))
    blueprint = Blueprint("inside", __name__, url_prefix="/inside")

    @blueprint.before_request
    @require_auth
    def all_of_it() -> None:
        return None

    @blueprint.get("/here")
    def here() -> str:
        return current_user.id

    app.register_blueprint(blueprint)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bare"),
        ("GET", "/called"),
        ("GET", "/async"),
        ("GET", "/generator"),
        ("GET", "/method"),
        ("POST", "/method"),
        ("GET", "/decorated"),
        ("GET", "/async-decorated"),
        ("GET", "/inside/here"),
    ],
)
def test_every_kind_of_view(app: Flask, ada: SignedIn, method: str, path: str) -> None:
    views(app)
    client = app.test_client()
    good = client.open(path, method=method, headers=bearer(ada))
    assert good.status_code == 200
    assert ada.user_id in good.text
    refused = client.open(path, method=method)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="moonkey"'


def test_request_user_and_session(app: Flask, ada: SignedIn, emulator: Emulator) -> None:
    @app.get("/guide")
    @require_auth
    def guide() -> Any:
        return jsonify({"user": request.user, "session": request.session})  # type: ignore[attr-defined]

    @app.get("/open")
    @optional_auth
    def open_() -> Any:
        return jsonify(request.user, request.session)  # type: ignore[attr-defined]

    client = app.test_client()
    body = client.get("/guide", headers=bearer(ada)).get_json()
    assert body["user"]["id"] == ada.user_id
    assert body["session"]["id"] == ada.session_id
    assert ada.session_token not in str(body)
    assert client.get("/open").get_json() == [None, None]
    emulator.stop()
    assert client.get("/open", headers=bearer(ada)).status_code == 503


def test_an_app_may_use_the_names_user_and_session_itself(app: Flask) -> None:
    @app.get("/own")
    def own() -> Any:
        request.user = "somebody"  # type: ignore[attr-defined]
        return jsonify(request.user)  # type: ignore[attr-defined]

    assert app.test_client().get("/own").get_json() == "somebody"


def test_whoever_looks_last_is_seen(emulator: Emulator, ada: SignedIn) -> None:
    app = Flask(__name__)

    @app.after_request
    def name_the_user(response: Response) -> Response:
        response.headers["X-Who"] = current_user.id
        return response

    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
    response = app.test_client().get("/nowhere", headers=bearer(ada))
    assert response.headers["X-Who"] == ada.user_id
    assert response.headers["Cache-Control"] == "private"
    assert "Authorization" in response.headers["Vary"]


def test_verified_once_and_only_when_looked_at(app: Flask, ada: SignedIn, emulator: Emulator) -> None:
    @app.get("/unread")
    def unread() -> str:
        return "unread"

    @app.get("/read")
    @optional_auth
    def read() -> Any:
        states = {current_auth.state, current_auth.state, str(bool(current_auth))}
        return jsonify(sorted(states), current_session.id, request.user.id)  # type: ignore[attr-defined]

    client = app.test_client()
    emulator.clear_requests()
    client.get("/unread", headers=bearer(ada))
    assert emulator.requests() == {}
    client.get("/read", headers=bearer(ada))
    assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}


@pytest.mark.rule("S25")
def test_the_identity_is_not_kept_with_the_app_context(app: Flask, emulator: Emulator) -> None:
    """An app context that was pushed once outlives requests, and so does all that is on its ``g``."""

    @app.get("/who")
    @optional_auth
    def who() -> Any:
        g.seen = [*getattr(g, "seen", []), current_auth.state]
        return jsonify(current_auth.user.id if current_auth.user else None)

    people = [emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben")]
    with app.app_context():
        client = app.test_client()
        for person in people * 2:
            assert client.get("/who", headers=bearer(person)).get_json() == person.user_id
            assert client.get("/who").get_json() is None


@pytest.mark.rule("S25")
def test_requests_inside_one_another(app: Flask, emulator: Emulator) -> None:
    ada, ben = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben"))
    with app.test_request_context("/", headers=bearer(ada)):
        assert current_user.id == ada.user_id
        with app.test_request_context("/", headers=bearer(ben)):
            assert current_user.id == ben.user_id
        with app.test_request_context("/"):
            assert current_auth.is_anonymous
        assert current_user.id == ada.user_id


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_apps_own_error_handler_wins(emulator: Emulator, when: str) -> None:
    app = Flask(__name__)
    extension = FlaskMoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url)
    if when == "after":
        extension.init_app(app)

    @app.errorhandler(MoonKeyError)
    def ours(error: MoonKeyError) -> Any:
        return f"handled {error.reason}", 418

    if when == "before":
        extension.init_app(app)
    views(app)
    for path in ("/bare", "/async", "/method", "/inside/here"):
        response = app.test_client().get(path)
        assert (response.status_code, response.text) == (418, "handled no_credentials")


def test_settings_by_argument_configuration_and_environment(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONKEY_REALM", "from the environment")
    monkeypatch.setenv("MOONKEY_LEEWAY", "7")
    monkeypatch.setenv("MOONKEY_TIMEOUT", "3")
    app = Flask(__name__)
    app.config.update(MOONKEY_SECRET_KEY=emulator.secret_key, MOONKEY_LEEWAY=8, MOONKEY_TIMEOUT=4)
    FlaskMoonKey(app, leeway=9)
    settings = app.extensions["moonkey"].settings
    assert (settings.realm, settings.leeway, settings.timeout) == ("from the environment", 9.0, 4.0)


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ["MOONKEY_SECRET_KEY", "missing"]),
        ({"MOONKEY_SECRET_KEY": "pk_test_1"}, ["MOONKEY_SECRET_KEY", "public key"]),
        ({"MOONKEY_SECRET_KEY": "sk_test_1", "MOONKEY_LEWAY": 1}, ["leway", "leeway"]),
    ],
)
def test_a_wrong_setting_stops_the_start(
    config: dict[str, Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOONKEY_SECRET_KEY", raising=False)
    app = Flask(__name__)
    app.config.update(config)
    with pytest.raises(ConfigurationError) as caught:
        FlaskMoonKey(app)
    assert all(word in str(caught.value) for word in words)


def test_one_extension_for_two_apps(emulator: Emulator, ada: SignedIn) -> None:
    extension = FlaskMoonKey(base_url=emulator.base_url)
    apps = []
    for number, key in enumerate((emulator.secret_key, "sk_test_other")):
        app = Flask(f"app{number}")
        app.config["MOONKEY_SECRET_KEY"] = key
        extension.init_app(app)
        views(app)
        apps.append(app)
    statuses = [app.test_client().get("/bare", headers=bearer(ada)).status_code for app in apps]
    assert statuses == [200, 500]


def test_a_client_of_the_apps_own(emulator: Emulator, ada: SignedIn) -> None:
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        app = Flask(__name__)
        FlaskMoonKey(app, client=client)

        @app.post("/sign-out")
        @require_auth
        def sign_out() -> Any:
            get_client().sessions.revoke(session_id=current_session.id)
            return "", 204

        visitor: FlaskClient = app.test_client()
        assert visitor.post("/sign-out", headers=bearer(ada)).status_code == 204
        assert visitor.post("/sign-out", headers=bearer(ada)).status_code == 401


def test_without_the_extension() -> None:
    app = Flask(__name__)
    views(app)
    app.testing = True
    with pytest.raises(ConfigurationError, match=r"FlaskMoonKey\(app\)"):
        app.test_client().get("/bare")


def test_outside_of_a_request() -> None:
    with pytest.raises(RuntimeError, match="request context"):
        _ = current_auth.state


@pytest.mark.long
def test_200_requests_to_an_async_view_leave_nothing_behind(app: Flask, ada: SignedIn) -> None:
    views(app)

    with serve_wsgi(app, threads=4) as url, quick.Client() as browser:

        def visit(times: int) -> None:
            for _ in range(times):
                assert browser.get(f"{url}/async", headers=bearer(ada)).status_code == 200

        def open_files() -> int:
            return len(os.listdir("/proc/self/fd"))

        visit(10)
        before = open_files()
        visit(200)
        # The pools of the server and of the client may still be filling; other threads open files for a moment.
        assert wait_until(lambda: open_files() <= before + 2)


@pytest.mark.rule("S28")
def test_a_file_never_reads_the_identity(app: Flask, ada: SignedIn) -> None:
    """Whatever the server wraps it in: the wrapper of Werkzeug, unlike that of waitress, has no length."""

    @app.get("/file")
    def file() -> Response:
        return send_file(__file__)

    with app.test_client().get("/file", headers=bearer(ada)) as response:
        assert response.is_streamed
        assert "Vary" not in response.headers
