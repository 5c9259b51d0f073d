"""End users in the replies of CDP (OpenAPI document, ``EndUser``): wallets, authentication and MFA methods.

The kinds of all three are open sets. A member that is there and of the wrong type makes the reply unreadable; one
that is absent means that there is nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from moonkey_core.models import AuthenticationMethod, Extra, MfaMethod, User, Wallet, read_only

USER_ID = re.compile(r"[a-zA-Z0-9-]{1,100}")

_WALLETS = (
    ("evm", "evmAccountObjects", "evmAccounts"),
    ("evm_smart", "evmSmartAccountObjects", "evmSmartAccounts"),
    ("solana", "solanaAccountObjects", "solanaAccounts"),
)
"""The kind of each wallet, the member that has them, and the deprecated one that has their addresses only."""
_IDENTIFIERS: Mapping[str, str] = {"email": "email", "sms": "phoneNumber", "telegram": "id", "siwe": "address"}
"""The member that names the user, by the type of the method. Of all others it is ``sub``."""


def check_end_user(body: Mapping[str, Any]) -> str:
    """Check that an end user can be read, and return its id.

    Raises:
        ValueError: It cannot.
    """
    return parse_end_user(body).id


def parse_end_user(body: Mapping[str, Any]) -> User:
    """Return an end user. Only addresses that the user signs in with are taken over as theirs.

    Raises:
        ValueError: It cannot be read.
    """
    user_id = body.get("userId")
    if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
        raise ValueError("no id")
    methods = tuple(map(_method, _objects(body, "authenticationMethods")))
    return User(
        id=user_id,
        email=_first(methods, "email"),
        phone_number=_first(methods, "sms"),
        created_at=_time(body.get("createdAt")),
        complete=True,
        wallets=tuple(_wallets(body)),
        authentication_methods=methods,
        mfa_methods=tuple(_mfa_methods(body.get("mfaMethods"))),
    )


def _wallets(body: Mapping[str, Any]) -> Iterator[Wallet]:
    for kind, member, deprecated in _WALLETS:
        if body.get(member) is None:
            yield from (Wallet(kind, _text(one)) for one in _list(body, deprecated))
            continue
        for found in _objects(body, member):
            yield Wallet(
                kind,
                _text(found.get("address")),
                _time(found.get("createdAt")),
                tuple(map(_text, _list(found, "ownerAddresses"))),
                _rest(found, "address", "createdAt", "ownerAddresses"),
            )


def _method(found: Mapping[str, Any]) -> AuthenticationMethod:
    kind = _text(found.get("type"))
    member = _IDENTIFIERS.get(kind, "sub")
    named = found.get(member)
    identifier = str(named) if isinstance(named, int) and not isinstance(named, bool) else named
    if identifier is not None:
        identifier = _text(identifier)
    return AuthenticationMethod(kind, identifier, _rest(found, "type", member))


def _mfa_methods(found: object) -> Iterator[MfaMethod]:
    """Yield the methods that are enrolled. Other members say, such as, when the user was asked to enroll one."""
    if found is None:
        return
    if not isinstance(found, Mapping):
        raise ValueError("mfaMethods is no object")
    for kind, one in found.items():
        if isinstance(one, Mapping) and one.get("enrolledAt") is not None:
            yield MfaMethod(kind, _time(one["enrolledAt"]))


def _first(methods: tuple[AuthenticationMethod, ...], kind: str) -> str | None:
    return next((one.identifier for one in methods if one.type == kind), None)


def _objects(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = _list(body, name)
    if not all(isinstance(one, Mapping) for one in found):
        raise ValueError(f"{name} holds more than objects")
    return found


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    found = body.get(name)
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise ValueError(f"{name} is no list")
    return list(found)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def _time(value: object) -> datetime | None:
    """Return a time of RFC 3339.

    Raises:
        ValueError: It is none, or has no time zone.
    """
    if value is None:
        return None
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError("a time without a time zone")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("no time") from None


def _rest(found: Mapping[str, Any], *names: str) -> Extra:
    return Extra({name: read_only(one) for name, one in found.items() if name not in names})
