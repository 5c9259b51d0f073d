"""Revoked sessions and users, and everything issued before a time, in memory.

Never blocks and does no I/O. An entry is kept until every JWT that it affects has expired.

Each provider has a table of its own. In a table, an id belongs to a scope, which is that of its issuer: so equal
ids of two scopes never meet.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from cachetools import FIFOCache, TLRUCache, TTLCache

from moonkey_core import _clock, _threads
from moonkey_core._fork import reset_after_fork, weak_method
from moonkey_core._provider import LONGEST_LIFE, Provider
from moonkey_core._verified import DEFAULT_SCOPE as DEFAULT_SCOPE
from moonkey_core._verified import Key, key_of
from moonkey_core.errors import RevocationsFull
from moonkey_core.models import identifier
from moonkey_core.settings import Settings

__all__ = ["Revocation", "Revocations"]

logger: logging.Logger = logging.getLogger("moonkey")

MAX_CLOCK_AHEAD = 60.0
"""Seconds that a time may lie in the future: the largest clock difference that can be configured."""

_SCOPE = re.compile(r"[!\"$-~]{1,255}")  # visible ASCII without "#", which no issuer has
_CREDENTIAL = "credential_"  # before the digest of one that is refused by itself, in place of a session id
_INSTANT = 0.001
_MAX_REPORTED = 65_536
_MAX_CREDENTIALS = 65_536
_MAX_UNKNOWN = 1000
_REPEATED_SECONDS = 1.0


def _parts(key: Key) -> tuple[str, str]:
    """Return the scope and the id of a key."""
    return (DEFAULT_SCOPE, key) if isinstance(key, str) else key


def as_it_is(user_id: str) -> str:
    """Return a user's id: the normal form where there is one spelling only."""
    return user_id


