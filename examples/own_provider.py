"""A provider of your own: the access tokens of one OpenID Connect issuer, for one API."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moonkey_core import provider as p


class PlainIssuer(p.ProviderBase):
    """Its tokens are JWTs with ``sub`` and ``sid``. It cannot be asked about them."""

    name = "plain"

    def __init__(self, issuer: str, audience: str, keys: p.KeySource | None = None) -> None:
        algorithms, types = ("RS256", "ES256"), frozenset({"jwt", "at+jwt"})
        self.jwt_rules = p.JwtRules(issuers=(issuer,), audience=(audience,), algorithms=algorithms, types=types)
        self.keys = keys or p.KeySource(discovery=issuer)
        self.jwt_claims = self

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> p.SessionClaims:
        user_id, session_id = payload.get("sub"), payload.get("sid")
        if not (isinstance(user_id, str) and user_id and isinstance(session_id, str) and session_id):
            raise p.InvalidCredentials(reason="jwt_session")
        if payload.keys() & {"nonce", "cnf", "events"}:  # an ID token, one bound to a key, a logout token
            raise p.InvalidCredentials(reason="jwt_claims")
        return p.SessionClaims(user_id, session_id, payload["iat"], expires_at, scope=payload["iss"])

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        user_id, session_id = payload.get("sub"), payload.get("sid")
        return session_id if isinstance(session_id, str) else None, (user_id,) if isinstance(user_id, str) else ()

    def user(self, body: p.Body) -> p.User:
        return p.User(id=p.decoded(body)["sub"])

    def session(self, body: p.Body) -> p.Session:
        claims = p.decoded(body)
        end = datetime.fromtimestamp(claims["exp"], UTC)
        return p.Session(claims["sid"], claims["sub"], end, ends_with_token=True, extra=claims)
