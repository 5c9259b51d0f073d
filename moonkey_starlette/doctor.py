"""What ``moonkey doctor`` looks at in a Starlette or FastAPI app, and the check inside of a worker."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core.doctor import Line, Report, Server, not_set_up, ok, wrong
from moonkey_core.doctor import worker_report as report_on
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings
from moonkey_core.web.request import asgi_headers, asgi_request
from moonkey_starlette.cors import cors_gaps
from moonkey_starlette.identity import KEY
from moonkey_starlette.middleware import _ARGUMENTS, MoonKeyMiddleware
from moonkey_starlette.mounted import layers

__all__ = ["LogWorkerReport", "worker_report"]

_SET_UP = "Add: app.add_middleware(MoonKeyMiddleware)."
_SERVERS = ("uvicorn", "hypercorn", "daphne", "granian")


def worker_report(request: HTTPConnection) -> Report:
    """Report on this worker by a request or WebSocket: server, proxies, cookies, keys and feed.

    Call it in an endpoint of your own that only you can reach. It makes no network call, and reads no credential.

    Raises:
        ConfigurationError: The request has not passed the middleware.
    """
    return _report(request.scope)


class LogWorkerReport:
    """A middleware that has each worker log its report at its first request, what is wrong as a warning.

    It belongs inside of ``MoonKeyMiddleware``: ``app.add_middleware(LogWorkerReport)`` stands before that line.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] in ("http", "websocket") and self._lock.acquire(blocking=False):  # never released
            _report(scope).log()
        await self.app(scope, receive, send)


def _report(scope: Scope) -> Report:
    identity = scope.get(KEY)
    if identity is None:
        raise ConfigurationError("This request has not passed MoonKeyMiddleware. Add it around this one.")
    client = identity.client
    found = [name for name in _SERVERS if name in sys.modules]
    server = Server("ASGI", found[0] if len(found) == 1 else "", None, _has_siblings())
    headers, info = asgi_headers(scope["headers"]), asgi_request(scope)
    return report_on(client.settings, client.health(), headers, info, server)


def _has_siblings() -> bool | None:
    """Return whether there are several workers; ``None`` where this process cannot know it."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        stated = os.environ.get("WEB_CONCURRENCY", "")
        return int(stated) > 1 if stated.isdecimal() else None
    return None


def recognizes(app: object) -> bool:
    """Return whether an object is a Starlette app, or an ASGI layer around one, or around our middleware."""
    return any(isinstance(one, Starlette | MoonKeyMiddleware) for one in _layers(app))


def settings_of(app: object) -> Settings | None:
    """Return the settings with which an app uses MoonKey; ``None`` where it does not.

    Raises:
        ConfigurationError: They are wrong.
    """
    for one in _layers(app):
        if isinstance(one, MoonKeyMiddleware):
            return one.client.settings
        for kind, _, options in _listed(one):
            if isinstance(kind, type) and issubclass(kind, MoonKeyMiddleware):
                return _settings_from(options)
    return None


def _settings_from(options: dict[str, Any]) -> Settings:
    client = options.get("client")
    if client is not None:
        found: Settings = client.settings
        return found
    return Settings.load({name: value for name, value in options.items() if name not in _ARGUMENTS})


def stack_of(app: object) -> list[Line]:
    """Return what is to be said of the middleware of an app: their order, and the lists of CORS."""
    settings = settings_of(app)
    if settings is None:
        return [not_set_up(_SET_UP)]
    kinds = [*_kinds(app)]
    ours = next(place for place, kind in enumerate(kinds) if issubclass(kind, MoonKeyMiddleware))
    inside = [kind for kind in kinds[ours + 1 :] if issubclass(kind, CORSMiddleware)]
    lines: list[Line] = []
    if inside:
        lines.append(
            wrong(
                "stack",
                "CORSMiddleware stands inside of MoonKeyMiddleware: refusals have no CORS headers, "
                "and a page in a "
                "browser cannot read them.",
                "Call app.add_middleware(CORSMiddleware, …) after that for MoonKeyMiddleware: the "
                "last is outermost.",
            )
        )
    if sum(issubclass(kind, MoonKeyMiddleware) for kind in kinds) > 1:
        lines.append(
            wrong(
                "stack",
                "MoonKeyMiddleware is there more than once: credentials may be verified twice.",
                "Keep one.",
            )
        )
    order = " → ".join(kind.__name__ for kind in kinds)
    lines = lines or [ok("stack", f"From the outside: {order}.")]
    return [*lines, *_cors(app, settings, has_cors=any(issubclass(kind, CORSMiddleware) for kind in kinds))]


def _cors(app: object, settings: Settings, *, has_cors: bool) -> list[Line]:
    if not has_cors:
        return [ok("cors", "The app has no CORSMiddleware: pages of its own origin call it.")]
    lines = []
    for missing in cors_gaps([*_layers(app)], settings):
        if missing.allow:
            lines.append(
                wrong(
                    "cors",
                    f"allow_headers lacks {', '.join(missing.allow)}: a browser does not let a page "
                    "of another origin "
                    "send it.",
                    f"Add to allow_headers of CORSMiddleware: {', '.join(missing.allow)}.",
                )
            )
        if missing.expose:
            lines.append(
                wrong(
                    "cors",
                    f"expose_headers lacks {', '.join(missing.expose)}: a page of another origin cannot read it.",
                    f"Add to expose_headers of CORSMiddleware: {', '.join(missing.expose)}.",
                )
            )
    return lines or [ok("cors", "CORSMiddleware lists what pages of other origins need.")]


def _layers(app: Any) -> Iterator[Any]:
    """Yield an app and the layers inside of it, up to the first Starlette app."""
    for one in layers(app):
        yield one
        if isinstance(one, Starlette):
            return


def _listed(app: Any) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    if isinstance(app, Starlette):
        for kind, arguments, options in app.user_middleware:
            yield kind, arguments, dict(options)


def _kinds(app: object) -> Iterator[type]:
    """Yield the classes of the middleware, from the outside."""
    for one in _layers(app):
        if isinstance(one, Starlette):
            yield from (kind for kind, _, _ in _listed(one) if isinstance(kind, type))
        else:
            yield type(one)
