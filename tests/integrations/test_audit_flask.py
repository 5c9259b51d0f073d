"""The audit of a Flask app: what it says of each endpoint, and the holes and void gates that it finds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flask_restful  # type: ignore[import-untyped]
import flask_socketio  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

import moonkey_django
from moonkey_core.audit import Verdict, assert_all_protected, audit_routes
from moonkey_core.errors import ConfigurationError
from moonkey_flask import FlaskMoonKey, current_auth, optional_auth, public, require_auth, session_routes

Anything = Callable[..., Any]


def made(**options: Any) -> Flask:
    app = Flask("audited", static_folder=None)
    FlaskMoonKey(app, secret_key="sk_test_of_nobody", base_url="http://127.0.0.1:9", cookies={}, **options)
    return app


def verdicts(app: Any) -> dict[str, str]:
    return {one.where: one.verdict.value for one in audit_routes(app).endpoints}


def plain(view: Anything) -> Anything:
    """A decorator that copies nothing of what it wraps."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


def hello() -> str:
    return "hello"


@pytest.mark.rule("S53")
def test_an_app_with_one_planted_hole() -> None:
    app = made()
    app.add_url_rule("/me", "me", require_auth(hello))
    app.add_url_rule("/health", "health", public(reason="a probe")(lambda: "ok"))
    app.add_url_rule("/hole", "hole", hello, methods=["GET", "POST"])
    audit = audit_routes(app)
    assert verdicts(app) == {"GET /me": "protected", "GET /health": "public", "GET/POST /hole": "unprotected"}
    assert not audit.is_ok
    with pytest.raises(AssertionError, match=r"GET/POST /hole is unprotected: hello \(test_audit_flask.py, line"):
        assert_all_protected(app)
    [health] = audit.with_verdict(Verdict.PUBLIC)
    assert health.said_by == "@public: a probe"


def test_what_each_kind_of_view_demands_and_where_that_is_said() -> None:
    app = made()

    class Both(MethodView):
        @require_auth(roles={"admin", "owner"})
        def get(self) -> str:
            return "get"

        def post(self) -> str:
            return "post"

        @public
        def put(self) -> str:
            return "put"

    class Whole(View):
        decorators = [require_auth]

        def dispatch_request(self) -> str:
            return "whole"

    @public
    class Open(MethodView):
        def get(self) -> str:
            return "open"

    app.add_url_rule("/both", view_func=Both.as_view("both"))
    app.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    app.add_url_rule("/open", view_func=Open.as_view("open"))
    app.add_url_rule("/wrapped", "wrapped", plain(functools.lru_cache(require_auth(max_staleness=0)(hello))))
    app.add_url_rule("/maybe", "maybe", optional_auth(hello))
    found = {one.where: one for one in audit_routes(app).endpoints}
    assert {where: one.verdict.value for where, one in found.items()} == {
        "GET /both": "protected",
        "POST /both": "unprotected",
        "PUT /both": "public",
        "GET /whole": "protected",
        "GET /open": "public",
        "GET /wrapped": "protected",
        "GET /maybe": "public",
    }
    assert found["GET /both"].demands == {"roles": ["admin", "owner"]}
    assert found["GET /both"].view.startswith("test_what_each_kind_of_view")
    assert ".Both.get (" in found["GET /both"].view
    assert found["GET /wrapped"].demands == {"max_staleness": 0}
    assert found["GET /maybe"].said_by.startswith("@optional_auth")


def test_gates_of_blueprints_nested_blueprints_and_the_app() -> None:
    app, outer, inner, other = made(), Blueprint("a", __name__), Blueprint("b", __name__), Blueprint("c", __name__)
    outer.before_request(require_auth(scopes={"read"})(lambda: None))
    inner.add_url_rule("/in", "in", hello)
    outer.add_url_rule("/out", "out", hello)
    other.add_url_rule("/other", "other", hello)
    outer.register_blueprint(inner, url_prefix="/b")
    app.register_blueprint(outer, url_prefix="/a")
    app.register_blueprint(other)
    found = {one.where: one for one in audit_routes(app).endpoints}
    assert found["GET /a/out"].said_by == found["GET /a/b/in"].said_by == "before_request of the blueprint a"
    assert found["GET /a/b/in"].demands == {"scopes": ["read"]}
    assert found["GET /other"].verdict is Verdict.UNPROTECTED
    app.before_request(require_auth(lambda: None))
    assert {one.verdict for one in audit_routes(app).endpoints} == {Verdict.PROTECTED}


