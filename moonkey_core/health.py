"""The state of a client: its key set, the API and the revocation feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, Protocol

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._transport.circuit_breaker import CircuitBreaker, UpstreamError

__all__ = ["Health", "UpstreamError"]


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a client, for a readiness probe.

    Attributes:
        key_set_age: Seconds since the key set was fetched; ``None`` before the first fetch, and where none is
            fetched.
        feed: ``none`` without a revocation feed. While it is ``lost``, JWTs are verified at the API, or what
            ``on_feed_lost`` says is done.
        feed_lag: Seconds that this process may be behind the feed; ``None`` before anything has come from it.
        unsent: The number of revocations of this process that Redis may not have yet.
        circuit: ``open`` while the API keeps failing.
        last_error: The last failure of the API, if any.
        revocations: The number of revocations that are known.
        remembered: The number of verified credentials that are remembered.
        redis_trouble: What is wrong with Redis or with the rights there, and what to do about it, as one sentence;
            ``None`` where nothing is known to be.
        feed_lost_bound: The seconds after which a revocation of another process takes effect at most while the
            feed is lost; ``None`` without a feed. A revocation that the API was not told of takes longer.
    """

    key_set_age: float | None
    feed: Literal["none", "live", "lost"]
    feed_lag: float | None
    unsent: int
    circuit: Literal["closed", "open"]
    last_error: UpstreamError | None
    revocations: int
    remembered: int
    redis_trouble: str | None = None
    feed_lost_bound: float | None = None

    @property
    def providers(self) -> Mapping[str, Health]:
        """Where there are several providers, the state of each by its name. Empty where there is one."""
        return {}

    @property
    def degraded(self) -> bool:
        """Whether the API is failing or the feed is lost. Requests may be answered nevertheless."""
        return self.circuit == "open" or self.feed == "lost"


@dataclass(frozen=True, slots=True)
class HealthOfSeveral(Health):
    """The state of a client with several providers: the worst of them, and the sums of the numbers.

    Attributes:
        by_provider: The state of each provider by its name.
    """

    by_provider: Mapping[str, Health] = field(default_factory=dict[str, Health], hash=False)

    @property
    def providers(self) -> Mapping[str, Health]:
        """The state of each provider by its name."""
        return self.by_provider


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

    @property
    def trouble(self) -> str | None:
        """What is wrong with Redis, as one sentence."""
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
    feed_lost_bound: float | None = None,
) -> Health:
    """Put together the report of one client.

    Args:
        key_set_fetched_at: When the key set in use was fetched (Unix seconds); ``None`` where none was.
        feed: The revocation feed, where there is one.
        breaker: The circuit breaker of the calls to the API.
        revocations: How many revocations are remembered.
        remembered: How many verified credentials are remembered.
        feed_lost_bound: How late a revocation takes effect at most while the feed is lost, in seconds.
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
        redis_trouble=None if feed is None else feed.trouble,
        feed_lost_bound=None if feed is None else feed_lost_bound,
    )


def health_of_all(members: Mapping[str, Health]) -> HealthOfSeveral:
    """Put together the report of a client with several providers; ``members``: those of each, by its name."""
    every = tuple(members.values())
    feeds = [one.feed for one in every]
    errors = [one.last_error for one in every if one.last_error is not None]
    return HealthOfSeveral(
        key_set_age=max((one.key_set_age for one in every if one.key_set_age is not None), default=None),
        feed="lost" if "lost" in feeds else "live" if "live" in feeds else "none",
        feed_lag=max((one.feed_lag for one in every if one.feed_lag is not None), default=None),
        unsent=sum(one.unsent for one in every),
        circuit="open" if any(one.circuit == "open" for one in every) else "closed",
        last_error=max(errors, key=lambda error: error.at, default=None),
        revocations=sum(one.revocations for one in every),
        remembered=sum(one.remembered for one in every),
        redis_trouble=next((one.redis_trouble for one in every if one.redis_trouble is not None), None),
        feed_lost_bound=max(
            (one.feed_lost_bound for one in every if one.feed_lost_bound is not None), default=None
        ),
        by_provider=dict(members),
    )
