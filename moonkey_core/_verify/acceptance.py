"""The rules by which a verified credential is accepted without a call to the provider. Makes no network call.

They are the same for a cached verification and for a JWT that was verified a moment ago, and stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from moonkey_core._stagger import API_SHARE, FEED_SHARE, shortened
from moonkey_core._verified import CacheEntry
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core.errors import ProviderUnavailable, RevokedCredentials
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE, Requirements
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings

_FEED_SECONDS = 5.0  # after which a client that was refused without the feed may try again


class Feed(Protocol):
    """The feed that brings revocations from other processes."""

    @property
    def is_live(self) -> bool:
        """Whether all revocations have arrived, except for those of the last moment."""
        ...

    @property
    def is_starting(self) -> bool:
        """Whether this process is about to read for the first time what has been revoked."""
        ...

    def known_for(self) -> float:
        """Return the seconds since the time up to which certainly all revocations have arrived."""
        ...


class Acceptance:
    """The check of verified credentials: time, key, revocations, and the requirements of a route.

    Attributes:
        leeway: How far ahead a credential may be dated, in seconds.
        lost_seconds: For how long what the provider said counts while the feed is lost, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        keys: JwksCache,
        revocations: Revocations,
        feed: Feed | None,
        clock: Callable[[], float],
        *,
        can_ask: bool = True,
        leeway: float | None = None,
    ) -> None:
        """Make the check.

        Args:
            settings: The settings of the client.
            keys: The keys that sign JWTs.
            revocations: The revocations that are known here.
            feed: The feed that brings those of other processes, if there is one.
            clock: Returns Unix seconds.
            can_ask: Whether the provider can be asked about a credential. If not, what it would have to confirm is
                refused.
            leeway: How far ahead a credential may be dated, in seconds; by default the setting.
        """
        self.leeway: float = settings.leeway if leeway is None else leeway
        self._can_ask = can_ask
        self._refuses_without_feed = settings.on_feed_lost == "refuse"
        self._grace = settings.grace_seconds
        self.lost_seconds: float = settings.lost_feed_seconds
        self._is_bounded = settings.on_feed_lost == "bounded"
        self._feed = feed
        self._ignores_lost_feed = settings.on_feed_lost == "local"
        self._awaits_feed = feed is not None and not can_ask
        self._keys = keys
        self._revocations = revocations
        self._clock = clock

    def is_revoked(self, entry: CacheEntry) -> bool:
        """Return whether a credential has been revoked; also note whether the provider has to confirm it."""
        version = self._revocations.version
        if self._revocations.concerns_none_of(entry.session_id, entry.scope):
            entry.needs_introspection, entry.revocations_version = False, version
            return False
        if self._revocations.refuses(entry.session_id, entry.user_id, entry.issued_at, entry.scope):
            return True
        needs_introspection = self._revocations.needs_introspection(
            entry.session_id, entry.user_id, entry.issued_at, entry.vouched_at, entry.scope
        )
        entry.needs_introspection = needs_introspection
        # What is to be confirmed is looked at anew each time: another thread may be about to note, in two steps,
        # what it has seen in an earlier version, and must not leave that beside this version.
        entry.revocations_version = -1 if needs_introspection else version
        return needs_introspection and not self._can_ask

    def refusal(self, entry: CacheEntry) -> RevokedCredentials:
        """Return the error for a credential that :meth:`is_revoked`."""
        if entry.needs_introspection and not self._can_ask:  # it may have been issued after the revocation
            return RevokedCredentials(session_is_over=False)
        is_precautionary = self._revocations.is_precautionary(
            entry.session_id, entry.user_id, entry.issued_at, entry.scope
        )
        return RevokedCredentials(session_is_over=not is_precautionary)

    def accepts(self, entry: CacheEntry, now: float, requirements: Requirements | None) -> bool:
        """Return whether a verified credential is accepted at ``now`` without a call to the provider.

        It has not expired; the key that signed it is still in a usable key set; revocations arrive, or the
        provider was called a short while ago; and the provider vouched for it as recently as the route requires.

        Raises:
            RevokedCredentials: It was revoked since it was last accepted.
            ProviderUnavailable: Revocations may have been missed, and the settings accept no JWT meanwhile.
        """
        # Each request comes here. Two comparisons take less time than one with three terms.
        if not (entry.starts_at - self.leeway <= now and now < entry.reusable_until):
            return False
        if entry.revocations_version != self._revocations.version and self.is_revoked(entry):
            raise self.refusal(entry)
        if entry.needs_introspection:
            return False
        if entry.key is not None:  # mostly it was found in this very key set before
            current = self._keys.current
            if not (
                current is not None
                and entry.key_set is current
                and current.fetched_at <= now
                and now < current.usable_until
            ) and not self._has_key(entry, now):
                return False
        if self._feed is not None and not self.is_up_to_date() and not self._counts_while_lost(entry, now):
            if self._refuses_without_feed and entry.key is not None and not self.is_starting:
                raise ProviderUnavailable(reason="feed_refused", retry_after=_FEED_SECONDS)
            return False
        if requirements is not None and requirements.max_staleness is not None:
            is_stale = not entry.is_fresh(now, requirements.max_staleness)
            if is_stale and (self._can_ask or requirements is not AS_FRESH_AS_POSSIBLE):
                return False
        if self._grace:
            entry.last_accepted_at = now
        return True

    def _counts_while_lost(self, entry: CacheEntry, now: float) -> bool:
        """Return whether what is known of a credential still counts, although revocations may have been missed.

        The provider was asked about it a short while ago; or, with ``on_feed_lost="bounded"``, the feed was
        complete a short while ago.
        """
        most, session_id = self.lost_seconds, entry.session_id
        if 0 <= now - entry.asked_at <= shortened(most, API_SHARE, session_id, entry.asked_at):
            return True
        if not self._is_bounded or self._feed is None:
            return False
        return self._feed.known_for() <= shortened(most, FEED_SHARE, session_id)

    def accepts_in_grace(
        self, entry: CacheEntry, requirements: Requirements, *, verified_at: float | None = None
    ) -> bool:
        """Return whether a credential is accepted while the provider cannot be reached.

        It was last accepted, or what is in question was verified at ``verified_at``, within the ``grace_seconds``
        setting, which a route can only lower, and has not been revoked, refused or expired since.
        """
        since = entry.last_accepted_at if verified_at is None else verified_at
        allowed, now, most = self._grace, self._clock(), requirements.max_staleness
        if requirements.grace_seconds is not None:
            allowed = min(allowed, requirements.grace_seconds)
        if allowed <= 0 or not 0 <= now - since <= allowed or now >= entry.ends_at:
            return False
        if most is not None and not entry.is_fresh(now, most):
            return False
        if self.is_revoked(entry) or entry.needs_introspection:
            return False
        if self._refuses_without_feed and entry.key is not None and not self.is_up_to_date():
            return False
        return entry.key is None or self._has_key(entry, now)

    def is_up_to_date(self) -> bool:
        """Return whether the revocations here are complete: not while some may have been missed."""
        if self._feed is None or self._feed.is_live:  # which starts the feed
            return True
        return self._ignores_lost_feed and not self.is_starting

    @property
    def is_starting(self) -> bool:
        """Whether this process has just started, and is about to learn what has been revoked.

        Where the provider cannot be asked, no JWT is accepted before that. It takes a moment only.
        """
        return self._awaits_feed and self._feed is not None and not self._feed.is_live and self._feed.is_starting

    def _has_key(self, entry: CacheEntry, now: float) -> bool:
        """Return whether the key that verified a JWT is still in a usable key set."""
        current = self._keys.current
        if current is None or not current.fetched_at <= now < current.usable_until:
            return False
        if entry.key_set is not current:
            if entry.kid is None or current.keys.get(entry.kid) is not entry.key:
                return False
            entry.key_set = current
        return True
