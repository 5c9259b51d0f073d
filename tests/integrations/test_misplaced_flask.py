"""Flask: gates that protect nothing are refused at the first request, and nothing else is."""

from __future__ import annotations

import functools
import gc
import logging
import types
from collections.abc import Callable
from typing import Any, cast

import flask_socketio  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, request_started
from flask.views import MethodView

import moonkey_django
import moonkey_starlette
from moonkey_core import ConfigurationError
from moonkey_core.emulator import Emulator
from moonkey_core.web import placement
from moonkey_flask import FlaskMoonKey, optional_auth, require_auth
from moonkey_flask.gates import _check_forgotten

View = Callable[..., Any]


def made() -> Flask:
    app = Flask("misplaced", template_folder=None)
    FlaskMoonKey(app, secret_key="sk_test_of_nobody")
    return app


def timed(view: View) -> View:
    @functools.wraps(view)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


def plain(view: View) -> View:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return inner


class Counted:
    """A decorator that is a class."""

    def __init__(self, view: View) -> None:
        functools.update_wrapper(self, view)
        self.view = view

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.view(*args, **kwargs)


def status(app: Flask, path: str) -> int:
    return app.test_client().get(path).status_code


def directly(app: Flask) -> None:
    @require_auth
    @app.get("/me")
    def me() -> str:
        return "open"


def with_parentheses(app: Flask) -> None:
    @require_auth(max_staleness=0)
    @app.route("/me", methods=["GET", "POST"])
    def me() -> str:
        return "open"


def asynchronous(app: Flask) -> None:
    @require_auth
    @app.get("/me")
    async def me() -> str:
        return "open"


def optional(app: Flask) -> None:
    @optional_auth
    @app.get("/me")
    def me() -> str:
        return "open"


def in_a_blueprint(app: Flask) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)

    @require_auth
    @inner.get("/me")
    def me() -> str:
        return "open"

    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def above_another_decorator(app: Flask) -> None:
    @require_auth
    @app.get("/me")
    @timed
    def me() -> str:
        return "open"


def above_a_decorator_of_the_route(app: Flask) -> None:
    @require_auth
    @timed
    @app.get("/me")
    def me() -> str:
        return "open"


def stricter_than_the_one_below(app: Flask) -> None:
    @require_auth(roles={"admin"})
    @app.get("/me")
    @require_auth
    def me() -> str:
        return "open"


def below_other_decorators(app: Flask) -> None:
    @Counted
    @timed
    @plain
    @require_auth
    @app.get("/me")
    def me() -> str:
        return "open"


def called_by_a_neighbour(app: Flask) -> None:
    @require_auth
    @app.get("/me")
    def me() -> str:
        return "open"

    @app.get("/other")
    def other() -> Any:
        return me()


def gated_twice(app: Flask) -> None:
    @optional_auth
    @require_auth
    @app.get("/me")
    def me() -> str:
        return "open"


def thrown_away(app: Flask) -> None:
    def me() -> str:
        return "open"

    app.add_url_rule("/me", view_func=me)
    require_auth(me)


def a_method(app: Flask) -> None:
    class Service:
        def me(self) -> str:
            return "open"

    service = Service()
    require_auth(app.get("/me")(service.me))
    app.extensions["service"] = service


def for_the_whole_app(app: Flask) -> None:
    @require_auth
    @app.before_request
    def guard() -> None:
        return None

    @app.get("/me")
    def me() -> str:
        return "open"


MISTAKES = [
    directly,
    with_parentheses,
    asynchronous,
    optional,
    in_a_blueprint,
    above_another_decorator,
    above_a_decorator_of_the_route,
    stricter_than_the_one_below,
    below_other_decorators,
    called_by_a_neighbour,
    gated_twice,
    thrown_away,
    a_method,
    for_the_whole_app,
]


@pytest.mark.rule("S26")
@pytest.mark.parametrize("write", MISTAKES, ids=lambda write: write.__name__)
def test_s26_a_gate_that_nobody_calls_keeps_the_app_from_answering(
    write: Callable[[Flask], None], caplog: pytest.LogCaptureFixture
) -> None:
    app = made()
    write(app)

    @app.get("/health")
    def health() -> str:
        return "fine"

    for path in ("/health", "/me", "/me"):
        assert status(app, path) == 500
    assert "test_misplaced_flask.py, line " in caplog.text
    assert "Put the gate below the route" in caplog.text


def test_the_sentence_shows_what_to_write(caplog: pytest.LogCaptureFixture) -> None:
    app = made()
    directly(app)
    caplog.set_level(logging.ERROR)
    assert "open to everybody" not in app.test_client().get("/me").text
    assert 'first @app.get("/me"), then @require_auth, then def me(' in caplog.text
    assert "GET /me is open to everybody" in caplog.text


