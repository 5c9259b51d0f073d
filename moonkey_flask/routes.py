"""The session routes as a blueprint: sign-in, sign-out, the user's sessions, step-up."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Request, Response
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from werkzeug.exceptions import RequestEntityTooLarge

from moonkey_core.auth import new_auth
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
from moonkey_core.web.request import wsgi_headers, wsgi_request
from moonkey_core.web.uncalled import Misplaced, says_if_uncalled
from moonkey_flask.identity import current_request, get_client, resolve
from moonkey_flask.names import EXTENSION, MOUNTED, ROUTES
from moonkey_flask.pages import response_of
from moonkey_flask.responses import path_of


class _Routes(Misplaced, Blueprint):
    """The blueprint of the session routes."""

    belongs = (
        "These session_routes are Flask's. In FastAPI: from moonkey_starlette.fastapi import session_routes; in "
        "Starlette: from moonkey_starlette import session_routes; in Django: from moonkey_django import "
        "session_routes."
    )


@says_if_uncalled("app.register_blueprint(session_routes())")
def session_routes(*, url_prefix: str = "/auth", mode: Mode = "cookies") -> Blueprint:
    """Return a blueprint with the session routes, for ``app.register_blueprint(session_routes())``.

    Its endpoints are ``moonkey.sign_in``, ``moonkey.sign_out``, ``moonkey.sessions`` and so on. The app's own
    templates under ``templates/moonkey/`` take precedence over the package's.

    A ``before_request`` function that is a gate for the whole app has to leave out ``request.blueprint ==
    "moonkey"``, or no user can sign in. Where another extension requires CSRF tokens, exempt this blueprint: its
    POSTs are checked by their origin. Registering the blueprint raises
    :class:`~moonkey_core.errors.ConfigurationError` where the app's client has no cookies.

    With ``mode="header"`` they need no cookies, and neither read nor set any: sign-in answers with the credentials
    as JSON, and the client sends them in a header. That blueprint, and its endpoints, are ``moonkey_header``.

    Args:
        url_prefix: The path under which the routes are registered.
        mode: ``"cookies"`` for browsers, or ``"header"``.

    Raises:
        ConfigurationError: There is no such mode.
    """
    routes = routes_of(mode)
    blueprint = _Routes(NAMES[mode], __name__, url_prefix=url_prefix)
    for route in routes:
        rule = route.path.replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(rule, route.name, _view(route, mode), methods=[*route.methods])
    blueprint.record(_mounted)
    if mode == "cookies":
        blueprint.record(_registered)
    return blueprint


def _mounted(state: BlueprintSetupState) -> None:
    state.app.extensions[MOUNTED] = True
    check_clients(state.app)


def check_clients(app: App) -> None:
    """Log a warning if session routes are registered, and the addresses of clients are not known."""
    client = app.extensions.get(EXTENSION)
    if client is not None and MOUNTED in app.extensions:
        warn_if_clients_unknown(client.settings)


def _registered(state: BlueprintSetupState) -> None:
    prefix = (state.url_prefix or "").rstrip("/")
    # Where the prefix differs between requests, a refusal cannot name the address of the sign-in page.
    state.app.extensions[ROUTES] = None if "<" in prefix or state.subdomain else prefix
    check_cookies(state.app)


def check_cookies(app: App) -> None:
    """Check that the app's client has what the session routes need, if they are registered.

    Raises:
        ConfigurationError: They are registered, and the client has no cookies, or users can sign in nowhere.
    """
    client = app.extensions.get(EXTENSION)
    if client is None or ROUTES not in app.extensions:
        return
    if client.settings.cookies is None:
        raise ConfigurationError(
            "The session routes need cookies. Set cookies=CookieSettings(), or MOONKEY_COOKIES=true; or register "
            'session_routes(mode="header").'
        )
    check_sign_in_page(client.settings)


def _view(route: Route, mode: Mode) -> Callable[..., Response]:
    depth = route.path.count("/")
    reads_body, needs_identity = "POST" in route.methods, not route.is_static

    def view(session_id: str | None = None, **_: object) -> Response:
        request = current_request()
        environ = request.environ
        body = _body(request) if reads_body and request.method == "POST" else b""
        answer = get_client().flows.answer(
            FlowRequest(
                route=route.name,
                routes=path_of(request).rsplit("/", depth)[0],
                info=wsgi_request(environ),
                headers=wsgi_headers(environ),
                auth=resolve(request) if needs_identity else new_auth(),
                query=environ.get("QUERY_STRING", ""),
                body=body,
                session_id=session_id,
                mode=mode,
            )
        )
        return response_of(answer.status, answer.headers, answer.body, answer.page)

    return open_view(view, "moonkey_flask", SESSION_ROUTE, route.name)


def _body(request: Request) -> bytes | None:
    """Return the request's body; ``None`` where it is longer than ``MAX_BODY_BYTES``, of which no more is read.

    Raises:
        RequestRefused: The body cannot be read to its end.
    """
    length = request.content_length or 0
    if length > MAX_BODY_BYTES:
        return None
    chunked_input(request.environ)  # checks that the server supports it; werkzeug itself reads the body
    try:
        body = _read(request)
        # Some servers pass on an incomplete body of a client that has disconnected, without an error. A body that
        # the app has read as a form before is complete.
        is_cut = body is not None and len(body) < length and not (request.form or request.files)
    except RequestEntityTooLarge:  # of the app's own, smaller limit
        return None
    except Exception as error:  # PEP 3333 leaves the class of this error to the server; gunicorn has many
        raise unreadable_body(error) from None
    if is_cut:
        raise unreadable_body("it ends before its Content-Length")
    return body


def _read(request: Request) -> bytes | None:
    found = bytearray()
    while len(found) <= MAX_BODY_BYTES and (piece := request.stream.read(MAX_BODY_BYTES + 1 - len(found))):
        found += piece
    body = bytes(found) or request.get_data()  # werkzeug keeps a body that the app has read before
    return body if len(body) <= MAX_BODY_BYTES else None
