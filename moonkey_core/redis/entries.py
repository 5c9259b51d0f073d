"""Revocations as the entries of the feed: sealed, small, and read as untrusted input.

An entry is a JSON object. Its member ``entry`` has held ``[session_id, user_id, issued_before, added_at]`` since
the first version. The session that is exempt (``kept``) and the time until which confirmation is required
(``doubt``) stand beside it, where processes of earlier versions do not look. For them ``issued_before`` is the
time at which the entry was made, so they refuse too much rather than too little.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from typing import Any

from moonkey_core._crypto import Sealer
from moonkey_core._strict_json import load_object
from moonkey_core.models import bare_user_id, identifier
from moonkey_core.revocations import Revocation

_MAX_BYTES = 4096  # two ids of 256 characters, in any script, fit
_NO_ENTRY = "not an entry"


def seal_entry(sealer: Sealer, stream: str, entry: Revocation) -> bytes:
    """Serialize and seal an entry for the stream of that name."""
    issued_before = entry.issued_before
    if issued_before is not None and entry.confirm_before is not None:
        issued_before = max(issued_before, min(entry.added_at, entry.confirm_before))
    content: dict[str, Any] = {"entry": [entry.session_id, entry.user_id, issued_before, entry.added_at]}
    if entry.exempt_session_id is not None:
        content["kept"] = entry.exempt_session_id
    if entry.confirm_before is not None:
        content["doubt"] = [entry.issued_before, entry.confirm_before]
    return sealer.seal(stream, json.dumps(content, ensure_ascii=False).encode())


def open_entry(sealer: Sealer, stream: str, sealed: object) -> Revocation:
    """Read the entry that was sealed for the stream of that name.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(sealed, bytes) or len(sealed) > _MAX_BYTES:
        raise ValueError(_NO_ENTRY)
    content = load_object(sealer.open(stream, sealed))
    fields, exempt, doubt = content.get("entry"), content.get("kept"), content.get("doubt")
    if not isinstance(fields, list) or len(fields) != 4:
        raise ValueError(_NO_ENTRY)
    session_id, user_id, issued_before, added_at = fields
    if (session_id is None) != (issued_before is not None) or (session_id is not None and user_id is not None):
        raise ValueError(_NO_ENTRY)
    if user_id is None and (exempt is not None or doubt is not None):
        raise ValueError(_NO_ENTRY)
    revoked_before = None if issued_before is None else _time(issued_before)
    confirm_before: float | None = None
    if doubt is not None:
        if not isinstance(doubt, list) or len(doubt) != 2:
            raise ValueError(_NO_ENTRY)
        revoked_before, confirm_before = (_time(at) for at in doubt)
    return Revocation(
        None if session_id is None else identifier(session_id),
        None if user_id is None else identifier(user_id),
        revoked_before,
        _time(added_at),
        None if exempt is None else identifier(exempt),
        confirm_before,
    )


def entry_key(entry: Revocation) -> object:
    """Return what identifies the content of an entry, whenever it was added.

    User ids count without the prefix ``user_``, which tables of revocations leave out.
    """
    user_id = None if entry.user_id is None else bare_user_id(entry.user_id)
    return (entry.session_id, user_id, entry.issued_before, entry.exempt_session_id, entry.confirm_before)


def missing_entries(entries: Iterable[Revocation], present: Collection[object]) -> tuple[Revocation, ...]:
    """Return the entries that are not in the stream. ``present`` holds the keys of those that are."""
    return tuple(entry for entry in entries if entry_key(entry) not in present)


def without_superseded(entries: Collection[Revocation], leeway: float) -> tuple[Revocation, ...]:
    """Return the entries without those that an entry for all users makes superfluous.

    A stream that was too long has been trimmed behind such an entry, so the others must not be added again.
    """
    cutoffs = [entry.issued_before for entry in entries if entry.session_id is None and entry.user_id is None]
    latest = max((cutoff for cutoff in cutoffs if cutoff is not None), default=-math.inf)
    return tuple(
        entry
        for entry in entries
        if entry.issued_before == latest or max(entry.added_at + leeway, entry.issued_before or 0.0) > latest
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
