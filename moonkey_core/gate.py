"""The one decision that every framework calls: may this request go on?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from moonkey_core.auth import Auth
from moonkey_core.errors import MissingCredentials, MoonKeyError
from moonkey_core.models import User

__all__ = ["Requirements", "known_user", "refusal_of", "require"]


_SAME_REQUEST = 1.0
"""Seconds within which an answer that the API was asked for on behalf of a request counts as fresh for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a route asks beyond a verified user and session.

    ``max_staleness`` (seconds) is how long ago the API itself may have vouched for the credential: for a JWT that
    is verified locally, when it was issued; for a remembered answer, when the API was asked. 0 asks the API on
    every request. ``grace_seconds`` lowers the setting of that name for this route. Raises ``ValueError`` for a
    number that is negative or not finite.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_staleness", "grace_seconds"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of seconds, 0 or more.")

    def are_met_by(self, auth: Auth) -> bool:
        """Whether an identity that is known already is fresh enough; else it has to be verified once more."""
        most, grace = self.max_staleness, self.grace_seconds
        if (most is None and grace is None) or auth.as_of is None:
            return True  # nothing is asked; or nobody is signed in, and there is nothing to be fresh
        staleness = auth.staleness
        if auth.source == "grace" and grace is not None and staleness > grace:
            return False
        if most is None or 0 < staleness <= most:
            return True
        return auth.spend_answer() and staleness <= _SAME_REQUEST


def refusal_of(auth: Auth) -> MoonKeyError | None:
    """Why a protected route must refuse this request; ``None`` where it may go on."""
    if auth.is_authenticated:
        return None
    return auth.error or MissingCredentials()


def require(auth: Auth) -> Auth:
    """``auth`` itself where it is authenticated; else raises what a protected route must answer with."""
    if auth.is_authenticated:
        return auth
    raise auth.error or MissingCredentials()


def known_user(auth: Auth) -> User | None:
    """The user for gates that know only "signed in" and "not signed in".

    Raises ``ProviderError`` where identity cannot be known: an outage must not look like an anonymous caller.
    """
    if auth.is_unavailable and auth.error is not None:
        raise auth.error
    return auth.user
