"""What the claims of a token have to be, as data: which are needed, which are forbidden, and what each means.

A token with a valid signature of the right key may still be a token for something else: proof of a sign-in, a
permission of a program, a message about a sign-out (RFC 8725 section 3.12). These rules tell them apart. A claim
that is ``null`` counts as absent everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from moonkey_core._dataclass import dataclass
from moonkey_core.models import Grants

ClaimPath = tuple[str, ...]
"""Where a claim stands: its name, and for a member of an object the names on the way to it."""

ClaimKind = Literal["any", "text", "number", "boolean", "object"]
"""The type of a claim's value: anything; text that is not empty; a finite number; a boolean; an object."""

Finding = Literal["absent", "other_type", "other_value", "fits"]
"""What a payload has where a :class:`Claim` looks: nothing; a wrong type; another value; what it describes."""

TENANT_ID = "{tenantid}"
"""The place of the tenant's id in the template of an issuer (Microsoft identity platform, OIDC discovery)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A description of one claim.

    Attributes:
        path: Where it stands.
        kind: The type of its value.
        values: The values it may have; ``None``: any of its type. Compared whole, in their case.
        prefix: How its text begins.
        suffix: How its text ends.
        same_as: The claims of which at least one has the same text.
        is_true: Whether it is ``true``.
    """

    path: ClaimPath
    kind: ClaimKind = "any"
    values: frozenset[str] | None = None
    prefix: str = ""
    suffix: str = ""
    same_as: tuple[ClaimPath, ...] = ()
    is_true: bool = False

    def __post_init__(self) -> None:
        """Set the type that the other fields call for."""
        if self.values is not None or self.prefix or self.suffix or self.same_as:
            object.__setattr__(self, "kind", "text")
        elif self.is_true:
            object.__setattr__(self, "kind", "boolean")

    def find(self, payload: Mapping[str, Any]) -> Finding:
        """Return what a payload has here."""
        value = lookup(payload, self.path)
        if value is None:
            return "absent"
        if not _is_of(self.kind, value):
            return "other_type"
        if self.kind == "text" and not self._is_fit(value, payload):
            return "other_value"
        return "fits" if value is True or not self.is_true else "other_value"

    def _is_fit(self, text: str, payload: Mapping[str, Any]) -> bool:
        if self.values is not None and text not in self.values:
            return False
        if self.same_as and not any(lookup(payload, path) == text for path in self.same_as):
            return False
        return text.startswith(self.prefix) and text.endswith(self.suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One reason to refuse a token.

    Attributes:
        claim: The claim in question.
        reason: The reason code of the refusal.
        forbids: Whether a token with this claim is refused, instead of one without it. A value of another type
            than the one described is refused either way.
        is_optional: Whether the claim may be absent.
        remedy: What an operator can do about it, for the log.
    """

    claim: Claim
    reason: str
    forbids: bool = False
    is_optional: bool = False
    remedy: str = ""

    def is_kept(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload keeps the rule."""
        found = self.claim.find(payload)
        if found == "absent":
            return self.forbids or self.is_optional
        return found == ("other_value" if self.forbids else "fits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One sign that a token is that of a program: what has to be found where a claim would be."""

    claim: Claim
    found: frozenset[Finding] = frozenset({"fits"})

    def is_there(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload has the sign."""
        return self.claim.find(payload) in self.found


def has(path: ClaimPath, **claim: Any) -> Sign:
    """Return the sign that a claim is as described."""
    return Sign(claim=Claim(path=path, **claim))


def lacks(path: ClaimPath) -> Sign:
    """Return the sign that a claim is absent."""
    return Sign(claim=Claim(path=path), found=frozenset({"absent"}))


def differs(path: ClaimPath, **claim: Any) -> Sign:
    """Return the sign that a claim is there, and not as described."""
    return Sign(claim=Claim(path=path, **claim), found=frozenset({"other_type", "other_value"}))


def require(path: ClaimPath, reason: str = "jwt_claims", *, remedy: str = "", **claim: Any) -> Rule:
    """Return the rule that a claim is there, as described."""
    return Rule(claim=Claim(path=path, **claim), reason=reason, remedy=remedy)


def allow(path: ClaimPath, reason: str = "jwt_claims", *, remedy: str = "", **claim: Any) -> Rule:
    """Return the rule that a claim is as described, where it is there."""
    return Rule(claim=Claim(path=path, **claim), reason=reason, is_optional=True, remedy=remedy)


def forbid(path: ClaimPath, reason: str, *, remedy: str = "", **claim: Any) -> Rule:
    """Return the rule that a claim is not there, or not as described."""
    return Rule(claim=Claim(path=path, **claim), reason=reason, forbids=True, remedy=remedy)


def one_of(values: Iterable[str]) -> frozenset[str]:
    """Return the values that a claim may have."""
    return frozenset(values)


NOT_BEARER = (
    forbid(
        ("cnf",),
        "sender_constrained",
        remedy="It proves nothing without the key it is bound to (DPoP, mutual TLS), which is not checked here. "
        "Have tokens for this API issued without that binding.",
    ),
)
"""No token that is bound to a key of its client (RFC 9449 section 7.1, RFC 8705 section 3)."""

_OTHER_KINDS = (
    forbid(("events",), "logout_token"),  # RFC 8417; OIDC Back-Channel Logout 1.0 section 2.4
    forbid(("typ",), "logout_token", values=one_of(("Logout",))),  # the rest as Keycloak writes it
    forbid(("typ",), "refresh_token", values=one_of(("Refresh", "Offline"))),
    forbid(("token_use",), "refresh_token", values=one_of(("refresh",))),
)

_NOT_THIS_ONE = "Send the access token that was issued for this API. An ID token tells an app who its user is."
ID_TOKEN_MARKS = tuple(
    forbid((name,), "id_token", remedy=_NOT_THIS_ONE) for name in ("nonce", "at_hash", "c_hash", "s_hash")
)
"""Claims that only ID tokens have (OIDC Core 1.0 sections 2 and 3.3.2.11)."""

ACCESS_TOKEN = (
    *NOT_BEARER,
    *_OTHER_KINDS,
    forbid(("typ",), "id_token", values=one_of(("ID",)), remedy=_NOT_THIS_ONE),
    forbid(("token_use",), "id_token", values=one_of(("id",)), remedy=_NOT_THIS_ONE),
)
"""An access token that every issuer could have made, by the marks of those that are none."""

ID_TOKEN = (
    *NOT_BEARER,
    *_OTHER_KINDS,
    forbid(("typ",), "token_kind", values=one_of(("Bearer", "at+jwt"))),
    forbid(("token_use",), "token_kind", values=one_of(("access",))),
)
"""The same for an ID token, where the app asks for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """How the claims of one issuer's tokens are judged, and what they say. Data only.

    All tuples of paths are read in their order. For a single value, the first claim that is there counts.

    Attributes:
        rules: What holds for each token.
        user_rules: What holds for the token of a user in addition.
        machine_when: A token is that of a program if all signs of one of these groups are there.
        machine_rules: What holds for the token of a program in addition.
        machine_reason: The reason code with which the token of a program is refused.
        allow_machines: Whether the token of a program is accepted: as a principal without a session.
        user_id: The claim with the user's id.
        user_id_length: The most characters of it.
        machine_id: The claim with the program's id.
        session_id: The claim with the session's id.
        session_parts: Claims that identify the session together, where all are there.
        token_id: The claim with the token's own id, for a session without one.
        clients: The clients whose tokens are accepted; empty: those of each client.
        client: The claim with the client's id, or for browsers its origin.
        client_is_optional: Whether a token is accepted that names no client.
        checks_azp: Whether a token for several audiences has to name its client (OIDC Core section 3.1.3.7).
        tenants: The tenants whose tokens are accepted, where issuers are made from a template.
        tenant: The claim with the tenant's id.
        tenant_issuers: The templates of issuers, with ``{tenantid}`` in the place of that id.
        refuses_overage: Whether a token is refused that has left out claims because they were too many.
        scopes: Claims with scopes: a text with spaces (RFC 8693 section 4.2), or a list.
        roles: Claims with roles: one text, or a list.
        permissions: Claims with permissions: one text, or a list.
        organization: The claim with the organization that the user acts in.
        grants: Reads all of these four in a form that cannot be described by paths.
        auth_time: The claim with the time of the sign-in.
        acr: Claims with authentication context classes.
        amr: The claim with the authentication methods: texts (RFC 8176), or objects with ``method`` and
            ``timestamp``.
        methods: Claims that name one method each.
        factor_ages: The claim with the minutes since the first and the second factor, counted from ``iat``.
        not_proven: Methods that prove nothing.
        has_verified_email: Whether ``email_verified`` and ``phone_number_verified`` can be believed.
        scope_of: Issuers, each with the scope of its ids, where that is not the issuer itself.
    """

    rules: tuple[Rule, ...] = (*ACCESS_TOKEN, *ID_TOKEN_MARKS)
    user_rules: tuple[Rule, ...] = ()
    machine_when: tuple[tuple[Sign, ...], ...] = ()
    machine_rules: tuple[Rule, ...] = ()
    machine_reason: str = "machine_token"
    allow_machines: bool = False
    user_id: tuple[ClaimPath, ...] = (("sub",),)
    user_id_length: int = 256
    machine_id: tuple[ClaimPath, ...] = (("sub",),)
    session_id: tuple[ClaimPath, ...] = (("sid",),)
    session_parts: tuple[ClaimPath, ...] = ()
    token_id: tuple[ClaimPath, ...] = (("jti",),)
    clients: frozenset[str] = frozenset()
    client: tuple[ClaimPath, ...] = (("azp",), ("client_id",))
    client_is_optional: bool = False
    checks_azp: bool = False
    tenants: frozenset[str] = frozenset()
    tenant: ClaimPath = ("tid",)
    tenant_issuers: tuple[str, ...] = ()
    refuses_overage: bool = False
    scopes: tuple[ClaimPath, ...] = (("scope",), ("scp",))
    roles: tuple[ClaimPath, ...] = (("roles",),)
    permissions: tuple[ClaimPath, ...] = (("permissions",),)
    organization: tuple[ClaimPath, ...] = ()
    grants: Callable[[Mapping[str, Any]], Grants] | None = None
    auth_time: tuple[ClaimPath, ...] = (("auth_time",),)
    acr: tuple[ClaimPath, ...] = (("acr",),)
    amr: ClaimPath = ("amr",)
    methods: tuple[ClaimPath, ...] = ()
    factor_ages: ClaimPath = ()
    not_proven: frozenset[str] = frozenset()
    has_verified_email: bool = True
    scope_of: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check what would not protect.

        Raises:
            ValueError: Paths are missing or empty, or an issuer's template has no place for a tenant.
        """
        if not self.user_id or not all(self.user_id):
            raise ValueError("user_id must be the path of at least one claim.")
        if bool(self.tenants) != bool(self.tenant_issuers):
            raise ValueError("tenants and tenant_issuers belong together.")
        if not all(TENANT_ID in one for one in self.tenant_issuers):
            raise ValueError(f"tenant_issuers must have {TENANT_ID} in them.")


def lookup(payload: Mapping[str, Any], path: ClaimPath) -> Any:
    """Return the value at a path; ``None`` where it is absent, or ``null``.

    Where an object is expected on the way and something else is there, that is returned: it is of a wrong type
    for each claim that is looked for in it.
    """
    value: Any = payload
    for place, name in enumerate(path):
        if not isinstance(value, Mapping):
            return _Misplaced(place) if value is not None else None
        value = value.get(name)
    return value


def finite(value: object) -> float | None:
    """Return a number that is neither a bool nor endless; ``None`` for anything else."""
    if type(value) is int or type(value) is float:
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


class _Misplaced:
    """Stands for what is found where an object is expected. It is of no type that a claim can have."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


def _is_of(kind: ClaimKind, value: object) -> bool:
    if kind == "text":
        return isinstance(value, str) and bool(value)
    if kind == "number":
        return finite(value) is not None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "object":
        return isinstance(value, Mapping)
    return not isinstance(value, _Misplaced)
