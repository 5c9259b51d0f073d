"""Revocations as they lie in Redis: sealed, small, and read as from a stranger.

What an entry refuses or doubts stands in ``entry``, as it always did. The session that it leaves out, and until
when all else is certainly refused, stand beside it, where processes of earlier versions do not look: they refuse
too much rather than too little.
"""

from __future__ import annotations

import json
import math
from typing import Any

from moonkey_core._json import load_object
from moonkey_core._sealing import Sealer
from moonkey_core.models import identifier
from moonkey_core.revocations import Revocation

_MAX_BYTES = 4096  # two ids of 256 characters, in any script, fit
_NO_ENTRY = "not an entry"


def sealed_entry(sealer: Sealer, stream: str, entry: Revocation) -> bytes:
    """An entry for that stream."""
    until = entry.issued_before if entry.doubted_before is None else entry.doubted_before
    said: dict[str, Any] = {"entry": [entry.session_id, entry.user_id, until, entry.added_at]}
    if entry.kept is not None:
        said["kept"] = entry.kept
    if entry.doubted_before is not None:
        said["certain"] = entry.issued_before
    return sealer.seal(stream, json.dumps(said, ensure_ascii=False).encode())


def opened_entry(sealer: Sealer, stream: str, sealed: object) -> Revocation:
    """The entry that was sealed for that stream. Raises ``ValueError`` for anything else."""
    if not isinstance(sealed, bytes) or len(sealed) > _MAX_BYTES:
        raise ValueError(_NO_ENTRY)
    said = load_object(sealer.open(stream, sealed))
    fields, kept, certain = said.get("entry"), said.get("kept"), said.get("certain")
    if not isinstance(fields, list) or len(fields) != 4:
        raise ValueError(_NO_ENTRY)
    session_id, user_id, issued_before, added_at = fields
    if (session_id is None) != (issued_before is not None) or (session_id is not None and user_id is not None):
        raise ValueError(_NO_ENTRY)
    if user_id is None and (kept is not None or certain is not None):
        raise ValueError(_NO_ENTRY)
    until = None if issued_before is None else _time(issued_before)
    return Revocation(
        None if session_id is None else identifier(session_id),
        None if user_id is None else identifier(user_id),
        until if certain is None else _time(certain),
        _time(added_at),
        None if kept is None else identifier(kept),
        None if certain is None else until,
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
