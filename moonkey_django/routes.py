"""The session routes as Django views, which pass the request to the core and return its response."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import tzinfo
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import ResolverMatch, URLPattern, path
from django.utils import timezone
from django.utils.encoding import escape_uri_path
from django.views.decorators.csrf import csrf_exempt

from moonkey_core.auth import Auth, new_auth
from moonkey_core.errors import ConfigurationError
from moonkey_core.flows import (
    MAX_BODY_BYTES,
    NAMES,
    FlowRequest,
    Mode,
    Route,
    chunked_input,
    routes_of,
    unreadable_body,
)
from moonkey_core.web.marks import SESSION_ROUTE, open_view
from moonkey_core.web.origin import warn_if_clients_unknown
from moonkey_core.web.pages import check_sign_in_page
from moonkey_core.web.uncalled import says_if_uncalled
from moonkey_django.conf import configuration, get_async_client, get_client
from moonkey_django.identity import identity_of, is_on_event_loop, request_info
from moonkey_django.pages import rendered
from moonkey_django.responses import response_of

_READ_BY_OTHERS = "multipart/form-data"  # gone once other code has read request.POST; no route accepts this type

View = Callable[..., Any]


class RoutePattern(URLPattern):
    """The URL pattern of a session route, with an asynchronous and a blocking view.

    Under ASGI the view is a coroutine function. Under WSGI it is a plain function: an event loop for each request
    would have no use, and only one of the greenlets that share a thread could run one.

    Args:
        pattern: The pattern with the asynchronous view.
        blocking: The view for WSGI.
    """

    def __init__(self, pattern: URLPattern, blocking: View) -> None:
        super().__init__(pattern.pattern, pattern.callback, pattern.default_args, pattern.name)
        self._blocking = blocking

    def resolve(self, path: str) -> ResolverMatch | None:
        """Return the match for a path, with the view that fits the server."""
        match = super().resolve(path)
        if match is not None and not is_on_event_loop():
            match.func = self._blocking
        return match


@says_if_uncalled('path("auth/", include(session_routes()))')
def session_routes(*, mode: Mode = "cookies") -> tuple[list[RoutePattern], str]:
    """Return the session routes for ``path("auth/", include(session_routes(mode="header")))``.

    With ``mode="header"`` they need no cookies, and neither read nor set any: sign-in answers with the credentials
    as JSON, and the client sends them in a header. They are named ``moonkey_header:sign_in`` and so on. With
    ``mode="cookies"`` they are those of :mod:`moonkey_django.urls`.

    Args:
        mode: ``"cookies"`` for browsers, or ``"header"``.

    Returns:
        The URL patterns and their namespace.

    Raises:
        ConfigurationError: There is no such mode, or it needs cookies and the settings have none.
    """
    routes = routes_of(mode)
    if not settings.configured and not os.environ.get(ENVIRONMENT_VARIABLE):
        raise ConfigurationError(
            "These session_routes are Django's, and no Django project is set up here. In Flask: "
            "from moonkey_flask import session_routes; in Starlette: from moonkey_starlette import "
            "session_routes; in FastAPI: from moonkey_starlette.fastapi import session_routes."
        )
    warn_if_clients_are_unknown()
    if mode == "cookies":
        need_cookies()
    return [pattern_of(route, mode) for route in routes], NAMES[mode]


def pattern_of(route: Route, mode: Mode) -> RoutePattern:
    """Return the URL pattern of a session route.

    Its views require neither a sign-in nor Django's CSRF token (the core checks the origin of each POST), and run
    in no transaction.
    """
    methods = (*route.methods, "HEAD", "OPTIONS") if "GET" in route.methods else (*route.methods, "OPTIONS")

    def blocking(request: HttpRequest, session_id: str | None = None, **_: object) -> HttpResponse:
        return _not_served(request, methods) or _answer(request, route, session_id, mode)

    async def view(request: HttpRequest, session_id: str | None = None, **_: object) -> HttpResponse:
        if identity_of(request).is_asgi:
            return _not_served(request, methods) or await _aanswer(request, route, session_id, mode)
        return await sync_to_async(blocking)(request, session_id)

    address = route.path.lstrip("/").replace("{", "<str:").replace("}", ">")
    return RoutePattern(path(address, _open_to_all(view, route), name=route.name), _open_to_all(blocking, route))


def _open_to_all(view: View, route: Route) -> View:
    view.__name__ = view.__qualname__ = route.name
    view.login_required = False  # type: ignore[attr-defined]  # as `login_not_required` has it
    for alias in connections:
        non_atomic_requests(alias)(view)
    exempt: View = csrf_exempt(open_view(view, "moonkey_django", SESSION_ROUTE, route.name))
    return exempt


def _not_served(request: HttpRequest, methods: Sequence[str]) -> HttpResponse | None:
    """Return the response to ``OPTIONS`` or to a method that the route does not have; else ``None``."""
    method = request_info(request).method
    if method == "OPTIONS":
        return HttpResponse(headers={"Allow": ", ".join(methods)})
    return None if method in methods else HttpResponseNotAllowed(methods)


def warn_if_clients_are_unknown() -> None:
    """Log a warning where the addresses of clients are not known, as the limits of sign-in count by them."""
    with suppress(ConfigurationError):  # the middleware and the system checks report this error
        warn_if_clients_unknown(configuration().settings)


def need_cookies() -> None:
    """Check that the settings have what the session routes need.

    Raises:
        ConfigurationError: They have no cookies, or users can sign in nowhere.
    """
    try:
        found = configuration().settings
    except ConfigurationError:
        return  # the middleware and the system checks report this error
    if found.cookies is None:
        raise ConfigurationError(
            'The session routes need cookies. Set MOONKEY["COOKIES"] = {}, or include '
            'session_routes(mode="header"), or do not include moonkey_django.urls.'
        )
    check_sign_in_page(found)


def _answer(request: HttpRequest, route: Route, session_id: str | None, mode: Mode) -> HttpResponse:
    body = _body(request)
    auth = identity_of(request).read() if _depends_on_identity(route) else new_auth()
    answer = get_client().flows.answer(_flow_request(request, route, auth, body, session_id, mode))
    identity_of(request).refused_with = answer.status
    return response_of(answer, None if answer.page is None else rendered(request, answer.page))


async def _aanswer(request: HttpRequest, route: Route, session_id: str | None, mode: Mode) -> HttpResponse:
    body = _body(request)
    auth = await identity_of(request).aread() if _depends_on_identity(route) else new_auth()
    answer = await get_async_client().flows.answer(_flow_request(request, route, auth, body, session_id, mode))
    # In a thread: the project's templates and context processors may query the database.
    page = None if answer.page is None else await sync_to_async(rendered)(request, answer.page)
    identity_of(request).refused_with = answer.status
    return response_of(answer, page)


def _flow_request(
    request: HttpRequest, route: Route, auth: Auth, body: bytes | None, session_id: str | None, mode: Mode
) -> FlowRequest:
    mounted_at = request.path.rsplit("/", route.path.count("/"))[0]
    return FlowRequest(
        route=route.name,
        routes=escape_uri_path(mounted_at),
        info=request_info(request),
        headers=identity_of(request).headers,
        auth=auth,
        query=request.META.get("QUERY_STRING", ""),
        body=body,
        session_id=session_id,
        time_zone=_reader_zone(),
        mode=mode,
    )


def _reader_zone() -> tzinfo | None:
    """Return the time zone in which the project shows times; ``None`` where it has set none.

    It is that of :func:`django.utils.timezone.activate`, else the ``TIME_ZONE`` of the project.
    """
    if not settings.USE_TZ:
        return None
    zone = timezone.get_current_timezone()
    is_own = zone is not timezone.get_default_timezone() or settings.is_overridden("TIME_ZONE")
    return zone if is_own else None


def _depends_on_identity(route: Route) -> bool:
    return not route.is_static


def _body(request: HttpRequest) -> bytes | None:
    """Return the body of a POST; ``None`` where it is longer than ``MAX_BODY_BYTES``, of which no more is read.

    Raises:
        RequestRefused: The body cannot be read to its end.
    """
    if request_info(request).method != "POST":
        return b""
    said = request.META.get("CONTENT_LENGTH") or ""
    length = int(said[:12]) if said.isdecimal() else 0
    if length > MAX_BODY_BYTES:
        return None
    found = b""
    source = chunked_input(request.META) or request
    try:
        while len(found) <= MAX_BODY_BYTES and (piece := source.read(MAX_BODY_BYTES + 1 - len(found))):
            found += piece
    except Exception as error:  # PEP 3333 leaves the class of this error to the server
        raise unreadable_body(error) from None
    if len(found) < length and request.content_type != _READ_BY_OTHERS:
        raise unreadable_body("it ends before its Content-Length")
    return found if len(found) <= MAX_BODY_BYTES else None
