"""Reading request bodies: every field is checked for type and size before use."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NoReturn

from moonkey_core.emulator.errors import ApiError, invalid
from moonkey_core.emulator.records import Json

MAX_AGE = 10 * 366 * 86_400
_EMAIL = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}")
_PHONE = re.compile(r"\+[1-9][0-9]{4,14}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def age_of(seconds: float) -> float:
    """Return an age in seconds, of a session or a factor, that was given to a control method.

    Raises:
        ValueError: It is negative, or more than ten years.
    """
    if not 0 <= seconds <= MAX_AGE:
        raise ValueError(f"an age must be from 0 to {MAX_AGE} seconds")
    return float(seconds)


def json_object(raw: bytes) -> Json:
    """Parse a request body. An empty one counts as ``{}``."""
    if not raw:
        return {}
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object")
    return value


def optional_text(body: Json, name: str, limit: int = 512) -> str:
    """Return a text field, or "" where it is absent, null or empty."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit or not (value.isprintable() or value == ""):
        raise invalid(f"{name} must be printable text of at most {limit} characters")
    return value


def text(body: Json, name: str, limit: int = 512) -> str:
    """Return a text field that must be there."""
    value = optional_text(body, name, limit)
    if not value:
        raise invalid(f"{name} is required")
    return value


def exactly_one(body: Json, names: Sequence[str], limit: int = 16_384) -> tuple[str, str]:
    """Return the name and value of the one field of ``names`` that is there."""
    given = [(name, value) for name in names if (value := optional_text(body, name, limit))]
    if len(given) != 1:
        raise invalid(f"Exactly one of {', '.join(names)} is required")
    return given[0]


def whole_number(body: Json, name: str, low: int, high: int) -> int | None:
    """Return a whole number between ``low`` and ``high``, or ``None`` where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(f"{name} must be a whole number from {low} to {high}")
    return value


def flag(body: Json, name: str) -> bool:
    """Return a boolean field, or false where it is absent or null."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false")
    return value


def email(body: Json, name: str = "email") -> str:
    """Return an email address, in lower case."""
    value = text(body, name, 254)
    if not _EMAIL.fullmatch(value):
        raise invalid(f"{name} is not an email address")
    return value.lower()


def clean_email(value: str) -> str:
    """Return an email address in lower case.

    Raises:
        ValueError: It is malformed.
    """
    try:
        return email({"email": value})
    except ApiError as error:
        raise ValueError(error.message) from None


def phone_number(body: Json, name: str = "phone_number") -> str:
    """Return a phone number in E.164 form."""
    value = text(body, name, 16)
    if not _PHONE.fullmatch(value):
        raise invalid(f"{name} is not a phone number in E.164 form, such as +14152222222")
    return value


def device(body: Json) -> tuple[str, str]:
    """Return the user agent and the address of ``device_fingerprint``, or empty texts."""
    value = body.get("device_fingerprint")
    if value is None:
        return "", ""
    if not isinstance(value, dict):
        raise invalid("device_fingerprint must be an object")
    return optional_text(value, "user_agent"), optional_text(value, "ip", 64)
