"""The interface between the sign-in of users through the app and the provider that signs them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Literal, NoReturn, Protocol
from urllib.parse import urlencode

from moonkey_core._dataclass import dataclass
from moonkey_core._plan import Plan
from moonkey_core.errors import NotSupported
from moonkey_core.models import (
    Device,
    Login,
    MagicLinkRequest,
    OtpRequest,
    TotpRegistration,
    User,
    WalletChallenge,
)


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What every login step shares that verifies a proof.

    Attributes:
        minutes: The lifetime of the session from now: of a new one, or of the one whose credential is here.
        session_token: A session token of the session that the factor is added to.
        session_jwt: A session JWT of that session, instead of a session token.
        device: The device of the user.
    """

    minutes: int | None = None
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    device: Device | None = field(default=None, repr=False)

    @property
    def credential(self) -> str | None:
        """The credential of the session that the factor is added to, if there is one."""
        return self.session_token or self.session_jwt


@dataclass(frozen=True, slots=True)
class LinkPage:
    """Where a magic link leads.

    Attributes:
        url: The page of the app that the link opens; ``None``: the one that is set at the provider.
        minutes: The lifetime of the link; ``None``: that of the provider.
    """

    url: str | None = field(default=None, repr=False)  # its query may hold a sealed state
    minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimits:
    """How long a provider lets the things of a sign-in live, in whole minutes.

    The ready-made pages ask for codes of ten minutes and for sessions of the ``sign_in`` setting, as far as these
    allow it.

    Attributes:
        otp_minutes: A one-time passcode.
        link_minutes: A magic link.
        session_minutes: A session.
    """

    otp_minutes: range
    link_minutes: range
    session_minutes: range


FactorKind = Literal["email", "phone_number", "totp"]
"""A way to step up: a code by mail, a code by text message, or an authenticator app."""


