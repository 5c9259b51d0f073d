"""Looks for gates that protect nothing, when an app gets its first request; by then, all routes are there."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, current_app, request_started
from flask.sansio.scaffold import Scaffold

from moonkey_core.web.placement import Framework, Registered, check_once, route_first
from moonkey_flask.names import EXTENSION

_FLASK = Framework("Flask", "moonkey_flask", (Scaffold,), route_first)
_AUTOMATIC = {"HEAD", "OPTIONS"}


def check_gates(app: Flask) -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where a view is served without its gate."""
    check_once(app, lambda: _registered(app), _FLASK)


def watch_gates(app: Flask) -> None:
    """Have the gates of an app checked at its first request, before anything else; until they pass, at each."""
    passed = False

    def check() -> None:
        nonlocal passed
        if not passed:
            check_gates(current_app._get_current_object())  # type: ignore[attr-defined]
            passed = True

    app.before_request_funcs.setdefault(None, []).insert(0, check)


def expect_an_app() -> None:
    """A gate was made: check whatever app comes next, in case FlaskMoonKey(app) has been forgotten."""
    request_started.connect(_check_forgotten)


def _check_forgotten(app: Flask, **_: object) -> None:
    """Check an app that has no hook of ours. Where the next one has, no other request pays for this."""
    if EXTENSION in app.extensions:
        request_started.disconnect(_check_forgotten)
    else:
        check_gates(app)


def _registered(app: Flask) -> Iterator[Registered]:
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
