"""Revocations as the entries of the feed: sealed, small, and read as untrusted input.

An entry is a JSON object. Its member ``entry`` has held ``[session_id, user_id, issued_before, added_at]`` since
the first version. The session that is exempt (``kept``), the time until which confirmation is required (``doubt``)
and whether it is a precaution stand beside it, where processes of earlier versions do not look. For them
``issued_before`` is the time at which the entry was made, so they refuse too much rather than too little.

A report (``report``) has the session, or the digest of the credential, and the time until which confirmation is
required. Processes of earlier versions take one on a session for its revocation, and one on a credential for that
of a session which does not exist.

That the provider has ended a session, or all of a user (``ended``), and whose a session is (``of``; of a record,
``records``) stand beside it as well. What stands for sessions that are not named singly (``ask``) is for processes
of earlier versions a revocation of the user, or of all users as a precaution. They have no way to ask.

The scope of the ids (``scope``) is left out where it is the default one, so MoonKey's entries have no such member.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from typing import Any

from moonkey_core._crypto import Sealer
from moonkey_core._strict_json import load_object
from moonkey_core.models import identifier
from moonkey_core.revocations import DEFAULT_SCOPE, Revocation, as_it_is, checked_scope

_MAX_BYTES = 4096  # two ids of 256 characters, in any script, fit
_NO_ENTRY = "not an entry"
_CREDENTIAL = re.compile(r"[0-9a-f]{32}")


def seal_entry(sealer: Sealer, stream: str, entry: Revocation) -> bytes:
    """Serialize and seal an entry for the stream of that name."""
    return sealer.seal(stream, json.dumps(_content(entry), ensure_ascii=False).encode())


def _content(entry: Revocation) -> dict[str, Any]:
    if entry.is_report:
        content = _report_content(entry)
    else:
        content = _overflow_content(entry) if entry.is_overflow else _revocation_content(entry)
    return content if entry.scope == DEFAULT_SCOPE else {**content, "scope": entry.scope}


def _report_content(entry: Revocation) -> dict[str, Any]:
    shown = entry.session_id or f"credential:{entry.credential}"
    report = [entry.session_id, entry.credential, entry.confirm_before]
    return {"entry": [shown, None, None, entry.added_at], "report": report}


def _overflow_content(entry: Revocation) -> dict[str, Any]:
    content: dict[str, Any] = {"entry": [None, entry.user_id, entry.confirm_before, entry.added_at], "ask": True}
    if entry.user_id is None:
        content["precaution"] = True
    if entry.ends_records:
        content["ends_records"] = True
    return content


def _revocation_content(entry: Revocation) -> dict[str, Any]:
    issued_before = entry.issued_before
    if issued_before is not None and entry.confirm_before is not None:
        issued_before = max(issued_before, min(entry.added_at, entry.confirm_before))
    content: dict[str, Any] = {"entry": [entry.session_id, entry.user_id, issued_before, entry.added_at]}
    if entry.exempt_session_id is not None:
        content["kept"] = entry.exempt_session_id
    if entry.confirm_before is not None:
        content["doubt"] = [entry.issued_before, entry.confirm_before]
    if entry.is_precaution:
        content["precaution"] = True
    if entry.is_ended:
        content["ended"] = True
    if entry.owner is not None:
        content["records" if entry.is_record else "of"] = entry.owner
    return content


def open_entry(sealer: Sealer, stream: str, sealed: object, added_at: float | None = None) -> Revocation:
    """Read the entry that was sealed for the stream of that name.

    Args:
        sealer: Opens it.
        stream: The name.
        sealed: The entry.
        added_at: When the server has added it, by the clock of this machine; ``None``: as its sender has dated it.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(sealed, bytes) or len(sealed) > _MAX_BYTES:
        raise ValueError(_NO_ENTRY)
    return read_entry(load_object(sealer.open(stream, sealed)), added_at)


def read_entry(content: dict[str, Any], dated: float | None = None) -> Revocation:
    """Read an entry that was opened.

    Args:
        content: The JSON object.
        dated: When the server has added it, by the clock of this machine; ``None``: as its sender has dated it.

    Raises:
        ValueError: It is anything else.
    """
    fields, exempt, doubt = content.get("entry"), content.get("kept"), content.get("doubt")
    precaution = _flag(content, "precaution")
    if not isinstance(fields, list) or len(fields) != 4:
        raise ValueError(_NO_ENTRY)
    session_id, user_id, issued_before, added_at = fields
    added_at = _time(added_at) if dated is None else dated
    if len(content) == 1 and session_id is not None and user_id is None and issued_before is None:
        return Revocation(identifier(session_id), None, None, added_at)  # nearly all are like that
    if (session_id is None) != (issued_before is not None) or (session_id is not None and user_id is not None):
        raise ValueError(_NO_ENTRY)
    if user_id is None and (exempt is not None or doubt is not None):
        raise ValueError(_NO_ENTRY)
    if precaution and (session_id is not None or user_id is not None):
        raise ValueError(_NO_ENTRY)
    report, scope = content.get("report"), checked_scope(content.get("scope", DEFAULT_SCOPE))
    if report is not None:
        return _report(session_id, added_at, report, scope)
    if _flag(content, "ask"):
        return _overflow(content, user_id, _time(issued_before), added_at, scope)
    is_ended, (owner, is_record) = _flag(content, "ended"), _owner(content)
    if (is_ended and session_id is None and user_id is None) or (owner is not None and session_id is None):
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
        added_at,
        None if exempt is None else identifier(exempt),
        confirm_before,
        is_precaution=precaution,
        scope=scope,
        is_ended=is_ended,
        owner=owner,
        is_record=is_record,
    )


