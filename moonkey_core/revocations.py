"""Revoked sessions and users, and everything issued before a time, in memory.

Never blocks and does no I/O. An entry is kept until every JWT that it affects has expired.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from cachetools import TLRUCache

from moonkey_core import _clock, _threads
from moonkey_core._fork import reset_after_fork, weak_method
from moonkey_core.models import bare_user_id, bounded_user_id, identifier
from moonkey_core.settings import Settings

__all__ = ["Revocation", "Revocations"]

logger: logging.Logger = logging.getLogger("moonkey")

MAX_CLOCK_AHEAD = 60.0
"""Seconds that a time may lie in the future: the largest clock difference that can be configured."""

_INSTANT = 0.001


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation: of a session, or of everything that was issued up to a time to one user or to all users.

    All times are Unix seconds.

    Attributes:
        session_id: The session, which is revoked as a whole; or ``None``.
        user_id: The user; ``None`` together with ``session_id`` for all users.
        issued_before: Revoked is what was issued at or before this time, by the dates of JWTs and sessions.
            ``None`` for a session.
        added_at: When the entry was added, by the clock of this machine. It shows the age of the entry.
        exempt_session_id: A session of the user that is not revoked.
        confirm_before: What was issued to the user after ``issued_before``, but at or before this time, has to be
            confirmed by the API.
        by_local_clock: Whether ``issued_before`` and ``confirm_before`` are by the clock of this machine, as the
            common clock was not known.
    """

    session_id: str | None
    user_id: str | None
    issued_before: float | None
    added_at: float
    exempt_session_id: str | None = None
    confirm_before: float | None = None
    by_local_clock: bool = field(default=False, compare=False, repr=False)

    def shifted(self, offset: float) -> Revocation:
        """Return the entry by the common clock, which is ``offset`` seconds ahead of that of this machine."""
        return self._with_times(lambda at: at + offset) if self.by_local_clock else self

    def limited_to(self, latest: float) -> Revocation:
        """Return the entry without what is issued after ``latest``."""
        return self._with_times(lambda at: min(at, latest))

    def _with_times(self, change: Callable[[float], float]) -> Revocation:
        revoked, confirm = (None if at is None else change(at) for at in (self.issued_before, self.confirm_before))
        return replace(self, issued_before=revoked, confirm_before=confirm, by_local_clock=False)


@dataclass(frozen=True, slots=True)
class _Cutoff:
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

    def for_session(self, session_id: str | None) -> float:
        """Return the time for a session; minus infinity where nothing is revoked."""
        return self.exempt_time if self.exempt_id is not None and session_id == self.exempt_id else self.time

    def shifted(self, offset: float) -> _Cutoff:
        """Return it by a clock that is ``offset`` seconds ahead. No time that was right becomes earlier."""
        ahead = max(offset, 0.0) if self.is_mixed else offset
        return _Cutoff(self.time + ahead, self.added_at, self.exempt_id, self.exempt_time + ahead)

    def merged_with(self, other: _Cutoff | None) -> _Cutoff:
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
        return _Cutoff(late.time, added_at, exempt_id, exempt_time, by_local_clock, is_mixed)

    def revokes_more_than(self, other: _Cutoff | None) -> bool:
        """Return whether it revokes anything that ``other``, one of those it was merged from, does not."""
        return other is None or any(
            self.for_session(session) > other.for_session(session) for session in (None, other.exempt_id)
        )

    def covers(self, issued_at: float | None, session_id: str | None = None) -> bool:
        """Return whether it revokes what was issued at that time for that session."""
        time = self.for_session(session_id)
        # Unknown, and not a number, count as old.
        return time > -math.inf and (issued_at is None or not issued_at > time)


def retention(settings: Settings) -> float:
    """Return for how many seconds an entry matters: until nothing that was verified before it is accepted."""
    longest = max(settings.jwt_max_age, settings.session_cache_ttl, settings.grace_seconds + settings.jwt_max_age)
    return longest + 2 * settings.leeway


