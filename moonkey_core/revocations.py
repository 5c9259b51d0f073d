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

from moonkey_core import _clock
from moonkey_core import _threads as _native
from moonkey_core.models import bare_user_id, bounded_user_id, identifier
from moonkey_core.settings import Settings

__all__ = ["Revocation", "Revocations", "retention"]

logger = logging.getLogger("moonkey")

_INSTANT = 0.001
FUTURE = 60.0  # seconds that a moment may lie ahead: the largest clock difference that can be configured


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry: a session; or a user, or everybody (both ids ``None``), for what was issued until a moment.

    Of a user, the session with the id ``kept`` is left out, and what was issued later, until ``doubted_before``,
    is doubted: the API has to vouch for it. Times are Unix seconds: ``issued_before`` and ``doubted_before`` are
    compared with the dates of JWTs, ``added_at`` tells the entry's age by the clock of this machine.
    ``by_own_clock``: the former were "now" by that clock, for want of a better one.
    """

    session_id: str | None
    user_id: str | None
    issued_before: float | None
    added_at: float
    kept: str | None = None
    doubted_before: float | None = None
    by_own_clock: bool = field(default=False, compare=False, repr=False)

    def by_common_clock(self, offset: float) -> Revocation:
        """The same with dates by the common clock, which is ``offset`` seconds ahead of ours."""
        return self._dated(lambda at: at + offset) if self.by_own_clock else self

    def until(self, latest: float) -> Revocation:
        """The same without what is issued after ``latest``."""
        return self._dated(lambda at: min(at, latest))

    def _dated(self, date: Callable[[float], float]) -> Revocation:
        until, doubted = (None if at is None else date(at) for at in (self.issued_before, self.doubted_before))
        return replace(self, issued_before=until, doubted_before=doubted, by_own_clock=False)


@dataclass(frozen=True, slots=True)
class _Until:
    """Refused is what was issued at or before ``moment``; said at ``added_at``.

    Of the session ``kept``, only what was issued at or before ``kept_moment``. One is enough: of two entries that
    keep different sessions, the later one refuses what the earlier one keeps.
    """

    moment: float
    added_at: float
    kept: str | None = None
    kept_moment: float = -math.inf
    by_own_clock: bool = False
    is_mixed: bool = False  # some of its dates are by our own clock, and some are not

    def moment_of(self, session_id: str | None) -> float:
        """Until when a session is refused what it was issued; minus infinity where nothing is."""
        return self.kept_moment if self.kept is not None and session_id == self.kept else self.moment

    def moved(self, offset: float) -> _Until:
        """The same by a clock that is ``offset`` seconds ahead of ours; nothing becomes earlier that was right."""
        ahead = max(offset, 0.0) if self.is_mixed else offset
        return _Until(self.moment + ahead, self.added_at, self.kept, self.kept_moment + ahead)

    def and_also(self, other: _Until | None) -> _Until:
        """What two entries refuse together."""
        if other is None:
            return self
        late, early = (self, other) if self.moment >= other.moment else (other, self)
        kept_moment = max(late.moment_of(late.kept), early.moment_of(late.kept))
        added_at = max(self.added_at, other.added_at)
        by_own_clock = self.by_own_clock or other.by_own_clock
        is_mixed = self.is_mixed or other.is_mixed or self.by_own_clock is not other.by_own_clock
        kept = late.kept if kept_moment < late.moment else None
        kept_moment = -math.inf if kept is None else kept_moment
        return _Until(late.moment, added_at, kept, kept_moment, by_own_clock, is_mixed)

    def says_more_than(self, other: _Until | None) -> bool:
        """Whether it refuses anything that another one does not; it is what comes of that one and more."""
        return other is None or any(
            self.moment_of(session) > other.moment_of(session) for session in (None, other.kept)
        )

    def covers(self, issued_at: float | None, session_id: str | None = None) -> bool:
        """Whether it refuses what was issued then for that session."""
        moment = self.moment_of(session_id)
        # Unknown, and not a number, count as old.
        return moment > -math.inf and (issued_at is None or not issued_at > moment)


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
        # What a user was issued about the time of an entry, where times do not tell whether that was before it.
        self._doubts: TLRUCache[str, _Until] = TLRUCache(
            self.maxsize, ttu=lambda _id, until, _now: self._end(until), timer=self.clock
        )
        self._everybody: _Until | None = None

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
        keep: str | None = None,
    ) -> None:
        """Refuse from now on: a session; or what was issued to a user, or to anybody, at or before a moment.

        Give ``session_id`` alone, ``user_id`` with or without ``issued_before`` (default: now), or
        ``issued_before`` alone. ``issued_before`` is an aware datetime or Unix seconds, a minute ahead at most.
        ``keep`` is the id of one session of the user that is left out; a process of an earlier version, which
        cannot know of it, refuses that session as well. Raises ``ValueError`` for anything else.

        It changes nothing at the API: it is for sessions that were, or are about to be, ended there, and for those
        of a user who must sign in again.
        """
        added_at = self.clock()
        self._say(_entry(session_id, user_id, issued_before, added_at, self._offset, keep), added_at)

    def cut_off(self, user_id: str, *, keep: str | None = None) -> None:
        """Refuse what a user was issued until now, but for the session with the id ``keep``, if any.

        The API dates sessions in whole seconds, by a clock that may differ by ``leeway``: what was begun about now
        is doubted, as it may be a sign-in of the next moment. It passes where the API vouches for it, each time.
        """
        added_at, now = self.clock(), self.now()
        certain = math.floor(now - self._leeway) - _INSTANT
        kept = None if keep is None else identifier(keep)
        named, doubted = bounded_user_id(user_id), now + self._leeway
        self._say(Revocation(None, named, certain, added_at, kept, doubted, self._offset is None), added_at)

    def _say(self, entry: Revocation, now: float) -> None:
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
        # A sender whose clock is ahead must not make it refuse what is issued much later, or last longer.
        entry = entry.until(self.now() + FUTURE)
        self._take(replace(entry, added_at=min(entry.added_at, now)), now)

    def note(self, entry: Revocation) -> None:
        """Take in an entry of this process as it is; listeners are not told."""
        self._take(entry, self.clock())

    def refuses(self, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Whether a credential may no longer pass.

        ``issued_at`` is a JWT's ``iat`` or a session's start in Unix seconds; ``None``, unknown, counts as old.
        """
        if self.version == 0:
            return False  # nothing was ever added
        with self._lock:
            if session_id in self._sessions:
                return True
            user = self._users.get(bare_user_id(user_id))
            everybody = self._for_everybody(self.clock())
        return any(until is not None and until.covers(issued_at, session_id) for until in (user, everybody))

    def doubts(self, session_id: str, user_id: str, issued_at: float | None) -> bool:
        """Whether a credential that is not refused may only pass where the API vouches for it now."""
        if self.version == 0:
            return False
        with self._lock:
            until = self._doubts.get(bare_user_id(user_id))
        return until is not None and until.covers(issued_at, session_id)

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
        if self._offset is not None:  # it was not known yet, perhaps, when the entry was made
            entry = entry.by_common_clock(self._offset)
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
        until = _Until(entry.issued_before, entry.added_at, entry.kept, by_own_clock=entry.by_own_clock)
        if self._end(until) <= now:
            return False
        if entry.user_id is None:
            return self._take_for_everybody(until, now)
        user_id = bare_user_id(entry.user_id)
        # A doubt lasts a little longer than the entry it came with.
        is_crowded = entry.doubted_before is not None and len(self._doubts) >= self.maxsize
        if (user_id not in self._users and self._is_full()) or (is_crowded and user_id not in self._doubts):
            return self._collapse(now)
        self._add_until(self._users, user_id, until)
        if entry.doubted_before is not None:
            self._add_until(self._doubts, user_id, replace(until, moment=entry.doubted_before))
        return False

    def _add_until(self, table: TLRUCache[str, _Until], user_id: str, until: _Until) -> None:
        before = table.get(user_id)
        table[user_id] = both = until.and_also(before)
        self.version += both.says_more_than(before)

    def _take_for_everybody(self, until: _Until, now: float) -> bool:
        before = self._for_everybody(now)
        self._everybody = both = until.and_also(before)
        self.version += both.says_more_than(before)
        return False

    def _redate(self, offset: float) -> bool:
        """Move what was dated by our own clock; whether that was anything."""
        changed = False
        for table in (self._users, self._doubts):
            dated = {user_id: table[user_id] for user_id in list(table)}
            moved = {user_id: until.moved(offset) for user_id, until in dated.items() if until.by_own_clock}
            table.update(moved)
            changed = changed or bool(moved)
        if self._everybody is not None and self._everybody.by_own_clock:
            self._everybody, changed = self._everybody.moved(offset), True
        self.version += changed
        return changed

    def _is_full(self) -> bool:
        return len(self._sessions) + len(self._users) >= self.maxsize

    def _collapse(self, now: float) -> bool:
        moments = [table[user_id].moment for table in (self._users, self._doubts) for user_id in list(table)]
        for table in (self._sessions, self._users, self._doubts):
            table.clear()
        moment, is_own = max([self.now() + self._leeway, *moments]), self._offset is None
        self._take_for_everybody(_Until(moment, now, by_own_clock=is_own, is_mixed=is_own), now)
        self.version += 1
        return True

    def _entries(self) -> Iterable[Revocation]:
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        for session_id in list(self._sessions):
            with contextlib.suppress(KeyError):
                yield Revocation(session_id, None, None, self._sessions[session_id])
        for user_id in list(self._users):
            with contextlib.suppress(KeyError):
                yield from _entries_of(user_id, self._users[user_id], self._doubts.get(user_id))
        everybody = self._for_everybody(self.clock())
        if everybody is not None:
            yield Revocation(None, None, everybody.moment, everybody.added_at, by_own_clock=everybody.by_own_clock)


