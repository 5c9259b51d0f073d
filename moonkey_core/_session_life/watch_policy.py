"""Decide whether the session of a long-lived connection is over. Nothing here waits or makes a call.

A connection outlives what a verification proves. So the end of its session is kept, and the credential is verified
again at that end, as the session may have been extended, and wherever revocations may have been missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

from moonkey_core.auth import Auth, cache_entry, peek_identity
from moonkey_core.errors import InvalidCredentials
from moonkey_core.models import same_user
from moonkey_core.revocations import Revocations

Reason = Literal["expired", "revoked"]
"""Why a session is over."""

Verdict = Reason | Literal["verify"] | None
"""``None``: the session goes on. ``verify``: verify its credential, then call :meth:`WatchedSession.record`."""

OnFeedLost = Literal["remote", "local"]

RETRY_SECONDS = 60.0
"""Seconds between two verifications while the provider gives no definite answer."""


class Feed(Protocol):
    """The feed of revocations that other processes make."""

    def start(self) -> None:
        """Start reading, unless that has been started."""

    def lag(self) -> float | None:
        """Return for how many seconds revocations may be unknown here; ``None`` before anything was read."""
        ...


class WatchedSession:
    """The session of one connection, and when it ends. All times are Unix seconds."""

    __slots__ = (
        "_can_verify",
        "_end_is_final",
        "_last_accepted_at",
        "_last_tried_at",
        "_needs_verification",
        "ends_at",
        "is_revoked",
        "issued_at",
        "session_id",
        "user_id",
    )  # fmt: skip

    def __init__(self, auth: Auth, now: float, *, can_verify: bool) -> None:
        """Take the facts of a verified session.

        Args:
            auth: The identity of the connection's request.
            now: The current time.
            can_verify: Whether the credential is available, so that it can be verified again.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        facts = _facts_of(auth)
        if facts is None:
            raise ValueError("Nobody is signed in, so there is no session that could end.")
        self.session_id, self.user_id, self.issued_at, self.ends_at = facts
        self.is_revoked = False
        self._can_verify = can_verify
        self._last_tried_at = -math.inf
        self._last_accepted_at = now
        self._needs_verification = False
        self._end_is_final = not can_verify

    def refresh(self, revocations: Revocations) -> None:
        """Look up whether the session is revoked. It stays revoked after the table has dropped the entry."""
        if not self.is_revoked:
            self.is_revoked = revocations.refuses(self.session_id, self.user_id, self.issued_at)
        if self._can_verify and not self.is_revoked:
            self._needs_verification |= revocations.needs_introspection(
                self.session_id, self.user_id, self.issued_at
            )

    @property
    def needs_attention(self) -> bool:
        """Whether the session is revoked, or its credential has to be verified again."""
        return self.is_revoked or self._needs_verification

    def verdict(self, now: float, known_until: float, max_silence: float) -> Verdict:
        """Decide how the session stands.

        Args:
            now: The current time.
            known_until: The time until which all revocations have been looked up.
            max_silence: For how many seconds there may be no news of revocations. What Redis drops before it is
                read here has to be found out from the provider.
        """
        if self.is_revoked:
            return "revoked"
        if now >= self.ends_at:
            return "expired" if self._end_is_final else "verify"
        if self._can_verify and now - max(known_until, self._last_accepted_at) > max_silence:
            self._needs_verification = True
        return "verify" if self._needs_verification and now - self._last_tried_at >= RETRY_SECONDS else None

    def record(self, auth: Auth | None, now: float) -> None:
        """Record the result of a verification.

        Without a definite answer, and where the refused credential may be another session's, the known end counts.

        Args:
            auth: The result; ``None`` where the verification itself failed.
            now: The current time.
        """
        self._last_tried_at = now
        found = None if auth is None else _facts_of(auth)
        if found is not None and found[0] == self.session_id and same_user(found[1], self.user_id):
            self.ends_at, self._last_accepted_at, self._needs_verification = found[3], now, False
        elif auth is not None and _is_certain_end(auth) and now < self.ends_at:
            self.is_revoked = True
        self._end_is_final = now >= self.ends_at


class WatchPolicy:
    """The rules that watched sessions are judged by: the revocations, the clock, and the silence of the feed."""

    def __init__(
        self, revocations: Revocations, feed: Feed | None, on_feed_lost: OnFeedLost, clock: Callable[[], float]
    ) -> None:
        """Take what the rules need.

        Args:
            revocations: The revocations of this process.
            feed: The feed of the others' revocations, where there is one.
            on_feed_lost: The setting of that name: whether credentials are verified while the feed is lost.
            clock: Returns Unix seconds.
        """
        self.revocations = revocations
        self.clock = clock
        self._feed = feed
        self._verifies_when_lost = feed is not None and on_feed_lost == "remote"

    def watch(self, auth: Auth, *, can_verify: bool) -> WatchedSession:
        """Start to watch a session; see :class:`WatchedSession`. Starts the feed, which is needed from now on."""
        if self._feed is not None:
            self._feed.start()
        return WatchedSession(auth, self.clock(), can_verify=can_verify)

    def verdict(self, watched: WatchedSession) -> Verdict:
        """Decide how a session stands now."""
        now = self.clock()
        if self._feed is None or not self._verifies_when_lost:
            return watched.verdict(now, now, math.inf)
        lag = self._feed.lag()
        # Redis keeps an entry for the retention period; half of it leaves time to read the entry.
        return watched.verdict(now, -math.inf if lag is None else now - lag, self.revocations.retention / 2)


def _facts_of(auth: Auth) -> tuple[str, str, float | None, float] | None:
    """Return session id, user id, start and end; ``None`` unless authenticated. Does not count as access."""
    entry = cache_entry(auth)
    if entry is not None:
        return entry.session_id, entry.user_id, entry.issued_at, entry.ends_at
    verified = peek_identity(auth)
    if verified is None:
        return None
    user, session = verified
    started_at = None if session.started_at is None else session.started_at.timestamp()
    return session.id, user.id, started_at, session.expires_at.timestamp()


def _is_certain_end(auth: Auth) -> bool:
    """Return whether a result certainly means that the session is over."""
    error = auth.error
    if isinstance(error, InvalidCredentials):
        return error.session_is_over
    return not auth.is_unavailable
