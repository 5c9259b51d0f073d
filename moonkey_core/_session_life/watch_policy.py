"""Decide whether the session of a long-lived connection is over. Nothing here waits or makes a call.

A connection outlives what a verification proves. So the end of its session is kept, and the credential is verified
again at that end, as the session may have been extended, and wherever revocations may have been missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

from moonkey_core import _threads
from moonkey_core._stagger import API_SHARE, FEED_SHARE, shortened
from moonkey_core.auth import Auth, CredentialFacts, credential_facts, vouched_at
from moonkey_core.errors import ExpiredCredentials, InvalidCredentials, RevokedCredentials
from moonkey_core.revocations import DEFAULT_SCOPE, Revocations, as_it_is

Reason = Literal["expired", "revoked"]
"""Why a session is over."""

Verdict = Reason | Literal["verify"] | None
"""``None``: the session goes on. ``verify``: verify its credential, then call :meth:`WatchedSession.record`."""

OnFeedLost = Literal["remote", "bounded", "local", "refuse"]

RETRY_SECONDS = 60.0
"""Seconds between two verifications while the provider gives no definite answer, at most."""


class Feed(Protocol):
    """The feed of revocations that other processes make."""

    def start(self) -> None:
        """Start reading, unless that has been started."""

    def lag(self) -> float | None:
        """Return for how many seconds revocations may be unknown here; ``None`` before anything was read."""
        ...

    def known_for(self) -> float:
        """Return the seconds since the time up to which certainly all revocations have arrived."""
        ...


class WatchedSession:
    """The session of one connection, and when it ends. All times are Unix seconds."""

    __slots__ = (
        "_asked_until",
        "_can_verify",
        "_confirmed_until",
        "_credential",
        "_credentials",
        "_end_is_final",
        "_is_reported",
        "_key_of_user",
        "_known_reports",
        "_last_accepted_at",
        "_last_tried_at",
        "_lock",
        "_needs_verification",
        "_reported_until",
        "_tried_until",
        "_verified_until",
        "_vouched_at",
        "ends_at",
        "generation",
        "is_revoked",
        "issued_at",
        "scope",
        "session_id",
        "user_id",
    )  # fmt: skip

    def __init__(
        self,
        auth: Auth,
        now: float,
        *,
        can_verify: bool,
        credentials: tuple[str, ...] = (),
        key_of_user: Callable[[str], str] = as_it_is,
    ) -> None:
        """Take the facts of a verified session.

        Args:
            auth: The identity of the connection's request.
            now: The current time.
            can_verify: Whether the credential is available, so that it can be verified again.
            credentials: The keyed digests of the credential, where it is known; one for each secret.
            key_of_user: Returns the one spelling of a user's id.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        facts = credential_facts(auth)
        if facts is None:
            raise ValueError("Nobody is signed in, so there is no session that could end.")
        self._credential, self._key_of_user = facts, key_of_user
        self.session_id: str = facts.session_id
        self.user_id: str = facts.user_id
        self.scope: str = facts.scope
        self.issued_at: float | None = facts.started_at
        self.ends_at: float = facts.ends_at
        self.generation: int = 0  # of the credential
        self._lock = _threads.lock()
        self.is_revoked: bool = False
        self._credentials = credentials
        self._vouched_at = vouched_at(auth)
        self._is_reported = False  # a credential of the session is dead; the session itself may go on
        self._reported_until = self._verified_until = -math.inf if self._vouched_at is None else self._vouched_at
        self._known_reports = -1
        # Where more sessions were ended than are remembered: until when, and until when this was not one of them.
        self._asked_until = self._tried_until = -math.inf
        self._confirmed_until = _before(self._vouched_at)
        self._can_verify = can_verify
        self._last_tried_at = -math.inf
        self._last_accepted_at = _accepted_at(self._vouched_at, now)
        self._needs_verification = False
        self._end_is_final = not can_verify

    def refresh(self, revocations: Revocations) -> None:
        """Look up whether the session is revoked. It stays revoked after the table has dropped the entry.

        Where a credential of the session was reported dead, the session has to be verified; so it has where more
        sessions were ended than are remembered. Where that is not possible, and where the dead credential is the
        one of this connection, it counts as revoked.
        """
        if not self.is_revoked:
            facts = self.session_id, self.user_id, self.issued_at
            self.is_revoked = revocations.refuses(*facts, *self._other_scope)
        if self._known_reports != revocations.report_count and not self.is_revoked:
            self._known_reports = revocations.report_count
            self._look_up_reports(revocations)
        if self._can_verify and not self.is_revoked:
            self._needs_verification |= self._is_reported or revocations.needs_introspection(
                self.session_id, self.user_id, self.issued_at, math.inf, self.scope
            )

    @property
    def _other_scope(self) -> tuple[str, ...]:
        """The scope of the ids, unless it is the default one."""
        return () if self.scope == DEFAULT_SCOPE else (self.scope,)

    def _look_up_reports(self, revocations: Revocations) -> None:
        self._asked_until = max(self._asked_until, revocations.asked_until(self.user_id, self.scope))
        if self._asked_until > self._confirmed_until:
            self._needs_verification = True
            self.is_revoked = not self._can_verify
        until = revocations.reported_until(self.session_id, self.scope)
        if revocations.is_reported_dead(self._credentials, self._vouched_at):
            self.is_revoked = True
            if until <= self._reported_until:  # the other connections of the session are to be verified
                revocations.add_report(session_id=self.session_id, scope=self.scope)
        elif until > self._reported_until:
            self._reported_until, self._is_reported = until, True
            self.is_revoked = not self._can_verify

    @property
    def needs_attention(self) -> bool:
        """Whether the session is revoked, or its credential has to be verified again."""
        return self.is_revoked or self._needs_verification

    def verdict(self, now: float, known_until: float, max_silence: float) -> Verdict:
        """Decide how the session stands.

        Args:
            now: The current time.
            known_until: The time until which all revocations have been looked up.
            max_silence: For how many seconds there may be no news of revocations. It is shortened by a part of
                it that differs among sessions, so that not all are verified at the same moment.
        """
        if self.is_revoked:
            return "revoked"
        if now >= self.ends_at:
            return "expired" if self._end_is_final else "verify"
        is_silent = self._can_verify and now > self._silent_at(known_until, max_silence)
        self._needs_verification |= is_silent
        is_new = self._is_reported or self._asked_until > max(self._tried_until, self._confirmed_until)
        is_new |= is_silent and self._was_answered
        if self._needs_verification and (is_new or now >= self._retry_at):
            self._verified_until, self._tried_until = self._reported_until, self._asked_until
            return "verify"
        return None

    def changes_at(self, known_until: float, max_silence: float) -> float:
        """Return when the verdict changes by itself at the earliest, by the arguments of :meth:`verdict`."""
        if not self._can_verify:
            return self.ends_at
        due_at = self._silent_at(known_until, max_silence) if self._was_answered else self._retry_at
        if self._needs_verification:
            due_at = min(due_at, self._retry_at)
        return min(self.ends_at, due_at)

    @property
    def _was_answered(self) -> bool:
        """Whether the last verification, if there was one, has confirmed the session."""
        return self._last_accepted_at >= self._last_tried_at

    def _silent_at(self, known_until: float, max_silence: float) -> float:
        """Return when there has been no news for too long."""
        since = self._last_accepted_at
        return max(known_until, since) + shortened(max_silence, FEED_SHARE, self.session_id, since)

    @property
    def _retry_at(self) -> float:
        """When the next verification may be tried, after one without a definite answer."""
        tried_at = self._last_tried_at
        return tried_at + shortened(RETRY_SECONDS, API_SHARE, self.session_id, tried_at)

    def record(self, auth: Auth | None, now: float, generation: int | None = None) -> None:
        """Record the result of a verification.

        Without a definite answer, and where the refused credential may be another session's, the known end counts.
        But where a credential of the session was reported dead, the session is over unless the provider confirms
        it, or the credential was replaced.

        Args:
            auth: The result; ``None`` where the verification itself failed.
            now: The current time.
            generation: That of the credential when its verification began. What is found out about a credential
                that has been renewed meanwhile says nothing any more.
        """
        with self._lock:
            if generation is None or generation == self.generation:
                self._record(auth, now)

    def _record(self, auth: Auth | None, now: float) -> None:
        self._last_tried_at = now
        found = None if auth is None else credential_facts(auth)
        if found is not None and self._is_same(found):
            self.ends_at, self._last_accepted_at, self._needs_verification = found.ends_at, now, False
            at = None if auth is None else vouched_at(auth)
            self._confirmed_until = max(self._confirmed_until, self._tried_until, _before(at))
        elif auth is not None and _is_certain_end(auth) and now < self.ends_at:
            self.is_revoked = True
        else:
            self.is_revoked |= self._is_reported and not (auth is not None and _is_replaced(auth))
        self._is_reported = self._reported_until > self._verified_until  # by a report that came meanwhile
        self._needs_verification |= self._is_reported or self._asked_until > self._confirmed_until
        self._end_is_final = now >= self.ends_at

    def renew(self, auth: Auth, now: float, credentials: tuple[str, ...], revocations: Revocations) -> None:
        """Go on with a newer credential of the same user and session, by which the connection ends from now on.

        Args:
            auth: The identity that the credential has just proved.
            now: The current time.
            credentials: The keyed digests of the credential, one for each secret.
            revocations: The revocations of this process.

        Raises:
            InvalidCredentials: It proves no user, another user or session, or is older; nothing changes.
            RevokedCredentials: The session of the connection is revoked.
            ExpiredCredentials: The connection has come to its end.
        """
        facts = credential_facts(auth)
        with self._lock:
            if self.is_revoked:
                raise RevokedCredentials()
            if self._end_is_final and now >= self.ends_at:
                raise ExpiredCredentials()
            lack = "It proves no user." if facts is None else self._lack_of(facts)
            if facts is None or lack is not None:
                raise InvalidCredentials(reason="renewal_refused", evidence=lack or "", session_is_over=False)
            self.generation += 1
            self._credentials, self._vouched_at = credentials, vouched_at(auth)
            self._credential = facts
            self.session_id, self.user_id = facts.session_id, facts.user_id
            self.issued_at, self.ends_at = facts.started_at, facts.ends_at
            self._can_verify, self._end_is_final = True, False
            self._last_accepted_at, self._last_tried_at = _accepted_at(self._vouched_at, now), -math.inf
            self._needs_verification = self._is_reported = False
            self._reported_until = self._verified_until = (
                -math.inf if self._vouched_at is None else self._vouched_at
            )
            self._asked_until = self._tried_until = -math.inf
            self._confirmed_until = _before(self._vouched_at)
            self._known_reports = -1
        self.refresh(revocations)  # by what was added until now

    def _lack_of(self, new: CredentialFacts) -> str | None:
        """Return why a credential cannot take the place of the present one; ``None`` if it can."""
        held = self._credential
        if not self._is_same_principal(new):
            return "It is another user's."
        if new.session_id != held.session_id and (new.names_session or held.names_session):
            return "It is of another session."
        date, held_date = new.issued_at, held.issued_at
        if date is not None and held_date is not None:
            return "It is older." if date < held_date else None
        # The end of a session is what the provider says now. That of a token is the token's own.
        is_older = new.ends_at < held.ends_at and new.ends_with_token
        return "It ends earlier." if is_older else None

    def _is_same(self, found: CredentialFacts) -> bool:
        return found.session_id == self.session_id and self._is_same_principal(found)

    def _is_same_principal(self, found: CredentialFacts) -> bool:
        held = self._credential
        if (found.scope, found.principal) != (held.scope, held.principal):
            return False
        return self._key_of_user(found.user_id) == self._key_of_user(held.user_id)


