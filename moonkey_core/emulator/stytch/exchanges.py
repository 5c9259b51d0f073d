"""Sessions that are begun otherwise than by the user: by an impersonator, or by a connected app."""

from __future__ import annotations

import hashlib

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json, Pending, random_text
from moonkey_core.emulator.stytch import logins
from moonkey_core.emulator.stytch.factors import factor, impersonated_factor
from moonkey_core.emulator.stytch.project import SESSION_CLAIM
from moonkey_core.emulator.stytch.records import StytchUser
from moonkey_core.emulator.stytch.state import StytchState

IMPERSONATION_MINUTES = 60
TOKEN_SECONDS = 300
FULL_ACCESS = "full_access"


def new_impersonation_token(state: StytchState, user: StytchUser) -> str:
    """Return a token such as the dashboard of the service gives for the impersonation of a user."""
    token = random_text(44)
    state.await_proof(token, Pending("impersonation", user.user_id, "", int(state.now()) + TOKEN_SECONDS))
    return token


def impersonate(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/impersonation/authenticate``; a token works once, and its session lasts for an hour."""
    token = fields.text(body, "impersonation_token", 256)
    pending = state.pending("impersonation", token)
    if pending is None:
        message = "The impersonation token was either already used or expired."
        raise ApiError(401, "unable_to_auth_impersonation_token", message)
    state.forget_pending("impersonation", token)
    user = state.users[pending.user_id]
    wanted = logins.demand(state, {"session_duration_minutes": IMPERSONATION_MINUTES}, user)
    return logins.grant(state, wanted, user, impersonated_factor(state.time()))


def exchange_access_token(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/sessions/exchange_access_token``: a connected app's token, not older than five minutes.

    It must have the scope ``full_access``, and works once.
    """
    token = fields.text(body, "access_token", 16_384)
    claims = state.keys.read(token, list(state.issuers.values())) or {}
    digest = hashlib.sha256(token.encode()).hexdigest()
    user = state.users.get(str(claims.get("sub")))
    issued_at = claims.get("iat")
    if (
        user is None
        or SESSION_CLAIM in claims
        or FULL_ACCESS not in str(claims.get("scope", "")).split()
        or not isinstance(issued_at, int)
        or issued_at <= state.now() - TOKEN_SECONDS
        or state.pending("exchanged", digest) is not None
    ):
        raise ApiError(401, "idp_access_token_could_not_be_exchanged", "The access token could not be exchanged.")
    allowed = {name: body.get(name) for name in ("session_duration_minutes", "session_custom_claims")}
    wanted = logins.demand(state, allowed, user)
    state.await_proof(digest, Pending("exchanged", user.user_id, "", int(state.now()) + TOKEN_SECONDS))
    details = {"client_id": str(claims.get("client_id", "connected-app-test-demo"))}
    made = factor("oauth", "oauth_access_token_exchange", state.time(), oauth_access_token_exchange_factor=details)
    return logins.grant(state, wanted, user, made)
