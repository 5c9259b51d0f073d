"""Reads a credential that nothing is known of: which kind is it, and what does a JWT say by itself?"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

from moonkey_core._strict_json import load_object
from moonkey_core.settings import Settings

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9\-]*):[ \t]*(.*)", re.DOTALL)
_QUOTES = "\"'"
SCHEMES: frozenset[str] = frozenset({"bearer", "token", "basic", "jwt", "digest", "dpop", "apikey"})
"""The schemes of ``Authorization`` that are told without that name before them, in lower case."""


class Given(NamedTuple):
    """A credential as a user has given it.

    Attributes:
        header: The request header in which it is presented, in lower case; ``"cookie"`` for a line of cookies.
        value: The credential alone.
        was_quoted: Whether it stood in quotes.
        lacks_bearer: Whether the value is that of an ``Authorization`` header with another scheme, or with none.
    """

    header: str
    value: str
    was_quoted: bool
    lacks_bearer: bool = False


def given_in(text: str, settings: Settings) -> Given:
    """Read what a user has given: a credential alone, with ``Bearer``, or with the header that it stands in.

    Without a header, it is that of the settings which comes first.
    """
    value = text.strip().removeprefix("\ufeff").strip()
    was_quoted = len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]
    if was_quoted:
        value = value[1:-1].strip()
    header = settings.credential_headers[0]
    line = _LINE.fullmatch(value)
    name = "" if line is None else line[1].lower()
    is_named = name in (*settings.credential_headers, "authorization", "cookie")
    if line is not None and is_named:
        header, value = name, line[2].strip()
    scheme = value.partition(" ")[0].lower()
    has_scheme = header == "authorization" if is_named else scheme in SCHEMES and scheme != value.lower()
    if has_scheme and scheme != "bearer":
        return Given("authorization", value, was_quoted, lacks_bearer=True)
    if value[:7].lower() == "bearer ":
        value = value[7:].strip()
    return Given(header, value, was_quoted)


def unverified_part(jwt: str, place: int) -> dict[str, Any] | None:
    """Return one part of a JWT, of which nothing is proven: 0 for the header, 1 for the claims.

    Returns:
        The part; ``None`` where it cannot be read.
    """
    parts = jwt.split(".")
    try:
        return load_object(base64.urlsafe_b64decode(parts[place] + "=" * (-len(parts[place]) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return None
