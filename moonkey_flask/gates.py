"""The search for gates that protect nothing: at an app's first request, when all routes are registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from flask import Flask, Request, current_app, request_started
from flask.sansio.scaffold import Scaffold

from moonkey_core.web.placement import (
    Framework,
    Registered,
    attribute,
    check_demands,
    check_once,
    order_advice,
    route_order_advice,
)
from moonkey_flask.names import EXTENSION, FIRST, GATES

_EVENT = "the event "
_AUTOMATIC = {"HEAD", "OPTIONS"}


def _right(name: str, gate: str, where: str) -> str:
    """Return the advice what to write, for a route or for an event of Flask-SocketIO."""
    if not where.startswith(_EVENT):
        return route_order_advice(name, gate, where)
    event, _, namespace = where.removeprefix(_EVENT).rpartition(" of ")
    more = "" if namespace == "/" else f', namespace="{namespace}"'
    return order_advice(f'@socketio.on("{event}"{more})', name, gate)


FLASK = Framework("Flask", "moonkey_flask", (Scaffold,), _right)


def check_gates(app: Flask) -> None:
    """Check that no view of an app, and no handler of an event, is served without its gate.

    Raises:
        ConfigurationError: One is served without the gate that was put on it.
    """
    check_once(app, lambda: registered(app), FLASK)


def gates_check(app: Flask) -> Callable[[], None]:
    """Return what checks the gates of an app at its first request, and what they require.

    The first event of a Socket.IO client is such a request. Once it has passed, it does nothing.
    """
    passed = False

    def check() -> None:
        nonlocal passed
        if not passed:
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            check_gates(app)
            check_demands(registered(app), app.extensions[EXTENSION].check_requirements)
            passed = True

    app.extensions[GATES] = check
    return check


def check_first(app: Flask, checks: Sequence[Callable[[], None]]) -> None:
    """Have an app checked at its first request, before anything else. Each request repeats it, until it passes.

    Flask pays for each ``before_request`` function at every request, and for a receiver only while it is there.
    """

    def check_all(_: Flask, **__: object) -> None:
        for check in checks:
            check()
        request_started.disconnect(check_all)

    app.extensions[FIRST] = check_all
    request_started.connect(check_all, sender=app)


def is_answered_by_flask(flask_request: Request) -> bool:
    """Return whether Flask itself answers an ``OPTIONS`` request, so that no view runs for it.

    The conditions are those of ``Flask.dispatch_request``.
    """
    return (
        flask_request.method == "OPTIONS"
        and flask_request.routing_exception is None
        and bool(getattr(flask_request.url_rule, "provide_automatic_options", False))
    )


def expect_an_app() -> None:
    """Have the gates checked at the next request to any app, in case that app has no ``FlaskMoonKey(app)``.

    Called when a gate is made.
    """
    request_started.connect(_check_forgotten)


def _check_forgotten(app: Flask, **_: object) -> None:
    """Check an app without the extension. The first request to an app with it disconnects this receiver."""
    if EXTENSION in app.extensions:
        request_started.disconnect(_check_forgotten)
    else:
        check_gates(app)


def _events(app: Flask) -> Iterator[Registered]:
    """Yield the handlers of Flask-SocketIO's events. It registers them at the server of python-socketio."""
    server = attribute(app.extensions.get("socketio"), "server")
    for namespace, handlers in (attribute(server, "handlers") or {}).items():
        yield from (Registered(one, f"{_EVENT}{event} of {namespace}") for event, one in handlers.items())
    for namespace, handler in (attribute(server, "namespace_handlers") or {}).items():
        yield Registered(type(handler), f"an event of {namespace}")


def registered(app: Flask) -> Iterator[Registered]:
    """Yield the functions that an app calls: views, handlers of events, and what runs around them."""
    return chain(_functions(app), _events(app))


def _functions(app: Flask) -> Iterator[Registered]:
    addresses: dict[str, str] = {}
    for rule in app.url_map.iter_rules():
        methods = sorted((rule.methods or {"GET"}) - _AUTOMATIC)
        method = "WEBSOCKET" if rule.websocket else "/".join(methods)
        addresses.setdefault(rule.endpoint, f"{method} {rule.rule}")
    for endpoint, view in app.view_functions.items():
        yield Registered(view, addresses.get(endpoint) or f"the endpoint {endpoint}")
    for name, functions in (
        ("before_request", app.before_request_funcs),
        ("after_request", app.after_request_funcs),
        ("url_value_preprocessor", app.url_value_preprocessors),
        ("context_processor", app.template_context_processors),
    ):
        for some in functions.values():
            yield from (Registered(function, name) for function in some)
    for by_code in app.error_handler_spec.values():
        for handlers in by_code.values():
            yield from (Registered(handler, "errorhandler") for handler in handlers.values())
