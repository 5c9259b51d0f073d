"""What a ready-made route is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from moonkey_core._plan import Fetch, Outcome
from moonkey_core.auth import Auth
from moonkey_core.web.credentials import HeaderView
from moonkey_core.web.origin import RequestInfo
from moonkey_core.web.pages import Page

MAX_BODY_BYTES = 16 * 1024
"""Longest request body that a route reads; a longer one is refused with 413 by whoever reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRequest:
    """A request to one of the routes.

    ``route`` is its name (see ``ROUTES``), ``routes`` the path under which all of them are mounted in this app,
    such as ``/auth``, with any prefix of the app itself and no slash at its end. ``auth`` is the request's
    identity, ``query`` the raw query string, ``session_id`` what stands in the path.
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
    """A whole response: lower-case header names, each ``set-cookie`` a pair of its own. Never log them.

    Where there is a ``page``, the framework renders it as the body, as ``text/html; charset=utf-8``.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    page: Page | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One of the routes. ``path`` is what follows the mounting point; ``{session_id}`` in it is one segment."""

    name: str
    path: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OAuthStart:
    """What begins a sign-in at another provider: ``state`` goes into the address that the browser is sent to,
    ``set_cookie`` is a ``Set-Cookie`` value for that same response. Never log them."""

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
"""All routes, ready to be mounted under one path, such as ``/auth``."""
