"""Looks for gates that protect nothing, before an app starts and before its first request."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Scope

from moonkey_core.errors import ConfigurationError
from moonkey_core.web.placement import (
    Framework,
    Registered,
    attribute,
    calls,
    described,
    fault_in,
    has_gate,
    kind_of,
    route_first,
)
from moonkey_starlette.signatures import all_of, check_parameters

__all__ = ["RouteCheck"]

_STARLETTE = Framework("Starlette", "moonkey_starlette", (Starlette, Router, BaseRoute), route_first)
_AUTOMATIC = {"HEAD", "OPTIONS"}
_MOST_LAYERS = 100


class RouteCheck:
    """The routes of an app: those behind the middleware, and all others of the app that it belongs to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._found: str | None = None

    def at_start(self, scope: Scope) -> ConfigurationError | None:
        """What is wrong with one of the routes that are there when the app starts."""
        found = self._look(scope)
        return ConfigurationError(found) if found else None

    def at_request(self, scope: Scope) -> None:
        """Raise :class:`~moonkey_core.errors.ConfigurationError` for what is wrong when all of them are there.

        They are looked at once, and what is found stands.
        """
        if self._found is None:
            self._found = self._look(scope)
        if self._found:
            raise ConfigurationError(self._found)

    def _look(self, scope: Scope) -> str:
        return fault_in(lambda: _registered([self._app, scope.get("app")]), _STARLETTE)


def _registered(apps: Iterable[Any]) -> Iterator[Registered]:
    """What is called by these apps, and by all that are inside of them."""
    queue: list[tuple[Any, str, int]] = [(app, "", 0) for app in apps if app is not None]
    seen: set[int] = set()
    while queue:
        app, prefix, depth = queue.pop()
        if id(app) in seen or depth > _MOST_LAYERS:
            continue
        seen.add(id(app))
        yield from _called_by(app)
        for route in _routes_of(app):
            path = prefix + (attribute(route, "path") or "")
            endpoint = attribute(route, "endpoint")
            if endpoint is not None:
                where = f"{_method_of(route)} {path}"
                yield Registered(endpoint, where)
                _check_endpoint(route, endpoint, where)
                if (dependant := attribute(route, "dependant")) is not None:
                    check_parameters(dependant, where)
                    yield from (Registered(one.call, where) for one in all_of(dependant))
            queue += [(inner, path, depth + 1) for inner in (route, attribute(route, "app")) if inner is not None]
        queue += [(inner, prefix, depth + 1) for inner in _inside(app)]


def _check_endpoint(route: Any, endpoint: Any, where: str) -> None:
    """Raise ``ConfigurationError`` where a gate was put into a route that had been made: it calls what it had."""
    called = attribute(attribute(route, "dependant") or route, "call") or attribute(route, "app")
    if isinstance(called, FunctionType) and has_gate(endpoint) and not calls(called, endpoint):
        raise ConfigurationError(
            f"{where} is open to everybody: the route was made before {described(endpoint)} got its gate, and "
            "still calls it without. Make the route with what require_auth returns."
        )


def _routes_of(app: Any) -> Iterable[Any]:
    found = attribute(app, "routes")
    if not isinstance(found, (list, tuple)):
        return ()
    # FastAPI shows the routes of a router that it has included by this function alone.
    expand = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return found if expand is None else expand(found)


def _inside(app: Any) -> Iterator[Any]:
    """What a layer hands requests on to: the next one is its ``app``, or what a function closes over."""
    if kind_of(app) is not None:
        return
    if isinstance(app, FunctionType):
        for cell in app.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:  # not set yet
                continue
            if isinstance(held, FunctionType) or attribute(held, "routes") or attribute(held, "app"):
                yield held
    elif (inner := attribute(app, "app")) is not None:
        yield inner


def _called_by(app: Any) -> Iterator[Registered]:
    if isinstance(app, FunctionType):
        yield Registered(app, "a route of the app")
    if (dispatch := attribute(app, "dispatch_func")) is not None:
        yield Registered(dispatch, "middleware")
    layers = attribute(app, "user_middleware")
    for kind, arguments, named in layers if isinstance(layers, list) else ():
        yield Registered(kind, "middleware")
        yield from (Registered(one, "middleware") for one in (*arguments, *named.values()) if callable(one))
    handlers = attribute(app, "exception_handlers")
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        yield Registered(handler, "exception_handler")


def _method_of(route: Any) -> str:
    methods = attribute(route, "methods")
    if methods is None:
        return "WEBSOCKET" if "WebSocket" in type(attribute(route, "original_route") or route).__name__ else "ANY"
    return "/".join(sorted(set(methods) - _AUTOMATIC)) or "ANY"
