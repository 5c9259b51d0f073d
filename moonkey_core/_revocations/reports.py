"""Reports: the provider has called a credential dead, so what belongs to its session has to be confirmed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable

from cachetools import Cache, FIFOCache, TLRUCache, TTLCache

from moonkey_core._revocations.cutoff import Cutoff, report_of, shift_table
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._revocations.overflow import Overflow
from moonkey_core._verified import DEFAULT_SCOPE, Key, key_of

_MAX_REPORTED = 65_536
_MAX_CREDENTIALS = 65_536
_MAX_UNKNOWN = 1000
_REPEATED_SECONDS = 1.0
_is_in = Cache.__contains__  # also of what has ended


class Reports:
    """The sessions and credentials that were reported, each within its own bound. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
        maxsize: The number of entries of the table that this is a part of.
        overflow: Takes the oldest reports on sessions where there are too many.

    Attributes:
        count: The number of reports so far.
        version: Changes with every report that requires confirmation for more than before.
    """

    def __init__(self, dating: Dating, maxsize: int, overflow: Overflow) -> None:
        self._dating = dating
        self._maxsize = maxsize
        self._overflow = overflow
        self.count: int = 0
        self.version: int = 0
        self.clear()

    def clear(self) -> None:
        """Forget all reports."""
        # By session id and by the digest of a credential.
        self._sessions: TLRUCache[Key, Cutoff] = self._make_table()
        self._dead: TLRUCache[Key, Cutoff] = self._make_table()
        # The sessions of credentials that were accepted here, by digest.
        self._session_of: FIFOCache[str, Key] = FIFOCache(_MAX_CREDENTIALS)
        # Reports on credentials that were never accepted here. Strangers can cause those, so they are limited.
        self._unknown: TTLCache[object, None] = TTLCache(
            max(min(_MAX_UNKNOWN, self._maxsize // 100), 1), self._dating.retention, timer=self._dating.clock
        )

    def _make_table(self) -> TLRUCache[Key, Cutoff]:
        return TLRUCache(
            min(self._maxsize, _MAX_REPORTED),
            ttu=lambda _id, cutoff, _now: self._dating.expires_at(cutoff),
            timer=self._dating.clock,
        )

    def take(self, entry: Revocation, now: float) -> None:
        """Take a report in."""
        assert entry.confirm_before is not None
        cutoff = Cutoff(entry.confirm_before, entry.added_at, by_local_clock=entry.by_local_clock)
        if self._dating.expires_at(cutoff) <= now:
            return
        if entry.session_id is not None:
            key = key_of(entry.scope, entry.session_id)
            before = self._sessions.get(key)
            if before is None and len(self._sessions) >= self._sessions.maxsize:
                oldest, passed_on = self._sessions.popitem()
                self._overflow.ask_all(parts_of(oldest)[0], passed_on)
            self._sessions[key] = merged = cutoff.merged_with(before)
            self.version += merged.revokes_more_than(before)
        elif entry.credential is not None:  # of a connection; the oldest make way for new ones
            self._dead[entry.credential] = cutoff.merged_with(self._dead.get(entry.credential))
        self.count += 1

    def are_repeated(self, credentials: Collection[str], until: float) -> bool:
        """Return whether all credentials were reported within the last moment before ``until``."""
        return bool(credentials) and all(_covers(self._dead, one, until) for one in credentials)

    def is_session_repeated(self, key: Key | None, until: float) -> bool:
        """Return whether a session was reported within the last moment before ``until``."""
        return _covers(self._sessions, key, until)

    def note_session(self, credentials: Iterable[str], key: Key) -> None:
        """Remember the session of a credential that was accepted."""
        for one in credentials:
            self._session_of[one] = key

    def session_of(self, credential: str) -> Key | None:
        """Return the session of a credential that was accepted, as far as it is remembered."""
        return self._session_of.get(credential)

    def may_take_unknown(self) -> bool:
        """Return whether one more report on a credential that was never accepted here may be published."""
        self._unknown.expire()
        if len(self._unknown) >= self._unknown.maxsize:
            return False
        self._unknown[object()] = None
        return True

    def unreported_session(self, entry: Revocation) -> Key | None:
        """Return the session of a credential that was just reported dead, once, unless it is reported as well."""
        if entry.credential is None or entry.confirm_before is None:
            return None
        session = self._session_of.pop(entry.credential, None)
        reported = None if session is None else self._sessions.get(session)
        until = entry.shifted(self._dating.offset or 0.0).confirm_before
        assert until is not None
        return session if reported is None or reported.time < until else None

    def names(self, session_id: str, scope: str) -> bool:
        """Return whether there is a report on a session, which may be over."""
        # Of a table whose entries end, `in` raises inside for what is not there, and costs five times as much.
        return _is_in(self._sessions, session_id if scope == DEFAULT_SCOPE else (scope, session_id))

    def of_session(self, key: Key) -> Cutoff | None:
        """Return the report on a session, if there is one."""
        return self._sessions.get(key) if _is_in(self._sessions, key) else None  # most have none

    def of_credentials(self, credentials: Iterable[str]) -> list[Cutoff | None]:
        """Return the report on each credential, if there is one."""
        return [self._dead.get(one) for one in credentials]

    def reported_until(self, key: Key) -> float:
        """Return until when a session was reported, by the clock of this machine; else minus infinity."""
        found = self._sessions.get(key)
        return -math.inf if found is None else found.time - (self._dating.offset or 0.0)

    def shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = False
        for table in (self._sessions, self._dead):
            has_changed = shift_table(table, offset) or has_changed
        return has_changed

    def entries(self) -> Iterable[Revocation]:
        """Yield all reports."""
        for table in (self._sessions, self._dead):
            for key in list(table):
                with contextlib.suppress(KeyError):  # expired meanwhile
                    scope, name = parts_of(key)
                    if table is self._dead:
                        yield report_of(table[key], scope, credential=name)
                    else:
                        yield report_of(table[key], scope, session_id=name)


def _covers(table: TLRUCache[Key, Cutoff], key: Key | None, until: float) -> bool:
    """Return whether a report under that key was made within the last moment before one up to ``until``."""
    found = None if key is None else table.get(key)
    return found is not None and found.time > until - _REPEATED_SECONDS
