"""The table of routes, and the request and response of a route; the same for every framework."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import field, replace
from datetime import tzinfo
from typing import Any, Literal, TypeVar

from moonkey_core._dataclass import dataclass
from moonkey_core._plan import AwaitPublished, CountAttempt, Fetch, Pause, RecordStep
from moonkey_core.auth import Auth
from moonkey_core.errors import ConfigurationError
from moonkey_core.web.pages import Page
from moonkey_core.web.request import HeaderView, RequestInfo

T = TypeVar("T")

MAX_BODY_BYTES = 16 * 1024
"""Longest request body that a route reads. A longer one is refused with 413."""


Mode = Literal["cookies", "header"]
"""How the clients of the routes keep their session: browsers in cookies, or programs that send it in a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRequest:
    """A request to one of the routes.

    Attributes:
        route: Name of the route, as in ``ROUTES``.
        routes: Path under which all routes are mounted, such as ``/auth``, with any prefix of the app itself and
            without a slash at the end.
        info: Method, scheme and peer of the request.
        headers: View of the request headers.
        auth: Identity of the request.
        query: Raw query string.
        body: Raw body, at most ``MAX_BODY_BYTES``; ``None`` where it is longer, which is refused.
        session_id: The ``{session_id}`` segment of the path, if the route has one.
        time_zone: Time zone of the reader, where the framework knows it.
        mode: The mode that the routes are mounted in.
    """

    route: str
    routes: str
    info: RequestInfo
    headers: HeaderView = field(repr=False)
    auth: Auth
    query: str = field(default="", repr=False)
    body: bytes | None = field(default=b"", repr=False)
    session_id: str | None = None
    time_zone: tzinfo | None = None
    mode: Mode = "cookies"


@dataclass(frozen=True, slots=True)
class FlowResponse:
    """A whole response. Never log its headers or its body.

    Attributes:
        status: HTTP status.
        headers: Pairs of lower-case name and value; each ``set-cookie`` is a pair of its own.
        body: The body, if there is no ``page``.
        page: A page that the framework renders as the body, as ``text/html; charset=utf-8``.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    page: Page | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One of the routes.

    Attributes:
        name: Its name in ``FlowRequest.route``.
        path: Path below the mounting point; ``{session_id}`` in it is one segment.
        methods: Allowed methods. ``GET`` includes ``HEAD``.
        form: Path of the page with the form that posts to this route, if it has one. Where that is another path,
            a ``GET`` is redirected to it: a browser that was shown an error stands at the address of the ``POST``.
        is_static: Whether the response is the same for all users, so that no identity is needed.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    form: str | None = None
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class OAuthStart:
    """The start of a sign-in at another provider. Never log it.

    Attributes:
        state: Goes into the address that the browser is sent to.
        set_cookie: A ``Set-Cookie`` value for that same response.
    """

    state: str = field(repr=False)
    set_cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MagicLinkStart:
    """The request for a magic link in one browser. Never log it.

    Attributes:
        state: Goes into the link, beside its ``token``.
        set_cookie: A ``Set-Cookie`` value for the response to that browser.
    """

    state: str = field(repr=False)
    set_cookie: str = field(repr=False)


FlowSteps = Generator[Fetch | AwaitPublished | CountAttempt | Pause | RecordStep, Any, T]
"""A plan that also counts attempts, waits, and reads and writes records."""

FlowPlan = FlowSteps[FlowResponse]

_FORM = ("GET", "POST")

ROUTES = (
    Route("sign_in", "/sign-in", ("GET",)),
    Route("send_otp", "/sign-in/otp", _FORM, form="/sign-in"),
    Route("verify_otp", "/sign-in/otp/verify", _FORM, form="/sign-in/otp/verify"),
    Route("magic", "/sign-in/magic", _FORM),
    Route("oauth", "/callback/oauth", ("GET",)),
    Route("session", "/session", ("GET",)),
    Route("hydrate", "/session/hydrate", ("POST",)),
    Route("sign_out", "/sign-out", _FORM, form="/sign-out"),
    Route("sessions", "/sessions", ("GET",)),
    Route("revoke", "/sessions/{session_id}/revoke", _FORM, form="/sessions"),
    Route("revoke_others", "/sessions/revoke-others", _FORM, form="/sessions"),
    Route("step_up", "/step-up", ("GET",)),
    Route("step_up_send_otp", "/step-up/otp", _FORM, form="/step-up"),
    Route("step_up_verify_otp", "/step-up/otp/verify", _FORM, form="/step-up/otp/verify"),
    Route("step_up_totp", "/step-up/totp", _FORM, form="/step-up"),
    Route("style", "/style.css", ("GET",), is_static=True),
    Route("icon", "/icon.svg", ("GET",), is_static=True),
)
"""All routes, to be mounted under one path, such as ``/auth``."""

HEADER_ROUTES = tuple(
    replace(route, methods=("POST",) if "POST" in route.methods else route.methods)
    for route in ROUTES
    if route.name != "oauth" and not route.is_static
)
"""The routes in the mode ``header``: those without pages, and without a redirect that only a cookie can bind."""


NAMES: Mapping[Mode, str] = {"cookies": "moonkey", "header": "moonkey_header"}
"""The names of the mounted routes as a whole, by their mode: that of a blueprint or a namespace."""


def routes_of(mode: Mode) -> tuple[Route, ...]:
    """Return the routes to be mounted in a mode.

    Raises:
        ConfigurationError: There is no such mode.
    """
    if mode not in ("cookies", "header"):
        raise ConfigurationError('The mode of the session routes is "cookies" or "header".')
    return HEADER_ROUTES if mode == "header" else ROUTES