class WatchPolicy:
    """The rules that watched sessions are judged by: the revocations, the clock, and the silence of the feed."""

    def __init__(
        self,
        revocations: Revocations,
        feed: Feed | None,
        on_feed_lost: OnFeedLost,
        clock: Callable[[], float],
        feed_lost_bound: float,
    ) -> None:
        """Take what the rules need.

        Args:
            revocations: The revocations of this process.
            feed: The feed of the others' revocations, where there is one.
            on_feed_lost: The setting of that name: whether credentials are verified while the feed is lost.
            clock: Returns Unix seconds.
            feed_lost_bound: The setting of that name, in seconds.
        """
        self.revocations = revocations
        self.clock = clock
        self._feed = feed
        self._bound = feed_lost_bound if on_feed_lost == "bounded" else None
        self._verifies_when_lost = feed is not None and on_feed_lost != "local"

    def watch(self, auth: Auth, *, can_verify: bool, credentials: tuple[str, ...] = ()) -> WatchedSession:
        """Start to watch a session; see :class:`WatchedSession`. Starts the feed, which is needed from now on."""
        if self._feed is not None:
            self._feed.start()
        return WatchedSession(
            auth,
            self.clock(),
            can_verify=can_verify,
            credentials=credentials,
            key_of_user=self.revocations.key_of_user,
        )

    def verdict(self, watched: WatchedSession) -> Verdict:
        """Decide how a session stands now."""
        now = self.clock()
        return watched.verdict(now, *self._news(now))

    def seconds_left(self, watched: WatchedSession) -> float:
        """Return in how many seconds the verdict changes by itself at the earliest."""
        now = self.clock()
        return watched.changes_at(*self._news(now)) - now

    def _news(self, now: float) -> tuple[float, float]:
        """Return until when revocations are known, and for how many seconds there may be no news of them."""
        feed = self._feed
        if feed is None or not self._verifies_when_lost:
            return now, math.inf
        if self._bound is not None:
            return now - feed.known_for(), self._bound
        lag = feed.lag()
        # What Redis drops before it is read here has to be found out from the provider. Redis keeps an entry for
        # the retention period; half of it leaves time to read the entry.
        return -math.inf if lag is None else now - lag, self.revocations.retention / 2


def _is_certain_end(auth: Auth) -> bool:
    """Return whether a result certainly means that the session is over."""
    error = auth.error
    if isinstance(error, InvalidCredentials):
        return error.session_is_over
    return not auth.is_unavailable


def _is_replaced(auth: Auth) -> bool:
    """Return whether a result means that the session goes on with another credential."""
    return auth.error is not None and auth.error.reason == "token_replaced"


def _accepted_at(vouched_at: float | None, now: float) -> float:
    """Return when a credential was accepted: it may be remembered, and the provider have vouched for it before."""
    return now if vouched_at is None else min(vouched_at, now)


def _before(vouched_at: float | None) -> float:
    """Return the latest time of which it is certain that the provider has vouched after it."""
    return -math.inf if vouched_at is None else math.nextafter(vouched_at, -math.inf)
