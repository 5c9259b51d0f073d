"""The audit of a Flask app: :func:`moonkey_core.audit.audit_routes` reads its routes and events here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from flask.views import MethodView, View
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule

from moonkey_core.audit import (
    Endpoint,
    Found,
    RouteAudit,
    Verdict,
    by_methods,
    contradictions,
    idle_methods,
    judged,
    name_of,
)
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.marks import called_by, marks_on, vars_of
from moonkey_core.web.placement import attribute, demands_of, described, kind_of, misplaced_gates
from moonkey_flask.closed import handlers_of, serves_files
from moonkey_flask.gates import FLASK, registered
from moonkey_flask.names import CLOSED

_PACKAGE = "moonkey_flask"
_FRAMEWORKS = ("flask", "flask_restful", "flask_socketio", "moonkey_flask")
_CLOSED_BY = "required=True"
_AUTOMATIC = {"HEAD", "OPTIONS"}
_MOST_LAYERS = 100
_CONNECT = (
    "A client connects without a handler of this event, and hears what is sent to all. Write one with "
    '@socketio.on("connect") and @require_auth.'
)
_BY_HAND = (
    "A before_request function calls a gate under conditions of its own, which cannot be seen from here. Use "
    "FlaskMoonKey(app, required=True) with @public instead, or put @require_auth on the view."
)
_GUARDS = {
    "flask_login.utils": "login_required",
    "flask_jwt_extended.view_decorators": "jwt_required",
    "flask_security.decorators": "Flask-Security",
    "flask_httpauth": "Flask-HTTPAuth",
    "flask_principal": "Flask-Principal",
    "authlib.integrations.flask_oauth2.resource_protector": "ResourceProtector",
}
"""Other packages' gates, by the module of the function that they put around a view."""


def audit_routes(app: Any) -> RouteAudit:
    """Return the audit of a Flask app.

    Args:
        app: The app, bare or inside of layers that keep the next one as ``app`` or ``wsgi_app``.

    Raises:
        ConfigurationError: There is no Flask app in it.
    """
    endpoints: list[Endpoint] = []
    void: list[str] = []
    for mounted, prefix in _apps_in(app):
        if isinstance(mounted, Flask):
            endpoints += _rows_of(mounted, prefix)
            void += _void_gates(mounted)
        else:
            endpoints.append(_unknown(mounted, prefix))
    return RouteAudit(framework="Flask", endpoints=tuple(endpoints), void_gates=tuple(dict.fromkeys(void)))


def _apps_in(app: Any, prefix: str = "") -> Iterator[tuple[Any, str]]:
    """Yield the Flask app in some layers, and the apps that are mounted beside it, each with its prefix."""
    layer, found = app, None
    for _ in range(_MOST_LAYERS):
        if isinstance(layer, DispatcherMiddleware):
            for path, mounted in layer.mounts.items():
                where = prefix + path
                yield from _apps_in(mounted, where) if _has_flask(mounted) else [(mounted, where)]
        if isinstance(layer, Flask):
            if found is layer:
                return
            found = layer
            yield layer, prefix
            layer = layer.wsgi_app  # this may be a layer that was put around it
        else:
            layer = attribute(layer, "app") or attribute(layer, "wsgi_app")
        layer = getattr(layer, "__self__", layer)
        if layer is None:
            break
    if found is None:
        raise ConfigurationError(f"There is no Flask app in this {type(app).__name__}.")


def _has_flask(app: Any) -> bool:
    try:
        return next(_apps_in(app), None) is not None
    except ConfigurationError:
        return False


def _unknown(app: Any, prefix: str) -> Endpoint:
    hint = "Its routes cannot be seen from here: audit it by itself."
    return Endpoint(
        methods="ANY", path=f"{prefix}/*", view=described(app), verdict=Verdict.UNKNOWN, said_by="", hint=hint
    )


def _rows_of(app: Flask, prefix: str) -> Iterator[Endpoint]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is not None and not rule.build_only and rule.redirect_to is None:
            yield from by_methods(_row(app, rule, view, prefix, method) for method in _methods_of(rule))
    yield from _events_of(app)


def _methods_of(rule: Rule) -> list[str]:
    if rule.websocket:
        return ["WEBSOCKET"]
    methods = set(rule.methods or ("GET",))
    automatic = _AUTOMATIC if getattr(rule, "provide_automatic_options", True) else {"HEAD"}
    return sorted(methods - automatic) or sorted(methods) or ["ANY"]


