"""The state of a client: its key set, the API and the revocation feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from moonkey_core import _clock
from moonkey_core._transport.circuit_breaker import CircuitBreaker, UpstreamError

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
        """Whether the API is failing or the feed is lost. Requests may be answered nevertheless."""
        return self.circuit == "open" or self.feed == "lost"


class FeedStatus(Protocol):
    """The state of a revocation feed."""

    @property
    def is_live(self) -> bool:
        """Whether it is at most ``max_revocation_lag`` behind."""
        ...

    @property
    def unsent(self) -> int:
        """The number of revocations of this process that Redis may not have yet."""
        ...

    def lag(self) -> float | None:
        """Return how far behind it is, in seconds; ``None`` before anything was read from it."""
        ...


def health_of(
    *,
    key_set_fetched_at: float | None,
    feed: FeedStatus | None,
    breaker: CircuitBreaker,
    revocations: int,
    remembered: int,
) -> Health:
    """Put together the report of one client.

    Args:
        key_set_fetched_at: When the key set in use was fetched (Unix seconds); ``None`` where none was.
        feed: The revocation feed, where there is one.
        breaker: The circuit breaker of the calls to the API.
        revocations: How many revocations are remembered.
        remembered: How many verified credentials are remembered.
    """
    return Health(
        key_set_age=None if key_set_fetched_at is None else max(_clock.wall() - key_set_fetched_at, 0.0),
        feed="none" if feed is None else "live" if feed.is_live else "lost",
        feed_lag=None if feed is None else feed.lag(),
        unsent=0 if feed is None else feed.unsent,
        circuit=breaker.state,
        last_error=breaker.last_error,
        revocations=revocations,
        remembered=remembered,
    )
