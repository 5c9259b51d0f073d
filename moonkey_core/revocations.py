"""Who may no longer pass: sessions, users, and everything issued before a moment, in memory.

Never blocks and does no I/O. An entry is kept until every JWT it speaks of has expired.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from weakref import WeakMethod

from cachetools import TLRUCache

from moonkey_core import _clock, _native
from moonkey_core.models import identifier
from moonkey_core.settings import Settings

__all__ = ["Revocation", "Revocations", "retention"]

logger = logging.getLogger("moonkey")

FUTURE = 60.0  # seconds that a moment may lie ahead: the largest clock difference that can be configured


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry: a session; or a user, or everybody (both ids ``None``), for what was issued until a moment.

    Times are Unix seconds. ``issued_before`` is compared with the dates of JWTs; ``added_at`` tells the entry's
    age by the clock of this machine. ``by_own_clock``: ``issued_before`` was "now" by that clock, for want of a
    better one.
    """

    session_id: str | None
    user_id: str | None
    issued_before: float | None
    added_at: float
    by_own_clock: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Until:
    """Refused is what was issued at or before ``moment``; said at ``added_at``."""

    moment: float
    added_at: float
    by_own_clock: bool = False

    def and_also(self, other: _Until | None) -> _Until:
        if other is None:
            return self
        by_own_clock = self.by_own_clock and other.by_own_clock
        return _Until(max(self.moment, other.moment), max(self.added_at, other.added_at), by_own_clock)

    def covers(self, issued_at: float | None) -> bool:
        # Unknown, and not a number, count as old.
        return issued_at is None or not issued_at > self.moment


def retention(settings: Settings) -> float:
    """How long an entry matters, in seconds: until nothing that was verified before it is accepted any more."""
    longest = max(settings.jwt_max_age, settings.session_cache_ttl, settings.grace_seconds + settings.jwt_max_age)
    return longest + 2 * settings.leeway