def _row(app: Flask, rule: Rule, view: Any, prefix: str, method: str) -> Endpoint:
    path = prefix + rule.rule
    handlers = handlers_of(view, method)
    gates, hint = _gates_before(app, rule.endpoint)
    found = Found(
        closed_by=_CLOSED_BY if CLOSED in app.extensions else "",
        gates=[*gates, *_restful_gates(view, method)],
        guard=_guard_of(view, *handlers),
        nature="static files" if serves_files(view) else "",
        hint=hint,
    )
    return judged((method, path), name_of(view, handlers), marks_on(view, *handlers), found, _PACKAGE)


def _gates_before(app: Flask, endpoint: str) -> tuple[list[tuple[str, Requirements]], str]:
    """Return the gates among the ``before_request`` functions that run for an endpoint, and a hint.

    They are those of the app, and of the endpoint's blueprints, from the outermost in.
    """
    parts = endpoint.split(".")[:-1]
    names = [None, *(".".join(parts[: count + 1]) for count in range(len(parts)))]
    gates: list[tuple[str, Requirements]] = []
    hint = ""
    for name in names:
        place = "the app" if name is None else f"the blueprint {name}"
        for function in app.before_request_funcs.get(name, ()):
            marks = [mark for mark in marks_on(function) if mark.package == _PACKAGE and mark.is_gate]
            gates += [(f"before_request of {place}", mark.requirements or Requirements()) for mark in marks]
            if not marks and _names_a_gate(function):
                hint = _BY_HAND
    return gates, hint


def _names_a_gate(function: Any) -> bool:
    """Return whether the code of a function names a gate, or what makes one."""
    code, names = attribute(function, "__code__"), attribute(function, "__globals__")
    if code is None or not isinstance(names, Mapping):
        return False
    return any(
        kind is not None and kind.package == _PACKAGE for kind in (kind_of(names.get(n)) for n in code.co_names)
    )


def _restful_gates(view: Any, method: str) -> Iterator[tuple[str, Requirements]]:
    """Yield the gates in ``method_decorators``, which Flask-RESTful applies in ``dispatch_request``."""
    owner = attribute(view, "view_class")
    listed = vars_of(owner, "method_decorators") if isinstance(owner, type) else None
    if isinstance(listed, Mapping):
        listed = listed.get(method.lower(), ())
    for one in listed if isinstance(listed, list | tuple) else ():
        kind = kind_of(one)
        if kind is not None and kind.package == _PACKAGE and kind.name == "require_auth":
            yield "method_decorators", demands_of(one) or Requirements()


def _guard_of(*views: Any) -> str:
    for view in views:
        for one in called_by(view):
            module = (attribute(one, "__globals__") or {}).get("__name__", "")
            if module in _GUARDS:
                return _GUARDS[module]
    return ""


def _events_of(app: Flask) -> Iterator[Endpoint]:
    """Yield the events of Flask-SocketIO, and the missing ``connect`` of a namespace that has others."""
    server = attribute(app.extensions.get("socketio"), "server")
    closed_by = _CLOSED_BY if CLOSED in app.extensions else ""
    for namespace, handlers in (attribute(server, "handlers") or {}).items():
        yield from _namespace_of(namespace, dict(handlers), (), closed_by)
    for namespace, owner in (attribute(server, "namespace_handlers") or {}).items():
        names = [name for name in dir(type(owner)) if name.startswith("on_")]
        handlers = {name.removeprefix("on_"): vars_of(type(owner), name) for name in names}
        yield from _namespace_of(namespace, handlers, (type(owner),), closed_by)


def _namespace_of(
    namespace: str, handlers: dict[str, Any], owner: tuple[type, ...], closed_by: str
) -> Iterator[Endpoint]:
    if "connect" not in handlers:
        yield Endpoint(
            methods="EVENT", path=f"connect of {namespace}", view="no handler", verdict=Verdict.UNPROTECTED,
            hint=_CONNECT,
        )  # fmt: skip
    for event, handler in handlers.items():
        if event != "disconnect":
            found, marks = Found(closed_by=closed_by), marks_on(handler, *owner)
            yield judged(("EVENT", f"{event} of {namespace}"), described(handler), marks, found, _PACKAGE)


def _void_gates(app: Flask) -> Iterator[str]:
    found = list(registered(app))
    yield from misplaced_gates(found, FLASK)
    called: dict[type, set[str]] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        owner = attribute(view, "view_class")
        if isinstance(owner, type) and issubclass(owner, View):
            names = {"dispatch_request", "decorators"}
            if issubclass(owner, MethodView):
                names |= {method.lower() for method in rule.methods or ()}
            called.setdefault(owner, set()).update(names)
        yield from contradictions(f"{'/'.join(_methods_of(rule))} {rule.rule}", view, marks_on(view), _PACKAGE)
    for owner, names in called.items():
        yield from idle_methods(owner, names, _FRAMEWORKS)
