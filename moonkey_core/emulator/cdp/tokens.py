"""Making access tokens, and telling whether one is valid."""

from __future__ import annotations

import uuid
from typing import Any

import jwt

from moonkey_core.emulator.cdp.errors import not_found, unauthorized
from moonkey_core.emulator.cdp.records import EndUser
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.oidc.tokens import KEYS, Wish, jws
from moonkey_core.emulator.records import Json

ISSUER = "cdp-api"
ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 7 * 86_400


def claims_of(state: CdpState, user_id: str, auth_type: str, wish: Wish) -> Json:
    """Return the claims of an access token."""
    issued_at = int(state.now() - wish.age)
    life = ACCESS_SECONDS if wish.life is None else wish.life
    claims: Json = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": user_id,
        "jti": str(uuid.uuid4()),
        "iat": issued_at,
        "exp": issued_at + int(life),
        "project_id": state.project_id,
        "auth_type": auth_type,
        **wish.claims,
    }
    return {name: value for name, value in claims.items() if name not in wish.drop}


def signed(state: CdpState, user_id: str, auth_type: str, wish: Wish) -> str:
    """Return a signed access token.

    Raises:
        ValueError: There is no such key or algorithm.
    """
    if wish.key not in KEYS:
        raise ValueError(f"key must be one of {', '.join(KEYS)}")
    header = {name: value for name, value in {"typ": "JWT", **wish.header}.items() if name not in wish.drop}
    claims = claims_of(state, user_id, auth_type, wish)
    algorithm = wish.algorithm or "ES256"
    return jws(state.keys, algorithm, wish.key, header, claims, without_kid="kid" in wish.drop)


def claims_in(token: str) -> Json:
    """Return the claims of a token, without any check."""
    found: Json = jwt.decode(token, options={"verify_signature": False})
    return found


def user_of(state: CdpState, token: str) -> EndUser:
    """Return the user of a valid access token.

    Raises:
        CdpError: It is not valid (401), or its user does not exist (404).
    """
    claims = _verified(state, token)
    ends_at = claims.get("exp")
    if isinstance(ends_at, bool) or not isinstance(ends_at, int | float) or ends_at <= state.now():
        raise unauthorized()
    if claims.get("project_id") != state.project_id or str(claims.get("jti")) in state.revoked:
        raise unauthorized()
    user = state.users.get(str(claims.get("sub")))
    if user is None:
        raise not_found()
    return user


def _verified(state: CdpState, token: str) -> dict[str, Any]:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next((one for one in state.keys.published() if one.kid == kid and one.algorithm == "ES256"), None)
        if key is None:
            raise unauthorized()
        return jwt.decode(
            token,
            key.pem(),
            algorithms=["ES256"],
            audience=ISSUER,
            issuer=ISSUER,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise unauthorized() from None
