"""The time up to which what was issued is revoked, or has to be confirmed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cachetools import TLRUCache

from moonkey_core._dataclass import dataclass
from moonkey_core._revocations.entry import Revocation
from moonkey_core._verified import Key


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The time up to which what was issued is revoked, added at ``added_at``.

    Of the session ``exempt_id``, only what was issued up to ``exempt_time`` is revoked. One exempt session is
    enough: of two entries that exempt different sessions, the later one revokes what the earlier one exempts.
    """

    time: float
    added_at: float
    exempt_id: str | None = None
    exempt_time: float = -math.inf
    by_local_clock: bool = False
    is_mixed: bool = False  # some of its times are by the clock of this machine, and some are not
    user_id: str | None = None  # the user, where the key of the table is not enough to name them

    def for_session(self, session_id: str | None) -> float:
        """Return the time for a session; minus infinity where nothing is revoked."""
        return self.exempt_time if self.exempt_id is not None and session_id == self.exempt_id else self.time

    def shifted(self, offset: float) -> Cutoff:
        """Return it by a clock that is ``offset`` seconds ahead. No time that was right becomes earlier."""
        ahead = max(offset, 0.0) if self.is_mixed else offset
        times = self.time + ahead, self.added_at, self.exempt_id, self.exempt_time + ahead
        return Cutoff(*times, user_id=self.user_id)

    def merged_with(self, other: Cutoff | None) -> Cutoff:
        """Return what both revoke together."""
        if other is None:
            return self
        late, early = (self, other) if self.time >= other.time else (other, self)
        exempt_time = max(late.for_session(late.exempt_id), early.for_session(late.exempt_id))
        added_at = max(self.added_at, other.added_at)
        by_local_clock = self.by_local_clock or other.by_local_clock
        is_mixed = self.is_mixed or other.is_mixed or self.by_local_clock is not other.by_local_clock
        exempt_id = late.exempt_id if exempt_time < late.time else None
        exempt_time = -math.inf if exempt_id is None else exempt_time
        user_id = self.user_id or other.user_id
        return Cutoff(late.time, added_at, exempt_id, exempt_time, by_local_clock, is_mixed, user_id)

    def revokes_more_than(self, other: Cutoff | None) -> bool:
        """Return whether it revokes anything that ``other``, one of those it was merged from, does not."""
        return other is None or any(
            self.for_session(session) > other.for_session(session) for session in (None, other.exempt_id)
        )

    def covers(self, issued_at: float | None, session_id: str | None = None) -> bool:
        """Return whether it revokes what was issued at that time for that session."""
        time = self.for_session(session_id)
        # Unknown, and not a number, count as old.
        return time > -math.inf and (issued_at is None or not issued_at > time)


def report_of(
    cutoff: Cutoff, scope: str, session_id: str | None = None, credential: str | None = None
) -> Revocation:
    times = cutoff.added_at, None, cutoff.time, cutoff.by_local_clock
    return Revocation(session_id, None, None, *times, credential, scope=scope)


def entries_of(user_id: str, cutoff: Cutoff, unconfirmed: Cutoff | None) -> Iterable[Revocation]:
    """Return entries that together contain all revocations of a user. ``user_id`` is the normal form of the id."""
    user_id = cutoff.user_id or user_id
    local = cutoff.by_local_clock
    is_same = (
        unconfirmed is not None
        and unconfirmed.exempt_id == cutoff.exempt_id
        and unconfirmed.by_local_clock == local
    )
    confirm_before = unconfirmed.time if unconfirmed is not None and is_same else None
    yield Revocation(None, user_id, cutoff.time, cutoff.added_at, cutoff.exempt_id, confirm_before, local)
    if cutoff.exempt_time > -math.inf:  # not exempt from all entries
        yield Revocation(None, user_id, cutoff.exempt_time, cutoff.added_at, by_local_clock=local)
    if unconfirmed is None:
        return
    certain = max(cutoff.for_session(cutoff.exempt_id), 0.0)  # revoked for every session
    added_at, local = unconfirmed.added_at, unconfirmed.by_local_clock
    if not is_same:
        yield Revocation(None, user_id, certain, added_at, unconfirmed.exempt_id, unconfirmed.time, local)
    if unconfirmed.exempt_time > -math.inf:
        yield Revocation(None, user_id, certain, added_at, None, unconfirmed.exempt_time, local)


def shift_table(table: TLRUCache[Key, Cutoff], offset: float) -> bool:
    """Shift the cut-offs that were dated by the clock of this machine; return whether there were any."""
    cutoffs = {key: table[key] for key in list(table)}
    shifted = {key: one.shifted(offset) for key, one in cutoffs.items() if one.by_local_clock}
    table.update(shifted)
    return bool(shifted)
