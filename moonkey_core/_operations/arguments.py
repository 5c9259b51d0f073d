"""Checks of arguments of the operations. No message repeats a value: it may be a secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from moonkey_core.models import identifier
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


def text_argument(value: object, name: str, longest: int = 256) -> str:
    """Return a text that is passed as the argument ``name``.

    Raises:
        ValueError: It is not a printable text of 1 to ``longest`` characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(f"{name} must be a non-empty string of at most {longest} printable characters.")
    return value


def minutes_argument(value: object, limit: range, what: str) -> int | None:
    """Return a lifetime in minutes within a limit, or ``None`` if there is none.

    Raises:
        ValueError: It is anything else.
    """
    if value is None or (type(value) is int and value in limit):
        return value
    raise ValueError(f"{what} lives {limit.start} to {limit.stop - 1} minutes.")