def test_an_app_that_was_never_set_up_is_looked_at_too() -> None:
    app = Flask("misplaced", template_folder=None)
    app.testing = True
    directly(app)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="open to everybody"):
            app.test_client().get("/me")
    other = made()
    other.add_url_rule("/", "view", view)
    assert _check_forgotten in request_started.receivers_for(other)
    assert status(other, "/") == 200
    assert _check_forgotten not in request_started.receivers_for(other)


@pytest.mark.long
def test_a_gate_in_a_module_of_its_own() -> None:
    """Where the name is global."""
    app = made()
    source = "@require_auth\n@app.get('/me')\ndef me():\n    return 'open'\n"
    namespace: dict[str, Any] = {"app": app, "require_auth": require_auth, "__name__": "some_module"}
    exec(source, namespace)
    exec("@app.get('/other')\ndef other():\n    return me()\n", namespace)
    assert status(app, "/other") == 500


# --- What is right


def view() -> str:
    return "open"


def copied(function: Any) -> Any:
    """The same function as one of its own, made by another."""
    made: Any = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    made.__qualname__ = f"copied.<locals>.{function.__name__}"
    return made


@pytest.mark.parametrize("over", [lambda gate: gate, timed, plain, Counted, functools.partial])
def test_a_view_that_is_public_here_and_protected_there(over: Callable[[View], View]) -> None:
    app = made()
    app.add_url_rule("/public", "public", view)
    app.add_url_rule("/private", "private", over(require_auth(view)))
    assert [status(app, path) for path in ("/public", "/private")] == [200, 401]


@pytest.mark.long
@pytest.mark.parametrize("first", [0, 1])
def test_a_view_that_is_public_in_one_app_and_protected_in_another(first: int) -> None:
    def page() -> str:
        return "open"

    public, private = made(), made()
    public.add_url_rule("/", "page", page)
    private.add_url_rule("/", "page", plain(require_auth(page)))
    apps = [public, private]
    for app in (apps[first], apps[1 - first]):
        assert status(app, "/") == (200 if app is public else 401)


@pytest.mark.long
@pytest.mark.parametrize("page", [view, copied(view)])
def test_a_view_that_was_protected_in_an_app_that_is_gone(page: View) -> None:
    for is_public in (False, True):
        app = made()
        app.add_url_rule("/", "page", page if is_public else require_auth(page))
        assert status(app, "/") == (200 if is_public else 401)
        del app
        gc.collect()


def test_a_protected_view_for_another_app_that_is_not_made_here() -> None:
    namespace: dict[str, Any] = {"require_auth": require_auth, "__name__": "some_views"}
    exec("def page():\n    return 'open'\n\nprotected_page = require_auth(page)\n", namespace)
    app = made()
    app.add_url_rule("/", "page", namespace["page"])
    assert status(app, "/") == 200


def test_a_gate_that_a_view_calls_by_itself() -> None:
    def page() -> str:
        return "open"

    app = made()
    app.add_url_rule("/public", "public", page)
    protected = require_auth(page)
    seen = require_auth(page)

    @app.get("/private")
    def private() -> Any:
        return protected()

    @app.get("/now")
    def now() -> Any:
        return require_auth(page)()

    assert seen is not protected
    assert [status(app, path) for path in ("/public", "/private", "/now")] == [200, 401, 401]


@pytest.mark.rule("S26")
def test_gates_where_they_belong() -> None:
    app = made()

    @app.get("/function")
    @timed
    @require_auth
    @timed
    def function() -> str:
        return "seen"

    class Page(MethodView):
        decorators = [require_auth]

        def get(self) -> str:
            return "seen"

    class Part(MethodView):
        @require_auth
        def get(self) -> str:
            return "seen"

    @app.before_request
    @optional_auth
    def look() -> None:
        return None

    @app.get("/again", endpoint="again")
    @require_auth
    @app.get("/twice", endpoint="twice")
    def twice() -> str:
        return "open"

    app.add_url_rule("/page", view_func=Page.as_view("page"))
    app.add_url_rule("/part", view_func=Part.as_view("part"))
    found = [status(app, path) for path in ("/function", "/page", "/part", "/again", "/twice")]
    assert found == [401, 401, 401, 401, 200]


# --- Events of Flask-SocketIO


def on_connect(sockets: Any) -> None:
    @require_auth
    @sockets.on("connect")  # type: ignore[untyped-decorator]
    def connect(auth: Any = None) -> None:
        return None


def on_an_event(sockets: Any) -> None:
    sockets.on("connect")(lambda auth=None: None)

    @require_auth(roles={"admin"})
    @sockets.on("news", namespace="/paper")  # type: ignore[untyped-decorator]
    @timed
    def news(text: str) -> None:
        return None


def by_its_name(sockets: Any) -> None:
    @require_auth
    @sockets.event  # type: ignore[untyped-decorator]
    def connect(auth: Any = None) -> None:
        return None


