"""Looks for gates that protect nothing, before an app starts and before its first request."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core.errors import ConfigurationError
from moonkey_core.placement import Framework, Registered, fault_in, route_first
from moonkey_starlette.signatures import check_parameters

__all__ = ["RouteCheck"]

_STARLETTE = Framework("Starlette", "moonkey_starlette", (Starlette, Router, BaseRoute), route_first)
_AUTOMATIC = {"HEAD", "OPTIONS"}
_MOST = 100_000


class RouteCheck:
    """The routes of an app: those behind the middleware, and all others of the app that it belongs to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._found: str | None = None

    async def refuses_to_start(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the server that the app does not start, where one of the routes that are there yet is wrong."""
        found = self._look(scope)
        if found:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": found})
        return bool(found)

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
    queue: list[tuple[Any, str]] = [(app, "") for app in apps if app is not None]
    seen: set[int] = set()
    while queue and len(seen) < _MOST:
        app, prefix = queue.pop()
        if id(app) in seen:
            continue
        seen.add(id(app))
        yield from _called_by(app)
        for route in _routes_of(app):
            path = prefix + (getattr(route, "path", None) or "")
            endpoint = getattr(route, "endpoint", None)
            if endpoint is not None:
                where = f"{_method_of(route)} {path}"
                yield Registered(endpoint, where)
                if (dependant := getattr(route, "dependant", None)) is not None:
                    check_parameters(dependant, where)
                    yield from (Registered(one.call, where) for one in dependant.dependencies)
            queue += [(inner, path) for inner in (route, getattr(route, "app", None)) if inner is not None]
        queue += [(inner, prefix) for inner in _inside(app)]


def _routes_of(app: Any) -> Iterable[Any]:
    found = getattr(app, "routes", None)
    if not isinstance(found, (list, tuple)):
        return ()
    # FastAPI shows the routes of a router that it has included by this function alone.
    expand = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return found if expand is None else expand(found)


def _inside(app: Any) -> Iterator[Any]:
    """What a layer hands requests on to: the next one is its ``app``, or what a function closes over."""
    if isinstance(app, FunctionType):
        for cell in app.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:  # not set yet
                continue
            if isinstance(held, FunctionType) or hasattr(held, "routes") or hasattr(held, "app"):
                yield held
    elif (inner := getattr(app, "app", None)) is not None:
        yield inner


def _called_by(app: Any) -> Iterator[Registered]:
    if isinstance(app, FunctionType):
        yield Registered(app, "a route of the app")
    if (dispatch := getattr(app, "dispatch_func", None)) is not None:
        yield Registered(dispatch, "middleware")
    for middleware in getattr(app, "user_middleware", ()):
        kind, arguments, named = middleware
        yield Registered(kind, "middleware")
        yield from (Registered(one, "middleware") for one in (*arguments, *named.values()) if callable(one))
    handlers = getattr(app, "exception_handlers", None)
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        yield Registered(handler, "exception_handler")


def _method_of(route: Any) -> str:
    methods = getattr(route, "methods", None)
    if methods is None:
        return "WEBSOCKET" if "WebSocket" in type(getattr(route, "original_route", route)).__name__ else "ANY"
    return "/".join(sorted(set(methods) - _AUTOMATIC)) or "ANY"
