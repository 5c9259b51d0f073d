"""The response to a refused request, and the headers and cookies that are added to any other response."""

from __future__ import annotations

from functools import lru_cache
from inspect import isgenerator
from urllib.parse import quote

from flask import Request, Response, current_app
from werkzeug.datastructures import Headers

from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.errors import MoonKeyError
from moonkey_core.web.pages import PAGE_HEADERS, Visit, log_missing_page, refuse_visit
from moonkey_core.web.request import wsgi_headers, wsgi_request
from moonkey_core.web.responses import (
    DESCRIBED_HEADERS,
    ResponseFacts,
    has_usual_effects,
    must_resolve_first,
    response_effects,
    usual_effects,
    usual_facts,
)
from moonkey_flask.identity import ATTRIBUTE, CLIENT, current_request, get_client, resolve
from moonkey_flask.names import ROUTES
from moonkey_flask.pages import response_of

_KEEPS_LINES = vars(Headers([("a", "b")])).get("_list") == [("a", "b")]
"""Whether werkzeug keeps headers as pairs, in the order of their lines, in one list."""

_UNRESERVED = "/!$&'()*+,;=:@"  # in a path, RFC 3986 section 3.3; all other characters are escaped


def reject(error: MoonKeyError) -> Response:
    """Return the response for an error, by :func:`~moonkey_core.web.pages.refuse_visit`."""
    flask_request = current_request()
    query = flask_request.environ.get("QUERY_STRING", "")
    target = path_of(flask_request) + (f"?{query}" if query else "")
    info = wsgi_request(flask_request.environ)
    visit = Visit(flask_request.method, target, _routes(flask_request), info=info)
    refusal = refuse_visit(error, get_client().settings, wsgi_headers(flask_request.environ), visit)
    if refusal.page is None:
        return response_of(refusal.status, refusal.headers, refusal.body, None)
    try:
        return response_of(refusal.status, (*refusal.headers, *PAGE_HEADERS), b"", refusal.page)
    except MoonKeyError as trouble:  # a template of the app reads the user
        log_missing_page(trouble)
        return response_of(refusal.status, refusal.headers, refusal.body, None)


def apply_response_effects(response: Response) -> Response:
    """Add the headers and cookies of :func:`~moonkey_core.web.responses.response_effects` to a response.

    Returns:
        The same response.
    """
    flask_request = current_request()
    known = flask_request.__dict__
    auth: Auth | None = known.get(ATTRIBUTE)
    own = response.headers
    if auth is not None and _KEEPS_LINES and type(own) is Headers:
        # Nearly each response to a verified request ends here.
        lines = own._list  # each look-up by name is a pass through all of them, and `add` would check each text
        for name, _ in lines:
            if name.lower() in DESCRIBED_HEADERS:
                break
        else:
            client: MoonKey = known.get(CLIENT) or get_client()
            settings = client.settings
            if has_usual_effects(auth, settings, True):
                lines.extend(usual_effects(settings.identity_headers).headers)
                return response
    is_streamed = _is_streamed(response)
    if auth is None and not is_streamed:
        return response  # it does not depend on the identity, and no later code can make it do so
    names = tuple(dict(iter(own)))
    facts = _usual_facts(response.status_code, is_streamed, names)
    client = get_client()
    settings = client.settings
    if facts is None:
        vary, cache_control, set_cookies = map(own.getlist, ("vary", "cache-control", "set-cookie"))
        facts = ResponseFacts(
            response.status_code, is_streamed, ", ".join(vary), ", ".join(cache_control), set_cookies
        )
    environ = flask_request.environ
    headers = wsgi_headers(environ)
    if auth is None and must_resolve_first(auth, facts, headers, wsgi_request(environ), settings):
        auth = resolve(flask_request)
    effects = response_effects(auth, facts, headers, settings, client.revocations, is_asked_for=True)
    if effects.is_secret:
        effects = effects.against(names)
    for name, value in effects.headers:
        own.set(name, value)
    for cookie in effects.cookies:
        own.add("set-cookie", cookie)
    return response


@lru_cache(256)  # the header names of the app's responses, of which it has few combinations
def _usual_facts(status: int, is_streamed: bool, names: tuple[str, ...]) -> ResponseFacts | None:
    """Return the facts of a response with headers of these names; ``None`` where their values count."""
    is_usual = DESCRIBED_HEADERS.isdisjoint(name.lower() for name in names)
    return usual_facts(status, is_streamed) if is_usual else None


def _is_streamed(response: Response) -> bool:
    """Return whether code of the app makes the body while it is sent; false for a file that is passed through."""
    return response.is_streamed and (not response.direct_passthrough or isgenerator(response.response))


def path_of(flask_request: Request) -> str:
    """Return the request's path as the browser sees it: escaped, and with the path where the app is mounted."""
    path = flask_request.environ.get("PATH_INFO", "")
    return _mount(flask_request) + quote(path.encode("latin-1"), _UNRESERVED)  # PEP 3333: bytes, as Latin-1


def _mount(flask_request: Request) -> str:
    path = flask_request.environ.get("SCRIPT_NAME", "").strip("/")  # two slashes in front would name a host
    return quote(f"/{path}".encode("latin-1"), _UNRESERVED) if path else ""


def _routes(flask_request: Request) -> str | None:
    """Return the path under which the session routes are mounted, if they are."""
    prefix: str | None = current_app.extensions.get(ROUTES)
    return None if prefix is None else _mount(flask_request) + quote(prefix, _UNRESERVED)
