"""The one decision that every framework calls: may this request go on?"""

from __future__ import annotations

from moonkey_core.auth import Auth
from moonkey_core.errors import MissingCredentials, MoonKeyError
from moonkey_core.models import User

__all__ = ["known_user", "refusal_of", "require"]


def refusal_of(auth: Auth) -> MoonKeyError | None:
    """Why a protected route must refuse this request; ``None`` where it may go on."""
    if auth.is_authenticated:
        return None
    return auth.error or MissingCredentials()


def require(auth: Auth) -> Auth:
    """``auth`` itself where it is authenticated; else raises what a protected route must answer with."""
    error = refusal_of(auth)
    if error is not None:
        raise error
    return auth


def known_user(auth: Auth) -> User | None:
    """The user for gates that know only "signed in" and "not signed in".

    Raises ``ProviderError`` where identity cannot be known: an outage must not look like an anonymous caller.
    """
    if auth.is_unavailable and auth.error is not None:
        raise auth.error
    return auth.user
