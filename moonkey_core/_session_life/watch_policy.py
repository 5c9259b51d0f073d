"""One long-lived connection and the session it lives on: is it over? Nothing here waits or asks.

A connection outlives what a verification proves. So it keeps in mind when its session ends, and asks again at that
end, as the session may have been extended; and where revocations may have been missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

from moonkey_core.auth import Auth
from moonkey_core.errors import InvalidCredentials
from moonkey_core.models import same_user
from moonkey_core.revocations import Revocations

Reason = Literal["expired", "revoked"]
"""Why it is over."""

Verdict = Reason | Literal["ask"] | None
"""``None``: it goes on. ``ask``: verify the credential, and tell :meth:`Binding.take` what came of it."""

OnFeedLost = Literal["remote", "local"]

PAUSE = 60.0
"""Seconds between two questions where no answer can be had."""


class Feed(Protocol):
    """What tells of revocations elsewhere."""

    def start(self) -> None:
        """Begin, unless it has begun."""

    def lag(self) -> float | None:
        """Seconds since the moment until which everything is known here; ``None`` before there is one."""
        ...


class Binding:
    """One connection and its session. All times are Unix seconds."""

    __slots__ = (
        "_asked_at", "_asks", "_good_at", "_is_doubtful", "_is_final", "ends_at", "is_revoked", "issued_at",
        "session_id", "user_id",
    )  # fmt: skip

    def __init__(self, auth: Auth, now: float, *, asks: bool) -> None:
        """``asks``: whether its credential is at hand. Raises ``ValueError`` unless ``auth`` is authenticated."""
        proven = _proven(auth)
        if proven is None:
            raise ValueError("Nobody is signed in, so there is no session that could end.")
        self.session_id, self.user_id, self.issued_at, self.ends_at = proven
        self.is_revoked = False
        self._asks = asks
        self._asked_at = -math.inf
        self._good_at = now
        self._is_doubtful = False
        self._is_final = not asks

    def look(self, revocations: Revocations) -> None:
        """See whether it is revoked. It stays so, however soon the table forgets."""
        if not self.is_revoked:
            self.is_revoked = revocations.refuses(self.session_id, self.user_id, self.issued_at)
        if self._asks and not self.is_revoked:
            self._is_doubtful |= revocations.doubts(self.session_id, self.user_id, self.issued_at)

    @property
    def needs_attention(self) -> bool:
        """Whether it is revoked, or the API has to be asked about it."""
        return self.is_revoked or self._is_doubtful

    def verdict(self, now: float, news: float, patience: float) -> Verdict:
        """How it stands at ``now``. All revocations until ``news`` have been looked at.

        ``patience``: for how many seconds there may be no news. What Redis drops before we can read it has to be
        found out from the API.
        """
        if self.is_revoked:
            return "revoked"
        if now >= self.ends_at:
            return "expired" if self._is_final else "ask"
        if self._asks and now - max(news, self._good_at) > patience:
            self._is_doubtful = True
        return "ask" if self._is_doubtful and now - self._asked_at >= PAUSE else None

    def take(self, answer: Auth | None, now: float) -> None:
        """Take in what came of a question; ``None`` where it could not even be asked.

        Where nobody knows, or what was refused may not be the session, the end that is known counts.
        """
        self._asked_at = now
        found = None if answer is None else _proven(answer)
        if found is not None and found[0] == self.session_id and same_user(found[1], self.user_id):
            self.ends_at, self._good_at, self._is_doubtful = found[3], now, False
        elif answer is not None and _is_over(answer) and now < self.ends_at:
            self.is_revoked = True
        self._is_final = now >= self.ends_at


class Rules:
    """What bindings are judged by: who is revoked, the time, and how long the feed has been silent.

    ``on_feed_lost`` is the setting of that name: whether the API is asked while the feed is away.
    """

    def __init__(
        self, revocations: Revocations, feed: Feed | None, on_feed_lost: OnFeedLost, clock: Callable[[], float]
    ) -> None:
        self.revocations = revocations
        self.clock = clock
        self._feed = feed
        self._asks_when_lost = feed is not None and on_feed_lost == "remote"

    def bind(self, auth: Auth, *, asks: bool) -> Binding:
        """A new binding; see there. The feed is needed from now on."""
        if self._feed is not None:
            self._feed.start()
        return Binding(auth, self.clock(), asks=asks)

    def verdict(self, binding: Binding) -> Verdict:
        """How a binding stands now."""
        now = self.clock()
        if self._feed is None or not self._asks_when_lost:
            return binding.verdict(now, now, math.inf)
        lag = self._feed.lag()
        # Redis keeps an entry for the time of retention; half of it leaves time to read it.
        return binding.verdict(now, -math.inf if lag is None else now - lag, self.revocations.retention / 2)


def _proven(auth: Auth) -> tuple[str, str, float | None, float] | None:
    """Session, user, since when and until when; ``None`` unless authenticated. It does not count as looking."""
    known = auth.known
    if known is not None:
        return known.session_id, known.user_id, known.issued_at, known.ends_at
    verified = auth.verified()
    if verified is None:
        return None
    user, session = verified
    started_at = None if session.started_at is None else session.started_at.timestamp()
    return session.id, user.id, started_at, session.expires_at.timestamp()


def _is_over(auth: Auth) -> bool:
    """Whether an answer says for certain that the session is over."""
    error = auth.error
    if isinstance(error, InvalidCredentials):
        return error.session_is_over
    return not auth.is_unavailable