def _entries_of(user_id: str, until: _Until, doubt: _Until | None) -> Iterable[Revocation]:
    """Entries that together say what is known of a user. ``user_id`` stands bare."""
    if bare_user_id(user_id) != user_id:
        user_id = f"user_{user_id}"  # whoever takes it in strips one
    own = until.by_own_clock
    same = doubt is not None and doubt.kept == until.kept and doubt.by_own_clock == own
    doubted = doubt.moment if doubt is not None and same else None
    yield Revocation(None, user_id, until.moment, until.added_at, until.kept, doubted, own)
    if until.kept_moment > -math.inf:  # it is not kept by all that was said
        yield Revocation(None, user_id, until.kept_moment, until.added_at, by_own_clock=own)
    if doubt is None:
        return
    certain = max(until.moment_of(until.kept), 0.0)  # refused of every session
    own = doubt.by_own_clock
    if not same:
        yield Revocation(None, user_id, certain, doubt.added_at, doubt.kept, doubt.moment, own)
    if doubt.kept_moment > -math.inf:
        yield Revocation(None, user_id, certain, doubt.added_at, None, doubt.kept_moment, own)


def _entry(
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
    moment = now if issued_before is None else _moment(issued_before)
    if moment > max(now, added_at) + FUTURE:
        raise ValueError("issued_before lies in the future. Is it in seconds?")
    moment = min(moment, now + FUTURE)
    by_own_clock = issued_before is None and offset is None
    if user_id is None:
        return Revocation(None, None, moment, added_at, by_own_clock=by_own_clock)
    kept = None if keep is None else identifier(keep)
    return Revocation(None, bounded_user_id(user_id), moment, added_at, kept, by_own_clock=by_own_clock)


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
