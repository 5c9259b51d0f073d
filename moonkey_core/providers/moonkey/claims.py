"""The claims of MoonKey's session JWTs: the session claim, and the user of the session."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from moonkey_core._provider import SessionClaims
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import InvalidCredentials, RevokedCredentials
from moonkey_core.models import Session, User
from moonkey_core.providers.moonkey.ids import identifier, same_user, usual_id
from moonkey_core.providers.moonkey.wire import (
    build_session,
    check_session_members,
    is_deleted,
    session_start,
    usual_times,
)
from moonkey_core.settings import Settings

# Registered claims (RFC 7519 section 4.1), and the fields of a session, which count inside of the session claim
# only.
_NO_CLAIMS = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "id", "user_id", "factors", "custom_claims"}
    | {"started_at", "created_at", "expires_at", "last_active_at", "updated_at", "deleted", "deleted_at"}
    | {"device_fingerprint", "device_info"}
)
# As `SessionClaims(…)` does, without a call of its own.
_new_claims: Callable[[tuple[object, ...]], SessionClaims] = partial(tuple.__new__, SessionClaims)
_DEFAULTS = SessionClaims("", "", None, 0.0)[4:]


class MoonKeyClaims:
    """The reader of session JWTs: ``sub`` is the user, one of ``jwt_session_claims`` the session."""

    def __init__(self, settings: Settings) -> None:
        self._names = settings.jwt_session_claims
        self._strict_subject = settings.strict_subject
        self._excluded = _NO_CLAIMS.union(self._names)

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and session that a payload names.

        Args:
            payload: The payload of a JWT with a valid signature, from the right issuer.
            expires_at: The JWT's ``exp`` (Unix seconds), for a session without an end of its own.

        Raises:
            InvalidCredentials: The payload names no user or no session.
            RevokedCredentials: The session has been ended.
        """
        usual = self._usual(payload)
        if usual is not None:
            return usual
        subject = self._subject(payload)
        claim = self._session_claim(payload)
        try:
            if is_deleted(claim):
                raise RevokedCredentials
            ends_at = check_session_members(claim, user_id=subject, expires_at=expires_at)
        except ValueError:
            raise InvalidCredentials(reason="jwt_session") from None
        return SessionClaims(subject, claim["id"], session_start(claim), ends_at)

    def _usual(self, payload: Mapping[str, Any]) -> SessionClaims | None:
        """Return what a payload names in which all is as usual; ``None`` for any other one.

        It finds what :meth:`session_claims` finds, in a third of the time, and refuses nothing.
        """
        subject, claim = payload.get("sub"), None
        for name in self._names:
            if name in payload:
                claim = payload[name]
                break
        if type(claim) is not dict or type(subject) is not str or not usual_id(subject):
            return None
        session_id = claim.get("id")
        if type(session_id) is not str or not usual_id(session_id):
            return None
        if claim.get("user_id", None if self._strict_subject else subject) != subject:
            return None
        times = usual_times(claim)
        return None if times is None else _new_claims((subject, session_id, *times, *_DEFAULTS))

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the spellings of the user id, in a payload that is not verified yet."""
        try:
            claim = self._session_claim(payload)
        except InvalidCredentials:
            claim = {}
        session_id = claim.get("id")
        users = (payload.get("sub"), claim.get("user_id"))
        return (
            session_id if isinstance(session_id, str) and session_id else None,
            tuple(user for user in users if isinstance(user, str) and user),
        )

    def user(self, body: Body) -> User:
        """Return the user. A JWT has no field of it but the id."""
        return User(decoded(body)["sub"])

    def session(self, body: Body) -> Session:
        """Return the session.

        Other members of the payload are among its claims, but never replace a member of the session claim.
        """
        payload = decoded(body)
        custom = payload.get("custom_claims")
        merged = {**payload, **custom} if isinstance(custom, dict) else payload
        excluded = self._excluded
        claim = {name: value for name, value in merged.items() if name not in excluded}
        claim["user_id"] = payload["sub"]
        claim.update(self._session_claim(payload))
        return build_session(claim, expires_at=math.floor(payload["exp"]))

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name the same user."""
        return same_user(one, other)

    def _subject(self, payload: Mapping[str, Any]) -> str:
        try:
            subject = identifier(payload.get("sub"))
        except ValueError:
            raise InvalidCredentials(reason="jwt_subject") from None
        if self._strict_subject and self._session_claim(payload).get("user_id") != subject:
            raise InvalidCredentials(reason="jwt_subject")
        return subject

    def _session_claim(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        for name in self._names:
            if name in payload:
                claim = payload[name]
                if isinstance(claim, dict):
                    return claim
                break
        raise InvalidCredentials(reason="jwt_session")
