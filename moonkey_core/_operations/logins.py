"""The login steps of the clients, each once, as a plan; see :mod:`moonkey_core._operations.sessions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moonkey_core._operations.arguments import Lifetime, one_credential, text_argument, user_id_argument
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core.errors import InvalidCredentials
from moonkey_core.models import Device, Login, OtpRequest

_MAX_OTP_MINUTES = 10


def send_otp(
    core: Core,
    *,
    email: str | None = None,
    phone_number: str | None = None,
    expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[OtpRequest]:
    """Send a one-time passcode to an address of a user that exists.

    Source: API reference, OTP send.

    Args:
        email: The address. Give either this or ``phone_number``.
        phone_number: The number, for a text message.
        expires_in: The lifetime of the passcode, 1 to 10 minutes.
        device: The device of the user.

    Raises:
        RequestRefused: The API refused the call.
        ProviderError: The API cannot be reached or understood.
        ValueError: There is not exactly one address, or an argument is malformed.
    """
    return (yield from _send(core, "send", email, phone_number, expires_in, device))


def login_or_create(
    core: Core,
    *,
    email: str | None = None,
    phone_number: str | None = None,
    expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[OtpRequest]:
    """Send a one-time passcode, and create the user where there is none with this address.

    Source: API reference, OTP login or create.

    Args:
        email: The address. Give either this or ``phone_number``.
        phone_number: The number, for a text message.
        expires_in: The lifetime of the passcode, 1 to 10 minutes.
        device: The device of the user.

    Raises:
        RequestRefused: The API refused the call.
        ProviderError: The API cannot be reached or understood.
        ValueError: There is not exactly one address, or an argument is malformed.
    """
    return (yield from _send(core, "login_or_create", email, phone_number, expires_in, device))


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

    Source: API reference, OTP verify.

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
        RequestRefused: The API refused the call for another reason, such as the lifetime.
        ProviderError: The API cannot be reached or understood.
        ValueError: An argument is missing or malformed.
    """
    if (method_id is None) == (email is None):
        raise ValueError("Give exactly one of method_id and email.")
    if method_id is not None:
        body = {"method_id": text_argument(method_id, "method_id"), "otp": text_argument(code, "code")}
    else:
        body = {"email": text_argument(email, "email"), "code": text_argument(code, "code")}
    session_fields = _session_fields(core, session_expires_in, session_token, session_jwt, device)
    return (yield from _verified(core, "otps/verify", {**body, **session_fields}))


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
    session_fields = _session_fields(core, session_expires_in, session_token, session_jwt, device)
    body = {"token": text_argument(token, "token", 2048), **session_fields}
    return (yield from _verified(core, "magic_links/verify", body))


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
    name, value = ("token", token) if token is not None else ("code", code)
    session_fields = _session_fields(core, session_expires_in, session_token, session_jwt, device)
    body = {name: text_argument(value, name, 2048), **session_fields}
    return (yield from _verified(core, "oauth/verify", body))


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
    session_fields = _session_fields(core, session_expires_in, session_token, session_jwt, device)
    body = {"totp": text_argument(code, "code"), "user_id": user_id_argument(user_id), **session_fields}
    return (yield from _verified(core, "totps/verify", body))


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
    session_fields = _session_fields(core, session_expires_in, session_token, session_jwt, device)
    body = {
        "wallet_type": text_argument(wallet_type, "wallet_type"),
        "public_address": text_argument(public_address, "public_address"),
        "signature": text_argument(signature, "signature", 4096),
        **session_fields,
    }
    return (yield from _verified(core, "wallets/verify", body))


def _send(
    core: Core,
    action: str,
    email: str | None,
    phone_number: str | None,
    expires_in: int | None,
    device: Device | None,
) -> Plan[OtpRequest]:
    if (email is None) == (phone_number is None):
        raise ValueError("Give exactly one of email and phone_number.")
    if expires_in is not None and (type(expires_in) is not int or not 1 <= expires_in <= _MAX_OTP_MINUTES):
        raise ValueError(f"A code lives 1 to {_MAX_OTP_MINUTES} minutes.")
    body: dict[str, Any] = _device(device)
    if email is not None:
        path, body["email"] = f"otps/email/{action}", text_argument(email, "email")
    else:
        path, body["phone_number"] = f"otps/sms/{action}", text_argument(phone_number, "phone_number")
    if expires_in is not None:
        body["expires_in"] = expires_in
    return (yield from core.api.send_otp(path, body))


def _verified(core: Core, path: str, body: Mapping[str, Any]) -> Plan[Login]:
    """Verify a login step. Where the API refuses it because the session in ``body`` is over, remember that."""
    try:
        return (yield from core.api.login(path, body))
    except InvalidCredentials as error:
        credential = body.get("session_token") or body.get("session_jwt")
        if credential is not None and error.session_is_over:
            core.introspector.note_end_of(credential, error)
        raise


def _session_fields(
    core: Core,
    session_expires_in: Lifetime | None,
    session_token: str | None,
    session_jwt: str | None,
    device: Device | None,
) -> Mapping[str, Any]:
    """Return the part of the body that all login steps share: the session to start or extend, and the device."""
    body = _device(device)
    if session_expires_in is not None:
        body["session_expires_in"] = core.settings.session_minutes(session_expires_in)
    if session_token is not None or session_jwt is not None:
        kind, value = one_credential(core.settings, session_token=session_token, session_jwt=session_jwt)
        body[kind] = value
    return body


def _device(device: Device | None) -> dict[str, Any]:
    if device is None:
        return {}
    return {"device_fingerprint": {"ip": device.ip or "", "user_agent": device.user_agent or ""}}
