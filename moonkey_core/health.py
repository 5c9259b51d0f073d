"""The state of a client: its key set, the API and the revocation feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._transport.circuit_breaker import UpstreamError

__all__ = ["Health", "UpstreamError"]


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a client, for a readiness probe.

    Attributes:
        key_set_age: Seconds since the key set was fetched; ``None`` before the first fetch, and where none is
            fetched.
        feed: ``none`` without a revocation feed. While it is ``lost``, JWTs are verified at the API or, with
            ``on_feed_lost="local"``, may have been revoked without this process knowing.
        feed_lag: Seconds that this process may be behind the feed; ``None`` before anything has come from it.
        unsent: The number of revocations of this process that Redis may not have yet.
        circuit: ``open`` while the API keeps failing.
        last_error: The last failure of the API, if any.
        revocations: The number of revocations that are known.
        remembered: The number of verified credentials that are remembered.
    """

    key_set_age: float | None
    feed: Literal["none", "live", "lost"]
    feed_lag: float | None
    unsent: int
    circuit: Literal["closed", "open"]
    last_error: UpstreamError | None
    revocations: int
    remembered: int

    @property
    def degraded(self) -> bool:
        """Whether the API keeps failing or the feed is lost. Requests may well be answered nevertheless."""
        return self.circuit == "open" or self.feed == "lost"


def health_of(core: Core) -> Health:
    """Return the state of a client. Makes no network call."""
    current, feed = core.keys.current, core.feed
    fetched = current is not None and core.settings.jwks is None
    return Health(
        key_set_age=max(_clock.wall() - current.fetched_at, 0.0) if current is not None and fetched else None,
        feed="none" if feed is None else "live" if feed.is_live else "lost",
        feed_lag=None if feed is None else feed.lag(),
        unsent=0 if feed is None else feed.unsent,
        circuit=core.breaker.state,
        last_error=core.breaker.last_error,
        revocations=len(core.revocations),
        remembered=len(core.cache),
    )
