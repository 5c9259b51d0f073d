"""Checks of arguments of the operations. No message repeats a value: it may be a secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from moonkey_core.models import bare_user_id, identifier, public_user_id
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import CredentialKind, PresentedCredentials, well_formed

Lifetime = timedelta | int
"""A session lifetime: a ``timedelta``, or whole minutes."""

Kind = Literal["session_id"] | CredentialKind


def one_credential(
    settings: Settings,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> tuple[Kind, str]:
    """Return the one credential among the arguments, and its kind.

    Raises:
        ValueError: There is none or more than one, or the session id is malformed.
        MalformedCredentials: The credential is malformed.
    """
    options: tuple[tuple[Kind, str | None], ...] = (
        ("session_id", session_id),
        ("session_token", session_token),
        ("session_jwt", session_jwt),
    )
    present: list[tuple[Kind, str]] = [(kind, value) for kind, value in options if value is not None]
    if len(present) != 1:
        raise ValueError("Give exactly one credential: a session token or a session JWT (or, to revoke, an id).")
    kind, value = present[0]
    if kind == "session_id":
        return kind, id_argument(value, "session_id")
    return kind, well_formed(value, settings)


def given(kind: Kind, value: str) -> PresentedCredentials:
    """Return a credential that was passed to a method under the name of its kind, and has been checked."""
    named: CredentialKind = "session_jwt" if kind == "session_jwt" else "session_token"
    return PresentedCredentials(value, "argument", named_kind=named, is_checked=True)


def id_argument(value: object, name: str) -> str:
    """Return an id that is passed as the argument ``name``.

    Raises:
        ValueError: It is malformed.
    """
    try:
        return identifier(value)
    except ValueError:
        raise ValueError(
            f"{name} must be a non-empty string of at most 256 printable characters, without spaces around it."
        ) from None


def user_id_argument(value: object) -> str:
    """Return a user's id in the API's spelling; it may be passed with or without its ``user_``.

    Raises:
        ValueError: It is malformed.
    """
    id_argument(bare_user_id(value) if isinstance(value, str) else value, "user_id")
    return public_user_id(str(value))


def text_argument(value: object, name: str, longest: int = 256) -> str:
    """Return a text that is passed as the argument ``name``.

    Raises:
        ValueError: It is not a printable text of 1 to ``longest`` characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(f"{name} must be a non-empty string of at most {longest} printable characters.")
    return value
