"""The rules by which a verified credential is accepted without a call to the provider. Makes no network call.

They are the same for a cached verification and for a JWT that was verified a moment ago, and stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from moonkey_core._verified import CacheEntry
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core.errors import RevokedCredentials
from moonkey_core.gate import Requirements
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings


class Feed(Protocol):
    """The feed that brings revocations from other processes."""

    @property
    def is_live(self) -> bool:
        """Whether all revocations have arrived, except for those of the last moment."""
        ...


class Acceptance:
    """The check of verified credentials: time, key, revocations, and the requirements of a route."""

    def __init__(
        self,
        settings: Settings,
        keys: JwksCache,
        revocations: Revocations,
        feed: Feed | None,
        clock: Callable[[], float],
    ) -> None:
        self._leeway = settings.leeway
        self._grace = settings.grace_seconds
        self._lag = settings.max_revocation_lag
        self._feed = feed
        self._ignores_lost_feed = settings.on_feed_lost == "local"
        self._keys = keys
        self._revocations = revocations
        self._clock = clock

    def is_revoked(self, entry: CacheEntry) -> bool:
        """Return whether a credential has been revoked; also note whether the provider has to confirm it."""
        version = self._revocations.version
        if self._revocations.refuses(entry.session_id, entry.user_id, entry.issued_at):
            return True
        entry.needs_introspection = self._revocations.needs_introspection(
            entry.session_id, entry.user_id, entry.issued_at
        )
        entry.revocations_version = version
        return False

    def accepts(self, entry: CacheEntry, now: float, requirements: Requirements | None) -> bool:
        """Return whether a verified credential is accepted at ``now`` without a call to the provider.

        It has not expired; the key that signed it is still in a usable key set; revocations arrive, or the
        provider was called a moment ago; and the provider vouched for it as recently as the route requires.

        Raises:
            RevokedCredentials: It was revoked since it was last accepted.
        """
        if not entry.starts_at - self._leeway <= now < entry.reusable_until:
            return False
        if entry.revocations_version != self._revocations.version and self.is_revoked(entry):
            raise RevokedCredentials
        if entry.needs_introspection or (entry.key is not None and not self._has_key(entry, now)):
            return False
        if self._feed is not None and not self.is_up_to_date() and not 0 <= now - entry.asked_at <= self._lag:
            return False
        most = None if requirements is None else requirements.max_staleness
        if most is not None and not entry.is_fresh(now, most):
            return False
        if self._grace:
            entry.last_accepted_at = now
        return True

    def accepts_in_grace(self, entry: CacheEntry, requirements: Requirements) -> bool:
        """Return whether a credential is accepted while the provider cannot be reached.

        It was last accepted within the ``grace_seconds`` setting, which a route can only lower, and has not been
        revoked, refused or expired since.
        """
        allowed, now, most = self._grace, self._clock(), requirements.max_staleness
        if requirements.grace_seconds is not None:
            allowed = min(allowed, requirements.grace_seconds)
        if allowed <= 0 or not 0 <= now - entry.last_accepted_at <= allowed or now >= entry.ends_at:
            return False
        if most is not None and not entry.is_fresh(now, most):
            return False
        if self.is_revoked(entry) or entry.needs_introspection:
            return False
        return entry.key is None or self._has_key(entry, now)

    def is_up_to_date(self) -> bool:
        """Return whether the revocations here are complete: not while some may have been missed."""
        return self._feed is None or self._feed.is_live or self._ignores_lost_feed  # `is_live` starts the feed

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
