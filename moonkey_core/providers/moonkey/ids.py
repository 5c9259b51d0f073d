"""The two spellings of a MoonKey user's id and of a session token: with their prefix, and without."""

from __future__ import annotations

import re
from typing import Final

from moonkey_core import models
from moonkey_core.models import BLANKS, MAX_ID_LENGTH

TOKEN_PREFIX = "session_"  # noqa: S105 - no secret
"""What MoonKey's guides write a session token with, and without."""

_USER = "user_"  # the prefix in the API reference; some documents leave it out
usual_id: Final = re.compile(rf"(?!user_\Z)[!-~]{{1,{MAX_ID_LENGTH}}}").fullmatch
"""Matches an id of printable ASCII. Every such one passes :func:`identifier`."""


def identifier(value: object) -> str:
    """Return a value that :func:`moonkey_core.models.identifier` accepts, in both spellings of a user's id.

    So it is more than the prefix, and does not begin with a blank after it.

    Raises:
        ValueError: It is anything else.
    """
    if isinstance(value, str) and usual_id(value):
        return value
    found = models.identifier(value)
    if found.removeprefix(_USER)[:1] in BLANKS:  # also where nothing follows the prefix
        raise ValueError("not an identifier")
    return found


def public_user_id(user_id: str) -> str:
    """Return a user's id with the prefix, the spelling that the API documents and receives."""
    return user_id if user_id.startswith(_USER) else f"{_USER}{user_id}"


def bare_user_id(user_id: str) -> str:
    """Return a user's id without the prefix: the part that both spellings have in common."""
    return user_id.removeprefix(_USER)


def same_user(one: str, other: str) -> bool:
    """Return whether two spellings of a user's id name the same user."""
    return bare_user_id(one) == bare_user_id(other)