def test_a_gate_under_conditions_of_its_own_is_told() -> None:
    app = made()
    app.add_url_rule("/me", "me", hello)

    @app.before_request
    def sometimes() -> None:
        if current_auth.is_authenticated:
            require_auth(lambda: None)()

    [me] = audit_routes(app).unprotected
    assert "FlaskMoonKey(app, required=True)" in me.hint


def test_session_routes_and_static_files_are_public_and_say_so(tmp_path: Any) -> None:
    app = Flask("audited", static_folder=str(tmp_path), static_url_path="/files")
    FlaskMoonKey(app, secret_key="sk_test_of_nobody", base_url="http://127.0.0.1:9", cookies={}, required=True)
    app.register_blueprint(session_routes())
    app.register_blueprint(Blueprint("b", __name__, static_folder=str(tmp_path), url_prefix="/b"))
    app.add_url_rule("/me", "me", hello)
    found = {one.where: one for one in assert_all_protected(app).endpoints}
    assert found["GET /auth/sign-in"].said_by == "session route: sign_in"
    assert found["GET /files/<path:filename>"].said_by == "static files"
    closed = [one.where for one in found.values() if one.verdict is Verdict.PROTECTED]
    assert closed == ["GET /me"]
    assert found["GET /me"].said_by == "required=True"


def test_other_gates_and_foreign_apps() -> None:
    app, other = made(), made()
    api = flask_restful.Api(app)

    class Resource(flask_restful.Resource):  # type: ignore[misc]
        method_decorators = {"get": [require_auth]}

        def get(self) -> str:
            return "get"

        def post(self) -> str:
            return "post"

    api.add_resource(Resource, "/resource")
    other.add_url_rule("/in", "in", require_auth(hello))

    def foreign(environ: Any, start_response: Any) -> Any:
        raise NotImplementedError

    app.wsgi_app = DispatcherMiddleware(ProxyFix(app.wsgi_app), {"/other": other, "/foreign": foreign})  # type: ignore[method-assign]
    assert verdicts(app) == {
        "GET /resource": "protected",
        "POST /resource": "unprotected",
        "GET /other/in": "protected",
        "ANY /foreign/*": "unknown",
    }
    assert audit_routes(app).problems(strict=True)[-1].startswith("ANY /foreign/* is unknown")
    assert verdicts(ProxyFix(app))["GET /other/in"] == "protected"


def test_events_and_a_client_that_only_listens() -> None:
    app = made()
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    sockets.on("ping")(require_auth(hello))
    sockets.on("pong")(hello)
    assert verdicts(app) == {
        "EVENT connect of /": "unprotected",
        "EVENT ping of /": "protected",
        "EVENT pong of /": "unprotected",
    }
    sockets.on("connect")(require_auth(hello))
    assert verdicts(app)["EVENT connect of /"] == "protected"


@pytest.mark.rule("S53")
def test_gates_that_protect_nothing() -> None:
    app = made()
    require_auth(app.get("/above")(lambda: "open"))

    class Idle(MethodView):
        def get(self) -> str:
            return self.used()

        @require_auth
        def used(self) -> str:
            return "used"

        @require_auth
        def fetch(self) -> str:
            return "never called"

    app.add_url_rule("/idle", view_func=Idle.as_view("idle"))
    app.add_url_rule("/foreign", "foreign", moonkey_django.public(plain(hello)))
    both = require_auth(public(plain(hello)))
    app.add_url_rule("/both", "both", both)
    void = audit_routes(app).void_gates
    assert len(void) == 4
    assert void[0].startswith("GET /above is open to everybody")
    assert "from moonkey_flask import public" in void[1]
    assert "has both @require_auth and @public" in void[2]
    assert "Idle.fetch" in void[3]
    assert verdicts(app)["GET /foreign"] == "unprotected"
    assert verdicts(app)["GET /both"] == "protected"


def test_what_is_no_app() -> None:
    with pytest.raises(ConfigurationError, match="A dict is no app of Flask"):
        audit_routes({})


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        (lambda: public("probe"), "by keyword"),  # type: ignore[call-overload]
        (lambda: public(hello, "probe"), "by keyword"),  # type: ignore[call-overload]
        (lambda: public(require_auth(plain(hello))), "has both @require_auth and @public"),
        (lambda: public(staticmethod(hello)), "Write @staticmethod above"),
        (lambda: public(3), "no view"),  # type: ignore[call-overload]
        (lambda: public(reason=3), "is a text"),  # type: ignore[call-overload]
    ],
)
def test_a_wrong_use_of_public(mark: Anything, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        mark()