@pytest.mark.rule("S26", "connection")
@pytest.mark.parametrize("first", ["a connection", "a request"])
@pytest.mark.parametrize(
    ("write", "line"),
    [
        (on_connect, 'first @socketio.on("connect"), then @require_auth, then def connect('),
        (on_an_event, 'first @socketio.on("news", namespace="/paper"), then @require_auth, then def news('),
        (by_its_name, 'first @socketio.on("connect"), then @require_auth, then def connect('),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_s26_a_gate_above_an_event_keeps_the_app_from_answering(
    write: Callable[[Any], None], line: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = made()
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    write(sockets)
    app.add_url_rule("/", "view", view)
    if first == "a request":
        assert status(app, "/") == 500
    assert not sockets.test_client(app).is_connected()
    assert line in caplog.text
    assert "is open to everybody" in caplog.text


def test_an_event_of_an_app_that_is_set_up_later() -> None:
    """The handlers wait in Flask-SocketIO until there is an app."""
    sockets = flask_socketio.SocketIO()
    on_connect(sockets)
    app = made()
    sockets.init_app(app, async_mode="threading")
    assert not sockets.test_client(app).is_connected()


def test_gates_of_events_where_they_belong(emulator: Emulator) -> None:
    app = Flask("events", template_folder=None)
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
    sockets = flask_socketio.SocketIO(app, async_mode="threading")
    headers = {"authorization": f"Bearer {emulator.sign_in().session_token}"}

    @sockets.on("connect")  # type: ignore[untyped-decorator]
    @timed
    @require_auth
    def connect(auth: Any = None) -> None:
        return None

    @sockets.on("news")  # type: ignore[untyped-decorator]
    def news() -> str:
        return "open"

    class Paper(flask_socketio.Namespace):  # type: ignore[misc]
        @require_auth
        def on_connect(self, auth: Any = None) -> None:
            return None

    sockets.on_namespace(Paper("/paper"))
    app.add_url_rule("/news", "news", require_auth(news))  # public as an event only
    client = sockets.test_client(app, headers=headers)
    client.connect("/paper", headers=headers)
    assert (client.is_connected(), client.is_connected("/paper")) == (True, True)
    assert client.emit("news", callback=True) == "open"
    assert status(app, "/news") == 401
    assert not sockets.test_client(app).is_connected()


# --- What is no view


@pytest.mark.parametrize("gate", [require_auth, optional_auth])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("admin",), r"write @.*_auth\(roles=\{'admin'\}\)"),
        (("admin", "staff"), "by keyword"),
        ((type("Page", (MethodView,), {}),), r"Page is a class: write decorators = \[.*_auth\]"),
        ((staticmethod(view),), "Write @staticmethod above"),
        ((classmethod(cast(Any, view)),), "Write @classmethod above"),
        ((property(cast(Any, view)),), "Write @property above"),
        (({"admin"},), "was given a set"),
        ((require_auth,), "was given require_auth"),
        ((require_auth(),), "was given require_auth"),
        ((Flask("misplaced", template_folder=None),), "@app.before_request"),
        ((Blueprint("misplaced", __name__),), "was given a Blueprint"),
    ],
)
def test_what_no_gate_can_stand_in_front_of(gate: Any, given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        gate(*given)
    with pytest.raises(TypeError, match=said):
        gate(max_staleness=0)(given[0]) if len(given) == 1 else gate(*given, max_staleness=0)


@pytest.mark.parametrize("wrong", [require_auth, require_auth(), optional_auth, functools.partial(require_auth)])
def test_the_gate_itself_is_no_view(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = made()
    app.add_url_rule("/me", "me", wrong)
    assert status(app, "/me") == 500
    assert "which is no view" in caplog.text


# --- Gates of other frameworks


@pytest.mark.parametrize("gate", [moonkey_django.require_auth, moonkey_starlette.require_auth])
def test_another_frameworks_gate_is_named(gate: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = made()

    def me(request: Any = None) -> str:
        return "open"

    app.add_url_rule("/me", "me", timed(gate(me)))
    app.add_url_rule("/other", "other", view)
    assert [status(app, path) for path in ("/other", "/me")] == [500, 500]
    assert f"the require_auth of {gate.__module__.partition('.')[0]}" in caplog.text
    assert "from moonkey_flask import require_auth" in caplog.text


def test_our_gate_somewhere_else() -> None:
    with pytest.raises(ConfigurationError, match="from moonkey_django, or from moonkey_starlette"):
        require_auth(view)()


# --- Nothing is kept


def tables() -> tuple[int, int]:
    gc.collect()
    return len(placement._gates), len(placement._results)


@pytest.mark.long
def test_nothing_grows_with_requests_and_nothing_is_kept_alive() -> None:
    def visits() -> None:
        def page() -> str:
            return "open"

        app = made()
        app.add_url_rule("/public", "public", page)
        app.add_url_rule("/now", "now", lambda: require_auth(page)())
        assert status(app, "/now") == 401
        at_first = tables()
        assert [status(app, "/now") for _ in range(20)] == [401] * 20
        assert tables() == at_first == (before[0] + 1, before[1] + 1)

    before = tables()
    visits()
    assert tables() == before