class SignInSteps(Protocol):
    """A provider whose users sign in through the app: ``sign_in``.

    The arguments have been checked: their types and lengths, and their minutes by ``limits``. ``device`` is that
    of the user. A step that begins something raises ``RequestRefused`` where the provider refuses it; a step that
    verifies something raises ``InvalidCredentials`` where the proof is not accepted or the session of ``context``
    is over. A step that the provider lacks raises ``NotSupported``; :class:`SignInBase` lacks all of them.
    """

    @property
    def limits(self) -> LoginLimits:
        """How long codes, links and sessions may live."""
        ...

    @property
    def factor_names(self) -> Mapping[FactorKind, frozenset[str]]:
        """The names of each way to step up in the requirements of a route: types and delivery channels."""
        ...

    def send_otp(
        self,
        *,
        channel: Literal["email", "sms"],
        address: str,
        create: bool,
        minutes: int | None = None,
        device: Device | None = None,
    ) -> Plan[OtpRequest]:
        """Send a one-time passcode; ``create`` makes a user where there is none with this address."""
        ...

    def send_magic_link(
        self,
        *,
        email: str,
        create: bool,
        login: LinkPage,
        registration: LinkPage | None = None,
        device: Device | None = None,
    ) -> Plan[MagicLinkRequest]:
        """Send a magic link; ``registration`` is for a user that is made by it."""
        ...

    def begin_wallet(
        self, *, wallet_type: str, public_address: str, user_id: str | None = None
    ) -> Plan[WalletChallenge]:
        """Request the text that a wallet has to sign. One that is not known is registered for the user."""
        ...

    def create_totp(self, user_id: str) -> Plan[TotpRegistration]:
        """Register an authenticator app for a user."""
        ...

    def oauth_start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Return the whole address that a sign-in with another provider begins at, without a call.

        The browser has to bring ``state`` back to either page in its query.
        """
        ...

    def verify_otp(
        self, *, code: str, method_id: str | None = None, email: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Verify a one-time passcode, by the id of what it was sent to or else by the address."""
        ...

    def verify_magic_link(self, *, token: str, context: LoginContext) -> Plan[Login]:
        """Verify the token of a magic link."""
        ...

    def verify_oauth(
        self, *, token: str | None = None, code: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Exchange the token, or else the code, with which a sign-in with another provider has returned."""
        ...

    def verify_totp(self, *, code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a code of the user's authenticator app."""
        ...

    def recover_totp(self, *, recovery_code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a recovery code in place of a code of the app."""
        ...

    def verify_wallet(
        self, *, wallet_type: str, public_address: str, signature: str, context: LoginContext
    ) -> Plan[Login]:
        """Verify a wallet's signature."""
        ...

    def magic_link_token(self, query: Mapping[str, str]) -> str | None:
        """Return the token in the query of the page that a magic link has opened, if there is one."""
        ...

    def oauth_proof(self, query: Mapping[str, str]) -> tuple[Literal["token", "code"], str] | None:
        """Return the proof in the query of the page that OAuth has returned to, as ``verify_oauth`` takes it."""
        ...

    def has_totp(self, user: User) -> bool:
        """Return whether the user has an authenticator app that was verified before."""
        ...


class SignInBase:
    """The steps of a sign-in at a provider that lacks all of them. A subclass overrides those that it has."""

    name: str
    limits: LoginLimits = LoginLimits(
        otp_minutes=range(1, 11), link_minutes=range(5, 10_081), session_minutes=range(5, 525_601)
    )
    factor_names: Mapping[FactorKind, frozenset[str]] = MappingProxyType(
        {
            "email": frozenset({"otp", "email"}),
            "phone_number": frozenset({"otp", "sms"}),
            "totp": frozenset({"totp", "totp_authenticator"}),
        }
    )

    def _lacks(self, step: str) -> NoReturn:
        raise NotSupported(provider=self.name, operation=step)

    def send_otp(
        self,
        *,
        channel: Literal["email", "sms"],
        address: str,
        create: bool,
        minutes: int | None = None,
        device: Device | None = None,
    ) -> Plan[OtpRequest]:
        """Refuse: there are no one-time passcodes."""
        self._lacks("send_otp")

    def send_magic_link(
        self,
        *,
        email: str,
        create: bool,
        login: LinkPage,
        registration: LinkPage | None = None,
        device: Device | None = None,
    ) -> Plan[MagicLinkRequest]:
        """Refuse: there are no magic links."""
        self._lacks("send_magic_link")

    def begin_wallet(
        self, *, wallet_type: str, public_address: str, user_id: str | None = None
    ) -> Plan[WalletChallenge]:
        """Refuse: there are no wallets."""
        self._lacks("begin_wallet")

    def create_totp(self, user_id: str) -> Plan[TotpRegistration]:
        """Refuse: there are no authenticator apps."""
        self._lacks("create_totp")

    def oauth_start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Refuse: there is no sign-in with another provider."""
        self._lacks("oauth_start")

    def verify_otp(
        self, *, code: str, method_id: str | None = None, email: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Refuse: there are no one-time passcodes."""
        self._lacks("verify_otp")

    def verify_magic_link(self, *, token: str, context: LoginContext) -> Plan[Login]:
        """Refuse: there are no magic links."""
        self._lacks("verify_magic_link")

    def verify_oauth(
        self, *, token: str | None = None, code: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Refuse: there is no sign-in with another provider."""
        self._lacks("verify_oauth")

    def verify_totp(self, *, code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Refuse: there are no authenticator apps."""
        self._lacks("verify_totp")

    def recover_totp(self, *, recovery_code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Refuse: there are no authenticator apps."""
        self._lacks("recover_totp")

    def verify_wallet(
        self, *, wallet_type: str, public_address: str, signature: str, context: LoginContext
    ) -> Plan[Login]:
        """Refuse: there are no wallets."""
        self._lacks("verify_wallet")

    def magic_link_token(self, query: Mapping[str, str]) -> str | None:
        """Return the field ``token``."""
        return query.get("token") or None

    def oauth_proof(self, query: Mapping[str, str]) -> tuple[Literal["token", "code"], str] | None:
        """Return the field ``token``."""
        token = query.get("token")
        return ("token", token) if token else None

    def has_totp(self, user: User) -> bool:
        """Return ``False``."""
        return False


def has_verified_totp(user: User) -> bool:
    """Return whether a user's record has an entry of ``totps`` that was verified."""
    totps = user.extra.get("totps")
    entries = totps if isinstance(totps, list | tuple) else ()
    return any(isinstance(one, Mapping) and one.get("verified") is True for one in entries)


def send_or_create(create: bool) -> str:
    """Return the last part of the path of a call that sends something, for users who may be new or not."""
    return "login_or_create" if create else "send"


def with_query(url: str, query: Mapping[str, str]) -> str:
    """Return a URL with more fields in its query, before a fragment."""
    if not query:
        return url
    place, hash_sign, fragment = url.partition("#")
    return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}{hash_sign}{fragment}"
