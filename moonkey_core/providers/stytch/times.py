"""The times of Stytch: RFC 3339, with up to nine digits of a second.

They are compared in whole nanoseconds. A float of seconds has steps of about 240 ns in this century, and a
``datetime`` ends at microseconds: both are made of the nanoseconds, and never later than these.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NANO = 10**9
_LATEST = 253_402_300_800 * _NANO  # the end of the year 9999, the last that datetime can represent


def nanoseconds(value: object) -> int:
    """Return a time (RFC 3339 section 5.6) in nanoseconds since the Unix epoch.

    A leap second is not read, as by most software.

    Raises:
        ValueError: It is no such time after the epoch.
    """
    moment = _parsed(value)
    if moment <= 0:
        raise ValueError("not a time after the epoch")
    return moment


def optional_nanoseconds(value: object) -> int | None:
    """Return the same; ``None`` for ``null``, and for a time that is not after the epoch: it says nothing.

    Raises:
        ValueError: It is no time.
    """
    moment = 0 if value is None else _parsed(value)
    return moment if moment > 0 else None


def _parsed(value: object) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a time")
    day, clock, digits, sign, hours, minutes = found.groups()
    whole = (datetime.fromisoformat(f"{day}T{clock}+00:00") - _EPOCH) // _SECOND
    if sign is not None:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("not a time")
        offset = 3600 * int(hours) + 60 * int(minutes)
        whole += offset if sign == "-" else -offset
    moment = whole * _NANO + int((digits or "").ljust(9, "0"))
    if moment >= _LATEST:
        raise ValueError("a time that is too late")
    return moment


def of_seconds(value: float) -> int:
    """Return whole nanoseconds for Unix seconds, rounded down."""
    numerator, denominator = value.as_integer_ratio()
    return numerator * _NANO // denominator


def in_seconds(moment: int) -> float:
    """Return Unix seconds: the last float that is not later."""
    found = moment / _NANO
    numerator, denominator = found.as_integer_ratio()
    return found if numerator * _NANO <= moment * denominator else math.nextafter(found, 0.0)


def in_datetime(moment: int) -> datetime:
    """Return an aware datetime, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=moment // 1000)


def is_over(moment: int, leeway: float, now: float) -> bool:
    """Return whether a moment and the leeway (seconds) after it have passed at ``now`` (Unix seconds), exactly."""
    return moment + of_seconds(leeway) <= of_seconds(now)


def written(moment: int) -> str:
    """Return the text of a time, as a service would write it.

    Raises:
        ValueError: It is after the year 9999, or not after the epoch.
    """
    if not 0 < moment < _LATEST:
        raise ValueError("not a time after the epoch")
    whole, part = divmod(moment, _NANO)
    day = _EPOCH + timedelta(seconds=whole)
    return f"{day:%Y-%m-%dT%H:%M:%S}.{part:09}Z"
