"""Whether an active token is good here: by the same rules as a JWT of its issuer.

That a token is active says only that its authorization server has issued it. Whether it was issued for this app,
for a user, and as an access token that may be sent as it is, is for the resource server to check (RFC 7662
section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import seconds, shown
from moonkey_core._provider import (
    IntrospectionRequest,
    IntrospectionResult,
    JwtClaims,
    JwtRules,
    SessionClaims,
    check_issuer_and_audience,
)
from moonkey_core._strict_json import load_object
from moonkey_core.errors import ExpiredCredentials, InvalidCredentials, ProviderUnavailable
from moonkey_core.providers.oidc.rules import forbid, one_of

_TEXTS = ("iss", "sub", "client_id", "jti", "token_type")
_TIMES = ("exp", "iat", "nbf")
_LATEST = 2**48  # Unix seconds
_SHORTEST_PART = 16  # characters
_SECRETS = frozenset({"token", "access_token", "refresh_token", "id_token", "client_secret", "client_assertion"})
_OF_REPLIES = (forbid(("token_use",), "refresh_token", values=one_of(("refresh_token",))),)
"""What only replies say: servers introspect refresh tokens as well (RFC 7662 section 4)."""


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """What is required of a reply besides the rules for JWTs.

    Attributes:
        issuer: The issuer of a token whose reply names none.
        token_types: The values of ``token_type`` that may be presented as they are, in lower case.
        needs_token_type: Whether a reply must have a ``token_type``.
        assumed_life: For how many seconds a token without ``exp`` counts from each reply; ``None``: it is refused.
    """

    issuer: str
    token_types: frozenset[str]
    needs_token_type: bool
    assumed_life: float | None


class Judge:
    """The rules of one provider for replies about active tokens. Makes no network call.

    Args:
        rules: The rules for JWTs of its issuers.
        reader: The reader of their claims, which has the other rules for them.
        replies: The rules for replies.
        leeway: The clock difference that is allowed, in seconds.
    """

    def __init__(self, rules: JwtRules, reader: JwtClaims, replies: ReplyRules, leeway: float) -> None:
        self._rules = rules
        self._reader = reader
        self._replies = replies
        self._leeway = leeway

    def result(
        self, found: Mapping[str, Any], request: IntrospectionRequest, asked_at: float, now: float
    ) -> IntrospectionResult:
        """Return the user and session of an active token.

        Args:
            found: The members of the reply, without ``active``.
            request: The request.
            asked_at: When the server was called (Unix seconds).
            now: The current time (Unix seconds).

        Raises:
            InvalidCredentials: The token is active, and not good here.
            ProviderUnavailable: A member of the reply is malformed, or it is about another token.
        """
        if not _is_readable(found):
            raise ProviderUnavailable(reason="api_content", cause="a member of the wrong type")
        self._check_kind(found)
        kept = _without_secrets(found, request.value)
        if len(kept) < len(found):  # what is not kept may still speak against the token
            self._check(self._claims_of(found, request, asked_at), now)
        claims = self._claims_of(kept, request, asked_at)
        about = self._check(claims, now)
        if request.claims is not None and (
            about.session_id != request.session_id or about.user_id not in request.user_ids
        ):
            raise ProviderUnavailable(reason="api_mismatch")
        return IntrospectionResult(
            about.session_id,
            about.user_id,
            about.started_at,
            about.ends_at,
            asked_at,
            claims,
            issued_at=claims.get("iat"),
            scope=about.scope,
            principal=about.principal,
            actor=about.actor,
            names_session=about.names_session,
        )

    def _check(self, claims: Mapping[str, Any], now: float) -> SessionClaims:
        """Return the user and session that claims name.

        Raises:
            InvalidCredentials: They break a rule.
        """
        ends_at = self._checked_end(claims, now)
        check_issuer_and_audience(claims, self._rules)
        return self._reader.session_claims(claims, ends_at)

    def _claims_of(
        self, found: Mapping[str, Any], request: IntrospectionRequest, asked_at: float
    ) -> dict[str, Any]:
        """Return the claims of a token, from the reply and what else is known of it.

        What the reply leaves out of a JWT that was verified here is known from that JWT. A token without an id has
        one made of a digest, so that its session can be told from others and revoked.
        """
        proven = {} if request.claims is None else _decoded(request.claims)
        name = _name_of(request.value) if request.session_id is None else request.session_id
        claims = {"iss": self._replies.issuer, "jti": name, **proven, **found}
        if "exp" in proven and "exp" in found:
            claims["exp"] = min(proven["exp"], found["exp"])
        if "exp" not in claims and self._replies.assumed_life is not None:
            claims["exp"] = math.floor(asked_at + self._replies.assumed_life)
        return claims

    def _check_kind(self, found: Mapping[str, Any]) -> None:
        """Check that it is a token that may be presented as it is, and no refresh token."""
        kind = found.get("token_type")
        if kind is None and self._replies.needs_token_type:
            raise InvalidCredentials(reason="token_kind", evidence="The reply about it has no token_type.")
        if kind is not None and kind.lower() not in self._replies.token_types:
            is_bound = kind.lower() == "dpop"  # RFC 9449 section 7.1
            raise InvalidCredentials(
                reason="sender_constrained" if is_bound else "token_kind",
                evidence=f"Its token_type is {shown(kind)}, not {shown(sorted(self._replies.token_types))}.",
            )
        for rule in _OF_REPLIES:
            if not rule.is_kept(found):
                raise InvalidCredentials(reason=rule.reason, evidence="It is a refresh token, by its token_use.")

    def _checked_end(self, claims: Mapping[str, Any], now: float) -> float:
        """Return when the token ends (Unix seconds), after a check of its times.

        Raises:
            InvalidCredentials: It is over, not valid yet, or lives too long.
        """
        ends_at, issued_at = claims.get("exp"), claims.get("iat")
        if ends_at is None:
            raise InvalidCredentials(reason="jwt_claims", evidence="The reply about it has no exp.")
        if ends_at + self._leeway <= now:
            ended = f"Its exp was {seconds(now - ends_at)} ago, by the clock of this machine."
            raise ExpiredCredentials(evidence=ended, session_is_over=False)  # that is the end of the token
        for name in ("iat", "nbf"):
            if claims.get(name, 0) > now + self._leeway:
                ahead = f"Its {name} is {seconds(claims[name] - now)} ahead of the clock of this machine."
                raise InvalidCredentials(reason="jwt_not_yet_valid", evidence=ahead)
        # Without iat, what is left of its life is the least that this can be.
        life = ends_at - (now if issued_at is None else issued_at)
        if life > self._rules.longest_life + self._leeway:
            raise InvalidCredentials(
                reason="jwt_lifetime",
                evidence=f"Its life is {seconds(life)}, longest_life is {seconds(self._rules.longest_life)}.",
            )
        return float(math.floor(ends_at))


def cleaned(found: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Return a reply as it may be stored: without any credential."""
    return {"active": True, **_without_secrets(found, token)}