class Revocations:
    """Revoked sessions and users, asked at every verification. Thread-safe.

    Entries are kept for ``retention`` seconds, ``maxsize`` of them at most. When it is full, all of them become
    one: everything issued before now. So it may refuse too much, but it never forgets. ``leeway`` (seconds) is how
    far the issuer's clock may be ahead of ours. ``clock`` is that of this machine: what is kept here grows old by
    it, as the JWTs do that are judged here. What is revoked "until now" is dated by :meth:`now`.

    ``version`` changes with every entry that refuses more than before. An answer for which :meth:`refuses` was
    false holds while the version stands; read the version before asking. Who watches is told of changes.
    """

    def __init__(
        self,
        *,
        retention: float,
        maxsize: int = 100_000,
        leeway: float = 0.0,
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self.retention = retention
        self.maxsize = maxsize
        self.version = 0
        self.listeners: tuple[Callable[[Revocation], None], ...] = ()
        self.watchers: tuple[WeakMethod[Callable[[], None]], ...] = ()
        self.clock = clock
        self._leeway = leeway
        self._offset: float | None = None
        self._lock = _native.lock()
        self._make_tables()

    def _make_tables(self) -> None:
        self._sessions: TLRUCache[str, float] = TLRUCache(
            self.maxsize, ttu=lambda _id, added_at, _now: added_at + self.retention, timer=self.clock
        )
        self._users: TLRUCache[str, _Until] = TLRUCache(
            self.maxsize, ttu=lambda _id, until, _now: self._end(until), timer=self.clock
        )
        self._everybody: _Until | None = None

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
    ) -> None:
        """Refuse from now on: a session; or what was issued to a user, or to anybody, at or before a moment.

        Give ``session_id`` alone, ``user_id`` with or without ``issued_before`` (default: now), or
        ``issued_before`` alone. ``issued_before`` is an aware datetime or Unix seconds, a minute ahead at most.
        Raises ``ValueError`` for anything else. It changes nothing at the API: it is for sessions that were, or
        are about to be, ended there, and for those of a user who must sign in again.
        """
        now = self.clock()
        entry = _entry(session_id, user_id, issued_before, now, self._offset)
        self._take(entry, now)
        for listener in self.listeners:
            try:
                listener(entry)
            except Exception:
                logger.exception("revocations: a listener failed", extra={"reason": "listener_failed"})

    def now(self) -> float:
        """Unix seconds by the clock that all processes of an app have in common, as far as it is known here.

        That is the Redis server's, with a feed: our own one and the difference that was found last.
        """
        return self.clock() + (self._offset or 0.0)

    def set_common_clock(self, offset: float) -> None:
        """The common clock is ``offset`` seconds ahead of ours: what was dated without that is put right."""
        with self._lock:
            known, self._offset = self._offset is not None, offset
            changed = not known and self._redate(offset)
        if changed:
            self._tell_watchers()

    def keep_at_least(self, retention: float, leeway: float) -> None:
        """One more client relies on this table: what is added from now on is kept for the longest time of all."""
        self.retention = max(self.retention, retention)
        self._leeway = max(self._leeway, leeway)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a method, held weakly, whenever ``version`` has changed. In any thread, so it must be quick."""
        with self._lock:
            self.watchers = (*(one for one in self.watchers if one() is not None), WeakMethod(watcher))

    def receive(self, entry: Revocation) -> None:
        """Take in an entry of another process; listeners are not told. Taking it twice changes nothing."""
        now = self.clock()
        # A sender whose clock is ahead must not make it last longer, or refuse what is issued much later.
        moment = None if entry.issued_before is None else min(entry.issued_before, self.now() + FUTURE)
        self._take(replace(entry, issued_before=moment, added_at=min(entry.added_at, now)), now)

    def refuses(self, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Whether a credential may no longer pass.

        ``issued_at`` is a JWT's ``iat`` or a session's start in Unix seconds; ``None``, unknown, counts as old.
        """
        if self.version == 0:
            return False  # nothing was ever added
        with self._lock:
            if session_id in self._sessions:
                return True
            users = self._users.get(_bare(user_id))
            everybody = self._for_everybody(self.clock())
        return any(until is not None and until.covers(issued_at) for until in (users, everybody))

    def entries(self) -> tuple[Revocation, ...]:
        """All entries of the moment. User ids stand without the ``user_`` in front."""
        with self._lock:
            return tuple(self._entries())

    def reset_lock(self) -> None:
        """After ``fork()``: a new lock, and whole tables where another thread was just changing them."""
        torn = self._lock.locked()
        self._lock = _native.lock()
        if torn:
            entries = tuple(self._entries())
            self._make_tables()
            for entry in entries:
                self._take_locked(entry, self.clock())  # nobody is told: nothing is new

    def __len__(self) -> int:
        with self._lock:
            return sum(self._counts())

    def __repr__(self) -> str:
        with self._lock:
            sessions, users, everybody = self._counts()
        return f"Revocations(sessions={sessions}, users={users}, everybody={everybody})"

    def _counts(self) -> tuple[int, int, int]:
        everybody = self._for_everybody(self.clock())
        return len(self._sessions), len(self._users), int(everybody is not None)

    def _for_everybody(self, now: float) -> _Until | None:
        if self._everybody is not None and self._end(self._everybody) <= now:
            self._everybody = None
        return self._everybody

    def _end(self, until: _Until) -> float:
        return max(until.moment - (self._offset or 0.0), until.added_at) + self.retention

    def _take(self, entry: Revocation, now: float) -> None:
        with self._lock:
            version = self.version
            collapsed = self._take_locked(entry, now)
            changed = self.version != version
        if collapsed:  # not under the lock: a log handler may block
            logger.error(
                "revocations: more than %d; everything issued before now is refused",
                self.maxsize,
                extra={"reason": "revocations_full"},
            )
        if changed:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in [one() for one in self.watchers]:
            try:
                if watcher is not None:
                    watcher()
            except Exception:
                logger.exception("revocations: a watcher failed", extra={"reason": "watcher_failed"})

    def _take_locked(self, entry: Revocation, now: float) -> bool:
        """Take an entry in; whether all have become one by it."""
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
        until = _Until(entry.issued_before, entry.added_at, entry.by_own_clock)
        if self._end(until) <= now:
            return False
        if entry.user_id is None:
            return self._take_for_everybody(until, now)
        user_id = _bare(entry.user_id)
        before = self._users.get(user_id)
        if before is None and self._is_full():
            return self._collapse(now)
        self._users[user_id] = until.and_also(before)
        self.version += before is None or until.moment > before.moment
        return False

    def _take_for_everybody(self, until: _Until, now: float) -> bool:
        before = self._for_everybody(now)
        self._everybody = until.and_also(before)
        self.version += before is None or until.moment > before.moment
        return False

    def _redate(self, offset: float) -> bool:
        """Move what was dated by our own clock; whether that was anything."""
        users = {user_id: self._users[user_id] for user_id in list(self._users)}
        moved = {user_id: until for user_id, until in users.items() if until.by_own_clock}
        for user_id, until in moved.items():
            self._users[user_id] = _Until(until.moment + offset, until.added_at)
        everybody = self._everybody
        if everybody is not None and everybody.by_own_clock:
            self._everybody = _Until(everybody.moment + offset, everybody.added_at)
        changed = bool(moved) or everybody is not self._everybody
        self.version += changed
        return changed

    def _is_full(self) -> bool:
        return len(self._sessions) + len(self._users) >= self.maxsize

    def _collapse(self, now: float) -> bool:
        moments = [self._users[user_id].moment for user_id in list(self._users)]
        self._sessions.clear()
        self._users.clear()
        self._take_for_everybody(_Until(max([self.now() + self._leeway, *moments]), now), now)
        self.version += 1
        return True

    def _entries(self) -> Iterable[Revocation]:
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        for session_id in list(self._sessions):
            with contextlib.suppress(KeyError):
                yield Revocation(session_id, None, None, self._sessions[session_id])
        for user_id in list(self._users):
            with contextlib.suppress(KeyError):
                until = self._users[user_id]
                yield Revocation(None, user_id, until.moment, until.added_at, until.by_own_clock)
        everybody = self._for_everybody(self.clock())
        if everybody is not None:
            yield Revocation(None, None, everybody.moment, everybody.added_at, everybody.by_own_clock)


def _bare(user_id: str) -> str:
    """One spelling of a user's id: the ``user_`` in front is missing in some documents."""
    return user_id.removeprefix("user_")


def _entry(
    session_id: str | None,
    user_id: str | None,
    issued_before: datetime | float | None,
    added_at: float,
    offset: float | None,
) -> Revocation:
    if session_id is not None:
        if user_id is not None or issued_before is not None:
            raise ValueError("A session is revoked as a whole: give session_id alone.")
        return Revocation(identifier(session_id), None, None, added_at)
    if user_id is None and issued_before is None:
        raise ValueError("Give session_id, user_id or issued_before.")
    now = added_at + (offset or 0.0)
    moment = now if issued_before is None else _moment(issued_before)
    if moment > max(now, added_at) + FUTURE:
        raise ValueError("issued_before lies in the future. Is it in seconds?")
    moment = min(moment, now + FUTURE)
    by_own_clock = issued_before is None and offset is None
    return Revocation(None, None if user_id is None else identifier(user_id), moment, added_at, by_own_clock)


def _moment(value: object) -> float:
    """Unix seconds of a moment."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("issued_before has no time zone: use datetime.now(UTC) or the like.")
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError("issued_before must be an aware datetime or Unix seconds.")
