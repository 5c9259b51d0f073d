"""Sessions that the provider has ended, and that are not remembered singly.

The provider accepts none of their credentials. So nothing is refused for them: it is asked about what it has not
vouched for since they were ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from cachetools import TLRUCache

from moonkey_core._revocations.cutoff import Cutoff, shift_table
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._verified import Key

_MAX_USERS = 65_536


class Overflow:
    """The times since which the provider has to have vouched, of single users and of all. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
        maxsize: The number of users. With more of them, the oldest time is one for all users.

    Attributes:
        version: Changes with each time that is later than before.
        for_all_count: How often a time for all users has become later.
    """

    def __init__(self, dating: Dating, maxsize: int) -> None:
        self._dating = dating
        self._maxsize = min(maxsize, _MAX_USERS)
        self.version: int = 0
        self.for_all_count: int = 0
        self.clear()

    def clear(self) -> None:
        """Forget all times."""
        self._users: TLRUCache[Key, Cutoff] = TLRUCache(
            self._maxsize + 1,
            ttu=lambda _id, cutoff, _now: self._dating.expires_at(cutoff),
            timer=self._dating.clock,
        )
        self._all_users: dict[str, Cutoff] = {}
        self._records: dict[str, Cutoff] = {}

    def __len__(self) -> int:
        return len(self._users)

    def take(self, entry: Revocation, user_key: Key | None) -> None:
        """Take an entry of another process in. ``user_key``: the key of its user."""
        assert entry.confirm_before is not None
        cutoff = Cutoff(entry.confirm_before, entry.added_at, by_local_clock=entry.by_local_clock)
        if user_key is None:
            self.ask_all(entry.scope, cutoff, ends_records=entry.ends_records)
        else:
            self.ask_user(user_key, cutoff)

    def ask_user(self, key: Key, cutoff: Cutoff) -> None:
        """Have the provider asked about a user's credentials that it has not vouched for since."""
        if self._is_over(cutoff):
            return
        before = self._users.get(key)
        self._users[key] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)
        if len(self._users) > self._maxsize:
            oldest, passed_on = self._users.popitem()
            self.ask_all(parts_of(oldest)[0], passed_on)

    def ask_all(self, scope: str, cutoff: Cutoff, *, ends_records: bool = False) -> None:
        """Have the provider asked about all credentials that it has not vouched for since.

        ``ends_records``: what the app has recorded of users until then is over; the provider knows nothing of it.
        """
        if self._is_over(cutoff):
            return
        before = self._current(self._all_users, scope)
        self._all_users[scope] = merged = cutoff.merged_with(before)
        has_changed = merged.revokes_more_than(before)
        self.version += has_changed
        self.for_all_count += has_changed
        if ends_records:
            self._records[scope] = cutoff.merged_with(self._current(self._records, scope))

    def has_user(self, key: Key) -> bool:
        """Return whether the provider is asked about credentials of this user."""
        return key in self._users

    def time_of(self, scope: str, user_key: Key) -> Cutoff | None:
        """Return the time since which the provider has to have vouched for what a user presents."""
        found = self._current(self._all_users, scope)
        user = self._users.get(user_key) if user_key in self._users else None
        return found if user is None else user.merged_with(found)

    def ends_record(self, scope: str, made_at: float) -> bool:
        """Return whether what was recorded then is over."""
        found = self._current(self._records, scope)
        return found is not None and found.covers(made_at)

    def _current(self, table: dict[str, Cutoff], scope: str) -> Cutoff | None:
        found = table.get(scope)
        if found is not None and self._is_over(found):
            del table[scope]
            return None
        return found

    def _is_over(self, cutoff: Cutoff) -> bool:
        return self._dating.expires_at(cutoff) <= self._dating.clock()

    def shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = shift_table(self._users, offset)
        for table in (self._all_users, self._records):
            local = {scope: one.shifted(offset) for scope, one in table.items() if one.by_local_clock}
            table.update(local)
            has_changed = has_changed or bool(local)
        return has_changed

    def entries(self) -> Iterable[Revocation]:
        """Yield all times as entries."""
        for key in list(self._users):
            with contextlib.suppress(KeyError):  # expired meanwhile, or torn by a fork
                scope, user_id = parts_of(key)
                yield _entry(self._users[key], scope, user_id)
        for scope in tuple(self._all_users):
            found, records = self._current(self._all_users, scope), self._current(self._records, scope)
            if records is not None:
                yield _entry(records, scope, ends_records=True)
            if found is not None and (records is None or found.time > records.time):
                yield _entry(found, scope)


def _entry(cutoff: Cutoff, scope: str, user_id: str | None = None, *, ends_records: bool = False) -> Revocation:
    return Revocation(
        None,
        user_id if cutoff.user_id is None else cutoff.user_id,
        None,
        cutoff.added_at,
        confirm_before=cutoff.time,
        by_local_clock=cutoff.by_local_clock,
        scope=scope,
        ends_records=ends_records,
    )
