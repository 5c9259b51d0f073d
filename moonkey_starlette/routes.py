"""The session routes, ready to mount: sign-in, sign-out, the user's sessions and step-up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from moonkey_core.auth import new_auth
from moonkey_core.flows import (
    MAX_BODY_BYTES,
    NAMES,
    FlowRequest,
    FlowResponse,
    Mode,
    routes_of,
    unreadable_body,
)
from moonkey_core.flows import Route as Served
from moonkey_core.web.marks import SESSION_ROUTE, open_view
from moonkey_core.web.request import HeaderView, asgi_request
from moonkey_core.web.uncalled import Misplaced, says_if_uncalled
from moonkey_starlette.identity import identity_of
from moonkey_starlette.pages import HTML, Pages, Templates
from moonkey_starlette.paths import as_link, visible_path

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class _Routes(Misplaced, Mount):
    """The mount of the session routes."""

    belongs = (
        "These session_routes are Starlette's: Starlette(routes=[session_routes(), …]). In FastAPI: "
        "from moonkey_starlette.fastapi import session_routes; in Flask: "
        "from moonkey_flask import session_routes; in Django: from moonkey_django import session_routes."
    )

    if not TYPE_CHECKING:  # only errors come here

        def __iter__(self) -> NoReturn:
            raise TypeError(
                "session_routes() is a single route and no list. Write: Starlette(routes=[session_routes(), …])"
            )


@says_if_uncalled("Starlette(routes=[session_routes(), …])")
def session_routes(
    *, url_prefix: str = "/auth", templates: Templates | None = None, mode: Mode = "cookies"
) -> Mount:
    """Return all session routes: ``Starlette(routes=[session_routes(url_prefix="/auth"), …])``.

    They need the middleware and cookies; an app that mounts them without cookies does not start. Each route checks
    the user's permission itself, and all stay open under ``required=True``. For ``request.url_for``, their names
    are ``moonkey:sign_in``, ``moonkey:sign_out``, ``moonkey:sessions`` and so on. Without Jinja2 installed, they
    answer in JSON only. For FastAPI, use the function of the same name in :mod:`moonkey_starlette.fastapi`.

    With ``mode="header"`` they need no cookies, and neither read nor set any: sign-in answers with the credentials
    as JSON, and the client sends them in a header. Their names then begin with ``moonkey_header:``.

    Args:
        url_prefix: The path below which the routes are mounted.
        templates: The app's own page templates; those of the middleware if left out.
        mode: ``"cookies"`` for browsers, or ``"header"``.

    Returns:
        A mount for the ``routes`` of a Starlette app.

    Raises:
        ConfigurationError: There is no such mode.
    """
    routes = [
        Route(route.path, endpoint, methods=list(route.methods), name=route.name)
        for route, endpoint in endpoints(templates, mode)
    ]
    return _Routes(url_prefix, routes=routes, name=NAMES[mode])


def endpoints(templates: Templates | None, mode: Mode) -> Iterator[tuple[Served, Endpoint]]:
    """Yield each session route of a mode with its endpoint."""
    pages = None if templates is None else Pages(templates)
    for route in routes_of(mode):
        yield route, _endpoint(route, pages, mode)


def _endpoint(route: Served, own_pages: Pages | None, mode: Mode) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        identity = identity_of(request)
        pages = own_pages or identity.pages
        scope, session_id = request.scope, request.path_params.get("session_id")
        body = await _body(request) if request.method == "POST" else b""
        answer = await identity.client.flows.answer(
            FlowRequest(
                route=route.name,
                routes=_mounted_at(request, route.path.replace("{session_id}", session_id or "")),
                info=identity.info or asgi_request(scope),
                headers=identity.headers if pages.can_render else _without_accept(identity.headers),
                # Static files are the same for all users.
                auth=new_auth() if route.is_static else await identity.resolve(),
                query=scope["query_string"].decode("latin-1"),
                body=body,
                session_id=session_id,
                mode=mode,
            )
        )
        return _response(answer, pages, request)

    endpoint.__name__ = route.name
    return open_view(endpoint, "moonkey_starlette", SESSION_ROUTE, route.name)


async def _body(request: Request) -> bytes | None:
    """Read the body of a request; ``None`` where it is longer than ``MAX_BODY_BYTES``, of which no more is read.

    Raises:
        RequestRefused: The client disconnects before the end of the body.
    """
    found = bytearray()
    try:
        async for chunk in request.stream():
            found += chunk
            if len(found) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect as error:  # the client is gone; the error is for the log
        raise unreadable_body(error) from None
    return bytes(found)


def _mounted_at(request: Request, path: str) -> str:
    """Return the prefix of the session routes as the browser sees it; ``path`` is the rest of the path."""
    scope = request.scope
    return as_link(visible_path(scope["path"], scope.get("root_path", "")).removesuffix(path))


def _without_accept(headers: HeaderView) -> HeaderView:
    """Return headers without ``Accept``, so that the response is JSON where no page can be rendered."""
    return lambda name: () if name == "accept" else headers(name)


def _response(answer: FlowResponse, pages: Pages, request: Request) -> Response:
    headers, body = answer.headers, answer.body
    if answer.page is not None:
        headers = (*(pair for pair in headers if pair[0] != "content-type"), HTML)
        body = pages.body(answer.page, request) or b""
    response = Response(body, answer.status)
    length = response.headers["content-length"]
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    response.raw_headers.append((b"content-length", length.encode("ascii")))
    return response
