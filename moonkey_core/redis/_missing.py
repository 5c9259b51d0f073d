"""What Redis has lost, or never had: what a process must say (again) when it joins a stream."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from moonkey_core.models import bare_user_id
from moonkey_core.revocations import Revocation


def essence(entry: Revocation) -> object:
    """What an entry says, apart from when it was said; tables of revocations leave the ``user_`` out."""
    user_id = None if entry.user_id is None else bare_user_id(entry.user_id)
    return (entry.session_id, user_id, entry.issued_before, entry.kept, entry.doubted_before)


def missing(entries: Iterable[Revocation], present: Collection[object]) -> tuple[Revocation, ...]:
    """Those of the entries that are not in the stream. ``present`` are the essences of what is."""
    return tuple(entry for entry in entries if essence(entry) not in present)


def worth_saying(known: Collection[Revocation], leeway: float) -> tuple[Revocation, ...]:
    """What is known, without what an entry for everybody says already.

    A stream that was too long has been shortened behind such an entry: the rest must not come back.
    """
    moments = [entry.issued_before for entry in known if entry.session_id is None and entry.user_id is None]
    for_everybody = max((moment for moment in moments if moment is not None), default=-math.inf)
    return tuple(
        entry
        for entry in known
        if entry.issued_before == for_everybody
        or max(entry.added_at + leeway, entry.issued_before or 0.0) > for_everybody
    )
