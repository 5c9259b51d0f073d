"""The response to a request that is refused, and where its browser goes next."""

from __future__ import annotations

from urllib.parse import quote

from flask import Request, Response, current_app

from moonkey_core.errors import MoonKeyError
from moonkey_core.web.pages import PAGE_HEADERS, Visit, log_missing_page, refuse_visit
from moonkey_core.web.request import wsgi_headers
from moonkey_flask.identity import current_request, get_client
from moonkey_flask.names import ROUTES
from moonkey_flask.pages import response_of

_UNRESERVED = "/!$&'()*+,;=:@"  # of a path, RFC 3986 section 3.3; what else it holds is escaped


def refused(error: MoonKeyError) -> Response:
    """What :func:`~moonkey_core.web.pages.refuse_visit` says, as a response."""
    flask_request = current_request()
    query = flask_request.environ.get("QUERY_STRING", "")
    target = path_of(flask_request) + (f"?{query}" if query else "")
    visit = Visit(flask_request.method, target, _routes(flask_request))
    refusal = refuse_visit(error, get_client().settings, wsgi_headers(flask_request.environ), visit)
    if refusal.page is None:
        return response_of(refusal.status, refusal.headers, refusal.body, None)
    try:
        return response_of(refusal.status, (*refusal.headers, *PAGE_HEADERS), b"", refusal.page)
    except MoonKeyError as nobody:  # a layout of the app's own asks for the user
        log_missing_page(nobody)
        return response_of(refusal.status, refusal.headers, refusal.body, None)


def path_of(flask_request: Request) -> str:
    """The path as the browser sees it, escaped: with that under which the app itself is mounted."""
    path = flask_request.environ.get("PATH_INFO", "")
    return _mount(flask_request) + quote(path.encode("latin-1"), _UNRESERVED)  # PEP 3333: bytes in disguise


def _mount(flask_request: Request) -> str:
    path = flask_request.environ.get("SCRIPT_NAME", "").strip("/")  # two in front would name another host
    return quote(f"/{path}".encode("latin-1"), _UNRESERVED) if path else ""


def _routes(flask_request: Request) -> str | None:
    """The path under which the session routes are mounted, if they are."""
    prefix: str | None = current_app.extensions.get(ROUTES)
    return None if prefix is None else _mount(flask_request) + quote(prefix, _UNRESERVED)
