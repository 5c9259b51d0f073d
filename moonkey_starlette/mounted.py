"""The place in an app where the session routes are mounted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import NoMatchFound, Router
from starlette.types import ASGIApp

from moonkey_core.errors import ConfigurationError
from moonkey_core.flows import ROUTES
from moonkey_core.settings import Settings

NAME = "moonkey"
"""The prefix of the route names: ``moonkey:sign_in`` and so on."""

_SIGN_IN = next(route for route in ROUTES if route.name == "sign_in")
_PATHS = re.compile("|".join(re.escape(route.path).replace(r"\{session_id\}", "[^/]+") for route in ROUTES))
_MOST_LAYERS = 100


class Mounted:
    """The session routes of an app, looked for once, when they are first needed.

    Args:
        app: The app that the middleware calls.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_known = False
        self._prefix: str | None = None

    @property
    def prefix(self) -> str | None:
        """The path below which the routes are mounted, as the app's router sees it; ``None`` if they are not."""
        if not self._is_known:
            self._prefix, self._is_known = _prefix_in(self._app), True
        return self._prefix

    def covers(self, path: str) -> bool:
        """Return whether a path, as the app's router sees it, belongs to one of the session routes."""
        prefix = self.prefix
        return prefix is not None and path.startswith(prefix) and bool(_PATHS.fullmatch(path[len(prefix) :]))


def check_cookies(app: ASGIApp, settings: Settings) -> None:
    """Raise ``ConfigurationError`` if an app has mounted the session routes and its client has no cookies."""
    if settings.cookies is None and _prefix_in(app) is not None:
        raise ConfigurationError(
            "The session routes need cookies. Set cookies=CookieSettings(), or MOONKEY_COOKIES=true."
        )


def is_inside_an_app(app: ASGIApp) -> bool:
    """Return whether a Starlette app makes a middleware around ``app`` for its own stack, at its first call.

    Further inwards, the middleware stack of a Starlette app has an ``ExceptionMiddleware``. If a layer hides the
    next one, a running event loop decides: middleware made on import is mostly made without one.
    """
    for layer in _layers(app):
        if isinstance(layer, ExceptionMiddleware | Starlette | Router):
            return isinstance(layer, ExceptionMiddleware)
    return _has_event_loop()


def _has_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _layers(app: ASGIApp) -> Iterator[Any]:
    """Yield an app and the layers inside of it, while each keeps the next one as ``app``, as Starlette's do."""
    layer: Any = app
    for _ in range(_MOST_LAYERS):
        if layer is None:
            return
        yield layer
        layer = getattr(layer, "app", None)


def _prefix_in(app: ASGIApp) -> str | None:
    """Return the prefix of the session routes in the first app or router from here inwards.

    Returns:
        The prefix; ``None`` if the routes are not mounted there, or if the prefix differs between requests.
    """
    for layer in _layers(app):
        find = getattr(layer, "url_path_for", None)
        if find is not None:
            try:
                path = str(find(f"{NAME}:{_SIGN_IN.name}"))
            except NoMatchFound:
                return None
            return None if "{" in path else path.removesuffix(_SIGN_IN.path)
    return None
