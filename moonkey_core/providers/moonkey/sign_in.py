"""The steps of a sign-in at the MoonKey API: how each call is built and how its reply is read (API reference)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

from moonkey_core._plan import Plan
from moonkey_core._sign_in_steps import (
    LinkPage,
    LoginContext,
    LoginLimits,
    SignInBase,
    has_verified_totp,
    send_or_create,
    with_query,
)
from moonkey_core.errors import ConfigurationError, InvalidCredentials, MoonKeyError, ProviderUnavailable
from moonkey_core.models import (
    Device,
    Login,
    MagicLinkRequest,
    OtpRequest,
    TotpRegistration,
    User,
    WalletChallenge,
)
from moonkey_core.providers.moonkey.api import REFUSALS, ApiClient, evidence_of, refused
from moonkey_core.providers.moonkey.ids import same_user
from moonkey_core.providers.moonkey.replies import ApiError, sound_credential
from moonkey_core.providers.moonkey.wire import (
    parse_login,
    parse_magic_link_request,
    parse_otp_request,
    parse_totp_registration,
    parse_wallet_challenge,
)
from moonkey_core.settings import Settings

T = TypeVar("T")

_OTP_MINUTES = range(1, 11)
_LINK_MINUTES = range(5, 10_081)
_LOGIN_REFUSALS = (*REFUSALS, 401, 409, 422)
# The words of an error's code: about a login step, about the lifetime of a session, about neither.
_WORD = r"[A-Z]?[a-z]+|[A-Z]+"
_PROOF = frozenset(
    {"otp", "otps", "totp", "code", "passcode", "magic", "link", "token", "oauth", "signature", "wallet", "method"}
    | {"nonce", "challenge", "recovery", "password", "factor", "credential", "credentials", "verification"}
    | {"expired", "attempts"}
)
_LENGTH = frozenset({"expires", "expiry", "expiration", "duration", "minutes", "lifetime", "ttl"})
_NOT_THE_LOGIN = frozenset(
    {"app", "application", "route", "path", "endpoint", "project", "plan", "quota"}
    | {"maintenance", "disabled", "enabled", "allowed", "supported", "unsupported", "unavailable"}
)


class MoonKeySignIn(SignInBase):
    """Plans for the steps of a sign-in."""

    def __init__(self, api: ApiClient, settings: Settings) -> None:
        self._api = api
        self._public_token = settings.public_token
        self._oauth_start_url = settings.oauth_start_url or f"{api.root}/oauth/{{provider}}/begin"
        self.limits: LoginLimits = LoginLimits(
            otp_minutes=_OTP_MINUTES,
            link_minutes=_LINK_MINUTES,
            session_minutes=range(settings.min_session_minutes, settings.max_session_minutes + 1),
        )

    def send_otp(
        self,
        *,
        channel: Literal["email", "sms"],
        address: str,
        create: bool,
        minutes: int | None = None,
        device: Device | None = None,
    ) -> Plan[OtpRequest]:
        """Send a one-time passcode (API reference, OTP).

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        body = {**_device_fields(device), "email" if channel == "email" else "phone_number": address}
        if minutes is not None:
            body["expires_in"] = minutes
        return (yield from self._begin(f"otps/{channel}/{send_or_create(create)}", body, parse_otp_request))

    def send_magic_link(
        self,
        *,
        email: str,
        create: bool,
        login: LinkPage,
        registration: LinkPage | None = None,
        device: Device | None = None,
    ) -> Plan[MagicLinkRequest]:
        """Send a magic link. The errors are those of :meth:`send_otp`.

        The API reference lists ``login_or_create`` only. For a user that must exist, this calls
        ``magic_links/email/send``, as for passcodes; where the API has no such endpoint, it is refused.
        """
        body = {**_device_fields(device), "email": email, **_link_fields("login", login)}
        if registration is not None:
            body.update(_link_fields("registration", registration))
        path = f"magic_links/email/{send_or_create(create)}"
        return (yield from self._begin(path, body, parse_magic_link_request))

    def begin_wallet(
        self, *, wallet_type: str, public_address: str, user_id: str | None = None
    ) -> Plan[WalletChallenge]:
        """Request the text that a wallet has to sign (API reference, Begin Wallet Registration).

        Raises:
            InvalidCredentials: The wallet belongs to another user.
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        body = {"wallet_type": wallet_type, "public_address": public_address}
        if user_id is not None:
            body["user_id"] = user_id
        read = partial(parse_wallet_challenge, wallet_type=wallet_type, public_address=public_address)
        begun = yield from self._begin("wallets/registrations/begin", body, read, named="public_address")
        if user_id is not None and not same_user(begun.user_id, user_id):
            raise InvalidCredentials("The wallet is another user's.", reason="another_user")
        return begun

    def create_totp(self, user_id: str) -> Plan[TotpRegistration]:
        """Register an authenticator app for a user.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood, or its reply is about another user.
        """
        made = yield from self._begin("totps/create", {"user_id": user_id}, parse_totp_registration)
        if not same_user(made.user_id, user_id):
            raise ProviderUnavailable(reason="api_mismatch")
        return made

    def _begin(
        self, path: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], *, named: str = ""
    ) -> Plan[T]:
        """Make a call that begins a login, and read its reply. It is not repeated, as it may have had its effect.

        Args:
            path: The endpoint.
            body: The body of the call.
            read: Reads the reply; raises ``ValueError`` where it cannot.
            named: A member that the reply repeats, if it has it. Case is not compared: the API may change it.
        """
        new_call = self._api.endpoint("POST", path, operation=path)
        answer = yield from self._api.get(new_call(json=body, idempotent=False))
        repeated = answer.get(named) if named else None
        if repeated is not None and str(repeated).lower() != str(body[named]).lower():
            raise ProviderUnavailable(reason="api_mismatch")
        try:
            return read(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None

    def oauth_start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Return the address that OAuth begins at (API reference, Begin Google OAuth).

        Raises:
            ConfigurationError: The public token is missing.
        """
        if self._public_token is None:
            raise ConfigurationError(
                "MOONKEY_PUBLIC_TOKEN (public_token) is missing. Set it to the public token (pk_…) of your app: "
                "OAuth begins in the browser, with that."
            )
        query = {"public_token": self._public_token, "redirect": "true"}
        pages = {"login": login_redirect_url, "registration": registration_redirect_url or login_redirect_url}
        for name, url in pages.items():
            if url is not None:
                query[f"{name}_redirect_url"] = url if state is None else with_query(url, {"state": state})
        return with_query(self._oauth_start_url.replace("{provider}", provider), query)

    def verify_otp(
        self, *, code: str, method_id: str | None = None, email: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Verify a one-time passcode (API reference, OTP verify).

        Raises:
            InvalidCredentials: The code is not accepted, or the session is over.
            RequestRefused: The API refused the call for another reason.
            ProviderError: The API cannot be reached or understood.
        """
        by_id, by_email = {"method_id": method_id, "otp": code}, {"email": email, "code": code}
        return (yield from self._verify("otps/verify", by_email if method_id is None else by_id, context))

    def verify_magic_link(self, *, token: str, context: LoginContext) -> Plan[Login]:
        """Verify the token of a magic link. The errors are those of :meth:`verify_otp`, as for all that verify."""
        return (yield from self._verify("magic_links/verify", {"token": token}, context))

    def verify_oauth(
        self, *, token: str | None = None, code: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Exchange the token, or the code, with which an OAuth sign-in has returned."""
        body = {"code": code} if token is None else {"token": token}
        return (yield from self._verify("oauth/verify", body, context))

    def verify_totp(self, *, code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a code of the user's authenticator app."""
        return (yield from self._verify("totps/verify", {"totp": code, "user_id": user_id}, context))

    def recover_totp(self, *, recovery_code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a recovery code of the user's authenticator app (API reference, TOTP Recovery)."""
        body = {"recovery_code": recovery_code, "user_id": user_id}
        return (yield from self._verify("totps/recovery", body, context))

    def verify_wallet(
        self, *, wallet_type: str, public_address: str, signature: str, context: LoginContext
    ) -> Plan[Login]:
        """Verify a wallet's signature."""
        body = {"wallet_type": wallet_type, "public_address": public_address, "signature": signature}
        return (yield from self._verify("wallets/verify", body, context))

    def _verify(self, path: str, proof: Mapping[str, Any], context: LoginContext) -> Plan[Login]:
        """Verify a login step. The call is never repeated, as the first one may have used the code up."""
        new_call = self._api.endpoint("POST", path, operation=path)
        body = {**proof, **_context_fields(context)}
        _, answer = yield from self._api.call(new_call(json=body, idempotent=False))
        if isinstance(answer, ApiError):
            raise _login_refusal(answer, context)
        try:
            login = parse_login(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        named = (answer.get("user_id") or login.user.id, login.session.user_id if login.session else login.user.id)
        if not all(isinstance(user, str) and same_user(login.user.id, user) for user in named):
            raise ProviderUnavailable(reason="api_mismatch")
        sound_credential(login.session_token)
        sound_credential(login.session_jwt)
        return login

    def oauth_proof(self, query: Mapping[str, str]) -> tuple[Literal["token", "code"], str] | None:
        """Return the token, or the code, that the browser brought back; ``None`` for both, or neither."""
        token, code = query.get("token"), query.get("code")
        if token and not code:
            return "token", token
        return ("code", code) if code and not token else None

    def has_totp(self, user: User) -> bool:
        """Return whether the user has an authenticator app that was verified before."""
        return has_verified_totp(user)


def _device_fields(device: Device | None) -> dict[str, Any]:
    if device is None:
        return {}
    return {"device_fingerprint": {"ip": device.ip or "", "user_agent": device.user_agent or ""}}


def _link_fields(kind: str, page: LinkPage) -> dict[str, Any]:
    fields = {f"{kind}_redirect_url": page.url, f"{kind}_expires_in": page.minutes}
    return {name: value for name, value in fields.items() if value is not None}


def _context_fields(context: LoginContext) -> dict[str, Any]:
    """Return the part of a body that all login steps share: the session to start or extend, and the device."""
    fields = {
        "session_expires_in": context.minutes,
        "session_token": context.session_token,
        "session_jwt": context.session_jwt,
    }
    return {**_device_fields(context.device), **{name: one for name, one in fields.items() if one is not None}}


def _login_refusal(error: ApiError, context: LoginContext) -> MoonKeyError:
    """Return the error for a refused login step.

    The code, link or signature counts as wrong only where the error's code does not name anything else. Where the
    call requested a session of some lifetime, that may be the cause, unless the error's code excludes it.
    """
    if error.is_dead_session and context.credential is not None:
        return InvalidCredentials(reason="session_unknown")
    words = {word.lower() for word in re.findall(_WORD, error.code or "")}
    timed = context.minutes is not None
    if timed and words & _LENGTH and (words.isdisjoint(_PROOF) or "session" in words):
        return refused(error, reason="login_unclear")
    if error.status in (402, 403):
        return refused(error)
    if words & _NOT_THE_LOGIN or error.status not in _LOGIN_REFUSALS:
        return refused(error, reason="login_unclear")
    is_unspecific = (timed and error.status == 400) or (error.status == 401 and error.code is None)
    if words.isdisjoint(_PROOF) and (is_unspecific or error.status not in (*REFUSALS, 401)):
        return refused(error, reason="login_unclear")
    return InvalidCredentials(
        "The code, link or signature is wrong, used up or too old.",
        reason="login_refused",
        evidence=evidence_of(error),
    )