def _is_readable(found: Mapping[str, Any]) -> bool:
    """Return whether the members that rules look at have the types that RFC 7662 section 2.2 gives them."""
    texts = (found[name] for name in _TEXTS if name in found)
    times = (found[name] for name in _TIMES if name in found)
    audience = found.get("aud", "")
    is_audience = isinstance(audience, str) or (
        isinstance(audience, list) and all(isinstance(one, str) for one in audience)
    )
    return is_audience and all(isinstance(one, str) for one in texts) and all(map(_is_time, times))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST


def _without_secrets(found: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Return the members without credentials, and without any that repeats the token."""
    return {name: value for name, value in found.items() if name not in _SECRETS and not _repeats(value, token)}


def _repeats(value: object, token: str) -> bool:
    """Return whether a value holds the token; one too short to be a secret may be a part of anything."""
    if isinstance(value, str):
        return token == value or (len(token) >= _SHORTEST_PART and token in value)
    if isinstance(value, dict):
        return any(_repeats(one, token) for pair in value.items() for one in pair)
    return isinstance(value, list) and any(_repeats(one, token) for one in value)


def _name_of(token: str) -> str:
    """Return a name for the session of a token without any: the same in all processes, and not the token."""
    return f"token-{blake2b(token.encode(), digest_size=16, person=b'moonkey session').hexdigest()}"


def _decoded(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    return load_object(body) if isinstance(body, bytes) else body
