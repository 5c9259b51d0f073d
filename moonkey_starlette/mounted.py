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
from moonkey_core.flows import NAMES, ROUTES
from moonkey_core.settings import Settings
from moonkey_core.web.origin import warn_if_clients_unknown
from moonkey_core.web.pages import check_sign_in_page

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
        self._found: tuple[str | None, ...] | None = None

    @property
    def _prefixes(self) -> tuple[str | None, ...]:
        if self._found is None:
            self._found = tuple(_prefix_in(self._app, name) for name in NAMES.values())
        return self._found

    @property
    def prefix(self) -> str | None:
        """The path below which the routes with pages are mounted, as the app's router sees it; ``None`` if not."""
        return self._prefixes[0]

    def covers(self, path: str) -> bool:
        """Return whether a path, as the app's router sees it, belongs to one of the session routes."""
        return any(
            prefix is not None and path.startswith(prefix) and _PATHS.fullmatch(path[len(prefix) :])
            for prefix in self._prefixes
        )


def check_cookies(app: ASGIApp, settings: Settings) -> None:
    """Check an app that has mounted the session routes.

    Logs a warning where the addresses of its clients are not known.

    Raises:
        ConfigurationError: They need cookies, and its client has none; or users can sign in nowhere.
    """
    if any(_prefix_in(app, name) is not None for name in NAMES.values()):
        warn_if_clients_unknown(settings)
    if _prefix_in(app, NAMES["cookies"]) is None:
        return
    if settings.cookies is None:
        raise ConfigurationError(
            "The session routes need cookies. Set cookies=CookieSettings(), or MOONKEY_COOKIES=true; or mount "
            'session_routes(mode="header").'
        )
    check_sign_in_page(settings)


def is_inside_an_app(app: ASGIApp) -> bool:
    """Return whether a Starlette app makes a middleware around ``app`` for its own stack, at its first call.

    Further inwards, the middleware stack of a Starlette app has an ``ExceptionMiddleware``. If a layer hides the
    next one, a running event loop decides: middleware made on import is mostly made without one.
    """
    for layer in layers(app):
        if isinstance(layer, ExceptionMiddleware | Starlette | Router):
            return isinstance(layer, ExceptionMiddleware)
    return _has_event_loop()


def _has_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def layers(app: ASGIApp) -> Iterator[Any]:
    """Yield an app and the layers inside of it, while each keeps the next one as ``app``, as Starlette's do."""
    layer: Any = app
    for _ in range(_MOST_LAYERS):
        if layer is None:
            return
        yield layer
        layer = getattr(layer, "app", None)


def _prefix_in(app: ASGIApp, name: str) -> str | None:
    """Return the prefix of the session routes of this name in the first app or router from here inwards.

    Returns:
        The prefix; ``None`` if the routes are not mounted there, or if the prefix differs between requests.
    """
    for layer in layers(app):
        find = getattr(layer, "url_path_for", None)
        if find is not None:
            try:
                path = str(find(f"{name}:{_SIGN_IN.name}"))
            except NoMatchFound:
                return None
            return None if "{" in path else path.removesuffix(_SIGN_IN.path)
    return None
