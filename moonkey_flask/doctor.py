"""What ``moonkey doctor`` looks at in a Flask app, and the check inside of a worker."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask, current_app
from werkzeug.middleware.proxy_fix import ProxyFix

from moonkey_core.client import MoonKey
from moonkey_core.doctor import Line, Report, Server, not_set_up, ok, unseen, wrong
from moonkey_core.doctor import worker_report as report_on
from moonkey_core.settings import Settings
from moonkey_core.web.cors import unlisted_headers
from moonkey_flask.identity import current_request, get_client
from moonkey_flask.names import EXTENSION
from moonkey_flask.socketio import header_view, request_info

__all__ = ["log_worker_report", "worker_report"]

_MOST_LAYERS = 20
_SET_UP = "Add: FlaskMoonKey(app), or moonkey.init_app(app) in the factory."


def worker_report() -> Report:
    """Report on this worker by the current request: server, proxies, cookies, keys and feed.

    Call it in a view of your own that only you can reach. It makes no network call, and reads no credential.

    Raises:
        ConfigurationError: The extension was not initialised for this app.
    """
    client, request = get_client(), current_request()
    environ = request.environ
    server = Server(
        "WSGI",
        str(environ.get("SERVER_SOFTWARE", ""))[:60],
        environ.get("wsgi.multithread"),
        environ.get("wsgi.multiprocess"),
    )
    return report_on(client.settings, client.health(), header_view(environ), request_info(request), server)


def log_worker_report(app: Flask) -> None:
    """Have each worker log its report at its first request, line by line: what is wrong as a warning."""
    lock = threading.Lock()

    def log_once() -> None:
        if lock.acquire(blocking=False):  # never released: once in each process
            worker_report().log()

    app.before_request(log_once)


def recognizes(app: object) -> bool:
    """Return whether an object is a Flask app, or a WSGI layer around one."""
    return _flask_in(app) is not None


def settings_of(app: object) -> Settings | None:
    """Return the settings with which an app uses MoonKey; ``None`` where it does not."""
    found = _flask_in(app)
    client: MoonKey | None = None if found is None else found.extensions.get(EXTENSION)
    return None if client is None else client.settings


def stack_of(app: object) -> list[Line]:
    """Return what is to be said of the extension and of Flask-CORS in an app."""
    found, settings = _flask_in(app), settings_of(app)
    if found is None or settings is None:
        return [not_set_up(_SET_UP)]
    return [*_extension(found, settings), *_proxy_fix(found, settings), *_cors(found, settings)]


def _flask_in(app: Any) -> Flask | None:
    for _ in range(_MOST_LAYERS):
        if isinstance(app, Flask):
            return app
        names = ("app", "application", "wsgi_app", "__self__")
        app = next((inner for name in names if (inner := getattr(app, name, None)) is not None), None)
    return None


def _extension(app: Flask, settings: Settings) -> list[Line]:
    clashing = [
        name for cookies in settings.all_cookies for name in cookies.all_names
        if name == app.config.get("SESSION_COOKIE_NAME")
    ]  # fmt: skip
    if clashing:
        return [
            wrong(
                "stack",
                f"SESSION_COOKIE_NAME is {clashing[0]}, a cookie of MoonKey's: each would overwrite the other.",
                "Choose another name for one of them.",
            )
        ]
    return [ok("stack", "The extension is set up; a request is verified when its identity is first read.")]


def _proxy_fix(app: Flask, settings: Settings) -> list[Line]:
    layer: Any = app.wsgi_app
    for _ in range(_MOST_LAYERS):
        if isinstance(layer, ProxyFix):
            break
        layer = next((inner for name in ("app", "application") if (inner := getattr(layer, name, None))), None)
    if layer is None or settings.trusted_proxies in ((), ("none",)):
        return []
    return [
        wrong(
            "proxies",
            "ProxyFix puts the client's address in the place of the proxy's, so trusted_proxies matches no proxy.",
            'Set trusted_proxies to "none", as ProxyFix has done it, or leave ProxyFix out.',
        )
    ]


def _cors(app: Flask, settings: Settings) -> list[Line]:
    hooks = [
        hook
        for hook in app.after_request_funcs.get(None, ())
        if getattr(hook, "__module__", "").startswith("flask_cors")
    ]
    if not hooks:
        return [ok("cors", "The app has no Flask-CORS: pages of its own origin call it.")]
    options = [one for hook in hooks for one in _options_of(hook)]
    if not options:
        return [
            unseen("cors", "The lists of this release of Flask-CORS.", "Look at allow_headers, expose_headers.")
        ]
    lines = [line for one in options for line in _gaps(one, settings)]
    return lines or [ok("cors", "Flask-CORS lists what pages of other origins need.")]


def _options_of(hook: Any) -> Iterator[Any]:
    """Yield the options of each resource, which Flask-CORS keeps in the closure of its function alone."""
    for cell in getattr(hook, "__closure__", None) or ():
        found = cell.cell_contents
        if isinstance(found, list):
            yield from (one[1] for one in found if isinstance(one, tuple) and len(one) == 2)


def _gaps(options: Any, settings: Settings) -> list[Line]:
    def option(name: str) -> Any:
        return options.get(name) if isinstance(options, dict) else getattr(options, name, None)

    exposed = option("expose_headers") or ""
    listed = exposed.split(",") if isinstance(exposed, str) else [str(one) for one in exposed]
    missing = unlisted_headers(
        settings,
        _allowed(option("allow_headers") or (), settings),
        listed,
        with_cookies=bool(option("supports_credentials")),
    )
    lines = []
    if missing.allow:
        lines.append(
            wrong(
                "cors",
                f"allow_headers of Flask-CORS lacks {', '.join(missing.allow)}: a browser does not let a page of "
                "another origin send it.",
                f"Add to CORS(…, allow_headers=[…]): {', '.join(missing.allow)}.",
            )
        )
    if missing.expose:
        lines.append(
            wrong(
                "cors",
                f"expose_headers of Flask-CORS lacks {', '.join(missing.expose)}: a page of another origin cannot "
                "read it.",
                f"Add to CORS(…, expose_headers=[…]): {', '.join(missing.expose)}.",
            )
        )
    return lines


def _allowed(patterns: Iterable[Any], settings: Settings) -> list[str]:
    """Return the headers that the list of Flask-CORS allows, which holds texts and regular expressions."""
    names = (*settings.credential_headers, *settings.handle_headers)
    return [name for name in names if any(_matches(one, name) for one in patterns)]


def _matches(pattern: Any, name: str) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.match(name) is not None
    return str(pattern).lower() in ("*", name)


def settings_of_current_app() -> Settings:
    """Return the settings of the current app, for ``flask moonkey doctor``.

    Raises:
        ConfigurationError: The extension was not initialised for this app.
    """
    return get_client().settings


def stack_of_current_app() -> list[Line]:
    """Return what is to be said of the current app, for ``flask moonkey doctor``."""
    return stack_of(current_app._get_current_object())  # type: ignore[attr-defined]
