"""Where a code may be sent: an e-mail address or a phone number, read by a grammar of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# WHATWG HTML, "valid email address": what a browser's own e-mail field takes.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~\-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_LONGEST_EMAIL = 254  # RFC 5321 section 4.5.3.1
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_PHONE_FILLERS = str.maketrans("", "", " -.()/")
_LONGEST = 320
_NAMES = ("address", "email", "phone_number")


@dataclass(frozen=True, slots=True)
class Address:
    """One address. ``value`` is a person's: never log it."""

    kind: Literal["email", "phone_number"]
    value: str = field(repr=False)


def address_in(fields: Mapping[str, str]) -> Address | None:
    """The address in a form, which names it ``email``, ``phone_number``, or ``address`` for either.

    ``None`` where it is missing or malformed, or where there are two.
    """
    given = [(name, value) for name in _NAMES if (value := fields.get(name, "").strip())]
    if len(given) != 1 or len(given[0][1]) > _LONGEST:
        return None
    name, value = given[0]
    if name != "phone_number" and len(value) <= _LONGEST_EMAIL and _EMAIL.fullmatch(value):
        return Address("email", value.lower())
    number = value.translate(_PHONE_FILLERS)
    if name != "email" and _PHONE.fullmatch(number):
        return Address("phone_number", number)
    return None
