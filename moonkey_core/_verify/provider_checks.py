"""What a provider and the settings of a client must have in common. Checked once, when a client is made."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from moonkey_core._provider import Provider
from moonkey_core._verify.jwt import Judge
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings, SignInSettings

if TYPE_CHECKING:
    from moonkey_core._sign_in_steps import SignInSteps

logger: logging.Logger = logging.getLogger("moonkey")


def check_provider(provider: Provider, settings: Settings, judge: Judge | None) -> None:
    """Check that a provider can be used with these settings.

    Args:
        provider: The provider.
        settings: The settings of the client.
        judge: The provider's rules for JWTs, if it has any.

    Raises:
        ConfigurationError: It cannot.
    """
    if "sign_in" in provider.capabilities:
        _check_lifetimes(provider.name, cast("SignInSteps", provider).limits.session_minutes, settings.sign_in)
    can_ask, verifies = "introspect" in provider.capabilities, judge is not None and judge.verifies
    if not can_ask and not verifies:
        raise ConfigurationError(
            f"The provider {provider.name!r} verifies no JWT and cannot be asked: no credential would ever be "
            "accepted. Give it an issuer, or introspection."
        )
    if verifies and provider.keys is None:
        raise ConfigurationError(f"The provider {provider.name!r} has issuers, and no keys to verify their JWTs.")
    if can_ask or judge is None or settings.redis_url is None:
        return
    if settings.on_feed_lost in ("remote", "bounded"):
        raise ConfigurationError(
            f"MOONKEY_ON_FEED_LOST (on_feed_lost) has to be chosen: the provider {provider.name!r} cannot be "
            "asked about a JWT while the revocation feed is lost. 'local' goes on accepting JWTs, so a revocation "
            f"of another process may take effect up to {judge.longest_use:.0f} s late; 'refuse' answers 503 "
            "meanwhile."
        )
    if settings.on_feed_lost == "local":
        logger.info(
            "while the revocation feed is lost, a revocation of another process takes effect after at most "
            "%.0f s: the provider cannot be asked about a JWT",
            judge.longest_use,
            extra={"reason": "feed_lost_bound"},
        )


def _check_lifetimes(provider: str, allowed: range, chosen: SignInSettings) -> None:
    """Check the lengths of sessions that the sign-in routes ask for. The usual ones are cut to what is allowed.

    Raises:
        ConfigurationError: One that was chosen is not allowed.
    """
    usual = SignInSettings()
    for name in ("lifetime", "remember_me"):
        wanted: timedelta = getattr(chosen, name)
        minutes = wanted // timedelta(minutes=1)
        if wanted != getattr(usual, name) and not allowed.start <= minutes < allowed.stop:
            raise ConfigurationError(
                f"MOONKEY_SIGN_IN (sign_in): {name} is {minutes} minutes, but the sessions of the provider "
                f"{provider!r} live {allowed.start} to {allowed.stop - 1} minutes."
            )
