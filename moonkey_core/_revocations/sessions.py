"""Revoked sessions, in the order in which they were revoked, with the user of each."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.entry import Revocation, parts_of
from moonkey_core._verified import Key


class RevokedSession(NamedTuple):
    """A session, or what an app has recorded of a user, that was revoked.

    Attributes:
        added_at: When it was revoked last, by the clock of this machine.
        owner: Its user, or the id of all records of the user; ``None`` where unknown.
        is_record: Whether it is a record.
    """

    added_at: float
    owner: Key | None = None
    is_record: bool = False


class SessionTable:
    """Revoked sessions by their keys. Each expires after the retention. Not thread-safe.

    Args:
        dating: The clocks and the life of entries.
        groups_by_owner: Whether :meth:`of_owner` is used. It needs memory for each user.
    """

    def __init__(self, dating: Dating, *, groups_by_owner: bool) -> None:
        self._dating = dating
        self._groups_by_owner = groups_by_owner
        # An OrderedDict, as there may be very many, and a user's entries have to be found: all removals are here.
        self._sessions: OrderedDict[Key, RevokedSession] = OrderedDict()
        self._of_owner: dict[Key, tuple[Key, ...]] = {}

    def __contains__(self, key: Key) -> bool:
        found = self._sessions.get(key)
        return found is not None and self._dating.is_current(found.added_at)

    def __len__(self) -> int:
        self.expire()
        return len(self._sessions)

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def get(self, key: Key) -> RevokedSession | None:
        """Return what is known of a revoked session; ``None`` for any other."""
        found = self._sessions.get(key)
        return found if found is not None and self._dating.is_current(found.added_at) else None

    def put(self, key: Key, session: RevokedSession) -> None:
        """Add a session, or note that it was revoked again; it is the newest then."""
        known = self.pop(key)
        if known is not None:
            session = session._replace(
                added_at=max(known.added_at, session.added_at),
                owner=session.owner or known.owner,
                is_record=session.is_record or known.is_record,
            )
        self._sessions[key] = session
        if self._groups_by_owner and session.owner is not None:
            self._of_owner[session.owner] = (*self._of_owner.get(session.owner, ()), key)

    def pop(self, key: Key) -> RevokedSession | None:
        """Remove a session, and return what was known of it."""
        found = self._sessions.pop(key, None)
        if found is not None and found.owner is not None and self._groups_by_owner:
            left = tuple(one for one in self._of_owner.pop(found.owner, ()) if one != key)
            if left:
                self._of_owner[found.owner] = left
        return found

    def pop_oldest(self) -> tuple[Key, RevokedSession]:
        """Remove the session that was revoked first, and return it."""
        key = next(iter(self._sessions))
        found = self.pop(key)
        assert found is not None
        return key, found

    def of_owner(self, owner: Key) -> tuple[Key, ...]:
        """Return the keys of a user's sessions, or of their records."""
        return self._of_owner.get(owner, ())

    def items(self) -> Iterator[tuple[Key, RevokedSession]]:
        """Yield all sessions, from the first to the last."""
        self.expire()
        for key in list(self._sessions):
            with contextlib.suppress(KeyError):  # torn by a fork
                yield key, self._sessions[key]

    def expire(self) -> None:
        """Remove those whose time is over."""
        while self._sessions:
            key, found = next(iter(self._sessions.items()))
            if self._dating.is_current(found.added_at):
                return
            self.pop(key)

    def entries(self, *, are_ended: bool) -> Iterator[Revocation]:
        """Yield all sessions as entries."""
        for key, found in self.items():
            scope, session_id = parts_of(key)
            yield Revocation(
                session_id,
                None,
                None,
                found.added_at,
                scope=scope,
                is_ended=are_ended,
                owner=None if found.owner is None else parts_of(found.owner)[1],
                is_record=found.is_record,
            )