class Revocations:
    """A table of revoked sessions and users, which every verification looks up. Thread-safe.

    Entries are kept for ``retention`` seconds, ``maxsize`` of them at most. When the table is full, they all
    become one entry: everything issued before now. So it may revoke too much, but it never forgets.

    An answer for which :meth:`refuses` was false stays valid while ``version`` is the same. Read the version
    first.

    Args:
        retention: Seconds for which an entry is kept.
        maxsize: The number of entries.
        leeway: Seconds that the clock of the issuer may be ahead of that of this machine.
        clock: The clock of this machine, in Unix seconds. Entries age by it, as do the JWTs that are verified
            here. What is revoked "until now" is dated by :meth:`now`.

    Attributes:
        version: Changes with every entry that revokes more than before.
        listeners: Are called with every entry that is added in this process.
        watchers: Are called whenever ``version`` has changed; see :meth:`watch`.
    """

    def __init__(
        self,
        *,
        retention: float,
        maxsize: int = 100_000,
        leeway: float = 0.0,
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self.retention: float = retention
        self.maxsize = maxsize
        self.version: int = 0
        self.listeners: tuple[Callable[[Revocation], None], ...] = ()
        self.watchers: tuple[Callable[[], Callable[[], None] | None], ...] = ()
        self.clock = clock
        self._leeway = leeway
        self._offset: float | None = None
        self._lock = _threads.lock()
        self._make_tables()
        reset_after_fork(self.reset_lock)

    def _make_tables(self) -> None:
        self._sessions: TLRUCache[str, float] = TLRUCache(
            self.maxsize, ttu=lambda _id, added_at, _now: added_at + self.retention, timer=self.clock
        )
        self._users: TLRUCache[str, _Cutoff] = TLRUCache(
            self.maxsize, ttu=lambda _id, cutoff, _now: self._expires_at(cutoff), timer=self.clock
        )
        # What was issued about the time of an entry, where times do not prove whether that was before it.
        self._unconfirmed: TLRUCache[str, _Cutoff] = TLRUCache(
            self.maxsize, ttu=lambda _id, cutoff, _now: self._expires_at(cutoff), timer=self.clock
        )
        self._all_users: _Cutoff | None = None

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
        keep: str | None = None,
    ) -> None:
        """Revoke a session, or what was issued to one user or to all users up to a time.

        Nothing changes at the API: this is for sessions that were, or are about to be, ended there, and for those
        of a user who must sign in again.

        Args:
            session_id: The session. Give it alone.
            user_id: The user whose sessions are revoked. Without it and ``session_id``, those of all users are.
            issued_before: The time, as an aware datetime or in Unix seconds, a minute ahead at most. The default
                for a user is now; without a user it is required.
            keep: The id of one session of the user that is not revoked. A process of an earlier version does not
                know of this, and refuses that session as well.

        Raises:
            ValueError: Any other combination or value.
        """
        added_at = self.clock()
        self._publish(_new_entry(session_id, user_id, issued_before, added_at, self._offset, keep), added_at)

    def add_cutoff(self, user_id: str, *, keep: str | None = None) -> None:
        """Revoke what was issued to a user until now, except for the session with the id ``keep``, if any.

        The API dates sessions in whole seconds, by a clock that may differ by ``leeway``. What began about now may
        be a sign-in that comes after this call, so the API has to confirm it each time.
        """
        added_at, now = self.clock(), self.now()
        certain = math.floor(now - self._leeway) - _INSTANT
        exempt = None if keep is None else identifier(keep)
        bounded, confirm_before = bounded_user_id(user_id), now + self._leeway
        by_local_clock = self._offset is None
        self._publish(
            Revocation(None, bounded, certain, added_at, exempt, confirm_before, by_local_clock), added_at
        )

    def _publish(self, entry: Revocation, now: float) -> None:
        self._take(entry, now)
        for listener in self.listeners:
            try:
                listener(entry)
            except Exception:
                logger.exception("revocations: a listener failed", extra={"reason": "listener_failed"})

    def now(self) -> float:
        """Return the Unix seconds by the clock that all processes of an app have in common, as far as it is known.

        With a feed that is the clock of the Redis server: that of this machine and the offset that was measured
        last.
        """
        return self.clock() + (self._offset or 0.0)

    def set_clock_offset(self, offset: float) -> None:
        """Set how many seconds the common clock is ahead. Entries that were dated without it are corrected."""
        with self._lock:
            was_known, self._offset = self._offset is not None, offset
            has_changed = not was_known and self._shift_local(offset)
        if has_changed:
            self._notify_watchers()

    def raise_retention(self, retention: float, leeway: float) -> None:
        """Keep what is added from now on for at least so long, as one more client relies on this table."""
        self.retention = max(self.retention, retention)
        self._leeway = max(self._leeway, leeway)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a method whenever ``version`` has changed.

        Args:
            watcher: A bound method, held weakly. It is called in any thread, so it must be quick.
        """
        with self._lock:
            self.watchers = (*(one for one in self.watchers if one() is not None), weak_method(watcher))

    def receive(self, entry: Revocation) -> None:
        """Take in an entry of another process, without calling listeners. Receiving it twice changes nothing."""
        now = self.clock()
        # A sender whose clock is ahead must not revoke what is issued much later, or make the entry last longer.
        entry = entry.limited_to(self.now() + MAX_CLOCK_AHEAD)
        self._take(replace(entry, added_at=min(entry.added_at, now)), now)

    def record(self, entry: Revocation) -> None:
        """Take in an entry of this process as it is, without calling listeners."""
        self._take(entry, self.clock())

    def refuses(self, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential is revoked.

        Args:
            session_id: The session of the credential.
            user_id: Its user.
            issued_at: The ``iat`` of a JWT or the start of a session, in Unix seconds. ``None``, unknown, counts
                as old.
        """
        if self.version == 0:
            return False  # nothing was ever added
        with self._lock:
            if session_id in self._sessions:
                return True
            user = self._users.get(bare_user_id(user_id))
            all_users = self._for_all_users(self.clock())
        return any(cutoff is not None and cutoff.covers(issued_at, session_id) for cutoff in (user, all_users))

    def needs_introspection(self, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Return whether a credential that is not revoked may be accepted only where the API confirms it now.

        The arguments are those of :meth:`refuses`.
        """
        if self.version == 0:
            return False
        with self._lock:
            cutoff = self._unconfirmed.get(bare_user_id(user_id))
        return cutoff is not None and cutoff.covers(issued_at, session_id)

    def entries(self) -> tuple[Revocation, ...]:
        """Return all current entries. User ids come without the prefix ``user_``."""
        with self._lock:
            return tuple(self._entries())

    def reset_lock(self) -> None:
        """Make a new lock in the child of a fork, and new tables if another thread was changing them."""
        is_torn = self._lock.locked()
        self._lock = _threads.lock()
        if is_torn:
            entries = tuple(self._entries())
            self._make_tables()
            for entry in entries:
                self._take_locked(entry, self.clock())  # without calling watchers: nothing is new

    def __len__(self) -> int:
        with self._lock:
            return sum(self._counts())

    def __repr__(self) -> str:
        with self._lock:
            sessions, users, all_users = self._counts()
        return f"Revocations(sessions={sessions}, users={users}, all_users={all_users})"

    def _counts(self) -> tuple[int, int, int]:
        all_users = self._for_all_users(self.clock())
        return len(self._sessions), len(self._users), int(all_users is not None)

    def _for_all_users(self, now: float) -> _Cutoff | None:
        if self._all_users is not None and self._expires_at(self._all_users) <= now:
            self._all_users = None
        return self._all_users

    def _expires_at(self, cutoff: _Cutoff) -> float:
        return max(cutoff.time - (self._offset or 0.0), cutoff.added_at) + self.retention

    def _take(self, entry: Revocation, now: float) -> None:
        with self._lock:
            version = self.version
            has_collapsed = self._take_locked(entry, now)
            has_changed = self.version != version
        if has_collapsed:  # not under the lock: a log handler may block
            logger.error(
                "revocations: more than %d; everything issued before now is refused",
                self.maxsize,
                extra={"reason": "revocations_full"},
            )
        if has_changed:
            self._notify_watchers()

    def _notify_watchers(self) -> None:
        for watcher in [one() for one in self.watchers]:
            try:
                if watcher is not None:
                    watcher()
            except Exception:
                logger.exception("revocations: a watcher failed", extra={"reason": "watcher_failed"})

    def _take_locked(self, entry: Revocation, now: float) -> bool:
        """Take an entry in, and return whether the table was full, so that all entries have become one."""
        if self._offset is not None:  # it may not have been known when the entry was made
            entry = entry.shifted(self._offset)
        if entry.session_id is not None:
            if entry.added_at + self.retention <= now:
                return False
            known = self._sessions.get(entry.session_id)
            if known is None and self._is_full():
                return self._collapse(now)
            self._sessions[entry.session_id] = max(known or entry.added_at, entry.added_at)
            self.version += known is None
            return False
        assert entry.issued_before is not None
        cutoff = _Cutoff(
            entry.issued_before, entry.added_at, entry.exempt_session_id, by_local_clock=entry.by_local_clock
        )
        if self._expires_at(cutoff) <= now:
            return False
        if entry.user_id is None:
            return self._take_for_all_users(cutoff, now)
        user_id = bare_user_id(entry.user_id)
        # An unconfirmed one lasts a little longer than the entry it came with.
        is_crowded = entry.confirm_before is not None and len(self._unconfirmed) >= self.maxsize
        if (user_id not in self._users and self._is_full()) or (is_crowded and user_id not in self._unconfirmed):
            return self._collapse(now)
        self._merge(self._users, user_id, cutoff)
        if entry.confirm_before is not None:
            self._merge(self._unconfirmed, user_id, replace(cutoff, time=entry.confirm_before))
        return False

    def _merge(self, table: TLRUCache[str, _Cutoff], user_id: str, cutoff: _Cutoff) -> None:
        before = table.get(user_id)
        table[user_id] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)

    def _take_for_all_users(self, cutoff: _Cutoff, now: float) -> bool:
        before = self._for_all_users(now)
        self._all_users = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)
        return False

    def _shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = False
        for table in (self._users, self._unconfirmed):
            cutoffs = {user_id: table[user_id] for user_id in list(table)}
            shifted = {user_id: one.shifted(offset) for user_id, one in cutoffs.items() if one.by_local_clock}
            table.update(shifted)
            has_changed = has_changed or bool(shifted)
        if self._all_users is not None and self._all_users.by_local_clock:
            self._all_users, has_changed = self._all_users.shifted(offset), True
        self.version += has_changed
        return has_changed

    def _is_full(self) -> bool:
        return len(self._sessions) + len(self._users) >= self.maxsize

    def _collapse(self, now: float) -> bool:
        times = [table[user_id].time for table in (self._users, self._unconfirmed) for user_id in list(table)]
        for table in (self._sessions, self._users, self._unconfirmed):
            table.clear()
        latest, is_local = max([self.now() + self._leeway, *times]), self._offset is None
        self._take_for_all_users(_Cutoff(latest, now, by_local_clock=is_local, is_mixed=is_local), now)
        self.version += 1
        return True

    def _entries(self) -> Iterable[Revocation]:
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        for session_id in list(self._sessions):
            with contextlib.suppress(KeyError):
                yield Revocation(session_id, None, None, self._sessions[session_id])
        for user_id in list(self._users):
            with contextlib.suppress(KeyError):
                yield from _entries_of(user_id, self._users[user_id], self._unconfirmed.get(user_id))
        cutoff = self._for_all_users(self.clock())
        if cutoff is not None:
            yield Revocation(None, None, cutoff.time, cutoff.added_at, by_local_clock=cutoff.by_local_clock)


def _entries_of(user_id: str, cutoff: _Cutoff, unconfirmed: _Cutoff | None) -> Iterable[Revocation]:
    """Return entries that together contain all revocations of a user. ``user_id`` comes without its prefix."""
    if bare_user_id(user_id) != user_id:
        user_id = f"user_{user_id}"  # the receiver strips one
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


def _new_entry(
    session_id: str | None,
    user_id: str | None,
    issued_before: datetime | float | None,
    added_at: float,
    offset: float | None,
    keep: str | None,
) -> Revocation:
    if keep is not None and user_id is None:
        raise ValueError("A session is kept of a user's: give user_id.")
    if session_id is not None:
        if user_id is not None or issued_before is not None:
            raise ValueError("A session is revoked as a whole: give session_id alone.")
        return Revocation(identifier(session_id), None, None, added_at)
    if user_id is None and issued_before is None:
        raise ValueError("Give session_id, user_id or issued_before.")
    now = added_at + (offset or 0.0)
    time = now if issued_before is None else _unix_seconds(issued_before)
    if time > max(now, added_at) + MAX_CLOCK_AHEAD:
        raise ValueError("issued_before lies in the future. Is it in seconds?")
    time = min(time, now + MAX_CLOCK_AHEAD)
    by_local_clock = issued_before is None and offset is None
    if user_id is None:
        return Revocation(None, None, time, added_at, by_local_clock=by_local_clock)
    exempt = None if keep is None else identifier(keep)
    return Revocation(None, bounded_user_id(user_id), time, added_at, exempt, by_local_clock=by_local_clock)


def _unix_seconds(value: object) -> float:
    """Convert ``issued_before`` to Unix seconds."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("issued_before has no time zone: use datetime.now(UTC) or the like.")
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError("issued_before must be an aware datetime or Unix seconds.")
