"""The revocations themselves: of sessions, of users, and of everything that was issued before a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from cachetools import TLRUCache

from moonkey_core._revocations.cutoff import Cutoff, entries_of
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._revocations.reports import shift_table
from moonkey_core._verified import Key, key_of
from moonkey_core.errors import RevocationsFull


class Tables:
    """The revocations of the sessions and users of one provider. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
        maxsize: The number of entries.
        scopes: All scopes of the provider.
        key_of_user: Returns the normal form of the provider's user ids.
        raises_when_full: Whether a full table takes no more in from its own process.

    Attributes:
        version: Changes with every entry that revokes more than before.
        is_feed_full: Whether the feed has no room for more. It counts where the table raises when it is full.
    """

    def __init__(
        self,
        dating: Dating,
        maxsize: int,
        scopes: Sequence[str],
        key_of_user: Callable[[str], str],
        *,
        raises_when_full: bool,
    ) -> None:
        self.maxsize = maxsize
        self.version: int = 0
        self.is_feed_full = False
        self._dating = dating
        self._scopes = scopes
        self._key_of_user = key_of_user
        self._raises_when_full = raises_when_full
        self.clear()

    def clear(self) -> None:
        """Forget all revocations."""
        # Where nothing may be forgotten, what other processes had room for is taken in as well.
        room, dating = math.inf if self._raises_when_full else self.maxsize, self._dating
        self._sessions: TLRUCache[Key, float] = TLRUCache(
            room, ttu=lambda _id, added_at, _now: added_at + dating.retention, timer=dating.clock
        )
        self._users: TLRUCache[Key, Cutoff] = TLRUCache(
            room, ttu=lambda _id, cutoff, _now: dating.expires_at(cutoff), timer=dating.clock
        )
        # What was issued about the time of an entry, where times do not prove whether that was before it.
        self._unconfirmed: TLRUCache[Key, Cutoff] = TLRUCache(
            room, ttu=lambda _id, cutoff, _now: dating.expires_at(cutoff), timer=dating.clock
        )
        self._all_users: dict[tuple[str, bool], Cutoff] = {}  # by scope, and by whether it is a precaution

    def user_key(self, scope: str, user_id: str) -> Key:
        """Return the key of a user, in whichever spelling of the id."""
        return key_of(scope, self._key_of_user(user_id))

    def take(self, entry: Revocation, now: float, *, is_new: bool = False) -> bool:
        """Take an entry in, and return whether the table was full, so that all entries have become one.

        Raises:
            RevocationsFull: It is new, and the table was full.
        """
        if entry.session_id is not None:
            return self._take_session(key_of(entry.scope, entry.session_id), entry.added_at, now, is_new=is_new)
        assert entry.issued_before is not None
        cutoff = Cutoff(
            entry.issued_before, entry.added_at, entry.exempt_session_id, by_local_clock=entry.by_local_clock
        )
        if self._dating.expires_at(cutoff) <= now:
            return False
        if entry.user_id is None:
            self._take_for_all_users(entry.scope, cutoff, now, is_precaution=entry.is_precaution)
            return False
        return self._take_user(entry.user_id, entry, cutoff, now, is_new=is_new)

    def _take_session(self, key: Key, added_at: float, now: float, *, is_new: bool) -> bool:
        if added_at + self._dating.retention <= now:
            return False
        known = self._sessions.get(key)
        if self._lacks_room(is_known=known is not None, is_new=is_new):
            return self._collapse(now)
        self._sessions[key] = max(known or added_at, added_at)
        self.version += known is None
        return False

    def _take_user(self, user_id: str, entry: Revocation, cutoff: Cutoff, now: float, *, is_new: bool) -> bool:
        bare = self._key_of_user(user_id)
        key = key_of(entry.scope, bare)
        if self._key_of_user(bare) != bare:  # so this is no spelling of the id
            cutoff = replace(cutoff, user_id=user_id)
        if self._lacks_room(is_known=key in self._users, is_new=is_new):
            return self._collapse(now)
        # An unconfirmed one lasts a little longer than the entry it came with.
        is_crowded = entry.confirm_before is not None and len(self._unconfirmed) >= self.maxsize
        if is_crowded and key not in self._unconfirmed and not self._raises_when_full:
            return self._collapse(now)
        self._merge(self._users, key, cutoff)
        if entry.confirm_before is not None:
            self._merge(self._unconfirmed, key, replace(cutoff, time=entry.confirm_before))
        return False

    def _lacks_room(self, *, is_known: bool, is_new: bool) -> bool:
        """Return whether all entries have to become one, so that one more session or user is refused.

        Raises:
            RevocationsFull: They must not, and the entry is new. What another process had room for is taken in.
        """
        is_full = len(self._sessions) + len(self._users) >= self.maxsize
        if not self._raises_when_full:
            return not is_known and is_full
        if is_new and (self.is_feed_full or (not is_known and is_full)):
            raise RevocationsFull(evidence=f"max_revocations is {self.maxsize}.")
        return False

    def _merge(self, table: TLRUCache[Key, Cutoff], key: Key, cutoff: Cutoff) -> None:
        before = table.get(key)
        table[key] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)

    def _take_for_all_users(self, scope: str, cutoff: Cutoff, now: float, *, is_precaution: bool = False) -> None:
        before = self._for_all_users(now).get((scope, is_precaution))
        self._all_users[scope, is_precaution] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)

    def _collapse(self, now: float) -> bool:
        times = [table[key].time for table in (self._users, self._unconfirmed) for key in list(table)]
        for table in (self._sessions, self._users, self._unconfirmed):
            table.clear()
        latest, is_local = (
            max([self._dating.now() + self._dating.leeway, *times]),
            self._dating.offset is None,
        )
        cutoff = Cutoff(latest, now, by_local_clock=is_local, is_mixed=is_local)
        for scope in self._scopes:
            self._take_for_all_users(scope, cutoff, now, is_precaution=True)
        self.version += 1
        return True

    def has_session(self, key: Key) -> bool:
        """Return whether a session is revoked by its id."""
        return key in self._sessions

    def refuses(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential is revoked; see :meth:`.Revocations.refuses`."""
        if key_of(scope, session_id) in self._sessions:
            return True
        user = self._users.get(self.user_key(scope, user_id))
        return _covers((user, *self._of_all_users(scope)), issued_at, session_id)

    def is_precautionary(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether it is so only by precaution; see :meth:`.Revocations.is_precautionary`."""
        revoked, precaution = self._of_all_users(scope)
        if precaution is None or key_of(scope, session_id) in self._sessions:
            return False
        user = self._users.get(self.user_key(scope, user_id))
        return not _covers((user, revoked), issued_at, session_id)

    def ends_record(
        self, scope: str, record_ids: tuple[str, str, str], session_id: str, user_id: str, made_at: float
    ) -> bool:
        """Return whether what was recorded of a user is over; see :meth:`.Revocations.ends_record`."""
        if any(key_of(scope, one) in self._sessions for one in record_ids[:2]):
            return True
        ended_at = self._sessions.get(key_of(scope, record_ids[2]))
        if ended_at is not None and made_at <= ended_at + (self._dating.offset or 0.0):
            return True
        key = self.user_key(scope, user_id)
        if _covers((self._users.get(key), *self._of_all_users(scope)), made_at, session_id):
            return True
        # A provider may date what it issues by another clock, a record is dated by that of the revocation.
        unconfirmed = self._unconfirmed.get(key)
        return unconfirmed is not None and unconfirmed.covers(made_at + self._dating.leeway, session_id)

    def is_unconfirmed(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential was issued about the time up to which its user is revoked."""
        unconfirmed = self._unconfirmed.get(self.user_key(scope, user_id))
        return unconfirmed is not None and unconfirmed.covers(issued_at, session_id)

    def _of_all_users(self, scope: str) -> tuple[Cutoff | None, Cutoff | None]:
        """Return what is revoked for all users of a scope, and what is so by precaution."""
        found = self._for_all_users(self._dating.clock())
        return found.get((scope, False)), found.get((scope, True))

    def _for_all_users(self, now: float) -> dict[tuple[str, bool], Cutoff]:
        for key, cutoff in tuple(self._all_users.items()):
            if self._dating.expires_at(cutoff) <= now:
                del self._all_users[key]
        return self._all_users

    def shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = False
        for table in (self._users, self._unconfirmed):
            has_changed = shift_table(table, offset) or has_changed
        local = {key: cutoff.shifted(offset) for key, cutoff in self._all_users.items() if cutoff.by_local_clock}
        self._all_users.update(local)
        return has_changed or bool(local)

    def counts(self) -> tuple[int, int, int]:
        """Return the number of sessions, of users, and whether there is anything for all users."""
        return len(self._sessions), len(self._users), int(bool(self._for_all_users(self._dating.clock())))

    def entries(self) -> Iterable[Revocation]:
        """Yield all current entries."""
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        for key in list(self._sessions):
            with contextlib.suppress(KeyError):
                scope, session_id = parts_of(key)
                yield Revocation(session_id, None, None, self._sessions[key], scope=scope)
        for key in list(self._users):
            with contextlib.suppress(KeyError):
                scope, user_id = parts_of(key)
                for entry in entries_of(user_id, self._users[key], self._unconfirmed.get(key)):
                    yield replace(entry, scope=scope)
        for (scope, is_precaution), cutoff in tuple(self._for_all_users(self._dating.clock()).items()):
            yield Revocation(
                None,
                None,
                cutoff.time,
                cutoff.added_at,
                by_local_clock=cutoff.by_local_clock,
                is_precaution=is_precaution,
                scope=scope,
            )


def _covers(cutoffs: Iterable[Cutoff | None], issued_at: float | None, session_id: str) -> bool:
    return any(cutoff is not None and cutoff.covers(issued_at, session_id) for cutoff in cutoffs)
