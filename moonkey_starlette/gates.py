"""The check for gates that protect nothing, run when an app starts and before its first request."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Scope

from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.web.placement import (
    Framework,
    Registered,
    attribute,
    calls,
    check_demands,
    described,
    find_misplaced_gate,
    has_gate,
    kind_of,
    route_order_advice,
)
from moonkey_starlette.mounted import layers
from moonkey_starlette.shortcuts import shorten
from moonkey_starlette.signatures import all_of, check_parameters

STARLETTE = Framework("Starlette", "moonkey_starlette", (Starlette, Router, BaseRoute), route_order_advice)
_AUTOMATIC = {"HEAD", "OPTIONS"}
_MOST_LAYERS = 100


class RouteCheck:
    """The check of all routes of an app: those behind the middleware, and the rest of the app that it belongs to.

    Args:
        app: The app that the middleware calls.
        client: The client of the middleware, which the gates behind it use.
        middleware: The class of the middleware. The routes behind another one belong to that one's client.
        also: A further check of the routes, which returns the text of an error, or ``""``.
    """

    def __init__(
        self, app: ASGIApp, client: AsyncMoonKey, middleware: type, also: Callable[[], str] = str
    ) -> None:
        self._app = app
        self._client = client
        self._middleware = middleware
        self._also = also
        self._found: str | None = None

    def at_start(self, scope: Scope) -> ConfigurationError | None:
        """Return the error of a gate among the routes that exist when the app starts, or ``None``."""
        found = self._find_problem(scope)
        return ConfigurationError(found) if found else None

    def at_request(self, scope: Scope) -> None:
        """Check the routes at the first request, when all of them exist. The result stands for later requests.

        Raises:
            ConfigurationError: A gate is misplaced and protects nothing, or requires what can never be met.
        """
        if self._found is None:
            self._found = self._find_problem(scope)
        if self._found:
            raise ConfigurationError(self._found)

    def _find_problem(self, scope: Scope) -> str:
        apps = [self._app, scope.get("app")]
        found = find_misplaced_gate(lambda: registered(apps), STARLETTE)
        if not found:
            try:
                check_demands(registered([self._app], self._has_another_client), self._client.check_requirements)
            except ConfigurationError as error:
                found = str(error)
        return found or self._also()

    def _has_another_client(self, app: Any) -> bool:
        """Return whether an app is a middleware of ours, or has one, with a client of its own."""
        stack = attribute(app, "user_middleware") or ()
        found = [one.kwargs.get("client") for one in stack if self._is_ours(attribute(one, "cls"))]
        if self._is_ours(type(app)):
            found.append(attribute(app, "client"))
        return any(one is not self._client for one in found)

    def _is_ours(self, kind: Any) -> bool:
        return isinstance(kind, type) and issubclass(kind, self._middleware)


def registered(
    apps: Iterable[Any],
    is_left_out: Callable[[Any], bool] = lambda _: False,
    note: Callable[[ConfigurationError], None] | None = None,
) -> Iterator[Registered]:
    """Yield the callables that these apps, and the apps and routes inside of them, call for a request.

    Args:
        apps: The apps.
        is_left_out: Returns whether an app inside of them is left out.
        note: Is told of what is wrong with a route, which is raised otherwise.

    Raises:
        ConfigurationError: A route calls an endpoint without its gate, or a parameter only looks like one.
    """
    queue: list[tuple[Any, str, int]] = [(app, "", 0) for app in apps if app is not None]
    seen: set[int] = set()
    while queue:
        app, prefix, depth = queue.pop()
        if id(app) in seen or depth > _MOST_LAYERS or is_left_out(app):
            continue
        seen.add(id(app))
        yield from _called_by(app)
        for route in routes_of(app):
            if any(map(is_left_out, layers(attribute(route, "app")))):
                continue  # a mount lists the routes of its app, too
            path = prefix + (attribute(route, "path") or "")
            endpoint = attribute(route, "endpoint")
            if endpoint is not None:
                where = f"{method_of(route)} {path}"
                yield Registered(endpoint, where)
                dependant = attribute(route, "dependant")
                try:
                    _check_endpoint(route, endpoint, where)
                    if dependant is not None:
                        check_parameters(dependant, where)
                except ConfigurationError as error:
                    if note is None:
                        raise
                    note(error)
                if dependant is not None:
                    yield from (Registered(one.call, where) for one in all_of(dependant))
                    shorten(route, dependant)
            queue += [(inner, path, depth + 1) for inner in (route, attribute(route, "app")) if inner is not None]
        queue += [(inner, prefix, depth + 1) for inner in _inside(app)]


def _check_endpoint(route: Any, endpoint: Any, where: str) -> None:
    """Raise ``ConfigurationError`` where the endpoint of a finished route was replaced by one with a gate.

    Such a route still calls the endpoint that it was made with, without the gate.
    """
    called = attribute(attribute(route, "dependant") or route, "call") or attribute(route, "app")
    if isinstance(called, FunctionType) and not calls(called, endpoint) and has_gate(endpoint):
        raise ConfigurationError(
            f"{where} is open to everybody: the route was made before {described(endpoint)} got its gate, and "
            "still calls it without. Make the route with what require_auth returns."
        )


def routes_of(app: Any) -> Iterable[Any]:
    """Return the routes of an app or router, those of included routers among them."""
    found = attribute(app, "routes")
    if not isinstance(found, (list, tuple)):
        return ()
    # FastAPI lists the routes of an included router only through this function.
    expand = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return found if expand is None else expand(found)


def _inside(app: Any) -> Iterator[Any]:
    """Yield the apps that a layer passes requests on to: its ``app``, or those in the closure of a function."""
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
    stack = attribute(app, "user_middleware")
    for kind, arguments, named in stack if isinstance(stack, list) else ():
        yield Registered(kind, "middleware")
        yield from (Registered(one, "middleware") for one in (*arguments, *named.values()) if callable(one))
    handlers = attribute(app, "exception_handlers")
    for handler in handlers.values() if isinstance(handlers, dict) else ():
        yield Registered(handler, "exception_handler")


def method_of(route: Any) -> str:
    """Return the methods of a route, as messages and the audit show them."""
    methods = attribute(route, "methods")
    if methods is None:
        return "WEBSOCKET" if "WebSocket" in type(attribute(route, "original_route") or route).__name__ else "ANY"
    return "/".join(sorted(set(methods) - _AUTOMATIC)) or "ANY"
