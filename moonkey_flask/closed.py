"""Closed by default: with ``required=True`` each view of an app requires a sign-in, unless marked as open."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from flask import Blueprint, Flask, Request, Response, current_app
from flask.views import MethodView

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements, admit
from moonkey_core.web.marks import default_requirements, marks_on, vars_of
from moonkey_core.web.placement import attribute
from moonkey_flask.gates import is_answered_by_flask
from moonkey_flask.identity import current_request, meet
from moonkey_flask.names import CLOSED
from moonkey_flask.socketio import is_event

SETTING = "MOONKEY_REQUIRED"

_PACKAGE = "moonkey_flask"
_SEND_FILE = Blueprint.send_static_file


def is_closed(config: Mapping[str, Any], given: bool | None) -> bool:
    """Return whether an app is closed by default: by an argument of the extension, else by its configuration.

    Raises:
        ConfigurationError: The value is not a bool.
    """
    value = config.get(SETTING)
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(f"{SETTING} in app.config must be True or False.")
    return bool(value) if given is None else given


def close(app: Flask) -> None:
    """Have each view of an app require a sign-in, unless it is marked as open, before any other function runs."""
    app.extensions[CLOSED] = refuse_event
    decided: dict[tuple[str, str], tuple[object, Requirements | None]] = {}

    def refuse_by_default() -> Response | None:
        flask_request = current_request()
        rule = flask_request.url_rule
        if rule is None or is_answered_by_flask(flask_request):
            return None  # no view runs: the response is 404, 405, a redirect, or that to OPTIONS
        view, key = current_app.view_functions.get(rule.endpoint), (rule.endpoint, flask_request.method)
        known = decided.get(key)
        if known is None or known[0] is not view:
            known = decided[key] = (view, requirements_of(view, flask_request.method))
        requirements = known[1]
        if requirements is None:
            return None
        if _is_preflight(flask_request):
            return Response(status=204)  # it grants nothing, and no view runs for it
        admit(meet(flask_request, requirements), requirements)
        return None

    app.before_request_funcs.setdefault(None, []).insert(0, refuse_by_default)


def refuse_event(flask_request: Request) -> None:
    """Check the client of an event of Flask-SocketIO, whose handler is about to run.

    That of ``disconnect`` always runs: what a connection has left behind has to be put away.

    Raises:
        MoonKeyError: The client is refused.
    """
    event: Any = attribute(flask_request, "event")
    if not is_event(flask_request) or event.get("message") == "disconnect":
        return
    handler = _handler_of(current_app, attribute(flask_request, "namespace"), event.get("message"))
    requirements = default_requirements(marks_on(handler, type(attribute(handler, "__self__"))), _PACKAGE)
    if requirements is not None:
        admit(meet(flask_request, requirements), requirements)


def _handler_of(app: Flask, namespace: Any, message: Any) -> object:
    """Return the handler of an event; ``None`` where it is not known."""
    server = attribute(app.extensions.get("socketio"), "server")
    events = (attribute(server, "handlers") or {}).get(namespace)
    if events is not None and message in events:
        return events[message]
    owner = (attribute(server, "namespace_handlers") or {}).get(namespace)
    return attribute(owner, f"on_{message}")


def requirements_of(view: object, method: str) -> Requirements | None:
    """Return what the default requires of a request to a view; ``None`` where it is open."""
    if serves_files(view):
        return None
    return default_requirements(marks_on(view, *handlers_of(view, method)), _PACKAGE)


def serves_files(view: object) -> bool:
    """Return whether a view is Flask's own for static files."""
    if attribute(view, "__func__") is _SEND_FILE:
        return True
    if not isinstance(view, FunctionType):
        return False
    return view.__globals__.get("__name__") == "flask.app" and "send_static_file" in view.__code__.co_names


def handlers_of(view: object, method: str) -> tuple[object, ...]:
    """Return the method of a class-based view that Flask calls for a method of HTTP, if it dispatches by these."""
    owner = attribute(view, "view_class")
    if not (isinstance(owner, type) and issubclass(owner, MethodView)):
        return ()
    name = method.lower()
    if name == "head" and vars_of(owner, name) is None:
        name = "get"
    found = vars_of(owner, name)
    return () if found is None else (found,)


def _is_preflight(flask_request: Request) -> bool:
    headers = flask_request.headers
    return flask_request.method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers
