"""From Stytch's JSON to models: the users and sessions in replies and JWTs.

What is decided by is read strictly; what is only shown is left out where it cannot be read. The session of a JWT
is brought into the form of a reply's, so that both are read alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core.models import Device, Extra, Factor, Grants, Session, User, identifier, read_only, texts
from moonkey_core.providers.stytch.times import in_datetime, nanoseconds, optional_nanoseconds
from moonkey_core.web.credentials import is_token

NOT_PROVEN = frozenset({"imported", "impersonated", "trusted_auth_token"})
"""Types of factors that the person has not verified here. They meet no demand for a factor."""

_IMPERSONATED = "impersonated"
_IMPERSONATION = "impersonation"  # the delivery method of such a factor
_SECRET_NAMES = frozenset(
    {"session_token", "session_jwt", "intermediate_session_token", "access_token", "refresh_token", "id_token"}
    | {"secret", "recovery_codes", "qr_code"}
)
_SUFFIX = "_factor"
_LONGEST_CREDENTIAL = 16_384  # characters
# The id in the object of a factor, where it is not called ``id``. That of an embedded link names the link.
_FACTOR_IDS = (
    "email_id", "phone_id", "totp_id", "totp_recovery_code_id", "webauthn_registration_id", "crypto_wallet_id",
    "biometric_registration_id", "token_id",
)  # fmt: skip
_CUSTOM = "custom_claims"


@dataclass(frozen=True, slots=True)
class Members:
    """The names of the members that differ between Stytch's two APIs.

    Attributes:
        session: The session in a reply.
        session_id: Its id.
        user: The user in a reply.
        user_id: Its id, in the user and in the session.
        organization_id: The id of its organization, if there are organizations.
        sessions: The list of sessions in a reply.
    """

    session: str = "session"
    session_id: str = "session_id"
    user: str = "user"
    user_id: str = "user_id"
    organization_id: str | None = None
    sessions: str = "sessions"


CONSUMER = Members()
"""Those of the API for consumers."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What is decided by of a session. The times are nanoseconds since the epoch.

    Attributes:
        session_id: Its id.
        user_id: Its user.
        started_at: When it began; ``None`` where unknown.
        ends_at: When it ends.
        actor: The id of who impersonates the user.
        organization_id: The organization that it is for, where there are any.
    """

    session_id: str
    user_id: str
    started_at: int | None
    ends_at: int
    actor: str | None
    organization_id: str | None = None


def session_facts(body: object, members: Members = CONSUMER) -> SessionFacts:
    """Check a session, and return what is decided by of it.

    A session that passes can be built: :func:`parse_session` does not raise for it.

    Raises:
        ValueError: A required member is missing, or one is of the wrong type.
    """
    if not isinstance(body, Mapping):
        raise ValueError("not an object")
    started_at, ends_at = optional_nanoseconds(body.get("started_at")), nanoseconds(body.get("expires_at"))
    optional_nanoseconds(body.get("last_accessed_at"))
    if started_at is not None and ends_at < started_at:
        raise ValueError("a session that ends before it begins")
    factors = _factors(body)
    for factor in factors:
        optional_nanoseconds(factor.get("last_authenticated_at"))
    for name in ("attributes", "custom_claims"):
        if not isinstance(body.get(name), Mapping | None):
            raise ValueError(f"{name} is not an object")
    roles = body.get("roles")
    if roles is not None and (
        not isinstance(roles, list | tuple) or not all(isinstance(one, str) for one in roles)
    ):
        raise ValueError("roles are not a list of texts")
    return SessionFacts(
        session_id=identifier(body.get(members.session_id)),
        user_id=identifier(body.get(members.user_id)),
        started_at=started_at,
        ends_at=ends_at,
        actor=_actor(factors),
        organization_id=None if members.organization_id is None else identifier(body.get(members.organization_id)),
    )


def parse_session(body: Mapping[str, Any], members: Members = CONSUMER) -> Session:
    """Return the session.

    Its ``factors`` are those that the person has verified here. The others stand in ``extra``, as do the roles and
    the custom claims. Its permissions are not known before the policy of the roles is.

    Raises:
        ValueError: A required member is missing, or one is of the wrong type.
    """
    facts = session_facts(body, members)
    rest = dict(body)
    for name in (members.session_id, members.user_id, "started_at", "expires_at", "last_accessed_at"):
        rest.pop(name, None)
    factors = _factors(rest)
    rest.pop("authentication_factors", None)
    unproven = [factor for factor in factors if _is_unproven(factor)]
    if unproven:
        rest["authentication_factors"] = unproven
    proven = tuple(_factor(factor) for factor in factors if not _is_unproven(factor))
    active = optional_nanoseconds(body.get("last_accessed_at"))
    times = [factor.last_verified_at for factor in proven if factor.last_verified_at is not None]
    return Session(
        id=facts.session_id,
        user_id=facts.user_id,
        expires_at=in_datetime(facts.ends_at),
        started_at=None if facts.started_at is None else in_datetime(facts.started_at),
        last_active_at=None if active is None else in_datetime(active),
        factors=proven,
        device=_device(rest.pop("attributes", None)),
        extra=frozen(rest),
        grants=Grants(
            scopes=_scopes(rest.get("custom_claims")),
            roles=texts(rest.get("roles")),
            permissions=None,
            organization=facts.organization_id,
        ),
        authenticated_at=max(times, default=None),
    )


def session_of_jwt(payload: Mapping[str, Any], claim: str, members: Members = CONSUMER) -> dict[str, Any]:
    """Return the session in the payload of a JWT, in the form of a reply.

    Args:
        payload: The payload; its ``sub`` is the user, and what is no claim of Stytch's is a custom claim.
        claim: The name of the claim with the session.
        members: The names of the members.

    Raises:
        ValueError: There is no such claim, or it is no object.
    """
    inner = payload.get(claim)
    if not isinstance(inner, Mapping):
        raise ValueError("no session claim")
    custom = {name: value for name, value in payload.items() if not is_reserved(name)}
    rest = {name: value for name, value in inner.items() if name not in ("id", members.user_id)}
    return {
        **rest,
        members.session_id: inner.get("id"),
        members.user_id: payload.get("sub"),
        "custom_claims": custom,
    }


REGISTERED = frozenset({"aud", "exp", "iat", "iss", "jti", "nbf", "sub"})
"""The registered claims (RFC 7519 section 4.1)."""

VENDOR_PREFIX = "https://stytch.com/"
"""How the names of Stytch's own claims begin."""


def is_reserved(name: str) -> bool:
    """Return whether a claim of a JWT cannot be a custom claim."""
    return name in REGISTERED or name.startswith(VENDOR_PREFIX)


def user_id_of(body: object, members: Members = CONSUMER) -> str:
    """Return the id of a user.

    Raises:
        ValueError: It has none, or is no object.
    """
    if not isinstance(body, Mapping):
        raise ValueError("not an object")
    optional_nanoseconds(body.get("created_at"))
    return identifier(body.get(members.user_id))


def parse_user(body: Mapping[str, Any], members: Members = CONSUMER) -> User:
    """Return the user: of its addresses and numbers, the first ones that are verified.

    Raises:
        ValueError: It has no id, or its time cannot be read.
    """
    user_id = user_id_of(body, members)
    rest = {name: value for name, value in body.items() if name != members.user_id}
    complete = bool(rest)
    created = optional_nanoseconds(rest.pop("created_at", None))
    name = rest.get("name")
    names: Mapping[str, Any] = name if isinstance(name, Mapping) else {}
    return User(
        id=user_id,
        email=_verified(rest.get("emails"), "email"),
        phone_number=_verified(rest.get("phone_numbers"), "phone_number"),
        first_name=text_or_none(names.get("first_name")),
        last_name=text_or_none(names.get("last_name")),
        status=text_or_none(rest.pop("status", None)),
        created_at=None if created is None else in_datetime(created),
        complete=complete,
        extra=frozen(rest),
    )


