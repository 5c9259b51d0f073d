"""Revocations as they lie in Redis: sealed, small, and read as from a stranger."""

from __future__ import annotations

import json
import math
from typing import Any

from moonkey_core._json import load_object
from moonkey_core._sealing import Sealer
from moonkey_core.models import identifier
from moonkey_core.revocations import Revocation

_MAX_BYTES = 4096  # two ids of 256 characters, in any script, fit


def sealed_entry(sealer: Sealer, stream: str, entry: Revocation) -> bytes:
    """An entry for that stream."""
    fields = [entry.session_id, entry.user_id, entry.issued_before, entry.added_at]
    return sealer.seal(stream, json.dumps({"entry": fields}, ensure_ascii=False).encode())


def opened_entry(sealer: Sealer, stream: str, sealed: object) -> Revocation:
    """The entry that was sealed for that stream. Raises ``ValueError`` for anything else."""
    if not isinstance(sealed, bytes) or len(sealed) > _MAX_BYTES:
        raise ValueError("not an entry")
    fields = load_object(sealer.open(stream, sealed)).get("entry")
    if not isinstance(fields, list) or len(fields) != 4:
        raise ValueError("not an entry")
    session_id, user_id, issued_before, added_at = fields
    if (session_id is None) != (issued_before is not None) or (session_id is not None and user_id is not None):
        raise ValueError("not an entry")
    return Revocation(
        None if session_id is None else identifier(session_id),
        None if user_id is None else identifier(user_id),
        None if issued_before is None else _time(issued_before),
        _time(added_at),
    )


def _time(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a time")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("not a time") from None
    if not math.isfinite(number):
        raise ValueError("not a time")
    return number
