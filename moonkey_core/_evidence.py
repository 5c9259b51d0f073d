"""Foreign text for a log or an exception: bounded, printable, and without any credential."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_LONGEST = 200  # characters of one text
_LONGEST_READ = 2000
_MASK = "***"
_RUN = r"[A-Za-z0-9_\-.~+/=%]+"
_KEY = r"[sp]k_(?:test|live)_"
_LONGEST_WORD = 20  # characters; a longer word with a digit may be a credential
_LONGEST_NAME = 48
_SHORTEST_PART = 8
_FAR = 10**9  # seconds


def shown(value: object) -> str:
    """Return the value of a claim or setting as it would be written in Python."""
    if isinstance(value, str):
        return ascii(value if len(value) <= _LONGEST else value[:_LONGEST] + "…")
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return _cut(", ".join(ascii(one[:_LONGEST]) for one in value[:8]) or "none")
    return "none" if value is None else f"a value of the wrong type ({type(value).__name__})"


def seconds(value: float) -> str:
    """Return a time difference in whole seconds."""
    return f"{max(-_FAR, min(value, _FAR)):.0f} s"


def ago(value: float) -> str:
    """Return how long ago a moment was, or how far ahead it is; ``value`` is in seconds."""
    return f"{seconds(value)} ago" if value >= 0 else f"in {seconds(-value)}"


def quoted(code: str, message: str, sent: Iterable[str] = ()) -> str:
    """Return code and message of an error, without the values that were ``sent``."""
    values = sorted({one for one in sent if len(one) > 2}, key=len, reverse=True) if code or message else []
    return ": ".join(part for part in (_plain(code, values), _plain(message, values)) if part)


def looks_secret(text: str) -> bool:
    """Return whether a part of a text looks like a credential."""
    return any(_may_be_secret(run[0], []) for run in re.finditer(_RUN, text[:_LONGEST_READ]))


def strings_in(body: object) -> Iterable[str]:
    """Yield all strings in the JSON of a request."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, Mapping):
        for value in body.values():
            yield from strings_in(value)
    elif isinstance(body, list | tuple):
        for value in body:
            yield from strings_in(value)


def _plain(text: str, values: list[str]) -> str:
    # Whole words first: after a shorter value was cut out of a word, the rest might not be recognised any more.
    words = [value.lower() for value in values if re.fullmatch(_RUN, value)]
    text = re.sub(_RUN, lambda run: _MASK if _may_be_secret(run[0], words) else run[0], text[:_LONGEST_READ])
    for value in values:
        text = re.sub(re.escape(value), _MASK, text, flags=re.IGNORECASE)
    return _cut("".join(one if one.isprintable() else " " for one in text).strip())


def _may_be_secret(word: str, sent: list[str]) -> bool:
    """Return whether a word looks like a credential, or is part of a value that was ``sent`` (in lower case)."""
    long = len(word) > _LONGEST_WORD and any(one.isdigit() for one in word)
    if long or len(word) > _LONGEST_NAME or re.search(_KEY, word):
        return True
    part = word.strip(".").lower()
    return len(part) >= _SHORTEST_PART and any(part in one for one in sent)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
