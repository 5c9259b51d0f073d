"""What ``moonkey doctor`` looks at in a Django project, and the check inside of a worker."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.checks import CheckMessage
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponseBase

from moonkey_core.doctor import Line, Report, Server, ok, wrong
from moonkey_core.doctor import worker_report as report_on
from moonkey_core.settings import Settings
from moonkey_core.web.request import asgi_headers, asgi_request, wsgi_headers, wsgi_request
from moonkey_django.checks import check_middleware, check_settings
from moonkey_django.conf import configuration, get_async_client, get_client
from moonkey_django.cookie_checks import check_cookies
from moonkey_django.cors_checks import check_cors
from moonkey_django.gates import check_gates
from moonkey_django.user_checks import check_users

__all__ = ["LogWorkerReport", "worker_report"]

_CHECKS: tuple[tuple[str, Callable[..., Sequence[CheckMessage]], str], ...] = (
    ("stack", check_middleware, "MIDDLEWARE has MoonKey's once, and the CORS middleware, if any, before it."),
    ("cookies", check_cookies, "The cookies fit Django's own settings."),
    ("cors", check_cors, "The lists of django-cors-headers, if any, have what pages of other origins need."),
    ("users", check_users, "Mapping to Django users is set up as MOONKEY['USERS'] says."),
    ("gates", check_gates, "Each gate in the URLconf protects what it stands on."),
)
_MOST_LAYERS = 20


def worker_report(request: HttpRequest) -> Report:
    """Report on this worker by a request: server, proxies, cookies, keys and feed.

    Call it in a view of your own that only you can reach. It makes no network call, and reads no credential.
    """
    scope = getattr(request, "scope", None)
    if scope is not None:
        client: Any = get_async_client()
        server = Server("ASGI")
        return report_on(
            client.settings, client.health(), asgi_headers(scope["headers"]), asgi_request(scope), server
        )
    client, environ = get_client(), request.META
    server = Server(
        "WSGI",
        str(environ.get("SERVER_SOFTWARE", ""))[:60],
        environ.get("wsgi.multithread"),
        environ.get("wsgi.multiprocess"),
    )
    return report_on(client.settings, client.health(), wsgi_headers(environ), wsgi_request(environ), server)


class LogWorkerReport:
    """A middleware that has each worker log its report at its first request, what is wrong as a warning.

    Add ``"moonkey_django.doctor.LogWorkerReport"`` to ``MIDDLEWARE``, at any place.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._lock = threading.Lock()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Log the report if this is the first request, and pass the request on."""
        if self._lock.acquire(blocking=False):  # never released: once in each process
            worker_report(request).log()
        found: HttpResponseBase | Awaitable[HttpResponseBase] = self._get_response(request)
        return found


def recognizes(app: Any) -> bool:
    """Return whether an object is what serves a Django project, or a layer around it."""
    for _ in range(_MOST_LAYERS):
        if isinstance(app, BaseHandler):
            return True
        app = next((inner for name in ("app", "application") if (inner := getattr(app, name, None))), None)
    return False


def settings_of(app: object) -> Settings | None:
    """Return the settings with which the project uses MoonKey.

    Raises:
        ConfigurationError: They are wrong.
    """
    return configuration().settings


def stack_of(app: object) -> list[Line]:
    """Return what the system checks of this package say, also where its app is not installed."""
    lines = [_line("settings", message) for message in check_settings()]
    for name, check, well in _CHECKS:
        found = [_line(name, message) for message in check(app_configs=None)]
        lines += found or [ok(name, well)]
    return lines


def _line(check: str, message: CheckMessage) -> Line:
    return wrong(check, f"{message.id}: {message.msg}", str(message.hint or "See docs/django.md."))