def without_secrets(value: Any) -> Any:
    """Return decoded JSON without the members that hold credentials, at any depth.

    Custom claims stay as they are: they are the app's own, and each JWT shows them.
    """
    if isinstance(value, Mapping):
        return {
            name: one if name == _CUSTOM else without_secrets(one)
            for name, one in value.items()
            if name not in _SECRET_NAMES
        }
    return [without_secrets(one) for one in value] if isinstance(value, list | tuple) else value


def _factors(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = body.get("authentication_factors")
    if found is None:
        return []
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        raise ValueError("factors are not a list of objects")
    return list(found)


def _is_impersonated(factor: Mapping[str, Any]) -> bool:
    """Return whether a factor says that another person acts as the user, by any of the ways in which it can."""
    return (
        factor.get("type") == _IMPERSONATED
        or factor.get("delivery_method") == _IMPERSONATION
        or factor.get("impersonated_factor") is not None
    )


def _is_unproven(factor: Mapping[str, Any]) -> bool:
    kind = factor.get("type")
    return (isinstance(kind, str) and kind in NOT_PROVEN) or _is_impersonated(factor)


def _actor(factors: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the id of who impersonates the user: that of the last such factor.

    Raises:
        ValueError: There is such a factor, and it does not say who: that must not go unseen.
    """
    found: str | None = None
    for factor in factors:
        if _is_impersonated(factor):
            inside = factor.get("impersonated_factor")
            found = identifier(inside.get("impersonator_id") if isinstance(inside, Mapping) else None)
    return found


def _factor(body: Mapping[str, Any]) -> Factor:
    at = optional_nanoseconds(body.get("last_authenticated_at"))
    named = [
        (name.removesuffix(_SUFFIX), inside)
        for name, inside in body.items()
        if name.endswith(_SUFFIX) and isinstance(inside, Mapping)
    ]
    kind, inside = named[0] if len(named) == 1 else (None, Extra())
    rest = {name: value for name, value in body.items() if name not in ("type", "delivery_method")}
    rest.pop("last_authenticated_at", None)
    ids = (inside.get(name) for name in ("id", *_FACTOR_IDS))
    return Factor(
        type=text_or_none(body.get("type")),
        delivery_channel=text_or_none(body.get("delivery_method")),
        method_type=kind,
        method_id=next((one for one in ids if isinstance(one, str) and one), None),
        last_verified_at=None if at is None else in_datetime(at),
        extra=frozen(rest),
    )


def _device(body: object) -> Device | None:
    if not isinstance(body, Mapping):
        return None
    rest = dict(body)
    ip, user_agent = text_or_none(rest.pop("ip_address", None)), text_or_none(rest.pop("user_agent", None))
    return Device(user_agent=user_agent, ip=ip, extra=frozen(rest)) if ip or user_agent or rest else None


def _scopes(custom: object) -> tuple[str, ...]:
    """Return the scopes among the custom claims, which are read as those of any other session."""
    if not isinstance(custom, Mapping):
        return ()
    scope, scopes = custom.get("scope"), custom.get("scopes")
    found = [*texts(scopes.split(" ") if isinstance(scopes, str) else scopes)]
    found += scope.split(" ") if isinstance(scope, str) else []
    return tuple(dict.fromkeys(one for one in found if one))


def _verified(entries: object, name: str) -> str | None:
    """Return the first verified entry of a list such as ``[{"email": …, "verified": true}]``."""
    for entry in entries if isinstance(entries, list | tuple) else ():
        if (
            isinstance(entry, Mapping)
            and entry.get("verified") is True
            and (found := text_or_none(entry.get(name)))
        ):
            return found
    return None


def text_or_none(value: object) -> str | None:
    """Return a text that is not empty; ``None`` for anything else."""
    return value if isinstance(value, str) and value else None


def credential(value: object) -> str | None:
    """Return a credential from a reply, fit for a header; ``None`` where it is absent or the empty string.

    Raises:
        ValueError: It is malformed.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_CREDENTIAL or not is_token(value):
        raise ValueError("a malformed credential")
    return value


def frozen(value: Any) -> Any:
    """Return decoded JSON without secrets, read-only at any depth."""
    return read_only(without_secrets(value))
