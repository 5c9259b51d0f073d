"""Looks for gates that protect nothing, when an app gets its first request; by then, all routes are there."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, request_started
from flask.sansio.scaffold import Scaffold

from moonkey_core.placement import Framework, Registered, check_once, route_first

_FLASK = Framework("Flask", "moonkey_flask", (Scaffold,), route_first)
_AUTOMATIC = {"HEAD", "OPTIONS"}


def check_gates(app: Flask, **_: object) -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where a view is served without its gate."""
    check_once(app, lambda: _registered(app), _FLASK)


# The signal, so that an app is looked at as well where FlaskMoonKey(app) has been forgotten.
request_started.connect(check_gates)


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
