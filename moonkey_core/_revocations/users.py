"""Users all of whose credentials are revoked that were issued before a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import replace

from cachetools import TLRUCache

from moonkey_core._revocations.cutoff import Cutoff, entries_of, shift_table
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._verified import Key


class UserTable:
    """The cut-offs of users by their keys. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
    """

    def __init__(self, dating: Dating) -> None:
        self._dating = dating
        self._cutoffs = self._make_table()
        # What was issued about the time of an entry, where times do not prove whether that was before it.
        self._unconfirmed = self._make_table()

    def _make_table(self) -> TLRUCache[Key, Cutoff]:
        return TLRUCache(
            math.inf, ttu=lambda _id, cutoff, _now: self._dating.expires_at(cutoff), timer=self._dating.clock
        )

    def __contains__(self, key: Key) -> bool:
        return key in self._cutoffs

    def __len__(self) -> int:
        # An unconfirmed one lasts a little longer than the entry it came with.
        return max(len(self._cutoffs), len(self._unconfirmed))

    def get(self, key: Key) -> Cutoff | None:
        """Return the time up to which a user is revoked, if there is one."""
        return self._cutoffs.get(key) if key in self._cutoffs else None  # most are not: that look-up costs least

    def unconfirmed(self, key: Key) -> Cutoff | None:
        """Return the time up to which what was issued to a user has to be confirmed, if there is one."""
        return self._unconfirmed.get(key) if key in self._unconfirmed else None

    def merge(self, key: Key, cutoff: Cutoff, confirm_before: float | None) -> bool:
        """Add a cut-off to what is known of a user, and return whether that revokes more than before."""
        has_changed = _merge(self._cutoffs, key, cutoff)
        if confirm_before is not None:
            has_changed = _merge(self._unconfirmed, key, replace(cutoff, time=confirm_before)) or has_changed
        return has_changed

    def pop(self, key: Key) -> None:
        """Forget a user."""
        self._cutoffs.pop(key, None)
        self._unconfirmed.pop(key, None)

    def pop_oldest(self) -> tuple[Key, Cutoff]:
        """Forget one user, if possible one that was not looked up lately.

        Returns:
            The key of the user, and all that was revoked or had to be confirmed.
        """
        table = self._cutoffs if len(self._cutoffs) >= len(self._unconfirmed) else self._unconfirmed
        key, cutoff = table.popitem()
        for one in (self._cutoffs, self._unconfirmed):
            cutoff = cutoff.merged_with(one.pop(key, None))
        return key, cutoff

    def times(self) -> list[float]:
        """Return the times up to which anything is revoked or has to be confirmed."""
        return [table[key].time for table in (self._cutoffs, self._unconfirmed) for key in list(table)]

    def clear(self) -> None:
        """Forget all users."""
        self._cutoffs.clear()
        self._unconfirmed.clear()

    def shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = shift_table(self._cutoffs, offset)
        return shift_table(self._unconfirmed, offset) or has_changed

    def entries(self, *, are_ended: bool) -> Iterable[Revocation]:
        """Yield all cut-offs as entries."""
        for key in list(self._cutoffs):
            with contextlib.suppress(KeyError):  # expired meanwhile, or torn by a fork
                scope, user_id = parts_of(key)
                for entry in entries_of(user_id, self._cutoffs[key], self.unconfirmed(key)):
                    yield replace(entry, scope=scope, is_ended=are_ended)


def _merge(table: TLRUCache[Key, Cutoff], key: Key, cutoff: Cutoff) -> bool:
    before = table.get(key)
    table[key] = merged = cutoff.merged_with(before)
    return merged.revokes_more_than(before)
