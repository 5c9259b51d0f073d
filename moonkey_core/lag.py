"""The longest time for which a revoked session may still be accepted, by the settings alone."""

from __future__ import annotations

from dataclasses import dataclass

from moonkey_core.settings import Settings

REFRESH_SECONDS = 10.0
"""For how many seconds late repeats of an old JWT share one refresh."""

__all__ = ["Lag", "RevocationLag"]


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds after a revocation, by where it was made.

    Attributes:
        here: By a client in this process.
        fleet: By this package, in another process of the app.
        elsewhere: By anything else, such as the dashboard.
        in_grace: While the API cannot be reached: for all revocations that this process does not know.
    """

    here: float
    fleet: float
    elsewhere: float
    in_grace: float


@dataclass(frozen=True, slots=True)
class RevocationLag:
    """The worst case for each kind of credential.

    Attributes:
        session_token: For session tokens.
        session_jwt: For session JWTs.
    """

    session_token: Lag
    session_jwt: Lag


def lag_of(settings: Settings) -> RevocationLag:
    """Return the worst case with these settings. With ``on_feed_lost="local"`` that is a lost feed."""
    asked = settings.session_cache_ttl
    # An old JWT may share the refresh that another request has just made. A JWT that is verified here may be dated
    # ahead by the leeway, and is accepted for our maximum age from its date on.
    refreshed = REFRESH_SECONDS if settings.refresh_jwt else 0.0
    local = max(settings.jwt_max_age + settings.leeway if settings.jwt_issuer else asked, refreshed)
    return RevocationLag(session_token=_lag(settings, asked), session_jwt=_lag(settings, local))


def _lag(settings: Settings, elsewhere: float) -> Lag:
    has_feed = settings.redis_url is not None and settings.on_feed_lost == "remote"
    fleet = min(elsewhere, settings.max_revocation_lag) if has_feed else elsewhere
    in_grace = elsewhere + settings.grace_seconds if settings.grace_seconds else elsewhere
    return Lag(here=0.0, fleet=fleet, elsewhere=elsewhere, in_grace=in_grace)
