"""Closed by default: what a route says of itself, where ``required=True`` refuses all that is not marked as open.

The middleware stands before the router, so it has to choose the route as the router will. It does so only where no
code of the app between the two could change the path: else a mark has no effect, and the app does not start.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import Host, Match, Mount, Router
from starlette.types import ASGIApp, Scope

from moonkey_core.gate import Requirements
from moonkey_core.web.marks import (
    GATE,
    SESSION_ROUTE,
    Mark,
    default_requirements,
    marks_on,
    vars_of,
)
from moonkey_core.web.placement import attribute
from moonkey_starlette.gates import registered, routes_of
from moonkey_starlette.mounted import layers
from moonkey_starlette.signatures import Dependency
from moonkey_starlette.static_files import is_of_framework

PACKAGE = "moonkey_starlette"

_MOST_LAYERS = 100
_ANY_USER = Requirements()


def default_for(app: ASGIApp, scope: Scope) -> Requirements | None:
    """Return what is required of a request by default: ``None`` where the route that answers it is open.

    Args:
        app: The app that the middleware calls.
        scope: The scope of the request or WebSocket, before it is routed.
    """
    layer: Any = app
    for _ in range(_MOST_LAYERS):
        if opened_by(layer):
            return None
        if isinstance(layer, Starlette):
            if not all(map(is_of_framework, _middleware_of(layer))):
                return _ANY_USER
            layer = layer.router
        elif isinstance(layer, Router) and is_of_framework(type(layer)):
            route, more = _chosen(layer, scope)
            if type(route) is not Mount and type(route) is not Host:
                return _ANY_USER if route is None else default_requirements(marks_of(route, scope), PACKAGE)
            layer, scope = route.app, {**scope, **more}
        elif is_of_framework(type(layer)):
            layer = attribute(layer, "app")
        else:
            break
    return _ANY_USER


def opened_by(app: Any) -> str:
    """Return the mark by which a mounted app is open as a whole, or ``""``."""
    if isinstance(app, FunctionType | type):
        return ""
    opened = [mark for mark in marks_on(app) if mark.package == PACKAGE and not mark.is_gate]
    return f"@{opened[0].name} on the mounted app" if opened else ""


def _chosen(router: Router, scope: Scope) -> tuple[Any, Scope]:
    """Return the route that a router passes a request on to, with what it adds to the scope; else ``None``."""
    for route in routes_of(router):
        match, more = route.matches({**scope})
        if match is Match.FULL:
            return route, more
    return None, {}


def marks_of(route: Any, scope: Scope) -> list[Mark]:
    """Return the marks on the endpoint of a route, for one request: its own, and those of its dependencies."""
    dependant = attribute(route, "dependant")
    view = attribute(dependant, "call") or attribute(route, "endpoint")
    method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
    gates = [Mark(PACKAGE, GATE, requirements) for _, requirements in gates_of(dependant)]
    return [*gates, *marks_on(view, *handlers_of(view, method))]


def handlers_of(view: object, method: str) -> tuple[object, ...]:
    """Return the method of an endpoint class that is called for a method of HTTP, or first for a WebSocket."""
    if not isinstance(view, type):
        return ()
    if issubclass(view, WebSocketEndpoint):
        name = "on_connect"
    elif issubclass(view, HTTPEndpoint):
        name = method.lower()
        if name == "head" and vars_of(view, name) is None:
            name = "get"
    else:
        return ()
    found = vars_of(view, name)
    return () if found is None else (found,)


def gates_of(dependant: Any) -> Iterator[tuple[Any, Requirements]]:
    """Yield the gates among the dependencies of a FastAPI route, direct and indirect, with what each requires.

    Each comes with the direct dependency that it belongs to.
    """
    for direct in attribute(dependant, "dependencies") or ():
        for one in _all_calls(direct):
            if isinstance(one, Dependency):
                asked = attribute(one, "requirements")
                if isinstance(asked, Requirements):
                    yield direct.call, asked
                elif one.written in ("CurrentUser", "CurrentSession"):
                    yield direct.call, _ANY_USER


def _all_calls(dependant: Any) -> Iterator[Any]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _all_calls(inner)


def unseen_layer(app: ASGIApp) -> str:
    """Return the name of a layer between the middleware and the router that may change the path, or ``""``."""
    for layer in layers(app):
        if isinstance(layer, Starlette):
            own = (kind for kind in _middleware_of(layer) if not is_of_framework(kind))
            return next((str(attribute(kind, "__name__")) for kind in own), "")
        if not is_of_framework(type(layer)):
            return type(layer).__name__
        if isinstance(layer, Router):
            return ""
    return "a layer"


def check_opened(app: ASGIApp) -> str:
    """Return the error where a route is marked as open, and the mark has no effect; else ``""``."""
    layer = unseen_layer(app)
    if not layer:
        return ""
    for one in registered([app]):
        opened = [mark for mark in marks_on(one.view) if not mark.is_gate and mark.name != SESSION_ROUTE]
        if opened:
            return (
                f"{one.where}: @{opened[0].name} has no effect with required=True, as {layer} stands between "
                "MoonKeyMiddleware and the routes, and may change the path. Add MoonKeyMiddleware before the "
                "others (the one added last runs first), or name the path in public_paths."
            )
    return ""


def _middleware_of(app: Starlette) -> Iterator[Any]:
    return (kind for kind, _, _ in app.user_middleware)
