"""Untrusted JSON: strict UTF-8, no duplicate names, nothing non-finite or deep. Every error is a ``ValueError``.

The standard library guesses encodings, lets the last duplicate win and accepts NaN; two parsers of one document
must not disagree, so all of that is refused here (RFC 8259 sections 4, 6 and 8.1; RFC 7515 section 5.2).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

_MAX_DEPTH = 40


def load_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``.

    Raises:
        ValueError: It is anything else. The message never quotes the data.
    """
    value: Any = None
    try:
        text = data.decode()
        # Mostly there is no white space around a document, and the search for it is a third of the work.
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):
            value = _DECODER.decode(text)
        if "\\" in text:
            # An escaped lone surrogate survives parsing, and cannot be encoded later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        if type(value) is dict and (
            text.count("{") + text.count("[") <= _MAX_DEPTH or not _is_deeper(value, _MAX_DEPTH)
        ):
            return value
    except (ValueError, RecursionError):
        pass  # the parser's error contains the whole document: it must not become the context of ours
    raise ValueError("not a JSON object, or not a strict one")


def _is_deeper(value: Any, limit: int) -> bool:
    """Return whether containers are nested more than ``limit`` deep. Other parsers have limits of their own."""
    level = [value]
    for _ in range(limit):
        inside = (one for item in level for one in (item.values() if isinstance(item, dict) else item))
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    raise ValueError("duplicate name")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _refuse(text: str) -> float:
    raise ValueError("not finite")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)
_SCAN: Callable[[str, int], tuple[Any, int]] = vars(_DECODER)["scan_once"]
