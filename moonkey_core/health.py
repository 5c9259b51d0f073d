"""How a process stands with the API and the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._transport.circuit_breaker import UpstreamError

__all__ = ["Health", "UpstreamError", "health_of"]


@dataclass(frozen=True, slots=True)
class Health:
    """For a readiness probe. All ages and lags are in seconds.

    ``key_set_age`` is ``None`` before the first fetch, and where no key set is fetched. ``feed_lag`` is how far
    behind the revocation feed this process may be, ``None`` where nothing has come from it yet. ``feed`` is
    ``none`` without one, ``lost`` while JWTs are verified at the API, or, with ``on_feed_lost="local"``, may have
    been revoked unheard. ``unsent`` are revocations of this process that Redis may not have yet. ``last_error`` is
    the last time that the API failed. ``degraded`` says that something here is not as it should be; requests may
    well be answered nevertheless.
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
        """The API is failing, or the feed is lost."""
        return self.circuit == "open" or self.feed == "lost"


def health_of(core: Core) -> Health:
    """The report of one client."""
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
        remembered=len(core.recall.credentials),
    )
