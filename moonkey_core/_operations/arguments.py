"""Checks of arguments that several operations take. No message repeats a value: it may be a secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from moonkey_core.models import bare_user_id, identifier, public_user_id
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import well_formed

Lifetime = timedelta | int
"""A session lifetime: a ``timedelta``, or whole minutes."""

Kind = Literal["session_id", "session_token", "session_jwt"]


def exactly_one(
    settings: Settings,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> tuple[Kind, str]:
    """The one that is given, checked. Raises ``ValueError``, or ``MalformedCredentials`` for a malformed one."""
    options: tuple[tuple[Kind, str | None], ...] = (
        ("session_id", session_id),
        ("session_token", session_token),
        ("session_jwt", session_jwt),
    )
    given: list[tuple[Kind, str]] = [(kind, value) for kind, value in options if value is not None]
    if len(given) != 1:
        raise ValueError("Give exactly one credential: a session token or a session JWT (or, to revoke, an id).")
    kind, value = given[0]
    if kind == "session_id":
        return kind, an_id(value, "session_id")
    return kind, well_formed(value, settings)


def an_id(value: object, name: str) -> str:
    """An argument that names a session. Raises ``ValueError``."""
    try:
        return identifier(value)
    except ValueError:
        raise ValueError(
            f"{name} must be a non-empty string of at most 256 printable characters, without spaces around it."
        ) from None


def user_id_argument(value: object) -> str:
    """A user's id, with or without its ``user_``; in the form that the API documents. Raises ``ValueError``."""
    an_id(bare_user_id(value) if isinstance(value, str) else value, "user_id")
    return public_user_id(str(value))


def text(value: object, name: str, longest: int = 256) -> str:
    """A text argument. Raises ``ValueError``."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(f"{name} must be a non-empty string of at most {longest} printable characters.")
    return value
