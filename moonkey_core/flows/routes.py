"""The table of routes, and the request and response of a route; the same for every framework."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from moonkey_core._plan import Fetch, Outcome
from moonkey_core.auth import Auth
from moonkey_core.web.pages import Page
from moonkey_core.web.request import HeaderView, RequestInfo

MAX_BODY_BYTES = 16 * 1024
"""Longest request body that a route reads. The framework package refuses a longer one with 413."""


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
        body: Raw body, at most ``MAX_BODY_BYTES``.
        session_id: The ``{session_id}`` segment of the path, if the route has one.
    """

    route: str
    routes: str
    info: RequestInfo
    headers: HeaderView = field(repr=False)
    auth: Auth
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    session_id: str | None = None


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
    """

    name: str
    path: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OAuthStart:
    """The start of a sign-in at another provider. Never log it.

    Attributes:
        state: Goes into the address that the browser is sent to.
        set_cookie: A ``Set-Cookie`` value for that same response.
    """

    state: str = field(repr=False)
    set_cookie: str = field(repr=False)


FlowPlan = Generator[Fetch, Outcome, FlowResponse]

ROUTES = (
    Route("sign_in", "/sign-in", ("GET",)),
    Route("send_otp", "/sign-in/otp", ("POST",)),
    Route("verify_otp", "/sign-in/otp/verify", ("GET", "POST")),
    Route("magic", "/sign-in/magic", ("GET", "POST")),
    Route("oauth", "/callback/oauth", ("GET",)),
    Route("session", "/session", ("GET",)),
    Route("sign_out", "/sign-out", ("GET", "POST")),
    Route("sessions", "/sessions", ("GET",)),
    Route("revoke", "/sessions/{session_id}/revoke", ("POST",)),
    Route("revoke_others", "/sessions/revoke-others", ("POST",)),
    Route("step_up", "/step-up", ("GET",)),
    Route("step_up_send_otp", "/step-up/otp", ("POST",)),
    Route("step_up_verify_otp", "/step-up/otp/verify", ("GET", "POST")),
    Route("step_up_totp", "/step-up/totp", ("POST",)),
    Route("style", "/style.css", ("GET",)),
)
"""All routes, to be mounted under one path, such as ``/auth``."""
