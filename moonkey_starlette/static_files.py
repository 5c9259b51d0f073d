"""Requests for static files, for which nothing reads the identity: they are not worth a call to the API."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Host, Match, Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

_FRAMEWORKS = ("starlette.", "fastapi.", "moonkey_starlette.")
_UNKNOWN_CODE = ("starlette.middleware.authentication", "starlette.middleware.base")
"""Layers of Starlette's that call code of the app."""
_MOST_LAYERS = 100
_MOUNTS = frozenset((Mount, Host))


def is_for_a_file(app: ASGIApp, scope: Scope) -> bool:
    """Return whether a ``StaticFiles`` answers a request, and no code of the app runs for it.

    False where that is not certain: for a subclass, for a layer or an exception handler of the app's own, which
    may read the identity.

    Args:
        app: The app that the middleware calls.
        scope: The scope of the request, before it is routed.
    """
    if scope["type"] != "http" or not _has_mounts(app) or not _is_plain(scope.get("app")):
        return False
    layer: Any = app
    for _ in range(_MOST_LAYERS):
        if type(layer) is StaticFiles:
            return True
        if isinstance(layer, Starlette):
            if not _is_plain(layer):
                return False
            layer = layer.router
        elif isinstance(layer, Router) and is_of_framework(type(layer)):
            chosen = _chosen(layer, scope)
            if chosen is None:
                return False
            layer, scope = chosen
        elif is_of_framework(type(layer)):
            layer = getattr(layer, "app", None)
        else:
            return False
    return False


def answers_with_a_file(scope: Scope) -> bool:
    """Return whether a ``StaticFiles`` has answered a request, by its scope after it was routed."""
    return type(scope.get("endpoint")) is StaticFiles


def _has_mounts(app: Any) -> bool:
    """Return whether a request may come to a ``StaticFiles``: false where the outermost router mounts no app.

    Mostly that is so, and routing the request twice is not worth its time.
    """
    layer = app
    for _ in range(_MOST_LAYERS):
        if isinstance(layer, Router):
            return not _MOUNTS.isdisjoint(map(type, layer.routes))
        inner = layer.router if isinstance(layer, Starlette) else getattr(layer, "app", None)
        if inner is None:
            return type(layer) is StaticFiles
        layer = inner
    return False


def _is_plain(app: Any) -> bool:
    """Return whether all layers of an app, and its handlers of errors in files, are those of the framework."""
    layers = (kind for kind, _, _ in getattr(app, "user_middleware", ()))
    handlers = getattr(app, "exception_handlers", {}).items()
    return all(map(is_of_framework, layers)) and all(
        is_of_framework(handler) for key, handler in handlers if _is_for_files(key)
    )


def _is_for_files(key: object) -> bool:
    return isinstance(key, int) or (isinstance(key, type) and issubclass(HTTPException, key))


def is_of_framework(thing: Any) -> bool:
    """Return whether a layer, or a handler, is the framework's own and calls no code of the app."""
    module = str(getattr(thing, "__module__", ""))
    return module.startswith(_FRAMEWORKS) and module not in _UNKNOWN_CODE


def _chosen(router: Router, scope: Scope) -> tuple[Any, Scope] | None:
    """Return the app that a router passes a request on to, with its scope; ``None`` for an endpoint."""
    for route in router.routes:
        match, more = route.matches({**scope})
        if match is Match.FULL:
            if type(route) is Mount or type(route) is Host:
                return route.app, {**scope, **more}
            return None
    return None
