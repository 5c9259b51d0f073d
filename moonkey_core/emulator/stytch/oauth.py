"""Logins at another provider: the way there and back, with the emulator in the provider's place."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.guarded import equal
from moonkey_core.emulator.records import Json, Pending, random_text
from moonkey_core.emulator.redirects import redirect_url, redirection, with_query
from moonkey_core.emulator.stytch import logins, users
from moonkey_core.emulator.stytch.codes import DEFAULT_LINK, check_verifier
from moonkey_core.emulator.stytch.errors import bad
from moonkey_core.emulator.stytch.factors import OAUTH_PROVIDERS, oauth_factor, oauth_registration
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.times import SECOND, rfc3339

DEFAULT_EMAIL = "demo@example.com"
PENDING_SECONDS = 300


def start(state: StytchState, request: Request) -> Response:
    """Answer ``GET /v1/public/oauth/{provider}/start``, which a browser opens: on to the provider's consent.

    The provider's page is one of the emulator's own. A browser that opens it is signed in as ``demo@example.com``,
    or as the ``email`` that is added to it, and comes back to the app with a ``token`` for ``oauth/authenticate``.
    """
    provider = _provider(request)
    query: Json = dict(request.query_params)
    given = fields.optional_text(query, "public_token", 256)
    if not given:
        raise bad("public_token_required", "A public_token is required.")
    if not equal(given, state.public_token):
        raise ApiError(404, "public_token_not_found", "The public token could not be found.")
    login, signup = (redirect_url(query, f"{name}_redirect_url") for name in ("login", "signup"))
    details = {
        "login": login or signup or DEFAULT_LINK,
        "signup": signup or login or DEFAULT_LINK,
        "code_challenge": fields.optional_text(query, "code_challenge", 128),
    }
    ticket = random_text(48)
    until = int(state.now()) + PENDING_SECONDS
    state.await_proof(ticket, Pending("oauth_begun", "", "", until, provider, details=details))
    path = f"/v1/oauth/callback/{provider}"
    return redirection(str(request.url.replace(path=path, query=f"state={ticket}")))


def callback(state: StytchState, request: Request) -> Response:
    """Answer ``GET /v1/oauth/callback/{provider}`` as if the user had consented at the provider."""
    provider, query = _provider(request), dict(request.query_params)
    ticket = query.get("state", "")
    pending = state.pending("oauth_begun", ticket)
    if pending is None or pending.proof != provider:
        raise bad("oauth_invalid_state", "The state is invalid, used or expired.")
    email = fields.email({"email": query.get("email") or DEFAULT_EMAIL})
    state.forget_pending("oauth_begun", ticket)
    is_known = users.find_by_contact(state, "email", email) is not None
    token = new_token(state, email, provider, pending.details["code_challenge"])
    url = pending.details["login" if is_known else "signup"]
    return redirection(with_query(url, stytch_token_type="oauth", token=token))  # noqa: S106 a type, not a token


def _provider(request: Request) -> str:
    provider: str = request.path_params["provider"]
    if provider not in OAUTH_PROVIDERS:
        raise bad("invalid_oauth_provider", f"Unknown provider; known are {', '.join(OAUTH_PROVIDERS)}.")
    return provider


def new_token(state: StytchState, email: str, provider: str, challenge: str = "") -> str:
    """Return a token such as a redirect from ``provider`` has, for a user who is made if need be."""
    user, _ = users.find_or_create(state, "email", email)
    kind = provider.capitalize()
    registration = next((one for one in user.providers if one["provider_type"] == kind), None)
    if registration is None:
        registration = oauth_registration(provider, state.new_id("oauth-user"))
        user.providers.append(registration)
    token = random_text(44)
    details = {"registration": registration, "provider": provider, "code_challenge": challenge}
    until = int(state.now()) + PENDING_SECONDS
    state.await_proof(token, Pending("oauth", user.user_id, "", until, email, details=details))
    return token


def authenticate(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/oauth/authenticate``; a token works once. The session is called ``user_session`` here."""
    token = fields.text(body, "token", 256)
    pending = state.pending("oauth", token)
    if pending is None:
        raise ApiError(404, "oauth_token_not_found", "The OAuth token could not be found.")
    check_verifier(body, pending.details["code_challenge"])
    user, registration = state.users[pending.user_id], pending.details["registration"]
    wanted = logins.demand(state, body, user)
    state.forget_pending("oauth", token)
    contact = users.contact_of(state, user, "email", pending.proof)
    contact["verified"] = True
    factor = oauth_factor(registration, contact["email_id"], state.time())
    values = {
        "access_token": random_text(40),
        "refresh_token": "",
        "id_token": "",
        "scopes": ["openid", "email"],
        "expires_at": rfc3339(state.time() + 3_600 * SECOND),
    }
    return {
        **{name: registration[name] for name in ("provider_subject", "provider_type")},
        "oauth_user_registration_id": registration["oauth_user_registration_id"],
        "provider_values": values,
        **logins.grant(state, wanted, user, factor, "user_session"),
    }
