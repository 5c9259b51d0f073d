"""How long a revoked session may still be accepted, at worst: computed from the settings alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from moonkey_core._dataclass import dataclass
from moonkey_core._provider import REFRESH_SECONDS, Provider, longest_use
from moonkey_core.settings import Settings

__all__ = ["Lag", "RevocationLag"]


@dataclass(frozen=True, slots=True)
class Lag:
    """The seconds after a revocation for which a credential may still be accepted.

    The first three apply while the API replies.

    Attributes:
        here: The session was revoked by a client in this process.
        fleet: It was revoked by this package in another process of the app. With ``on_feed_lost`` ``bounded`` or
            ``local``, it is the value while the feed is lost.
        elsewhere: It was revoked in any other way, as in the dashboard.
        in_grace: While the API does not reply, for every revocation that is not known in this process.
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
    """Compute the worst case with these settings, whether the feed is lost or not."""
    if settings.provider is not None:
        return _lag_at(settings.provider, settings)
    cached = settings.session_cache_ttl
    # An old JWT is answered with the refresh that another request has just had. One that is verified here may be
    # dated ahead by the leeway, and is accepted for the maximum age from its date on.
    refreshed = REFRESH_SECONDS if settings.refresh_jwt else 0.0
    local = max(settings.jwt_max_age + settings.leeway if settings.jwt_issuer else cached, refreshed)
    return RevocationLag(session_token=_lag(settings, cached), session_jwt=_lag(settings, local))


def _lag_at(provider: Provider, settings: Settings) -> RevocationLag:
    """Compute the worst case of a provider other than MoonKey, by its rules for JWTs."""
    can_ask = "introspect" in provider.capabilities
    cached = settings.session_cache_ttl if can_ask else 0.0  # else no opaque credential is accepted
    rules = provider.jwt_rules
    local = longest_use(rules, settings.leeway) if rules is not None and rules.issuers else cached
    if settings.refresh_jwt and "refresh_jwt" in provider.capabilities:
        local = max(local, REFRESH_SECONDS)
    return RevocationLag(session_token=_lag(settings, cached), session_jwt=_lag(settings, local))


def lost_feed_bound(settings: Settings) -> float:
    """Return how late a revocation of another process takes effect while the feed is lost, in seconds at most.

    It holds for what the provider was told of too.
    """
    lag = lag_of(settings)
    return max(lag.session_token.fleet, lag.session_jwt.fleet)


def longest_lag(lags: Sequence[RevocationLag]) -> RevocationLag:
    """Return the worst case of several providers: of each value the greatest."""
    kinds = ([one.session_token for one in lags], [one.session_jwt for one in lags])
    names = [field.name for field in dataclasses.fields(Lag)]
    token, jwt = (Lag(*(max(getattr(one, name) for one in kind) for name in names)) for kind in kinds)
    return RevocationLag(session_token=token, session_jwt=jwt)


def _lag(settings: Settings, elsewhere: float) -> Lag:
    relies_on_feed = settings.redis_url is not None and settings.on_feed_lost != "local"
    fleet = min(elsewhere, settings.lost_feed_seconds) if relies_on_feed else elsewhere
    in_grace = elsewhere + settings.grace_seconds if settings.grace_seconds else elsewhere
    return Lag(here=0.0, fleet=fleet, elsewhere=elsewhere, in_grace=in_grace)
