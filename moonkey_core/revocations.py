"""Revoked sessions and users, and everything issued before a time, in memory.

Never blocks and does no I/O. An entry is kept until every JWT that it affects has expired.

Each provider has a table of its own. In a table, an id belongs to a scope, which is that of its issuer: so equal
ids of two scopes never meet.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from moonkey_core import _clock, _threads
from moonkey_core._fork import reset_after_fork, weak_method
from moonkey_core._provider import Provider
from moonkey_core._publication import RevocationHandle as RevocationHandle
from moonkey_core._publication import RevocationState as RevocationState
from moonkey_core._publication import Ticket
from moonkey_core._repeated_log import log_repeated
from moonkey_core._revocations.dating import Dating
from moonkey_core._revocations.dating import retention as retention
from moonkey_core._revocations.entry import MAX_CLOCK_AHEAD as MAX_CLOCK_AHEAD
from moonkey_core._revocations.entry import Revocation, credential_id, credential_in, parts_of, unix_seconds
from moonkey_core._revocations.entry import as_it_is as as_it_is
from moonkey_core._revocations.entry import checked_scope as checked_scope
from moonkey_core._revocations.overflow import Overflow
from moonkey_core._revocations.reports import Reports
from moonkey_core._revocations.tables import Tables
from moonkey_core._verified import DEFAULT_SCOPE as DEFAULT_SCOPE
from moonkey_core._verified import Key, key_of
from moonkey_core.errors import RevocationsFull
from moonkey_core.models import identifier
from moonkey_core.settings import Settings

__all__ = ["Revocation", "RevocationHandle", "RevocationState", "Revocations"]

logger: logging.Logger = logging.getLogger("moonkey")

_INSTANT = 0.001


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
        max_untold=settings.max_untold_revocations,
        leeway=settings.leeway,
        clock=clock,
    )
    if provider is None:
        return table()
    return table(
        provider=provider.name,
        scopes=_scope_by_issuer(provider),
        key_of_user=provider.key_of_user,
        raises_when_full="introspect" not in provider.capabilities,
    )


def _scope_by_issuer(provider: Provider) -> Mapping[str, str]:
    """Return the scope of each issuer of a provider, also where all of them have the one that bears its name."""
    issuers = () if provider.jwt_rules is None else provider.jwt_rules.issuers
    own = {provider.name: provider.name}
    return dict.fromkeys(issuers, provider.name) if issuers and provider.scopes == own else provider.scopes


class Revocations:
    """A table of revoked sessions and users, which every verification looks up. Thread-safe.

    Entries are kept for ``retention`` seconds. Of sessions that the API itself has ended, ``maxsize`` are kept
    singly, a few of them of one user. Of the others only the time is remembered, and the API is asked about what
    it has not vouched for since then (:meth:`needs_introspection`).

    What the API was not told is remembered up to ``max_untold`` entries, users included. Beyond, all of them are
    one entry, a precaution: everything issued before now. So the table may refuse too much, but it never forgets.
    Where the provider cannot be asked about what is refused so, nothing becomes a precaution: the call that would
    add one more raises instead.

    An answer for which :meth:`refuses` was false stays valid while ``version`` is the same. Read the version
    first.

    Args:
        retention: Seconds for which an entry is kept.
        maxsize: The number of ended sessions; where the table raises, of all entries.
        leeway: Seconds that the clock of the issuer may be ahead of that of this machine.
        clock: The clock of this machine, in Unix seconds. Entries age by it, as do the JWTs that are verified
            here. What is revoked "until now" is dated by :meth:`now`.
        provider: The name of the provider whose sessions these are.
        scopes: The scope of each of its issuers. Without issuers, the default scope is the only one.
        key_of_user: Returns the normal form of the provider's user ids.
        raises_when_full: Whether a full table takes no more in from its own process.
        max_untold: The number of other entries; ``maxsize`` if not given.

    Attributes:
        scopes: All scopes of the provider.
        is_feed_full: Whether the feed has no room for more. It counts where the table raises when it is full.
        revokes_credentials: Whether any credential was revoked by itself, see :meth:`add_credential`.
        version: Changes with every entry that revokes more than before, and with every report on a session.
        report_count: The number of reports on sessions and credentials so far.
        listeners: Are called with every entry that is added in this process. One that sends it to other processes
            returns a ticket, which shows how far that is.
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
        max_untold: int | None = None,
    ) -> None:
        self.provider = provider
        self.issuers: Mapping[str, str] = {
            issuer: checked_scope(scope) for issuer, scope in (scopes or {}).items()
        }
        self.scopes: tuple[str, ...] = tuple(dict.fromkeys(self.issuers.values())) or (DEFAULT_SCOPE,)
        self.key_of_user = key_of_user
        self.raises_when_full = raises_when_full
        self.version: int = 0
        self.revokes_credentials: bool = False
        self._refuses_any = False  # whether there was ever an entry that is more than a report
        self.report_count: int = 0
        self.listeners: tuple[Callable[[Revocation], Ticket | None], ...] = ()
        self.watchers: tuple[Callable[[], Callable[[], None] | None], ...] = ()
        self.clock = clock
        self._dating = Dating(retention, leeway, clock)
        self._overflow = Overflow(self._dating, maxsize)
        self._revoked = Tables(
            self._dating,
            self._overflow,
            maxsize,
            maxsize if max_untold is None or raises_when_full else max_untold,
            self.scopes,
            key_of_user,
            raises_when_full=raises_when_full,
        )
        self._reports = Reports(self._dating, maxsize, self._overflow)
        self._lock = _threads.lock()
        reset_after_fork(self.reset_lock)

    @property
    def retention(self) -> float:
        """Seconds for which an entry is kept."""
        return self._dating.retention

    @property
    def maxsize(self) -> int:
        """The number of ended sessions that are remembered singly."""
        return self._revoked.maxsize

    @property
    def max_untold(self) -> int:
        """The number of revocations that the API was not told of, those of users included."""
        return self._revoked.max_untold

    @max_untold.setter
    def max_untold(self, max_untold: int) -> None:
        self._revoked.max_untold = max_untold

    @property
    def is_feed_full(self) -> bool:
        """Whether the feed has no room for more. It counts where the table raises when it is full."""
        return self._revoked.is_feed_full

    @is_feed_full.setter
    def is_feed_full(self, is_full: bool) -> None:
        self._revoked.is_feed_full = is_full

    def empty_copy(self) -> Revocations:
        """Return an empty table of the same provider, with the same bounds and the same clock."""
        return Revocations(
            retention=self.retention,
            maxsize=self.maxsize,
            leeway=self._dating.leeway,
            clock=self.clock,
            provider=self.provider,
            scopes=self.issuers,
            key_of_user=self.key_of_user,
            raises_when_full=self.raises_when_full,
            max_untold=self.max_untold,
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
    ) -> RevocationHandle:
        """Revoke a session, or what was issued to one user or to all users up to a time.

        Nothing changes at the API: this is for sessions that were, or are about to be, ended there, and for those
        of a user who must sign in again.

        Args:
            session_id: The session. Give it alone.
            user_id: The user whose sessions are revoked. Without it and ``session_id``, those of all users are.
            issued_before: The time, as an aware datetime or in Unix seconds, a minute ahead at most. The default
                for a user is now; without a user it is required. Where the clock that dates credentials is known
                to be ahead, by the replies of the API to this process, the default is as much later, by
                ``leeway`` at most.
            keep: The id of one session of the user that is not revoked. A process of an earlier version does not
                know of this, and refuses that session as well.
            provider: The name of the provider. It may be left out where there is only one.
            issuer: The issuer of the session or user. An id needs it where the provider has several; without an
                id, all of them are meant otherwise.

        Returns:
            A handle, whose ``state`` says whether the other processes of the app are sure to learn of it. This
            method does not wait for that; ``wait()`` of the handle does.

        Raises:
            ValueError: Any other combination or value.
            RevocationsFull: There are too many revocations to remember one more, and the provider cannot be asked
                about a session. Nothing was revoked by this call, and nothing was forgotten.
        """
        added_at = self.clock()
        is_for_all = session_id is None and user_id is None
        scopes = self._scopes_of(provider, issuer, is_for_all=is_for_all)
        entry = self._new_entry(session_id, user_id, issued_before, added_at, keep)
        return RevocationHandle.joined(self._publish(replace(entry, scope=scope), added_at) for scope in scopes)

    def provider_of(self, provider: str | None = None, issuer: str | None = None) -> str:
        """Return the name of the provider that one or both of the arguments name.

        Args:
            provider: Its name. It may be left out where there is only one, or where ``issuer`` says which one.
            issuer: One of its issuers.

        Raises:
            ValueError: There is no such provider or issuer, or there are several and none is named.
        """
        self._scopes_of(provider, issuer, is_for_all=True)
        return self.provider

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

    def add_session(
        self,
        session_id: str,
        user_id: str | None = None,
        *,
        scope: str | None = None,
        is_ended: bool = False,
    ) -> RevocationHandle:
        """Revoke a session, as :meth:`add` does, and note whose it is and what the API knows of it.

        Args:
            session_id: The session.
            user_id: Its user, where that is known.
            scope: The scope of the session; ``None`` where the provider has only one.
            is_ended: Whether the API has confirmed that it has ended the session, so that it accepts none of its
                credentials. Where there are too many such sessions, the API is asked.

        Returns:
            As :meth:`add`.

        Raises:
            ValueError: An id is malformed, or the scope is needed.
            RevocationsFull: As for :meth:`add`.
        """
        (scope,) = self._scopes_of(None, scope, is_for_all=False)
        entry = Revocation(identifier(session_id), None, None, self.clock(), scope=scope, is_ended=is_ended)
        return self._publish(replace(entry, owner=self._owner(user_id)), entry.added_at)

    def add_record(self, record_id: str, group: str, *, scope: str) -> RevocationHandle:
        """End what this app has recorded of a user.

        Args:
            record_id: The id of the record.
            group: The id of all records of the user, which ends those made before.
            scope: The scope of the user.

        Returns:
            As :meth:`add`.

        Raises:
            RevocationsFull: As for :meth:`add`.
        """
        (scope,) = self._scopes_of(None, scope, is_for_all=False)
        entry = Revocation(identifier(record_id), None, None, self.clock(), scope=scope)
        return self._publish(replace(entry, owner=group, is_record=True), entry.added_at)

    def _owner(self, user_id: str | None) -> str | None:
        with contextlib.suppress(ValueError):
            return self._bounded(user_id) if user_id else None
        return None

    def add_cutoff(
        self,
        user_id: str,
        *,
        keep: str | None = None,
        scope: str | None = None,
        at: float | None = None,
        is_ended: bool = False,
    ) -> RevocationHandle:
        """Revoke what was issued to a user until now, except for the session with the id ``keep``, if any.

        The API dates sessions in whole seconds, by a clock that may differ by ``leeway``. What began about now may
        be a sign-in that comes after this call, so the API has to confirm it each time.

        Args:
            user_id: The user.
            keep: The id of one session that is not revoked.
            scope: The scope of the user; ``None`` where the provider has only one.
            at: The time instead of now, by :meth:`now`.
            is_ended: Whether the API has confirmed that it has ended all these sessions.

        Raises:
            ValueError: An id is malformed.
            RevocationsFull: As for :meth:`add`.
        """
        added_at, now = self.clock(), self.now() if at is None else at
        certain = math.floor(now - self._dating.leeway) - _INSTANT
        exempt = None if keep is None else identifier(keep)
        bounded, confirm_before = self._bounded(user_id), now + self._dating.leeway
        by_local_clock = self._dating.offset is None
        entry = Revocation(None, bounded, certain, added_at, exempt, confirm_before, by_local_clock)
        return self._publish(replace(entry, scope=scope or self.scopes[0], is_ended=is_ended), added_at)

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
        until, by_local_clock = self.now() + self._dating.leeway, self._dating.offset is None
        with self._lock:
            is_repeated = self._reports.are_repeated(credentials, until)
            scopes = self.scopes if scope is None else (scope,)
            is_session_repeated = is_repeated and all(
                self._reports.is_session_repeated(None if session_id is None else key_of(one, session_id), until)
                for one in scopes
            )
        if is_repeated and (session_id is None or is_session_repeated):
            return True  # by one of many requests that have shared a call
        is_published = is_known or self._may_report_unknown()
        report = Revocation(None, None, None, added_at, None, until, by_local_clock)
        if session_id is not None and is_published:
            for one in scopes:
                self._publish(replace(report, session_id=identifier(session_id), scope=one), added_at)
        add: Callable[[Revocation, float], object] = self._publish if is_published else self._take
        for credential in () if is_repeated else credentials:
            add(replace(report, credential=credential), added_at)
        return is_published

    def add_credential(self, credentials: Collection[str]) -> RevocationHandle | None:
        """Revoke a credential whose session is not known here, in all processes of the app.

        A process that has accepted it knows its session, and revokes that.

        Args:
            credentials: The keyed digests of the credential, the same in all processes; one for each secret.

        Returns:
            As :meth:`add`, where it was not revoked before; ``None`` where it was not revoked. Strangers can cause
            it, so only so many are.

        Raises:
            RevocationsFull: As :meth:`add` does.
        """
        if all(self.refuses_credential([one]) for one in credentials):
            return RevocationHandle()  # the call that revoked it has the verdict
        if not self._may_report_unknown():
            return None
        return RevocationHandle.joined(
            [self.add(session_id=credential_id(one), issuer=self.scopes[0]) for one in credentials]
        )

    def refuses_credential(self, credentials: Iterable[str]) -> bool:
        """Return whether a credential was revoked by itself. See ``revokes_credentials`` first."""
        with self._lock:
            return any(self._revoked.has_session(self._key(None, credential_id(one))) for one in credentials)

    def note_session(self, credentials: Iterable[str], session_id: str, scope: str | None = None) -> None:
        """Remember the session of a credential that was accepted, for a report on it by who knows only its digest.

        Args:
            credentials: Its keyed digests, one for each secret.
            session_id: Its session.
            scope: The scope of the session.
        """
        with self._lock:
            self._reports.note_session(credentials, self._key(scope, session_id))

    def _may_report_unknown(self) -> bool:
        with self._lock:
            return self._reports.may_take_unknown()

    def _publish(self, entry: Revocation, now: float) -> RevocationHandle:
        self._take(entry, now, is_new=True)
        tickets = []
        for listener in self.listeners:
            try:
                tickets.append(listener(entry))
            except Exception:
                logger.exception("revocations: a listener failed", extra={"reason": "listener_failed"})
        return RevocationHandle(ticket for ticket in tickets if ticket is not None)

    def now(self) -> float:
        """Return the Unix seconds by the clock that all processes of an app have in common, as far as it is known.

        With a feed that is the clock of the Redis server: that of this machine and the offset that was measured
        last.
        """
        return self._dating.now()

    def set_clock_offset(self, offset: float) -> None:
        """Set how many seconds the common clock is ahead. Entries that were dated without it are corrected."""
        with self._lock:
            was_known = self._dating.offset is not None
            self._dating.set_offset(offset)
            has_changed = not was_known and self._shift_local(offset)
        if has_changed:
            self._notify_watchers()

    def set_issuer_offset(self, offset: float) -> None:
        """Set how many seconds the clock that dates credentials is ahead of that of this machine, if it is proven.

        Args:
            offset: The seconds; where that is not exact, the least ones.
        """
        self._dating.issuer_offset = offset

    def raise_retention(self, retention: float, leeway: float) -> None:
        """Keep what is added from now on for at least so long, as one more client relies on this table."""
        self._dating.retention = max(self._dating.retention, retention)
        self._dating.leeway = max(self._dating.leeway, leeway)

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
        self._take(replace(entry, added_at=now) if entry.added_at > now else entry, now)

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
            return self._revoked.refuses(scope or self.scopes[0], session_id, user_id, issued_at)

    def is_precautionary(
        self, session_id: str, user_id: str, issued_at: float | None, scope: str | None = None
    ) -> bool:
        """Return whether a credential is refused only because there are too many revocations to remember singly.

        Its session may well go on. The arguments are those of :meth:`refuses`.
        """
        with self._lock:
            return self._revoked.is_precautionary(scope or self.scopes[0], session_id, user_id, issued_at)

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
            return self._revoked.ends_record(scope or self.scopes[0], record_ids, session_id, user_id, made_at)

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
            vouched_at: When the API vouched for it last, by the clock of this machine. Reports since then count,
                and so do sessions that were ended since then and are not remembered singly.
            scope: As for :meth:`refuses`.
        """
        if self.version == 0:
            return False
        with self._lock:
            found = scope or self.scopes[0]
            if self._refuses_any and self._revoked.is_unconfirmed(found, session_id, user_id, issued_at):
                return True
            session = self._reports.of_session(key_of(found, session_id))
            asks_any = self._overflow.version != 0  # mostly not, and each JWT at first sight comes here
            ended = self._overflow.time_of(found, self._revoked.user_key(found, user_id)) if asks_any else None
        if session is None and ended is None:
            return False
        at = self._dating.by_common_clock(vouched_at)
        return any(cutoff is not None and cutoff.covers(at) for cutoff in (session, ended))

    def concerns_none_of(self, session_id: str, scope: str) -> bool:
        """Return whether certainly no entry is about a credential of a session, as is usual.

        Where it is true, :meth:`refuses` and :meth:`needs_introspection` are false, whatever their other
        arguments. It takes a third of their time.
        """
        if self.version == 0:
            return True
        if self._refuses_any:
            return False
        with self._lock:  # a report may be about to become one on all sessions
            return self._overflow.version == 0 and not self._reports.names(session_id, scope)

    def asked_until(self, user_id: str, scope: str | None = None) -> float:
        """Return since when the API has to have vouched for what a user presents, by the clock of this machine.

        That is where more sessions were ended than are remembered singly. Minus infinity where none was.
        """
        if self.version == 0:
            return -math.inf
        with self._lock:
            found = scope or self.scopes[0]
            cutoff = self._overflow.time_of(found, self._revoked.user_key(found, user_id))
        return -math.inf if cutoff is None else cutoff.time - (self._dating.offset or 0.0)

    def _key(self, scope: str | None, value: str) -> Key:
        return key_of(scope or self.scopes[0], value)

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
            return self._reports.reported_until(self._key(scope, session_id))

    def is_reported_dead(self, credentials: Iterable[str], vouched_at: float | None) -> bool:
        """Return whether a credential was reported dead since the API vouched for it.

        Args:
            credentials: Its keyed digests, one for each secret.
            vouched_at: When the API vouched for it, by the clock of this machine; ``None`` where unknown.
        """
        at = self._dating.by_common_clock(vouched_at)
        with self._lock:
            found = self._reports.of_credentials(credentials)
        return any(cutoff is not None and cutoff.covers(at) for cutoff in found)

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
            for part in (self._revoked, self._reports, self._overflow):
                part.clear()
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
        return self._revoked.counts()

    def _take(self, entry: Revocation, now: float, *, is_new: bool = False) -> None:
        """Take an entry in. ``is_new``: it is of a call in this process, which a full table may refuse."""
        with self._lock:
            before = self.version, self.report_count
            folds, asks = self._revoked.fold_count, self._overflow.for_all_count
            has_collapsed = self._take_locked(entry, now, is_new=is_new)
            has_changed = (self.version, self.report_count) != before
            has_folded, asks_all = self._revoked.fold_count != folds, self._overflow.for_all_count != asks
            unreported = self._reports.unreported_session(entry) if has_changed else None
            ended = self._session_of_ended(entry) if has_changed else None
        self._log_bounds(has_collapsed=has_collapsed, has_folded=has_folded, asks_all=asks_all)
        if ended is not None:
            # Where there is no room, the credential itself is refused, when it is verified anew.
            with contextlib.suppress(RevocationsFull):
                self.add(session_id=parts_of(ended)[1], issuer=parts_of(ended)[0])
        if unreported is not None:  # only here it is known whose the credential was
            scope, session_id = parts_of(unreported)
            self.add_report(session_id=session_id, scope=scope)
        elif has_changed:
            self._notify_watchers()

    def _log_bounds(self, *, has_collapsed: bool, has_folded: bool, asks_all: bool) -> None:
        """Log which bounds were reached; not under the lock, as a log handler may block."""
        if has_collapsed:
            logger.error(
                "revocations: more than %d that the API was not told of; everything issued before now is refused",
                self.max_untold,
                extra={"reason": "revocations_full"},
            )
        if has_folded:
            log_repeated(
                logging.WARNING,
                "revocations: hardly any room; users with many sessions that the API was not told to end are "
                "refused in all their sessions",
                extra={"reason": "revocations_folded"},
            )
        if asks_all:
            log_repeated(
                logging.WARNING,
                "revocations: more than %d ended sessions; the API is asked about what it has not vouched for "
                "since the oldest of them",
                self.maxsize,
                extra={"reason": "revocations_overflow"},
            )

    def _session_of_ended(self, entry: Revocation) -> Key | None:
        """Return the session of a credential that was just revoked by itself, where it was accepted here."""
        credential = credential_in(entry)
        if credential is None:
            return None
        self.revokes_credentials = True
        session = self._reports.session_of(credential)
        return None if session is None or self._revoked.has_session(session) else session

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
        if self._dating.offset is not None:  # it may not have been known when the entry was made
            entry = entry.shifted(self._dating.offset)
        has_collapsed = False
        if entry.is_report:
            self._reports.take(entry, now)
        else:
            self._refuses_any = True  # before the version changes: readers take no lock for it
            if entry.is_overflow:
                user = None if entry.user_id is None else self._revoked.user_key(entry.scope, entry.user_id)
                self._overflow.take(entry, user)
            else:
                has_collapsed = self._revoked.take(entry, now, is_new=is_new)
        self._note_changes()
        return has_collapsed

    def _note_changes(self) -> None:
        """Publish the counts of changes, which readers look at without the lock."""
        self.report_count = self._reports.count + self._overflow.version
        self.version = self._revoked.version + self._reports.version + self._overflow.version

    def _shift_local(self, offset: float) -> bool:
        """Shift what was dated by the clock of this machine, and return whether that was anything."""
        has_changed = self._revoked.shift_local(offset)
        has_changed = self._reports.shift_local(offset) or has_changed
        has_changed = self._overflow.shift_local(offset) or has_changed
        self._revoked.version += has_changed
        self._note_changes()
        return has_changed

    def _entries(self) -> Iterable[Revocation]:
        yield from self._revoked.entries()
        yield from self._reports.entries()
        yield from self._overflow.entries()

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
        now = self._dating.now()
        time = self._dating.latest_date() if issued_before is None else unix_seconds(issued_before)
        if time > max(now, added_at) + MAX_CLOCK_AHEAD:
            raise ValueError("issued_before lies in the future. Is it in seconds?")
        time = min(time, now + MAX_CLOCK_AHEAD)
        by_local_clock = issued_before is None and self._dating.offset is None
        if user_id is None:
            return Revocation(None, None, time, added_at, by_local_clock=by_local_clock)
        exempt = None if keep is None else identifier(keep)
        return Revocation(None, self._bounded(user_id), time, added_at, exempt, by_local_clock=by_local_clock)
