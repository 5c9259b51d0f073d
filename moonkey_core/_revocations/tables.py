"""The revocations themselves, and what becomes of them where there are too many.

There are two kinds, each with a bound of its own:

- What the provider has ended, and has confirmed to have ended: it accepts no credential of that any more. Beyond
  the bound, the oldest become a time, and the provider is asked about what it has not vouched for since
  (``Overflow``). So do those of one user beyond a small number.
- What the provider was not or cannot be told, single sessions and all that was issued to a user: only this app
  refuses that, so it must never be asked about. Beyond the bound, the sessions of a user who has many become one
  time, up to which all of theirs is refused. Where that makes no room, everything issued before now is refused, or
  where the provider cannot be asked about that, the call raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from moonkey_core._revocations.cutoff import Cutoff
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._revocations.overflow import Overflow
from moonkey_core._revocations.sessions import RevokedSession, SessionTable
from moonkey_core._revocations.users import UserTable
from moonkey_core._verified import Key, key_of
from moonkey_core.errors import RevocationsFull
from moonkey_core.models import identifier

_MOST_OF_A_USER = 16  # ended sessions, before the provider is asked about that user
_MANY_OF_A_USER = 100  # others, which are folded only for want of room: all of the user's are refused then
_SHARE_OF_A_USER = 8  # at most an eighth of the table


class Tables:
    """The revocations of the sessions and users of one provider. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
        overflow: Takes what is not remembered singly any more, and can be asked about.
        maxsize: The number of ended sessions, and that of users whose sessions have all ended.
        max_untold: The number of all others.
        scopes: All scopes of the provider.
        key_of_user: Returns the normal form of the provider's user ids.
        raises_when_full: Whether a full table takes no more in from its own process. All entries together are
            ``max_untold`` then, as nothing can be asked about.

    Attributes:
        version: Changes with every entry that revokes more than before.
        fold_count: How often sessions of a user have become one time.
        is_feed_full: Whether the feed has no room for more. It counts where the table raises when it is full.
    """

    def __init__(
        self,
        dating: Dating,
        overflow: Overflow,
        maxsize: int,
        max_untold: int,
        scopes: Sequence[str],
        key_of_user: Callable[[str], str],
        *,
        raises_when_full: bool,
    ) -> None:
        self.maxsize = maxsize
        self.max_untold = max_untold
        self.version: int = 0
        self.fold_count: int = 0
        self.is_feed_full = False
        self._dating = dating
        self._overflow = overflow
        self._scopes = scopes
        self._key_of_user = key_of_user
        self._raises_when_full = raises_when_full
        self.clear()

    def clear(self) -> None:
        """Forget all revocations."""
        self._ended_sessions = SessionTable(self._dating, groups_by_owner=True)
        self._ended_users = UserTable(self._dating)
        self._sessions = SessionTable(self._dating, groups_by_owner=False)
        self._users = UserTable(self._dating)
        self._all_users: dict[tuple[str, bool], Cutoff] = {}  # by scope, and by whether it is a precaution
        self._is_fold_futile = False

    def user_key(self, scope: str, user_id: str) -> Key:
        """Return the key of a user, in whichever spelling of the id."""
        return key_of(scope, self._key_of_user(user_id))

    def _owner_key(self, entry: Revocation) -> Key | None:
        """Return the key of those whose entry it is, if they can be named by it again."""
        if entry.owner is None or entry.is_record:
            return None if entry.owner is None else key_of(entry.scope, entry.owner)
        bare = self._key_of_user(entry.owner)
        try:
            identifier(bare)
        except ValueError:
            return None
        return key_of(entry.scope, bare) if self._key_of_user(bare) == bare else None

    def take(self, entry: Revocation, now: float, *, is_new: bool = False) -> bool:
        """Take an entry in.

        Returns:
            Whether there was no room for what the provider was not told, so that all is refused.

        Raises:
            RevocationsFull: It is new, and there was no room.
        """
        is_ended = entry.is_ended and not self._raises_when_full  # where nothing can be asked, that helps nothing
        if entry.session_id is not None:
            if not self._dating.is_current(entry.added_at):
                return False
            key = key_of(entry.scope, entry.session_id)
            session = RevokedSession(entry.added_at, self._owner_key(entry), entry.is_record)
            if is_ended or key in self._ended_sessions:
                self._take_ended_session(key, session)
                return False
            return self._take_session(key, session, now, is_new=is_new)
        assert entry.issued_before is not None
        cutoff = Cutoff(
            entry.issued_before, entry.added_at, entry.exempt_session_id, by_local_clock=entry.by_local_clock
        )
        if self._dating.expires_at(cutoff) <= now:
            return False
        if entry.user_id is None:
            self._take_for_all_users(entry.scope, cutoff, now, is_precaution=entry.is_precaution)
            return False
        bare = self._key_of_user(entry.user_id)
        if self._key_of_user(bare) != bare:  # so this is no spelling of the id
            cutoff = replace(cutoff, user_id=entry.user_id)
        if is_ended:
            self._take_ended_user(key_of(entry.scope, bare), cutoff, entry.confirm_before)
            return False
        return self._take_user(key_of(entry.scope, bare), cutoff, entry.confirm_before, now, is_new=is_new)

    def _take_ended_session(self, key: Key, session: RevokedSession) -> None:
        was_known = self._sessions.pop(key) is not None or key in self._ended_sessions
        owner = session.owner
        if owner is not None and key not in self._ended_sessions and self._overflow.has_user(owner):
            self._overflow.ask_user(owner, self._dating.cutoff(session.added_at))
            self.version += was_known  # it is not refused any more, but asked about
            return
        self._ended_sessions.put(key, session)
        self.version += not was_known
        of_owner = () if owner is None else self._ended_sessions.of_owner(owner)
        if owner is not None and len(of_owner) > _most_of_a_user(_MOST_OF_A_USER, self.maxsize):
            for one in of_owner:
                found = self._ended_sessions.pop(one)
                assert found is not None
                self._overflow.ask_user(owner, self._dating.cutoff(found.added_at))
        while len(self._ended_sessions) > self.maxsize:
            oldest, found = self._ended_sessions.pop_oldest()
            self._overflow.ask_all(parts_of(oldest)[0], self._dating.cutoff(found.added_at))

    def _take_ended_user(self, key: Key, cutoff: Cutoff, confirm_before: float | None) -> None:
        self.version += self._ended_users.merge(key, cutoff, confirm_before)
        ended, untold = self._ended_users.get(key), self._users.get(key)
        if untold is not None and not untold.revokes_more_than(ended):
            unconfirmed, still = self._users.unconfirmed(key), self._ended_users.unconfirmed(key)
            if unconfirmed is None or (still is not None and not unconfirmed.revokes_more_than(still)):
                self._users.pop(key)  # all of that has ended as well
        while len(self._ended_users) > self.maxsize:
            oldest, passed_on = self._ended_users.pop_oldest()
            self._overflow.ask_all(parts_of(oldest)[0], passed_on, ends_records=True)

    def _take_session(self, key: Key, session: RevokedSession, now: float, *, is_new: bool) -> bool:
        is_known = key in self._sessions
        if self._lacks_room(is_known=is_known, is_new=is_new):
            return self._collapse(now)
        self._sessions.put(key, session)
        self.version += not is_known
        self._is_fold_futile = self._is_fold_futile and is_known
        return False

    def _take_user(
        self, key: Key, cutoff: Cutoff, confirm_before: float | None, now: float, *, is_new: bool
    ) -> bool:
        if self._lacks_room(is_known=key in self._users, is_new=is_new):
            return self._collapse(now)
        self.version += self._users.merge(key, cutoff, confirm_before)
        return False

    def _lacks_room(self, *, is_known: bool, is_new: bool) -> bool:
        """Return whether all entries have to become one, so that one more session or user is refused.

        Raises:
            RevocationsFull: They must not, and the entry is new. What another process had room for is taken in.
        """
        if self._raises_when_full and is_new and self.is_feed_full:
            raise RevocationsFull(evidence=f"max_revocations is {self.max_untold}.")
        if is_known or not self._is_full() or (self._raises_when_full and not is_new):
            return False
        self._fold_users_with_many()
        if not self._is_full():
            return False
        if self._raises_when_full:
            raise RevocationsFull(evidence=f"max_revocations is {self.max_untold}.")
        return True

    def _is_full(self) -> bool:
        return len(self._sessions) + len(self._users) >= self.max_untold

    def _fold_users_with_many(self) -> None:
        """Make the sessions of each user who has many into one time, up to which all of theirs is refused."""
        if self._is_fold_futile:
            return  # it takes long, so it is not tried again before there is a new one
        many = _most_of_a_user(_MANY_OF_A_USER, self.max_untold)
        numbers = Counter(found.owner for _, found in self._sessions.items())
        owners = [owner for owner, number in numbers.items() if owner is not None and number > many]
        for owner in owners:
            self._fold(owner)
        self._is_fold_futile = not owners

    def _fold(self, owner: Key) -> None:
        of_owner = [(key, found) for key, found in self._sessions.items() if found.owner == owner]
        for key, _ in of_owner:
            self._sessions.pop(key)
        added_at = max(found.added_at for _, found in of_owner)
        if of_owner[0][1].is_record:
            self._sessions.put(owner, RevokedSession(added_at, None, is_record=True))
        else:
            cutoff, known = self._dating.cutoff(added_at), self._users.get(owner)
            scope = parts_of(owner)[0]
            if known is not None and known.exempt_id is not None:
                kept = key_of(scope, known.exempt_id)
                if all(key != kept for key, _ in of_owner):
                    cutoff = replace(cutoff, exempt_id=known.exempt_id)
            self._users.merge(owner, cutoff, None)
        self.version += 1
        self.fold_count += 1

    def _take_for_all_users(self, scope: str, cutoff: Cutoff, now: float, *, is_precaution: bool = False) -> None:
        before = self._for_all_users(now).get((scope, is_precaution))
        self._all_users[scope, is_precaution] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)

    def _collapse(self, now: float) -> bool:
        """Refuse everything that was issued before now, instead of what the provider was not told."""
        times = self._users.times()
        self._sessions = SessionTable(self._dating, groups_by_owner=False)
        self._users.clear()
        latest, is_local = max([self._dating.now() + self._dating.leeway, *times]), self._dating.offset is None
        cutoff = Cutoff(latest, now, by_local_clock=is_local, is_mixed=is_local)
        for scope in self._scopes:
            self._take_for_all_users(scope, cutoff, now, is_precaution=True)
        self.version += 1
        return True

    def has_session(self, key: Key) -> bool:
        """Return whether a session is revoked by its id."""
        return key in self._ended_sessions or key in self._sessions

    def refuses(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential is revoked; see :meth:`.Revocations.refuses`."""
        if self.has_session(key_of(scope, session_id)):
            return True
        users = self._of_user(self.user_key(scope, user_id))
        return _covers((*users, *self._of_all_users(scope)), issued_at, session_id)

    def is_precautionary(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether it is so only by precaution; see :meth:`.Revocations.is_precautionary`."""
        revoked, precaution = self._of_all_users(scope)
        if precaution is None or self.has_session(key_of(scope, session_id)):
            return False
        return not _covers((*self._of_user(self.user_key(scope, user_id)), revoked), issued_at, session_id)

    def _of_user(self, key: Key) -> tuple[Cutoff | None, Cutoff | None]:
        return self._users.get(key), self._ended_users.get(key)

    def ends_record(
        self, scope: str, record_ids: tuple[str, str, str], session_id: str, user_id: str, made_at: float
    ) -> bool:
        """Return whether what was recorded of a user is over; see :meth:`.Revocations.ends_record`."""
        leeway = self._dating.leeway
        if any(self.has_session(key_of(scope, one)) for one in record_ids[:2]):
            return True
        if self._overflow.ends_record(scope, made_at + leeway):
            return True
        key, made_in = self.user_key(scope, user_id), record_ids[1]
        if made_in and made_in != session_id:  # the API vouches for the present session only
            asked = self._overflow.time_of(scope, key)
            if asked is not None and asked.covers(made_at + leeway):
                return True
        ended = self._sessions.get(key_of(scope, record_ids[2]))
        if ended is not None and made_at <= ended.added_at + (self._dating.offset or 0.0):
            return True
        if _covers((*self._of_user(key), *self._of_all_users(scope)), made_at, session_id):
            return True
        # A provider may date what it issues by another clock, a record is dated by that of the revocation.
        return _covers(self._unconfirmed(key), made_at + leeway, session_id)

    def is_unconfirmed(self, scope: str, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential was issued about the time up to which its user is revoked."""
        return _covers(self._unconfirmed(self.user_key(scope, user_id)), issued_at, session_id)

    def _unconfirmed(self, key: Key) -> tuple[Cutoff | None, Cutoff | None]:
        return self._users.unconfirmed(key), self._ended_users.unconfirmed(key)

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
        has_changed = self._users.shift_local(offset)
        has_changed = self._ended_users.shift_local(offset) or has_changed
        local = {key: cutoff.shifted(offset) for key, cutoff in self._all_users.items() if cutoff.by_local_clock}
        self._all_users.update(local)
        return has_changed or bool(local)

    def counts(self) -> tuple[int, int, int]:
        """Return the number of sessions, of users, and whether there is anything for all users."""
        sessions = len(self._ended_sessions) + len(self._sessions)
        users = len(self._ended_users) + len(self._users) + len(self._overflow)
        return sessions, users, int(bool(self._for_all_users(self._dating.clock())))

    def entries(self) -> Iterable[Revocation]:
        """Yield all current entries."""
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        yield from self._ended_sessions.entries(are_ended=True)
        yield from self._ended_users.entries(are_ended=True)
        yield from self.untold_entries()

    def untold_entries(self) -> Iterable[Revocation]:
        """Yield the entries that must never make way for others."""
        yield from self._sessions.entries(are_ended=False)
        yield from self._users.entries(are_ended=False)
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


def _most_of_a_user(number: int, size: int) -> int:
    """Return how many entries of a table one user may have."""
    return max(min(number, size // _SHARE_OF_A_USER), 1)