def checked_scope(value: object) -> str:
    """Return a scope as it is.

    Raises:
        ValueError: It is not at most 255 visible ASCII characters, without ``#``.
    """
    if not isinstance(value, str) or not _SCOPE.fullmatch(value):
        raise ValueError("not a scope")
    return value


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation: of a session, or of everything that was issued up to a time to one user or to all users.

    A report is an entry with ``confirm_before`` and without a user: the provider has said that a credential of a
    session is dead. The session may go on with another credential, so a report by itself refuses nothing.

    All times are Unix seconds.

    Attributes:
        session_id: The session, which is revoked as a whole, unless this is a report about it; or ``None``.
        user_id: The user; ``None`` together with ``session_id`` for all users.
        issued_before: Revoked is what was issued at or before this time, by the dates of JWTs and sessions.
            ``None`` for a session.
        added_at: When the entry was added, by the clock of this machine. It shows the age of the entry.
        exempt_session_id: A session of the user that is not revoked.
        confirm_before: What was issued to the user after ``issued_before``, but at or before this time, has to be
            confirmed by the API. In a report: what was issued for the session at or before this time.
        by_local_clock: Whether ``issued_before`` and ``confirm_before`` are by the clock of this machine, as the
            common clock was not known.
        is_precaution: Whether it stands for entries that there was no room for. It refuses everything, and says of
            no session that it is over.
        credential: In a report on a session whose id is unknown, the keyed digest of the dead credential.
        scope: Whose ids these are: ``moonkey``, or an issuer.
    """

    session_id: str | None
    user_id: str | None
    issued_before: float | None
    added_at: float
    exempt_session_id: str | None = None
    confirm_before: float | None = None
    by_local_clock: bool = field(default=False, compare=False, repr=False)
    credential: str | None = field(default=None, repr=False)
    is_precaution: bool = field(default=False, compare=False, repr=False)
    scope: str = DEFAULT_SCOPE

    @property
    def is_report(self) -> bool:
        """Whether the entry only reports a dead credential."""
        return self.confirm_before is not None and self.user_id is None

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
    user_id: str | None = None  # the user, where the key of the table is not enough to name them

    def for_session(self, session_id: str | None) -> float:
        """Return the time for a session; minus infinity where nothing is revoked."""
        return self.exempt_time if self.exempt_id is not None and session_id == self.exempt_id else self.time

    def shifted(self, offset: float) -> _Cutoff:
        """Return it by a clock that is ``offset`` seconds ahead. No time that was right becomes earlier."""
        ahead = max(offset, 0.0) if self.is_mixed else offset
        times = self.time + ahead, self.added_at, self.exempt_id, self.exempt_time + ahead
        return _Cutoff(*times, user_id=self.user_id)

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
        user_id = self.user_id or other.user_id
        return _Cutoff(late.time, added_at, exempt_id, exempt_time, by_local_clock, is_mixed, user_id)

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


def retention(settings: Settings, provider: Provider | None = None) -> float:
    """Return for how many seconds an entry matters: until nothing that was verified before it is accepted.

    Args:
        settings: The settings of the client.
        provider: The provider; ``None`` for MoonKey, whose sessions end at its API as well. With any other, a
            revocation is remembered for the longest life of what it has issued.
    """
    leeway = settings.leeway
    if provider is None or provider.name == DEFAULT_SCOPE:
        life = settings.jwt_max_age
    else:
        rules = provider.jwt_rules
        life = getattr(provider, "longest_life", LONGEST_LIFE) if rules is None else rules.longest_life
        leeway = max(leeway, 0.0 if rules is None or rules.leeway is None else rules.leeway)
    # A user is also revoked for what this app has recorded of them, which may last longer.
    recorded = [one.total_seconds() for one in (settings.mfa_lifetime, settings.session_limit) if one is not None]
    return max(life, settings.session_cache_ttl, settings.grace_seconds + life, *recorded) + 2 * leeway


def new_table(
    settings: Settings, provider: Provider | None = None, clock: Callable[[], float] = _clock.wall
) -> Revocations:
    """Return an empty table of the revocations of a provider.

    Args:
        settings: The settings of the client.
        provider: The provider; ``None`` for MoonKey, with each spelling of an id for itself.
        clock: The clock of this machine, in Unix seconds.
    """
    table = partial(
        Revocations,
        retention=retention(settings, provider),
        maxsize=settings.max_revocations,
        leeway=settings.leeway,
        clock=clock,
    )
    if provider is None:
        return table()
    return table(
        provider=provider.name,
        scopes=provider.scopes,
        key_of_user=provider.key_of_user,
        raises_when_full="introspect" not in provider.capabilities,
    )


class Revocations:
    """A table of revoked sessions and users, which every verification looks up. Thread-safe.

    Entries are kept for ``retention`` seconds, ``maxsize`` of them at most. When the table is full, they all
    become one entry, a precaution: everything issued before now. So it may refuse too much, but it never forgets.
    Where the provider cannot be asked about what is refused so, nothing becomes a precaution: the call that would
    add one more raises instead.

    An answer for which :meth:`refuses` was false stays valid while ``version`` is the same. Read the version
    first.

    Args:
        retention: Seconds for which an entry is kept.
        maxsize: The number of entries.
        leeway: Seconds that the clock of the issuer may be ahead of that of this machine.
        clock: The clock of this machine, in Unix seconds. Entries age by it, as do the JWTs that are verified
            here. What is revoked "until now" is dated by :meth:`now`.
        provider: The name of the provider whose sessions these are.
        scopes: The scope of each of its issuers. Without issuers, the default scope is the only one.
        key_of_user: Returns the normal form of the provider's user ids.
        raises_when_full: Whether a full table takes no more in from its own process.

    Attributes:
        scopes: All scopes of the provider.
        is_feed_full: Whether the feed has no room for more. It counts where the table raises when it is full.
        revokes_credentials: Whether any credential was revoked by itself, see :meth:`add_credential`.
        version: Changes with every entry that revokes more than before, and with every report on a session.
        report_count: The number of reports on sessions and credentials so far.
        listeners: Are called with every entry that is added in this process.
        watchers: Are called whenever ``version`` or ``report_count`` has changed; see :meth:`watch`.
    """

    def __init__(
        self,
        *,
        retention: float,
        maxsize: int = 100_000,
        leeway: float = 0.0,
        clock: Callable[[], float] = _clock.wall,
        provider: str = DEFAULT_SCOPE,
        scopes: Mapping[str, str] | None = None,
        key_of_user: Callable[[str], str] = as_it_is,
        raises_when_full: bool = False,
    ) -> None:
        self.provider = provider
        self.issuers: Mapping[str, str] = {
            issuer: checked_scope(scope) for issuer, scope in (scopes or {}).items()
        }
        self.scopes: tuple[str, ...] = tuple(dict.fromkeys(self.issuers.values())) or (DEFAULT_SCOPE,)
        self.key_of_user = key_of_user
        self.raises_when_full = raises_when_full
        self.is_feed_full = False
        self.retention: float = retention
        self.maxsize = maxsize
        self.version: int = 0
        self.revokes_credentials: bool = False
        self._refuses_any = False  # whether there was ever an entry that is more than a report
        self.report_count: int = 0
        self.listeners: tuple[Callable[[Revocation], None], ...] = ()
        self.watchers: tuple[Callable[[], Callable[[], None] | None], ...] = ()
        self.clock = clock
        self._leeway = leeway
        self._offset: float | None = None
        self._lock = _threads.lock()
        self._make_tables()
        reset_after_fork(self.reset_lock)

    def empty_copy(self) -> Revocations:
        """Return an empty table of the same provider, with the same bounds and the same clock."""
        return Revocations(
            retention=self.retention,
            maxsize=self.maxsize,
            leeway=self._leeway,
            clock=self.clock,
            provider=self.provider,
            scopes=self.issuers,
            key_of_user=self.key_of_user,
            raises_when_full=self.raises_when_full,
        )

    def _make_tables(self) -> None:
        # Where nothing may be forgotten, what other processes had room for is taken in as well.
        room = math.inf if self.raises_when_full else self.maxsize
        self._sessions: TLRUCache[Key, float] = TLRUCache(
            room, ttu=lambda _id, added_at, _now: added_at + self.retention, timer=self.clock
        )
        self._users: TLRUCache[Key, _Cutoff] = TLRUCache(
            room, ttu=lambda _id, cutoff, _now: self._expires_at(cutoff), timer=self.clock
        )
        # What was issued about the time of an entry, where times do not prove whether that was before it.
        self._unconfirmed: TLRUCache[Key, _Cutoff] = TLRUCache(
            room, ttu=lambda _id, cutoff, _now: self._expires_at(cutoff), timer=self.clock
        )
        self._all_users: dict[tuple[str, bool], _Cutoff] = {}  # by scope, and by whether it is a precaution
        # Reports, by session id and by the digest of a credential. The oldest make way for new ones.
        self._reported: TLRUCache[Key, _Cutoff] = self._make_reports()
        self._dead: TLRUCache[Key, _Cutoff] = self._make_reports()
        # The sessions of credentials that were accepted here, by digest.
        self._session_of: FIFOCache[str, Key] = FIFOCache(_MAX_CREDENTIALS)
        # Reports on credentials that were never accepted here. Strangers can cause those, so they are limited.
        self._unknown: TTLCache[object, None] = TTLCache(
            max(min(_MAX_UNKNOWN, self.maxsize // 100), 1), self.retention, timer=self.clock
        )

    def _make_reports(self) -> TLRUCache[Key, _Cutoff]:
        return TLRUCache(
            min(self.maxsize, _MAX_REPORTED),
            ttu=lambda _id, cutoff, _now: self._expires_at(cutoff),
            timer=self.clock,
        )

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
        keep: str | None = None,
        provider: str | None = None,
        issuer: str | None = None,
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
            provider: The name of the provider. It may be left out where there is only one.
            issuer: The issuer of the session or user. An id needs it where the provider has several; without an
                id, all of them are meant otherwise.

        Raises:
            ValueError: Any other combination or value.
            RevocationsFull: There are too many revocations to remember one more, and the provider cannot be asked
                about a session. Nothing was revoked by this call, and nothing was forgotten.
        """
        added_at = self.clock()
        is_for_all = session_id is None and user_id is None
        scopes = self._scopes_of(provider, issuer, is_for_all=is_for_all)
        entry = self._new_entry(session_id, user_id, issued_before, added_at, keep)
        for scope in scopes:
            self._publish(replace(entry, scope=scope), added_at)

    def _scopes_of(self, provider: str | None, issuer: str | None, *, is_for_all: bool) -> tuple[str, ...]:
        """Return the scopes that the arguments of :meth:`add` name.

        Raises:
            ValueError: There is no such provider or issuer, or there are several, and an id is of one.
        """
        if provider is not None and provider != self.provider:
            raise ValueError(f"There is no provider {provider!r} here; there is {self.provider!r}.")
        if issuer is not None:
            if issuer not in self.issuers and issuer not in self.scopes:
                known = ", ".join(map(repr, self.issuers)) or "none, as its ids need none"
                raise ValueError(f"{self.provider!r} has no issuer {issuer!r}. Its issuers: {known}.")
            return (self.issuers.get(issuer, issuer),)
        if len(self.scopes) > 1 and not is_for_all:
            known = ", ".join(map(repr, self.issuers))
            raise ValueError(f"{self.provider!r} has several issuers: give issuer= with an id, one of {known}.")
        return self.scopes

    def add_cutoff(self, user_id: str, *, keep: str | None = None, scope: str | None = None) -> None:
        """Revoke what was issued to a user until now, except for the session with the id ``keep``, if any.

        The API dates sessions in whole seconds, by a clock that may differ by ``leeway``. What began about now may
        be a sign-in that comes after this call, so the API has to confirm it each time.
        """
        added_at, now = self.clock(), self.now()
        certain = math.floor(now - self._leeway) - _INSTANT
        exempt = None if keep is None else identifier(keep)
        bounded, confirm_before = self._bounded(user_id), now + self._leeway
        by_local_clock = self._offset is None
        entry = Revocation(None, bounded, certain, added_at, exempt, confirm_before, by_local_clock)
        self._publish(replace(entry, scope=scope or self.scopes[0]), added_at)

    def add_report(
        self,
        *,
        session_id: str | None = None,
        credentials: Collection[str] = (),
        is_known: bool = True,
        scope: str | None = None,
    ) -> bool:
        """Report that the API has called a credential dead, to all processes of the app.

        A session token that a step-up has replaced is as dead as one of a session that was ended. So what was
        issued for the session until now is not refused, but the API has to confirm it. A connection of the session
        is verified, and ends unless the API confirms it; one with this credential ends.

        Args:
            session_id: The session, where it is known.
            credentials: The keyed digests of the credential, the same in all processes; one for each secret.
            is_known: Whether the credential was accepted here before. Of others, only so many are published.
            scope: The scope of the session; ``None`` where it is unknown.

        Returns:
            Whether the report was published; else only connections of this process learn of it.
        """
        added_at = self.clock()
        until, by_local_clock = self.now() + self._leeway, self._offset is None
        with self._lock:
            is_repeated = bool(credentials) and all(_covers(self._dead, one, until) for one in credentials)
            scopes = self.scopes if scope is None else (scope,)
            is_session_repeated = is_repeated and all(
                _covers(self._reported, None if session_id is None else key_of(one, session_id), until)
                for one in scopes
            )
        if is_repeated and (session_id is None or is_session_repeated):
            return True  # by one of many requests that have shared a call
        is_published = is_known or self._may_report_unknown()
        report = Revocation(None, None, None, added_at, None, until, by_local_clock)
        if session_id is not None and is_published:
            for one in scopes:
                self._publish(replace(report, session_id=identifier(session_id), scope=one), added_at)
        add = self._publish if is_published else self._take
        for credential in () if is_repeated else credentials:
            add(replace(report, credential=credential), added_at)
        return is_published

    def add_credential(self, credentials: Collection[str]) -> bool:
        """Revoke a credential whose session is not known here, in all processes of the app.

        A process that has accepted it knows its session, and revokes that.

        Args:
            credentials: The keyed digests of the credential, the same in all processes; one for each secret.

        Returns:
            Whether it was revoked. Strangers can cause it, so only so many are.

        Raises:
            RevocationsFull: As :meth:`add` does.
        """
        if all(self._is_ended(one) for one in credentials):
            return True
        if not self._may_report_unknown():
            return False
        for one in credentials:
            self.add(session_id=f"{_CREDENTIAL}{one}", issuer=self.scopes[0])
        return True

    def refuses_credential(self, credentials: Iterable[str]) -> bool:
        """Return whether a credential was revoked by itself. See ``revokes_credentials`` first."""
        return any(self._is_ended(one) for one in credentials)

    def _is_ended(self, credential: str) -> bool:
        with self._lock:
            return self._key(None, f"{_CREDENTIAL}{credential}") in self._sessions

    def note_session(self, credentials: Iterable[str], session_id: str, scope: str | None = None) -> None:
        """Remember the session of a credential that was accepted, for a report on it by who knows only its digest.

        Args:
            credentials: Its keyed digests, one for each secret.
            session_id: Its session.
            scope: The scope of the session.
        """
        with self._lock:
            for one in credentials:
                self._session_of[one] = self._key(scope, session_id)

    def _may_report_unknown(self) -> bool:
        with self._lock:
            self._unknown.expire()
            if len(self._unknown) >= self._unknown.maxsize:
                return False
            self._unknown[object()] = None
            return True

    def _publish(self, entry: Revocation, now: float) -> None:
        self._take(entry, now, is_new=True)
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
        """Call a method whenever ``version`` or ``report_count`` has changed.

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

    def refuses(self, session_id: str, user_id: str, issued_at: float | None, scope: str | None = None) -> bool:
        """Return whether a credential is revoked.

        Args:
            session_id: The session of the credential.
            user_id: Its user.
            issued_at: The ``iat`` of a JWT or the start of a session, in Unix seconds. ``None``, unknown, counts
                as old.
            scope: The scope of the session and the user; ``None`` where the provider has only one.
        """
        if not self._refuses_any:
            return False
        with self._lock:
            if self._key(scope, session_id) in self._sessions:
                return True
            user = self._users.get(self._user_key(scope, user_id))
            all_users, found = self._for_all_users(self.clock()), scope or self.scopes[0]
            cutoffs = (user, all_users.get((found, False)), all_users.get((found, True)))
        return any(cutoff is not None and cutoff.covers(issued_at, session_id) for cutoff in cutoffs)

    def is_precautionary(
        self, session_id: str, user_id: str, issued_at: float | None, scope: str | None = None
    ) -> bool:
        """Return whether a credential is refused only because there are too many revocations to remember singly.

        Its session may well go on. The arguments are those of :meth:`refuses`.
        """
        with self._lock:
            all_users, found = self._for_all_users(self.clock()), scope or self.scopes[0]
            if (found, True) not in all_users or self._key(scope, session_id) in self._sessions:
                return False
            cutoffs = (self._users.get(self._user_key(scope, user_id)), all_users.get((found, False)))
        return not any(cutoff is not None and cutoff.covers(issued_at, session_id) for cutoff in cutoffs)

    def ends_record(
        self,
        record_ids: tuple[str, str, str],
        session_id: str,
        user_id: str,
        made_at: float,
        scope: str | None = None,
    ) -> bool:
        """Return whether what this app has recorded of a user is over: by its own id, or as the user is revoked.

        Args:
            record_ids: The id of the record; that of the session in which it was made, or an empty one; and that
                of all records of the user, which ends those made before.
            session_id: The session that it is presented beside.
            user_id: The user.
            made_at: When the record was made, by :meth:`now`.
            scope: As for :meth:`refuses`.
        """
        if not self._refuses_any:
            return False
        with self._lock:
            if any(self._key(scope, one) in self._sessions for one in record_ids[:2]):
                return True
            ended_at = self._sessions.get(self._key(scope, record_ids[2]))
            if ended_at is not None and made_at <= ended_at + (self._offset or 0.0):
                return True
            key, found = self._user_key(scope, user_id), scope or self.scopes[0]
            user, unconfirmed, all_users = (
                self._users.get(key),
                self._unconfirmed.get(key),
                self._for_all_users(self.clock()),
            )
            cutoffs = (user, all_users.get((found, False)), all_users.get((found, True)))
        if any(cutoff is not None and cutoff.covers(made_at, session_id) for cutoff in cutoffs):
            return True
        # A provider may date what it issues by another clock, a record is dated by that of the revocation.
        return unconfirmed is not None and unconfirmed.covers(made_at + self._leeway, session_id)

    def needs_introspection(
        self,
        session_id: str,
        user_id: str,
        issued_at: float | None,
        vouched_at: float | None = None,
        scope: str | None = None,
    ) -> bool:
        """Return whether a credential that is not revoked may be accepted only where the API confirms it now.

        Args:
            session_id: The session of the credential.
            user_id: Its user.
            issued_at: As for :meth:`refuses`.
            vouched_at: When the API vouched for it last, by the clock of this machine. Reports since then count.
            scope: As for :meth:`refuses`.
        """
        if self.version == 0:
            return False
        with self._lock:
            user = self._unconfirmed.get(self._user_key(scope, user_id)) if self._refuses_any else None
            key = self._key(scope, session_id)  # most sessions are not reported, and this look-up costs least
            session = self._reported.get(key) if key in self._reported else None
        if user is not None and user.covers(issued_at, session_id):
            return True
        return session is not None and session.covers(self._by_common_clock(vouched_at))

    def _key(self, scope: str | None, value: str) -> Key:
        return key_of(scope or self.scopes[0], value)

    def _user_key(self, scope: str | None, user_id: str) -> Key:
        return self._key(scope, self.key_of_user(user_id))

    def _bounded(self, user_id: object) -> str:
        """Return a user's id in a spelling that :func:`identifier` accepts.

        Raises:
            ValueError: It has no such spelling.
        """
        key = identifier(self.key_of_user(user_id) if isinstance(user_id, str) else user_id)
        with contextlib.suppress(ValueError):
            return identifier(user_id)
        return key

    def reported_until(self, session_id: str, scope: str | None = None) -> float:
        """Return until when what was issued for a session has to be confirmed, by the clock of this machine.

        Minus infinity where no credential of the session was reported dead.
        """
        with self._lock:
            found = self._reported.get(self._key(scope, session_id))
        return -math.inf if found is None else found.time - (self._offset or 0.0)

    def is_reported_dead(self, credentials: Iterable[str], vouched_at: float | None) -> bool:
        """Return whether a credential was reported dead since the API vouched for it.

        Args:
            credentials: Its keyed digests, one for each secret.
            vouched_at: When the API vouched for it, by the clock of this machine; ``None`` where unknown.
        """
        at = self._by_common_clock(vouched_at)
        with self._lock:
            found = [self._dead.get(one) for one in credentials]
        return any(cutoff is not None and cutoff.covers(at) for cutoff in found)

    def _by_common_clock(self, at: float | None) -> float | None:
        return None if at is None else at + (self._offset or 0.0)

    def entries(self) -> tuple[Revocation, ...]:
        """Return all current entries. User ids come in their normal form, where that can be read again."""
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
        return len(self._sessions), len(self._users), int(bool(self._for_all_users(self.clock())))

    def _for_all_users(self, now: float) -> dict[tuple[str, bool], _Cutoff]:
        for key, cutoff in tuple(self._all_users.items()):
            if self._expires_at(cutoff) <= now:
                del self._all_users[key]
        return self._all_users

    def _expires_at(self, cutoff: _Cutoff) -> float:
        return max(cutoff.time - (self._offset or 0.0), cutoff.added_at) + self.retention

    def _take(self, entry: Revocation, now: float, *, is_new: bool = False) -> None:
        """Take an entry in. ``is_new``: it is of a call in this process, which a full table may refuse."""
        with self._lock:
            before = self.version, self.report_count
            has_collapsed = self._take_locked(entry, now, is_new=is_new)
            has_changed = (self.version, self.report_count) != before
            unreported = self._unreported_session(entry) if has_changed else None
            ended = self._session_of_ended(entry) if has_changed else None
        if has_collapsed:  # not under the lock: a log handler may block
            logger.error(
                "revocations: more than %d; everything issued before now is refused",
                self.maxsize,
                extra={"reason": "revocations_full"},
            )
        if ended is not None:
            with contextlib.suppress(
                RevocationsFull
            ):  # the credential itself is refused where it is verified anew
                self.add(session_id=_parts(ended)[1], issuer=_parts(ended)[0])
        if unreported is not None:  # only here it is known whose the credential was
            scope, session_id = _parts(unreported)
            self.add_report(session_id=session_id, scope=scope)
        elif has_changed:
            self._notify_watchers()

    def _unreported_session(self, entry: Revocation) -> Key | None:
        """Return the session of a credential that was just reported dead, once, unless it is reported as well."""
        if entry.credential is None or entry.confirm_before is None:
            return None
        session = self._session_of.pop(entry.credential, None)
        reported = None if session is None else self._reported.get(session)
        until = entry.shifted(self._offset or 0.0).confirm_before
        assert until is not None
        return session if reported is None or reported.time < until else None

    def _session_of_ended(self, entry: Revocation) -> Key | None:
        """Return the session of a credential that was just revoked by itself, where it was accepted here."""
        if entry.session_id is None or not entry.session_id.startswith(_CREDENTIAL):
            return None
        session = self._session_of.get(entry.session_id.removeprefix(_CREDENTIAL))
        return None if session is None or session in self._sessions else session

    def _notify_watchers(self) -> None:
        for watcher in [one() for one in self.watchers]:
            try:
                if watcher is not None:
                    watcher()
            except Exception:
                logger.exception("revocations: a watcher failed", extra={"reason": "watcher_failed"})

    def _take_locked(self, entry: Revocation, now: float, *, is_new: bool = False) -> bool:
        """Take an entry in, and return whether the table was full, so that all entries have become one.

        Raises:
            RevocationsFull: It is new, and the table was full.
        """
        if self._offset is not None:  # it may not have been known when the entry was made
            entry = entry.shifted(self._offset)
        if entry.is_report:
            self._take_report(entry, now)
            return False
        self._refuses_any = True  # before the tables and the version change: readers take no lock for it
        if entry.session_id is not None:
            if entry.added_at + self.retention <= now:
                return False
            if entry.session_id.startswith(_CREDENTIAL):
                self.revokes_credentials = True
            key = key_of(entry.scope, entry.session_id)
            known = self._sessions.get(key)
            if self._lacks_room(is_known=known is not None, is_new=is_new):
                return self._collapse(now)
            self._sessions[key] = max(known or entry.added_at, entry.added_at)
            self.version += known is None
            return False
        assert entry.issued_before is not None
        cutoff = _Cutoff(
            entry.issued_before, entry.added_at, entry.exempt_session_id, by_local_clock=entry.by_local_clock
        )
        if self._expires_at(cutoff) <= now:
            return False
        if entry.user_id is None:
            return self._take_for_all_users(entry.scope, cutoff, now, is_precaution=entry.is_precaution)
        bare = self.key_of_user(entry.user_id)
        key = key_of(entry.scope, bare)
        if self.key_of_user(bare) != bare:  # so this is no spelling of the id
            cutoff = replace(cutoff, user_id=entry.user_id)
        if self._lacks_room(is_known=key in self._users, is_new=is_new):
            return self._collapse(now)
        # An unconfirmed one lasts a little longer than the entry it came with.
        is_crowded = entry.confirm_before is not None and len(self._unconfirmed) >= self.maxsize
        if is_crowded and key not in self._unconfirmed and not self.raises_when_full:
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
        if not self.raises_when_full:
            return not is_known and self._is_full()
        if is_new and (self.is_feed_full or (not is_known and self._is_full())):
            raise RevocationsFull(evidence=f"max_revocations is {self.maxsize}.")
        return False

    def _take_report(self, entry: Revocation, now: float) -> None:
        assert entry.confirm_before is not None
        cutoff = _Cutoff(entry.confirm_before, entry.added_at, by_local_clock=entry.by_local_clock)
        if self._expires_at(cutoff) <= now:
            return
        if entry.session_id is not None:
            self._merge(self._reported, key_of(entry.scope, entry.session_id), cutoff)
        elif entry.credential is not None:
            self._dead[entry.credential] = cutoff.merged_with(self._dead.get(entry.credential))
        self.report_count += 1

    def _merge(self, table: TLRUCache[Key, _Cutoff], key: Key, cutoff: _Cutoff) -> None:
        before = table.get(key)
        table[key] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)

    def _take_for_all_users(self, scope: str, cutoff: _Cutoff, now: float, *, is_precaution: bool = False) -> bool:
        before = self._for_all_users(now).get((scope, is_precaution))
        self._all_users[scope, is_precaution] = merged = cutoff.merged_with(before)
        self.version += merged.revokes_more_than(before)
        return False

    def _shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = False
        for table in (self._users, self._unconfirmed, self._reported, self._dead):
            cutoffs = {key: table[key] for key in list(table)}
            shifted = {key: one.shifted(offset) for key, one in cutoffs.items() if one.by_local_clock}
            table.update(shifted)
            has_changed = has_changed or bool(shifted)
        local = {key: cutoff.shifted(offset) for key, cutoff in self._all_users.items() if cutoff.by_local_clock}
        self._all_users.update(local)
        has_changed = has_changed or bool(local)
        self.version += has_changed
        return has_changed

    def _is_full(self) -> bool:
        return len(self._sessions) + len(self._users) >= self.maxsize

    def _collapse(self, now: float) -> bool:
        times = [table[key].time for table in (self._users, self._unconfirmed) for key in list(table)]
        for table in (self._sessions, self._users, self._unconfirmed):
            table.clear()
        latest, is_local = max([self.now() + self._leeway, *times]), self._offset is None
        cutoff = _Cutoff(latest, now, by_local_clock=is_local, is_mixed=is_local)
        for scope in self.scopes:
            self._take_for_all_users(scope, cutoff, now, is_precaution=True)
        self.version += 1
        return True

    def _entries(self) -> Iterable[Revocation]:
        # An entry that vanishes meanwhile has expired, or is torn by a fork.
        for key in list(self._sessions):
            with contextlib.suppress(KeyError):
                scope, session_id = _parts(key)
                yield Revocation(session_id, None, None, self._sessions[key], scope=scope)
        for table in (self._reported, self._dead):
            for key in list(table):
                with contextlib.suppress(KeyError):
                    scope, name = _parts(key)
                    found = {"credential" if table is self._dead else "session_id": name}
                    yield _report_of(table[key], scope, **found)
        for key in list(self._users):
            with contextlib.suppress(KeyError):
                scope, user_id = _parts(key)
                for entry in _entries_of(user_id, self._users[key], self._unconfirmed.get(key)):
                    yield replace(entry, scope=scope)
        for (scope, is_precaution), cutoff in tuple(self._for_all_users(self.clock()).items()):
            yield Revocation(
                None,
                None,
                cutoff.time,
                cutoff.added_at,
                by_local_clock=cutoff.by_local_clock,
                is_precaution=is_precaution,
                scope=scope,
            )

    def _new_entry(
        self,
        session_id: str | None,
        user_id: str | None,
        issued_before: datetime | float | None,
        added_at: float,
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
        now = added_at + (self._offset or 0.0)
        time = now if issued_before is None else _unix_seconds(issued_before)
        if time > max(now, added_at) + MAX_CLOCK_AHEAD:
            raise ValueError("issued_before lies in the future. Is it in seconds?")
        time = min(time, now + MAX_CLOCK_AHEAD)
        by_local_clock = issued_before is None and self._offset is None
        if user_id is None:
            return Revocation(None, None, time, added_at, by_local_clock=by_local_clock)
        exempt = None if keep is None else identifier(keep)
        return Revocation(None, self._bounded(user_id), time, added_at, exempt, by_local_clock=by_local_clock)


def _covers(table: TLRUCache[Key, _Cutoff], key: Key | None, until: float) -> bool:
    """Return whether a report under that key was made within the last moment before one up to ``until``."""
    found = None if key is None else table.get(key)
    return found is not None and found.time > until - _REPEATED_SECONDS


def _report_of(
    cutoff: _Cutoff, scope: str, session_id: str | None = None, credential: str | None = None
) -> Revocation:
    times = cutoff.added_at, None, cutoff.time, cutoff.by_local_clock
    return Revocation(session_id, None, None, *times, credential, scope=scope)


def _entries_of(user_id: str, cutoff: _Cutoff, unconfirmed: _Cutoff | None) -> Iterable[Revocation]:
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
