"""The session routes, ready to mount: sign-in, sign-out, the user's sessions, step-up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from moonkey_core.auth import Auth
from moonkey_core.flows import MAX_BODY_BYTES, ROUTES, FlowRequest, FlowResponse, unreadable_body
from moonkey_core.flows import Route as Served
from moonkey_core.web.credentials import HeaderView
from moonkey_core.web.origin import asgi_request
from moonkey_starlette.identity import identity_of
from moonkey_starlette.mounted import NAME
from moonkey_starlette.pages import HTML, Pages, Templates
from moonkey_starlette.paths import as_link, visible_path

__all__ = ["Endpoint", "endpoints", "session_routes"]

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def session_routes(path: str = "/auth", *, templates: Templates | None = None) -> Mount:
    """All session routes: ``Starlette(routes=[session_routes("/auth"), …])``.

    They need the middleware, and cookies: an app that mounts them without does not start. They decide themselves
    who may do what, and stay open under ``required=True``. Their names are ``moonkey:sign_in``,
    ``moonkey:sign_out``, ``moonkey:sessions`` and so on, for ``request.url_for``.

    ``templates`` is where the app has pages of its own, as for the middleware, whose are used if none are given.
    Without Jinja2 installed the routes speak JSON only. For FastAPI there is ``session_router`` in
    :mod:`moonkey_starlette.fastapi`.
    """
    routes = [
        Route(route.path, endpoint, methods=list(route.methods), name=route.name)
        for route, endpoint in endpoints(templates)
    ]
    return Mount(path, routes=routes, name=NAME)


def endpoints(templates: Templates | None = None) -> Iterator[tuple[Served, Endpoint]]:
    """Each of the routes with what answers it."""
    pages = None if templates is None else Pages(templates)
    for route in ROUTES:
        yield route, _endpoint(route, pages)


def _endpoint(route: Served, own_pages: Pages | None) -> Endpoint:
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
                # The style sheet is the same for everybody.
                auth=Auth() if route.name == "style" else await identity.resolve(),
                query=scope["query_string"].decode("latin-1"),
                body=body,
                session_id=session_id,
            )
        )
        return _response(answer, pages, request)

    endpoint.__name__ = route.name
    return endpoint


async def _body(request: Request) -> bytes:
    """The body, which is read no further than it may be long; a longer one is refused.

    Raises ``RequestRefused`` where it cannot be read to its end.
    """
    found = bytearray()
    try:
        async for chunk in request.stream():
            found += chunk
            if len(found) > MAX_BODY_BYTES:
                raise HTTPException(status_code=413)
    except ClientDisconnect as error:  # nobody is there to be told, but the log is
        raise unreadable_body(error) from None
    return bytes(found)


def _mounted_at(request: Request, path: str) -> str:
    """Where the routes are mounted, as the browser sees it; ``path`` is what follows."""
    scope = request.scope
    return as_link(visible_path(scope["path"], scope.get("root_path", "")).removesuffix(path))


def _without_accept(headers: HeaderView) -> HeaderView:
    """The headers of somebody who gets JSON, as nobody here can make a page."""
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
