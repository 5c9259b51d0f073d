"""The steps of a sign-in at Stytch: how each call is built and how its reply is read (Stytch's API reference).

Passwords, passkeys, wallets and biometrics are begun by Stytch's SDK in the browser. Sessions that were begun so
are accepted like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NoReturn, TypeVar

from moonkey_core._plan import Plan, Reply
from moonkey_core._sign_in_steps import (
    FactorKind,
    LinkPage,
    LoginContext,
    LoginLimits,
    SignInBase,
    has_verified_totp,
    send_or_create,
    with_query,
)
from moonkey_core.errors import (
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    NotSupported,
    ProviderUnavailable,
    RequestRefused,
)
from moonkey_core.models import (
    Device,
    Login,
    MagicLinkRequest,
    OtpRequest,
    TotpRegistration,
    User,
    WalletChallenge,
    identifier,
    texts,
)
from moonkey_core.providers.stytch.replies import SESSION_OVER, StytchError, refused_call
from moonkey_core.providers.stytch.wire import credential, frozen, parse_session, parse_user, session_facts

T = TypeVar("T")

_Post = Callable[[str, Mapping[str, Any]], Plan[tuple[Reply, dict[str, Any] | StytchError]]]

_LIMITS = LoginLimits(otp_minutes=range(1, 11), link_minutes=range(5, 10_081), session_minutes=range(5, 527_041))
_TOKEN_TYPE = "stytch_token_type"  # noqa: S105 the name of a field, which says what a token is for
_SESSIONS = ("session", "user_session")  # the latter in the reply of OAuth
_COMMON = (
    *_SESSIONS,
    *("user", "user_id", "method_id", "session_token", "session_jwt", "status_code", "request_id"),
)
_PROOF = frozenset(
    {"otp", "totp", "totps", "code", "passcode", "magic", "link", "links", "token", "oauth", "recovery", "pkce"}
    | {"verifier", "method"}
)
"""Words in the types of refusals that concern what the user has brought."""
_REFUSALS = (400, 401, 404)
_IN_THE_BROWSER = (
    "Begin it with Stytch's own SDK in the browser; the sessions that begin so are accepted here like any other."
)


class StytchSignIn(SignInBase):
    """Plans for the steps of a sign-in. The subclass makes the calls."""

    limits: LoginLimits = _LIMITS
    factor_names: Mapping[FactorKind, frozenset[str]] = MappingProxyType(
        {
            "email": frozenset({"otp", "email_otp", "email"}),
            "phone_number": frozenset({"otp", "sms"}),
            "totp": frozenset({"totp", "authenticator_app"}),
        }
    )

    def __init__(self, name: str, root: str, public_token: str | None, post: _Post) -> None:
        """Make the steps.

        Args:
            name: The name of the provider.
            root: The address of the API.
            public_token: The public token of the project, if it is known.
            post: Makes a call that is never repeated: from the path and the body to the content of the reply, or
                to its error.
        """
        self.name: str = name
        self._root = root
        self._public_token = public_token
        self._post = post

    # --- what begins

    def send_otp(
        self,
        *,
        channel: Literal["email", "sms"],
        address: str,
        create: bool,
        minutes: int | None = None,
        device: Device | None = None,
    ) -> Plan[OtpRequest]:
        """Send a one-time passcode (API reference, OTPs: Log in or create user, Send).

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        kind, id_name = ("email", "email_id") if channel == "email" else ("phone_number", "phone_id")
        body = {kind: address, "expiration_minutes": minutes, "attributes": _attributes(device)}
        path = f"/v1/otps/{channel}/{send_or_create(create)}"

        def read(answer: Mapping[str, Any]) -> OtpRequest:
            return OtpRequest(*_recipient(answer, id_name))

        return (yield from self._begin(path, body, read))

    def send_magic_link(
        self,
        *,
        email: str,
        create: bool,
        login: LinkPage,
        registration: LinkPage | None = None,
        device: Device | None = None,
    ) -> Plan[MagicLinkRequest]:
        """Send a magic link (API reference, Email magic links: Log in or create user, Send).

        The errors are those of :meth:`send_otp`.
        """
        signup = LinkPage() if registration is None else registration
        body = {
            "email": email,
            "login_magic_link_url": login.url,
            "login_expiration_minutes": login.minutes,
            "signup_magic_link_url": signup.url,
            "signup_expiration_minutes": signup.minutes,
            "attributes": _attributes(device),
        }
        path = f"/v1/magic_links/email/{send_or_create(create)}"

        def read(answer: Mapping[str, Any]) -> MagicLinkRequest:
            return MagicLinkRequest(*_recipient(answer, "email_id"))

        return (yield from self._begin(path, body, read))

    def create_totp(self, user_id: str) -> Plan[TotpRegistration]:
        """Register an authenticator app for a user (API reference, TOTPs: Create).

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood, or its reply is about another user.
        """
        made = yield from self._begin("/v1/totps", {"user_id": user_id}, _totp_registration)
        if made.user_id != user_id:
            raise ProviderUnavailable(reason="api_mismatch")
        return made

    def oauth_start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Return the address that the browser begins OAuth at (API reference, OAuth: Start).

        Raises:
            ConfigurationError: The public token is missing.
        """
        if self._public_token is None:
            raise ConfigurationError(
                "MOONKEY_STYTCH_PUBLIC_TOKEN (stytch_public_token) is missing. Set it to the public token of the "
                "project: OAuth begins in the browser, with that."
            )
        query = {"public_token": self._public_token}
        pages = {"login": login_redirect_url, "signup": registration_redirect_url or login_redirect_url}
        for name, url in pages.items():
            if url is not None:
                query[f"{name}_redirect_url"] = url if state is None else with_query(url, {"state": state})
        return with_query(f"{self._root}/v1/public/oauth/{provider}/start", query)

    def begin_wallet(
        self, *, wallet_type: str, public_address: str, user_id: str | None = None
    ) -> Plan[WalletChallenge]:
        """Refuse: wallets are begun in the browser.

        Raises:
            NotSupported: Always.
        """
        self._lacks("begin_wallet")

    # --- what verifies

    def verify_otp(
        self, *, code: str, method_id: str | None = None, email: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Verify a one-time passcode (API reference, OTPs: Authenticate).

        Raises:
            InvalidCredentials: The code is not accepted, or the session is over.
            RequestRefused: The API refused the call for another reason.
            NotSupported: There is only an address to verify it by.
            ProviderError: The API cannot be reached or understood.
        """
        if method_id is None:
            self._lacks("verify_otp", "A code is verified by the method_id of the request that has sent it.")
        body = {"method_id": method_id, "code": code, "attributes": _attributes(context.device)}
        return (yield from self._verify("/v1/otps/authenticate", body, context))

    def verify_magic_link(self, *, token: str, context: LoginContext) -> Plan[Login]:
        """Verify the token of a magic link. The errors are those of :meth:`verify_otp`, as for all that verify."""
        body = {"token": token, "attributes": _attributes(context.device)}
        return (yield from self._verify("/v1/magic_links/authenticate", body, context))

    def verify_oauth(
        self, *, token: str | None = None, code: str | None = None, context: LoginContext
    ) -> Plan[Login]:
        """Exchange the token with which an OAuth sign-in has returned (API reference, OAuth: Authenticate)."""
        if token is None:
            self._lacks("verify_oauth", "OAuth returns to the app with a token, and not with a code.")
        return (yield from self._verify("/v1/oauth/authenticate", {"token": token}, context))

    def verify_totp(self, *, code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a code of the user's authenticator app (API reference, TOTPs: Authenticate)."""
        body = {"user_id": user_id, "totp_code": code}
        return (yield from self._verify("/v1/totps/authenticate", body, context, user_id))

    def recover_totp(self, *, recovery_code: str, user_id: str, context: LoginContext) -> Plan[Login]:
        """Verify a recovery code of the user's authenticator app (API reference, TOTPs: Recover)."""
        body = {"user_id": user_id, "recovery_code": recovery_code}
        return (yield from self._verify("/v1/totps/recover", body, context, user_id))

    def verify_wallet(
        self, *, wallet_type: str, public_address: str, signature: str, context: LoginContext
    ) -> Plan[Login]:
        """Refuse: wallets are verified in the browser.

        Raises:
            NotSupported: Always.
        """
        self._lacks("verify_wallet")

    # --- what the browser brings, and what a user has

    def magic_link_token(self, query: Mapping[str, str]) -> str | None:
        """Return the token of a magic link, unless the query says that it is for something else."""
        return _token_of(query, "magic_links")

    def oauth_proof(self, query: Mapping[str, str]) -> tuple[Literal["token", "code"], str] | None:
        """Return the token of OAuth, unless the query says that it is for something else."""
        token = _token_of(query, "oauth")
        return None if token is None else ("token", token)

    def has_totp(self, user: User) -> bool:
        """Return whether the user has an authenticator app that was verified before."""
        return has_verified_totp(user)

    # --- the calls

    def _lacks(self, step: str, why: str = _IN_THE_BROWSER) -> NoReturn:
        raise NotSupported(provider=self.name, operation=step, why=why)

    def _begin(self, path: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> Plan[T]:
        """Make a call that begins something, and read its reply; ``read`` raises ``ValueError`` if it cannot.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        _, answer = yield from self._post(path, _without_none(body))
        if isinstance(answer, StytchError):
            raise refused_call(answer)
        try:
            return read(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None

    def _verify(
        self, path: str, proof: Mapping[str, Any], context: LoginContext, user_id: str | None = None
    ) -> Plan[Login]:
        """Verify a login step; ``user_id`` is the user that it is about, where that is known."""
        body = {
            **proof,
            "session_token": context.session_token,
            "session_jwt": context.session_jwt,
            "session_duration_minutes": context.minutes,
        }
        _, answer = yield from self._post(path, _without_none(body))
        if isinstance(answer, StytchError):
            raise _login_refusal(answer, context)
        try:
            login = _login(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        named = (answer.get("user_id"), user_id, None if login.session is None else login.session.user_id)
        if any(one not in (None, login.user.id) for one in named):
            raise ProviderUnavailable(reason="api_mismatch")
        return login


def _login(answer: Mapping[str, Any]) -> Login:
    """Return the login in a reply.

    Raises:
        ValueError: It cannot be read.
    """
    user, session = (
        answer.get("user"),
        next((answer[one] for one in _SESSIONS if answer.get(one) is not None), None),
    )
    if user is None:
        user = {"user_id": answer.get("user_id")}
    if not isinstance(user, Mapping):
        raise ValueError("not an object")
    if session is not None:
        session_facts(session)
    token, jwt = (credential(answer.get(name)) for name in ("session_token", "session_jwt"))
    method_id = answer.get("method_id") or answer.get("totp_id")
    rest = {name: value for name, value in answer.items() if name not in _COMMON}
    return Login(
        user=parse_user(user),
        session=None if session is None else parse_session(session),
        session_token=None if session is None else token,
        session_jwt=None if session is None else jwt,
        method_id=method_id if isinstance(method_id, str) else None,
        extra=frozen(rest),
    )


def _login_refusal(error: StytchError, context: LoginContext) -> MoonKeyError:
    """Return the error for a refused login step.

    What the user has brought counts as wrong only where the type of the refusal names it. An unknown session means
    the one that the factor was to be added to, if there is one.
    """
    if error.type in SESSION_OVER:
        if context.credential is not None:
            return InvalidCredentials(reason="session_unknown")
        return RequestRefused(code=error.type, reason="login_unclear", evidence=error.evidence)
    words = set(re.split(r"[_.\-]", error.type))
    if not error.is_known and error.status in _REFUSALS and words & _PROOF and "session" not in words:
        return InvalidCredentials(
            "The code, link or token is wrong, used up or too old.",
            reason="login_refused",
            evidence=error.evidence,
        )
    return refused_call(error, reason="login_unclear")


def _recipient(answer: Mapping[str, Any], id_name: str) -> tuple[str, str | None, Mapping[str, Any]]:
    """Return what a reply says of the address that something was sent to: its id, its user, and the rest.

    Raises:
        ValueError: It has no id.
    """
    user_id = answer.get("user_id")
    rest = {name: answer[name] for name in answer if name not in (*_COMMON, id_name)}
    return identifier(answer.get(id_name)), None if user_id is None else identifier(user_id), frozen(rest)


def _totp_registration(answer: Mapping[str, Any]) -> TotpRegistration:
    """Return the registration in a reply.

    Raises:
        ValueError: It cannot be read.
    """
    secret, picture = answer.get("secret"), answer.get("qr_code")
    if not isinstance(secret, str) or not secret:
        raise ValueError("no secret")
    return TotpRegistration(
        totp_id=identifier(answer.get("totp_id")),
        user_id=identifier(answer.get("user_id")),
        secret=secret,
        qr_base64=picture if isinstance(picture, str) and picture else None,
        recovery_codes=texts(answer.get("recovery_codes")),
    )


def _token_of(query: Mapping[str, str], kind: str) -> str | None:
    """Return the token in a query, unless that says that it is of another kind (Stytch, "Redirect URLs")."""
    return None if query.get(_TOKEN_TYPE, kind) != kind else query.get("token") or None


def _attributes(device: Device | None) -> dict[str, str] | None:
    if device is None:
        return None
    return {"ip_address": device.ip or "", "user_agent": device.user_agent or ""}


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
