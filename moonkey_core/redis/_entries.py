"""Revocations as they lie in Redis: sealed, small, and read as from a stranger.

What an entry refuses stands in ``entry``, as it always did. The session that it leaves out, and what is doubted
rather than refused, stand beside it, where processes of earlier versions do not look: they refuse what was issued
until the entry was made, which is too much rather than too little.
"""

from __future__ import annotations

import json
import math
from typing import Any

from moonkey_core._crypto import Sealer
from moonkey_core._strict_json import load_object
from moonkey_core.models import identifier
from moonkey_core.revocations import Revocation

_MAX_BYTES = 4096  # two ids of 256 characters, in any script, fit
_NO_ENTRY = "not an entry"


def sealed_entry(sealer: Sealer, stream: str, entry: Revocation) -> bytes:
    """An entry for that stream."""
    until = entry.issued_before
    if until is not None and entry.doubted_before is not None:
        until = max(until, min(entry.added_at, entry.doubted_before))
    said: dict[str, Any] = {"entry": [entry.session_id, entry.user_id, until, entry.added_at]}
    if entry.kept is not None:
        said["kept"] = entry.kept
    if entry.doubted_before is not None:
        said["doubt"] = [entry.issued_before, entry.doubted_before]
    return sealer.seal(stream, json.dumps(said, ensure_ascii=False).encode())


def opened_entry(sealer: Sealer, stream: str, sealed: object) -> Revocation:
    """The entry that was sealed for that stream. Raises ``ValueError`` for anything else."""
    if not isinstance(sealed, bytes) or len(sealed) > _MAX_BYTES:
        raise ValueError(_NO_ENTRY)
    said = load_object(sealer.open(stream, sealed))
    fields, kept, doubt = said.get("entry"), said.get("kept"), said.get("doubt")
    if not isinstance(fields, list) or len(fields) != 4:
        raise ValueError(_NO_ENTRY)
    session_id, user_id, issued_before, added_at = fields
    if (session_id is None) != (issued_before is not None) or (session_id is not None and user_id is not None):
        raise ValueError(_NO_ENTRY)
    if user_id is None and (kept is not None or doubt is not None):
        raise ValueError(_NO_ENTRY)
    until = None if issued_before is None else _time(issued_before)
    doubted: float | None = None
    if doubt is not None:
        if not isinstance(doubt, list) or len(doubt) != 2:
            raise ValueError(_NO_ENTRY)
        until, doubted = (_time(at) for at in doubt)
    return Revocation(
        None if session_id is None else identifier(session_id),
        None if user_id is None else identifier(user_id),
        until,
        _time(added_at),
        None if kept is None else identifier(kept),
        doubted,
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
