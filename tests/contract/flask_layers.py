"""Layers of Flask, and of its extensions, between MoonKey and a gate."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flask_restful  # type: ignore[import-untyped]
from flask import Blueprint, Flask, Response, jsonify
from flask.views import MethodView
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from moonkey_core import Auth
from moonkey_core.gate import require
from moonkey_flask import FlaskMoonKey, current_auth, current_session, current_user, require_auth

WRITERS = require_auth(scopes={"write"})
GATES: dict[str, Any] = {"me": require_auth, "write": WRITERS}


def polite(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows HTTP exceptions, and makes a 500 of all others."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except HTTPException:
            raise
        except Exception:
            return jsonify(foreign=500), 500

    return guarded


class CatchAll:
    """WSGI middleware that makes a 500 of all exceptions."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        try:
            return self._app(environ, start_response)
        except Exception:
            return Response("foreign", 500)(environ, start_response)


def who() -> dict[str, str]:
    return {"user": current_user.id}


async def awho() -> dict[str, str]:
    return {"user": current_user.id}


def add_views(place: Flask | Blueprint, wrapped: Callable[[Any], Any] = lambda view: view) -> None:
    """The two gates, on a sync and an async view and a class; and views that read the user themselves."""
    for name, gate in GATES.items():
        place.add_url_rule(f"/sync/{name}", f"sync-{name}", wrapped(gate(lambda: who())))
        place.add_url_rule(f"/async/{name}", f"async-{name}", wrapped(gate(awho)))
        methods = {"get": lambda self: who(), "decorators": [gate, wrapped]}
        view: Any = type("Me", (MethodView,), methods)
        place.add_url_rule(f"/class/{name}", view_func=view.as_view(f"class-{name}"))
    place.add_url_rule("/user/me", "user", wrapped(lambda: who()))
    place.add_url_rule("/session/me", "session", wrapped(lambda: {"user": current_session.user_id}))
    place.add_url_rule("/own/me", "own", wrapped(own))


def own() -> dict[str, str]:
    auth: Auth = current_auth
    return {"user": require(auth).user.id}


def all_in_blueprint(gate: Any) -> Blueprint:
    place = Blueprint(f"whole-{gate}", __name__)
    place.before_request(GATES[gate](lambda: None))
    place.add_url_rule(f"/whole/{gate}", "me", lambda: who())
    return place


def with_http_handler(error: HTTPException) -> Any:
    return jsonify(foreign="HTTPException"), 418


def with_any_handler(error: Exception) -> Any:
    """As Flask's documentation shows it."""
    return error if isinstance(error, HTTPException) else (jsonify(foreign=500), 500)


def resources(app: Flask | Blueprint) -> flask_restful.Api:
    api = flask_restful.Api(app)
    for name, gate in GATES.items():
        methods = {"method_decorators": [gate], "get": lambda self: who()}
        api.add_resource(type(f"Gated-{name}", (flask_restful.Resource,), methods), f"/gated/{name}")
    api.add_resource(type("Reads", (flask_restful.Resource,), {"get": lambda self: who()}), "/reads/me")
    api.add_resource(type("Own", (flask_restful.Resource,), {"get": lambda self: own()}), "/own/me")
    return api


def make_app(options: Mapping[str, Any], **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(config)
    FlaskMoonKey(app, **options)
    return app


def plain_app(options: Mapping[str, Any]) -> Flask:
    app = make_app(options)
    add_views(app)
    decorated = Blueprint("decorated", __name__, url_prefix="/decorated")
    add_views(decorated, polite)
    http = Blueprint("http", __name__, url_prefix="/http")
    http.errorhandler(HTTPException)(with_http_handler)
    add_views(http)
    any_error = Blueprint("any", __name__, url_prefix="/any")
    any_error.errorhandler(Exception)(with_any_handler)
    add_views(any_error)
    for one in (decorated, http, any_error, *map(all_in_blueprint, GATES)):
        app.register_blueprint(one)
    app.errorhandler(401)(lambda error: ("foreign", 401))
    app.errorhandler(403)(lambda error: ("foreign", 403))
    app.errorhandler(HTTPException)(with_http_handler)
    app.errorhandler(Exception)(with_any_handler)
    return app


def gated_app(options: Mapping[str, Any], gate: Any) -> Flask:
    app = make_app(options)
    app.before_request(gate(lambda: None))
    app.add_url_rule("/me", "me", who)
    return app


def rest_app(options: Mapping[str, Any], **config: Any) -> Flask:
    app = make_app(options, **config)
    resources(app)
    place = Blueprint("v1", __name__, url_prefix="/v1")
    resources(place)
    app.register_blueprint(place)
    return app


def site(options: Mapping[str, Any]) -> Any:
    apps: dict[str, Any] = {
        "/plain": plain_app(options),
        "/debug": make_debug(options),
        "/gated/me": CatchAll(gated_app(options, require_auth)),
        "/gated/write": CatchAll(gated_app(options, WRITERS)),
        "/rest": rest_app(options),
        "/rest-testing": rest_app(options, TESTING=True),
        "/rest-propagating": rest_app(options, PROPAGATE_EXCEPTIONS=True),
    }
    return DispatcherMiddleware(Response("", 404), apps)


def make_debug(options: Mapping[str, Any]) -> Flask:
    app = make_app(options, TRAP_HTTP_EXCEPTIONS=True)
    add_views(app)
    return app


_VIEWS = ("sync", "async", "class")
_READS = ("user/me", "session/me", "own/me")
PLACES = ("/plain", "/plain/decorated", "/plain/http", "/plain/any", "/debug")
GATED = (
    *(f"{place}/{view}" for place in PLACES for view in _VIEWS),
    "/plain/whole",
    *(f"{rest}{place}/gated" for rest in ("/rest", "/rest-testing", "/rest-propagating") for place in ("", "/v1")),
)
"""Below each stand ``/me``, which asks for a user, and ``/write``, which asks for a scope."""
READING = (
    *(f"{place}/{view}" for place in PLACES for view in _READS),
    "/gated/me/me",
    *(f"/rest{place}/{view}/me" for place in ("", "/v1") for view in ("reads", "own")),
)
"""Ask for a user alone."""
FORBIDDEN = ("/gated/write/me",)
