"""The claims of CDP's access tokens: the user, and the token itself, as no claim names a session."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moonkey_core._evidence import seconds, shown
from moonkey_core._provider import JwtRules, SessionClaims, check_issuer_and_audience
from moonkey_core._strict_json import load_object
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import ExpiredCredentials, InvalidCredentials
from moonkey_core.models import Grants, Session, User, identifier, read_only
from moonkey_core.providers.cdp.wire import USER_ID, parse_end_user

ISSUER = "cdp-api"
"""The ``iss`` and the ``aud`` of the access tokens of all projects."""

_LATEST = 253_402_300_799  # the end of the year 9999, the last that datetime can represent
_END_USER, _CLAIMS = "end_user", "claims"


class CdpClaims:
    """The rules for the claims of one project, and the reader of what was found good.

    Args:
        project_id: The project. All projects have one issuer and one audience, so this keeps the others out.
        longest_life: The longest life of a token that is accepted, in seconds.
    """

    def __init__(self, project_id: str, longest_life: float) -> None:
        self._project_id = project_id
        self.scope: str = f"cdp:{project_id}"
        self.rules: JwtRules = JwtRules(
            issuers=(ISSUER,),
            algorithms=("ES256",),
            types=frozenset({"jwt", None}),
            audience=(ISSUER,),
            longest_life=longest_life,
        )

    def check(self, payload: Mapping[str, Any], now: float, leeway: float) -> None:
        """Check claims that are not proven: what is of another issuer or project, or over, is not sent to CDP.

        Args:
            payload: The payload of the token.
            now: The current time (Unix seconds).
            leeway: The clock difference that is allowed, in seconds.

        Raises:
            InvalidCredentials: The token is not one of this project.
            ExpiredCredentials: It is over. The SDK in the browser renews it.
        """
        check_issuer_and_audience(payload, self.rules)
        self._check_project(payload)
        ends_at = self.ends_at(payload)
        if ends_at + leeway <= now:
            ended = f"Its exp was {seconds(now - ends_at)} ago, by the clock of this machine."
            raise ExpiredCredentials(evidence=ended, session_is_over=False)
        issued_at = self.issued_at(payload)
        life = ends_at - (now if issued_at is None else issued_at)  # without iat, this is the least
        if life > self.rules.longest_life + leeway:
            raise InvalidCredentials(
                reason="jwt_lifetime",
                evidence=f"Its life is {seconds(life)}, longest_life is {seconds(self.rules.longest_life)}.",
            )

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and the token that a payload names.

        Args:
            payload: The payload of a token that is proven, of the right issuer.
            expires_at: Its ``exp`` (Unix seconds).

        Raises:
            InvalidCredentials: It is of another project, names no user, or is no access token that may be sent as
                it is.
        """
        self._check_project(payload)
        if payload.get("cnf") is not None:
            raise InvalidCredentials(reason="sender_constrained", evidence="It has cnf.")
        if payload.get("events") is not None:
            raise InvalidCredentials(reason="logout_token", evidence="It has events.")
        user_id = payload.get("sub")
        if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
            raise InvalidCredentials(reason="jwt_subject", evidence=f"Its sub is {shown(user_id)}.")
        return SessionClaims(user_id, _token_id(payload), None, expires_at, scope=self.scope, names_session=False)

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the id of the token, and that of its user, in a payload that is not verified yet."""
        user_id = payload.get("sub")
        try:
            token_id = _token_id(payload)
        except InvalidCredentials:
            token_id = None
        return token_id, (user_id,) if isinstance(user_id, str) and user_id else ()

    def user(self, body: Body) -> User:
        """Return the user: whole where CDP has described it, else with the id alone."""
        found, end_user = _parts(body)
        return User(id=found["sub"]) if end_user is None else parse_end_user(end_user)

    def session(self, body: Body) -> Session:
        """Return the session. Its end is that of the token: when the sign-in was, the token does not say."""
        claims, _ = _parts(body)
        return Session(
            id=_token_id(claims),
            user_id=claims["sub"],
            expires_at=datetime.fromtimestamp(min(math.floor(claims["exp"]), _LATEST), UTC),
            extra=read_only(claims),
            grants=Grants(),  # a claim that is only called like one counts for nothing
            ends_with_token=True,
        )

    def ends_at(self, payload: Mapping[str, Any]) -> float:
        """Return the ``exp`` of a payload, in whole seconds.

        Raises:
            InvalidCredentials: There is none.
        """
        found = _moment(payload, "exp")
        if found is None:
            raise InvalidCredentials(reason="jwt_claims", evidence="It has no exp.")
        return float(math.floor(found))

    def issued_at(self, payload: Mapping[str, Any]) -> float | None:
        """Return the ``iat`` of a payload, if it has one.

        Raises:
            InvalidCredentials: It is no time.
        """
        return _moment(payload, "iat")

    def _check_project(self, payload: Mapping[str, Any]) -> None:
        found = payload.get("project_id")
        if found != self._project_id:
            raise InvalidCredentials(
                reason="jwt_audience",
                evidence=f"Its project_id is {shown(found)}, not {shown(self._project_id)}.",
            )


def unverified_payload(token: str) -> dict[str, Any]:
    """Return the payload of a token that has the form of a JWT. Nothing in it is proven.

    Raises:
        InvalidCredentials: It has another form (RFC 7515 section 3.1).
    """
    parts = token.split(".")
    try:
        if len(parts) != 3 or not all(parts):
            raise ValueError("not three parts")
        load_object(_decoded(parts[0]))
        return load_object(_decoded(parts[1]))
    except ValueError:
        pass  # its context would hold the token
    raise InvalidCredentials(reason="jwt_form", session_is_over=False)


def whole_body(payload: Mapping[str, Any], end_user: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is remembered of a token that CDP has called good: its claims, and its user."""
    return {_CLAIMS: payload, _END_USER: end_user}


def _parts(body: Body) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    found = decoded(body)
    if found.keys() == {_CLAIMS, _END_USER}:
        return found[_CLAIMS], found[_END_USER]
    return found, None


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _token_id(payload: Mapping[str, Any]) -> str:
    """Return the ``jti``, else a digest of the claims.

    Raises:
        InvalidCredentials: It is no id.
    """
    found = payload.get("jti")
    if found is None:
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    try:
        return identifier(found)
    except ValueError:
        raise InvalidCredentials(reason="jwt_session", evidence="Its jti is no id.") from None


def _moment(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise InvalidCredentials(reason="jwt_claims", evidence=f"Its {name} is no time.")
    return value
