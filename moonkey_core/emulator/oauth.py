"""Logins at another provider: the way there and back, with the emulator in the provider's place."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from moonkey_core.emulator import fields, logins, users
from moonkey_core.emulator.errors import ApiError, invalid
from moonkey_core.emulator.factors import PROVIDERS
from moonkey_core.emulator.records import Json, Pending, random_text
from moonkey_core.emulator.redirects import redirect_url, redirection, with_query
from moonkey_core.emulator.state import State

BEGIN_PATH = re.compile(r"/v1/auth/oauth/[^/]+/begin")
CALLBACK_PATH = re.compile(r"/v1/auth/oauth/[^/]+/callback")
DEFAULT_EMAIL = "demo@example.com"
_DEFAULT_REDIRECT = "http://localhost/authenticate"


def begin(state: State, request: Request) -> Json | Response:
    """Answer ``GET /v1/auth/oauth/{provider}/begin`` with the address for the browser, or redirect to it.

    The address is one of the emulator's own. A browser that opens it is signed in as ``demo@example.com``, or as
    the ``email`` that is added to it, and comes back to the app with a ``token`` for ``oauth/verify``.
    """
    provider = _provider(request)
    query: Json = dict(request.query_params)
    if not fields.text(query, "public_token", 256).startswith("pk_"):
        raise invalid("public_token must be the public token of the app (pk_...), never a secret key")
    login, registration = (redirect_url(query, f"{name}_redirect_url") for name in ("login", "registration"))
    back = {"login": login or registration, "registration": registration or login}
    ticket = random_text(48)
    until = int(state.now()) + logins.PENDING_SECONDS
    state.await_proof(ticket, Pending("oauth_begun", "", "", until, provider, details=back))
    url = str(request.url.replace(path=f"/v1/auth/oauth/{provider}/callback", query=f"state={ticket}"))
    if query.get("redirect", "").lower() in ("true", "1"):
        return redirection(url)
    return {"redirect_url": url}


def callback(state: State, request: Request) -> Response:
    """Answer ``GET /v1/auth/oauth/{provider}/callback`` as if the user had consented at the provider."""
    provider, query = _provider(request), dict(request.query_params)
    ticket = query.get("state", "")
    pending = state.pending("oauth_begun", ticket)
    if pending is None or pending.proof != provider:
        raise ApiError(400, "invalid_oauth_state", "The state is wrong, used or expired")
    email = fields.email({"email": query.get("email") or DEFAULT_EMAIL})
    state.forget_pending("oauth_begun", ticket)
    known = users.find_by_contact(state, "email", email) is not None
    token = logins.new_oauth_token(state, email, provider)
    url = pending.details["login" if known else "registration"] or _DEFAULT_REDIRECT
    return redirection(with_query(url, token=token))


def _provider(request: Request) -> str:
    provider: str = request.path_params["provider"]
    if provider not in PROVIDERS:
        raise ApiError(404, "provider_not_found", f"Unknown provider; known are {', '.join(PROVIDERS)}")
    return provider
