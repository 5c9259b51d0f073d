"""How long a revoked session may still be accepted, at worst: from the settings alone."""

from __future__ import annotations

from dataclasses import dataclass

from moonkey_core.settings import Settings

REFRESH_SECONDS = 10.0
"""How long late repeats of an old JWT share one refresh."""

__all__ = ["Lag", "RevocationLag"]


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds after a revocation, by who revoked.

    ``here``: a client in this process. ``fleet``: this package, in another process of the app. ``elsewhere``:
    anybody else, as with the dashboard. The API is asked and answers; while it cannot be asked, ``in_grace`` holds
    for all that this process has not heard of.
    """

    here: float
    fleet: float
    elsewhere: float
    in_grace: float


@dataclass(frozen=True, slots=True)
class RevocationLag:
    """The worst case for each kind of credential."""

    session_token: Lag
    session_jwt: Lag


def lag_of(settings: Settings) -> RevocationLag:
    """The worst case with these settings; with ``on_feed_lost="local"``, that in which the feed is lost."""
    asked = settings.session_cache_ttl
    # An old JWT is answered with the refresh that another request has just had. One that is verified here may be
    # dated ahead by the leeway, and is good for our maximum age from its date on.
    refreshed = REFRESH_SECONDS if settings.refresh_jwt else 0.0
    local = max(settings.jwt_max_age + settings.leeway if settings.jwt_issuer else asked, refreshed)
    return RevocationLag(session_token=_lag(settings, asked), session_jwt=_lag(settings, local))


def _lag(settings: Settings, elsewhere: float) -> Lag:
    told = settings.redis_url is not None and settings.on_feed_lost == "remote"
    fleet = min(elsewhere, settings.max_revocation_lag) if told else elsewhere
    graced = elsewhere + settings.grace_seconds if settings.grace_seconds else elsewhere
    return Lag(here=0.0, fleet=fleet, elsewhere=elsewhere, in_grace=graced)
