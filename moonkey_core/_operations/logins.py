"""The login steps of the clients, each once, as a plan; see :mod:`moonkey_core._operations.sessions`."""

from __future__ import annotations

from typing import Literal

from moonkey_core._operations.arguments import (
    Lifetime,
    given,
    minutes_argument,
    one_credential,
    text_argument,
)
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core._provider import own_scope
from moonkey_core._sign_in_steps import LoginContext, SignInSteps
from moonkey_core._verified import scoped_user
from moonkey_core.errors import InvalidCredentials, ProviderError, ProviderUnavailable
from moonkey_core.models import Device, Login, OtpRequest
from moonkey_core.settings.checks import session_minutes


def send_otp(
    core: Core,
    *,
    email: str | None = None,
    phone_number: str | None = None,
    expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[OtpRequest]:
    """Send a one-time passcode to an address of a user that exists.

    Args:
        email: The address. Give either this or ``phone_number``.
        phone_number: The number, for a text message.
        expires_in: The lifetime of the passcode in minutes; at MoonKey, 1 to 10.
        device: The device of the user.

    Raises:
        RequestRefused: The provider refused the call.
        ProviderError: The provider cannot be reached or understood.
        ValueError: There is not exactly one address, or an argument is malformed.
    """
    to = {"email": email, "phone_number": phone_number}
    return (yield from _send(core, create=False, **to, expires_in=expires_in, device=device))


def login_or_create(
    core: Core,
    *,
    email: str | None = None,
    phone_number: str | None = None,
    expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[OtpRequest]:
    """Send a one-time passcode, and create the user where there is none with this address.

    Args:
        email: The address. Give either this or ``phone_number``.
        phone_number: The number, for a text message.
        expires_in: The lifetime of the passcode in minutes; at MoonKey, 1 to 10.
        device: The device of the user.

    Raises:
        RequestRefused: The provider refused the call.
        ProviderError: The provider cannot be reached or understood.
        ValueError: There is not exactly one address, or an argument is malformed.
    """
    to = {"email": email, "phone_number": phone_number}
    return (yield from _send(core, create=True, **to, expires_in=expires_in, device=device))


def verify_otp(
    core: Core,
    code: str,
    *,
    method_id: str | None = None,
    email: str | None = None,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify a one-time passcode.

    Args:
        code: The passcode.
        method_id: The ``method_id`` of the ``OtpRequest``. Give either this or ``email``.
        email: The address that the passcode was sent to.
        session_expires_in: The lifetime of the session from now, as a ``timedelta`` or in minutes. It starts a
            session, or extends the one whose credential is passed. Without it and a credential, no session is
            started.
        session_token: A session token of the session that the factor is added to.
        session_jwt: A session JWT of that session, instead of a session token.
        device: The device of the user.

    Raises:
        InvalidCredentials: The passcode is not accepted, or the session is over.
        RequestRefused: The provider refused the call for another reason, such as the lifetime.
        ProviderError: The provider cannot be reached or understood.
        ValueError: An argument is missing or malformed.
    """
    if (method_id is None) == (email is None):
        raise ValueError("Give exactly one of method_id and email.")
    method_id = None if method_id is None else text_argument(method_id, "method_id")
    email = None if email is None else text_argument(email, "email")
    code = text_argument(code, "code")
    steps = core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    verification = steps.verify_otp(code=code, method_id=method_id, email=email, context=context)
    return (yield from _verified(core, context, verification))


def verify_magic_link(
    core: Core,
    token: str,
    *,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify the token of a magic link. The other arguments and the errors are those of ``otps.verify``."""
    token, steps = text_argument(token, "token", 2048), core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    return (yield from _verified(core, context, steps.verify_magic_link(token=token, context=context)))


def verify_oauth(
    core: Core,
    *,
    token: str | None = None,
    code: str | None = None,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Exchange the ``token``, or the ``code``, with which an OAuth sign-in has returned to the app.

    Give exactly one of the two. The other arguments and the errors are those of ``otps.verify``.
    """
    if (token is None) == (code is None):
        raise ValueError("Give exactly one of token and code.")
    token = None if token is None else text_argument(token, "token", 2048)
    code = None if code is None else text_argument(code, "code", 2048)
    steps = core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    return (yield from _verified(core, context, steps.verify_oauth(token=token, code=code, context=context)))


def verify_totp(
    core: Core,
    code: str,
    *,
    user_id: str,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify a code of the user's authenticator app.

    The other arguments and the errors are those of ``otps.verify``.
    """
    code, user_id, steps = text_argument(code, "code"), core.user_id(user_id), core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    return (yield from _verified(core, context, steps.verify_totp(code=code, user_id=user_id, context=context)))


def recover_totp(
    core: Core,
    recovery_code: str,
    *,
    user_id: str,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify a recovery code of the user's authenticator app, in place of a code. It works once.

    The other arguments and the errors are those of ``otps.verify``.
    """
    recovery_code, user_id = text_argument(recovery_code, "recovery_code"), core.user_id(user_id)
    steps = core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    recovery = steps.recover_totp(recovery_code=recovery_code, user_id=user_id, context=context)
    return (yield from _verified(core, context, recovery))


def verify_wallet(
    core: Core,
    *,
    wallet_type: str,
    public_address: str,
    signature: str,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify a wallet's signature. ``wallet_type`` is such as ``"ethereum"`` or ``"solana"``.

    The other arguments and the errors are those of ``otps.verify``.
    """
    steps = core.able_to("sign_in")
    context = _context(core, steps, session_expires_in, session_token, session_jwt, device)
    verification = steps.verify_wallet(
        wallet_type=text_argument(wallet_type, "wallet_type"),
        public_address=text_argument(public_address, "public_address"),
        signature=text_argument(signature, "signature", 4096),
        context=context,
    )
    return (yield from _verified(core, context, verification))


def _send(
    core: Core,
    *,
    create: bool,
    email: str | None,
    phone_number: str | None,
    expires_in: int | None,
    device: Device | None,
) -> Plan[OtpRequest]:
    if (email is None) == (phone_number is None):
        raise ValueError("Give exactly one of email and phone_number.")
    steps = core.able_to("sign_in")
    minutes = minutes_argument(expires_in, steps.limits.otp_minutes, "A code")
    channel: Literal["email", "sms"] = "sms" if email is None else "email"
    address = text_argument(phone_number, "phone_number") if email is None else text_argument(email, "email")
    return (
        yield from steps.send_otp(channel=channel, address=address, create=create, minutes=minutes, device=device)
    )


def _verified(core: Core, context: LoginContext, verification: Plan[Login]) -> Plan[Login]:
    """Verify a login step. Where the provider refuses it because the session is over, remember that.

    The JWT of the session is held back where it would not be accepted when it is presented.
    """
    try:
        login = yield from verification
    except InvalidCredentials as error:
        credential = context.credential
        if credential is not None and error.session_is_over:
            session_id = yield from _session_of(core, context.session_jwt)
            core.introspector.note_end_of(credential, error, session_id)
        raise
    login = login.replace(user=scoped_user(login.user, own_scope(core.provider)))
    jwt, session = login.session_jwt, login.session
    if jwt is None or session is None:
        return login
    if (yield from core.introspector.is_sound_jwt(jwt, session.id, login.user.id)):
        return login
    if login.session_token is None:
        raise ProviderUnavailable(reason="api_content")  # a session without a usable credential
    return login.replace(session_jwt=None)


def _session_of(core: Core, jwt: str | None) -> Plan[str | None]:
    """Return the session that a JWT proves, expired or not; ``None`` where JWTs are not verified here."""
    if jwt is None or not core.verifies_jwts:
        return None
    try:
        ids = yield from core.authenticator.ids_of(given("session_jwt", jwt))
    except ProviderError:
        return None
    return None if ids is None else ids[0]


def _context(
    core: Core,
    steps: SignInSteps,
    session_expires_in: Lifetime | None,
    session_token: str | None,
    session_jwt: str | None,
    device: Device | None,
) -> LoginContext:
    """Return what all login steps share: the session to start or extend, and the device.

    Raises:
        InvalidCredentials: The JWT of the session is of another issuer, and is not for the provider.
    """
    limit, minutes = steps.limits.session_minutes, None
    if session_expires_in is not None:
        minutes = session_minutes(session_expires_in, limit.start, limit.stop - 1)
    if session_token is not None or session_jwt is not None:
        kind, value = one_credential(core.settings, session_token=session_token, session_jwt=session_jwt)
        if kind == "session_jwt":
            core.authenticator.check_own_jwt(value)
        session_token, session_jwt = (None, value) if kind == "session_jwt" else (value, None)
    return LoginContext(minutes, session_token, session_jwt, device)
