"""Times as the service writes them: RFC 3339 in UTC, with up to nine fractional digits."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND = 1_000_000_000
"""One second, in nanoseconds."""


def nanoseconds(seconds: float) -> int:
    """Return a time in Unix nanoseconds from one in Unix seconds."""
    whole = int(seconds // 1)
    return whole * SECOND + int((seconds - whole) * SECOND)


def rfc3339(time: int) -> str:
    """Return a time in Unix nanoseconds as text. Zeros at the end of its fraction are left out."""
    seconds, fraction = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}{f'.{fraction:09d}'.rstrip('0') if fraction else ''}Z"
