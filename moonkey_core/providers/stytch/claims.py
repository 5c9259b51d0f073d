"""The claims of Stytch's session JWTs. The session claim alone tells them from other tokens of the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moonkey_core._provider import SessionClaims
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import InvalidCredentials
from moonkey_core.models import Session, User, identifier
from moonkey_core.providers.stytch.times import in_seconds, of_seconds, written
from moonkey_core.providers.stytch.wire import (
    CONSUMER,
    VENDOR_PREFIX,
    Members,
    SessionFacts,
    parse_session,
    session_facts,
    session_of_jwt,
)

SESSION_CLAIM = f"{VENDOR_PREFIX}session"
"""The claim with the session."""

ORGANIZATION_CLAIM = f"{VENDOR_PREFIX}organization"
"""The claim with the organization, which the session JWTs of members have, and those of consumers have not."""

_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class StytchClaims:
    """The reader of the session JWTs of one project.

    M2M tokens and the access tokens of connected apps have the same issuer, audience and keys; the latter have the
    user's id as ``sub``, too. Neither has the session claim.
    """

    members: Members = CONSUMER

    def __init__(self, scope: str) -> None:
        """Take what the ids of the project belong to."""
        self.scope: str = scope

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and session that a payload names.

        Args:
            payload: The payload of a JWT with a valid signature, from the right issuer.
            expires_at: The JWT's ``exp`` (Unix seconds), for a session without an end of its own.

        Raises:
            InvalidCredentials: It is no session JWT of this kind, or cannot be read.
        """
        self.check_kind(payload)
        try:
            user_id = identifier(payload.get("sub"))
        except ValueError:
            raise InvalidCredentials(reason="jwt_subject") from None
        try:
            facts = session_facts(self._session_of(payload, expires_at), self.members)
        except ValueError as error:
            raise InvalidCredentials(
                reason="jwt_session", evidence=f"Its session claim cannot be read: {error}."
            ) from None
        return SessionClaims(
            user_id,
            facts.session_id,
            None if facts.started_at is None else in_seconds(facts.started_at),
            in_seconds(facts.ends_at),
            self.scope_of(facts),
            actor=facts.actor,
        )

    def check_kind(self, payload: Mapping[str, Any]) -> None:
        """Check that a payload is that of a session JWT of this kind, and complete.

        Raises:
            InvalidCredentials: It is not.
        """
        if SESSION_CLAIM not in payload:
            raise InvalidCredentials(
                reason="jwt_session",
                evidence=f"It has no claim {SESSION_CLAIM}, so it is no session JWT. Tokens of machines (M2M) and "
                "of connected apps have the same issuer, audience and keys.",
            )
        if "nbf" not in payload:  # whose type and time are checked elsewhere
            raise InvalidCredentials(reason="jwt_claims", evidence="Its nbf is missing.")
        if payload.get("cnf") is not None:  # RFC 7800, RFC 9449 section 7.1
            raise InvalidCredentials(reason="sender_constrained")
        events = payload.get("events")
        if isinstance(events, Mapping) and _LOGOUT_EVENT in events:
            raise InvalidCredentials(reason="logout_token")
        self.check_organization(payload)

    def check_organization(self, payload: Mapping[str, Any]) -> None:
        """Check that it is not the session JWT of a member of an organization.

        Raises:
            InvalidCredentials: It is.
        """
        if ORGANIZATION_CLAIM in payload:
            raise InvalidCredentials(
                reason="token_kind",
                evidence=f"It has the claim {ORGANIZATION_CLAIM}: it is of a member of an organization (B2B), and "
                "this provider is for consumers.",
            )

    def scope_of(self, facts: SessionFacts) -> str:
        """Return what the ids of a session belong to: the project."""
        return self.scope

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the id of the user, in a payload that is not verified yet."""
        claim, user = payload.get(SESSION_CLAIM), payload.get("sub")
        session_id = claim.get("id") if isinstance(claim, Mapping) else None
        return (
            session_id if isinstance(session_id, str) and session_id else None,
            (user,) if isinstance(user, str) and user else (),
        )

    def user(self, body: Body) -> User:
        """Return the user. A JWT has no field of it but the id."""
        return User(id=identifier(decoded(body).get("sub")))

    def session(self, body: Body) -> Session:
        """Return the session. The claims that are not Stytch's are its custom claims."""
        payload = decoded(body)
        return parse_session(self._session_of(payload, payload["exp"]), self.members)

    def _session_of(self, payload: Mapping[str, Any], expires_at: float) -> Mapping[str, Any]:
        """Return the session of a payload in the form of a reply, with an end.

        Raises:
            ValueError: There is none.
        """
        found = session_of_jwt(payload, SESSION_CLAIM, self.members)
        if found.get("expires_at") is None:
            found["expires_at"] = written(of_seconds(expires_at))
        return found
