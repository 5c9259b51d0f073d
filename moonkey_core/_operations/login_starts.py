"""The first steps of the ways to sign in, each once, as a plan; see :mod:`moonkey_core._operations.sessions`."""

from __future__ import annotations

import re

from moonkey_core._operations.arguments import minutes_argument, text_argument
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core._sign_in_steps import LinkPage, SignInSteps
from moonkey_core.models import Device, MagicLinkRequest, TotpRegistration, WalletChallenge

_MAX_URL = 2048  # characters
_PROVIDER = r"[a-z][a-z0-9_-]{0,63}"


def send_magic_link(
    core: Core,
    *,
    email: str,
    login_redirect_url: str | None = None,
    login_expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[MagicLinkRequest]:
    """Send a magic link to an address of a user that exists.

    Args:
        email: The address.
        login_redirect_url: The page of the app that the link opens, with ``token`` in its query. It must be
            registered at the provider, whose default is used if it is left out.
        login_expires_in: The lifetime of the link in minutes; at MoonKey, 5 to 10080.
        device: The device of the user.

    Raises:
        RequestRefused: The provider refused the call.
        ProviderError: The provider cannot be reached or understood.
        ValueError: An argument is malformed.
    """
    steps, email = core.able_to("sign_in"), text_argument(email, "email")
    login = _page(steps, "login_redirect_url", login_redirect_url, login_expires_in)
    return (yield from steps.send_magic_link(email=email, create=False, login=login, device=device))


def login_or_create_by_magic_link(
    core: Core,
    *,
    email: str,
    login_redirect_url: str | None = None,
    registration_redirect_url: str | None = None,
    login_expires_in: int | None = None,
    registration_expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[MagicLinkRequest]:
    """Send a magic link, and create the user where there is none with this address.

    Args:
        email: The address.
        login_redirect_url: The page of the app that the link opens, with ``token`` in its query. It must be
            registered at the provider, whose default is used if it is left out.
        registration_redirect_url: The same for a new user; ``login_redirect_url`` if it is left out.
        login_expires_in: The lifetime of the link in minutes; at MoonKey, 5 to 10080.
        registration_expires_in: The same for a new user; ``login_expires_in`` if it is left out.
        device: The device of the user.

    Raises:
        RequestRefused: The provider refused the call.
        ProviderError: The provider cannot be reached or understood.
        ValueError: An argument is malformed.
    """
    steps, email = core.able_to("sign_in"), text_argument(email, "email")
    url = registration_redirect_url or login_redirect_url
    minutes = login_expires_in if registration_expires_in is None else registration_expires_in
    sending = steps.send_magic_link(
        email=email,
        create=True,
        login=_page(steps, "login_redirect_url", login_redirect_url, login_expires_in),
        registration=_page(steps, "registration_redirect_url", url, minutes),
        device=device,
    )
    return (yield from sending)


def begin_wallet(
    core: Core, *, wallet_type: str, public_address: str, user_id: str | None = None
) -> Plan[WalletChallenge]:
    """Request the text that a wallet has to sign to prove itself.

    A wallet that the provider does not know is registered: for the user, or for a new one.

    Args:
        wallet_type: The type of the wallet, such as ``"ethereum"`` or ``"solana"``.
        public_address: The address of the wallet.
        user_id: The user that a new wallet is registered for.

    Raises:
        InvalidCredentials: The wallet is another user's than ``user_id``.
        RequestRefused: The provider refused the call.
        ProviderError: The provider cannot be reached or understood.
        ValueError: An argument is malformed.
    """
    begun = core.able_to("sign_in").begin_wallet(
        wallet_type=text_argument(wallet_type, "wallet_type"),
        public_address=text_argument(public_address, "public_address"),
        user_id=None if user_id is None else core.user_id(user_id),
    )
    return (yield from begun)


def create_totp(core: Core, *, user_id: str) -> Plan[TotpRegistration]:
    """Register an authenticator app for a user. It counts as a factor when ``totps.verify`` accepts a code of it.

    Require a fresh factor for this: who registers an app can step up with it.

    Args:
        user_id: The id of the user, in any of its spellings.

    Raises:
        NotFound: There is no such user.
        RequestRefused: The provider refused the call, as the user has an authenticator app already.
        ProviderError: The provider cannot be reached or understood.
        ValueError: The id is malformed.
    """
    return (yield from core.able_to("sign_in").create_totp(core.user_id(user_id)))


def oauth_start_url(
    core: Core,
    provider: str,
    *,
    login_redirect_url: str | None = None,
    registration_redirect_url: str | None = None,
    state: str | None = None,
) -> str:
    """Return the address that a sign-in with another provider begins at; see ``client.oauth.start_url``."""
    steps = core.able_to("sign_in")
    if not re.fullmatch(_PROVIDER, text_argument(provider, "provider")):
        raise ValueError("provider must be the name of a provider in lower case, such as google.")
    if state is not None and login_redirect_url is None:
        raise ValueError("Give login_redirect_url: the browser brings the state back to it.")
    return steps.oauth_start_url(
        provider,
        login_redirect_url=_url("login_redirect_url", login_redirect_url),
        registration_redirect_url=_url("registration_redirect_url", registration_redirect_url),
        state=state,
    )


def _page(steps: SignInSteps, name: str, url: str | None, minutes: int | None) -> LinkPage:
    return LinkPage(_url(name, url), minutes_argument(minutes, steps.limits.link_minutes, "A magic link"))


def _url(name: str, url: str | None) -> str | None:
    return None if url is None else text_argument(url, name, _MAX_URL)