def _flag(content: dict[str, Any], name: str) -> bool:
    value = content.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(_NO_ENTRY)
    return value


def _owner(content: dict[str, Any]) -> tuple[str | None, bool]:
    """Return whose a session or a record is, if that is said, and whether it is a record."""
    user, records = content.get("of"), content.get("records")
    if user is not None and records is not None:
        raise ValueError(_NO_ENTRY)
    owner = user if records is None else records
    return None if owner is None else identifier(owner), records is not None


def _overflow(content: dict[str, Any], user_id: object, until: float, added_at: float, scope: str) -> Revocation:
    ends_records = _flag(content, "ends_records")
    if user_id is not None and ends_records:
        raise ValueError(_NO_ENTRY)
    user = None if user_id is None else identifier(user_id)
    return Revocation(None, user, None, added_at, confirm_before=until, scope=scope, ends_records=ends_records)


def _report(shown: object, added_at: float, report: object, scope: str) -> Revocation:
    if shown is None or not isinstance(report, list) or len(report) != 3:
        raise ValueError(_NO_ENTRY)
    session_id, credential, confirm_before = report
    if (session_id is None) == (credential is None):
        raise ValueError(_NO_ENTRY)
    if credential is not None and not (isinstance(credential, str) and _CREDENTIAL.fullmatch(credential)):
        raise ValueError(_NO_ENTRY)
    session_id = None if session_id is None else identifier(session_id)
    until = _time(confirm_before)
    return Revocation(session_id, None, None, added_at, confirm_before=until, credential=credential, scope=scope)


def entry_key(entry: Revocation, key_of_user: Callable[[str], str] = as_it_is) -> object:
    """Return what identifies the content of an entry, whenever it was added.

    User ids count in their normal form, in which tables of revocations have them.
    """
    user_id = None if entry.user_id is None else key_of_user(entry.user_id)
    times = entry.issued_before, entry.confirm_before
    # That the provider has ended it is more than that it is revoked.
    more = (entry.exempt_session_id, entry.credential, entry.is_ended, entry.ends_records)
    return (entry.scope, entry.session_id, user_id, *times, *more)


def without_superseded(
    entries: Collection[Revocation], leeway: float, offset: float = 0.0
) -> tuple[Revocation, ...]:
    """Return the entries without those that an entry for all users of their scope makes superfluous.

    A stream that was too long has been trimmed behind such an entry, so the others must not be added again. What
    the provider has ended is superfluous where it is asked about as a whole.

    Args:
        entries: The entries, as a table has them.
        leeway: Seconds that the clock of the issuer of JWTs may be ahead.
        offset: Seconds that the common clock is ahead of that of this machine, by which entries were added.
    """
    latest: dict[str, float] = {}
    asked: dict[tuple[str, str | None], float] = {}
    for entry in entries:
        if entry.is_overflow and entry.confirm_before is not None:
            key = (entry.scope, entry.user_id)
            asked[key] = max(asked.get(key, -math.inf), entry.confirm_before)
        elif entry.session_id is None and entry.user_id is None and entry.issued_before is not None:
            latest[entry.scope] = max(latest.get(entry.scope, -math.inf), entry.issued_before)
    return tuple(
        entry
        for entry in entries
        if not _is_superseded(entry, leeway + offset, latest.get(entry.scope))
        and not _is_asked(entry, leeway + offset, asked)
    )


def _is_superseded(entry: Revocation, margin: float, latest: float | None) -> bool:
    """Return whether an entry, other than the one up to ``latest`` itself, revokes nothing that is later."""
    if latest is None or entry.issued_before == latest:
        return False
    return max(entry.added_at + margin, entry.issued_before or 0.0, entry.confirm_before or 0.0) <= latest


def _is_asked(entry: Revocation, margin: float, asked: dict[tuple[str, str | None], float]) -> bool:
    """Return whether the provider is asked about all that an entry on an ended session revokes."""
    if not entry.is_ended or entry.session_id is None:
        return False
    users = {None, entry.owner}
    return entry.added_at + margin <= max(asked.get((entry.scope, user), -math.inf) for user in users)


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
