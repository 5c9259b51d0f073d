"""The login steps of the clients, each once, as a plan; see :mod:`moonkey_core._operations.sessions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from moonkey_core._operations.arguments import Lifetime, exactly_one, text, user_id_argument
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core.models import Device, Login, OtpRequest

_MAX_OTP_MINUTES = 10


class SessionWanted(TypedDict, total=False):
    """What every login step takes: which session to start or to extend, and from which device.

    ``session_expires_in`` starts a session of that length (``timedelta`` or minutes), or extends the one whose
    credential is given: ``session_token`` or ``session_jwt``, not both. With neither, no session is made.
    """

    session_expires_in: Lifetime | None
    session_token: str | None
    session_jwt: str | None
    device: Device | None


def send_otp(
    core: Core,
    *,
    email: str | None = None,
    phone_number: str | None = None,
    expires_in: int | None = None,
    device: Device | None = None,
) -> Plan[OtpRequest]:
    """Send a one-time passcode to an address that is known. ``expires_in``: 1 to 10 minutes.

    Exactly one address, or ``ValueError``. Source: API reference, OTP send.
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
    """Send a one-time passcode, creating the user if there is none yet. ``expires_in``: 1 to 10 minutes.

    Exactly one address, or ``ValueError``. Source: API reference, OTP login or create.
    """
    return (yield from _send(core, "login_or_create", email, phone_number, expires_in, device))


def verify_otp(
    core: Core,
    code: str,
    *,
    method_id: str | None = None,
    email: str | None = None,
    **session: Unpack[SessionWanted],
) -> Plan[Login]:
    """Verify a one-time passcode, by the ``method_id`` of its sending or by ``email``: exactly one of the two.

    ``session_expires_in`` starts a session of that length, or extends the one whose credential is given. Raises
    ``InvalidCredentials`` where the code is not accepted, ``RequestRefused`` where the API refused the call
    without a word about the code; it may be that length. Source: API reference, OTP verify.
    """
    if (method_id is None) == (email is None):
        raise ValueError("Give exactly one of method_id and email.")
    if method_id is not None:
        body = {"method_id": text(method_id, "method_id"), "otp": text(code, "code")}
    else:
        body = {"email": text(email, "email"), "code": text(code, "code")}
    wanted = _session_wanted(core, **session)
    return (yield from core.api.login("otps/verify", {**body, **wanted}))


def verify_magic_link(
    core: Core,
    token: str,
    **session: Unpack[SessionWanted],
) -> Plan[Login]:
    """Verify the token of a magic link. Sessions and errors as in ``otps.verify``."""
    wanted = _session_wanted(core, **session)
    body = {"token": text(token, "token", 2048), **wanted}
    return (yield from core.api.login("magic_links/verify", body))


def verify_oauth(
    core: Core,
    *,
    token: str | None = None,
    code: str | None = None,
    **session: Unpack[SessionWanted],
) -> Plan[Login]:
    """Exchange the ``token`` (or ``code``) that an OAuth sign-in came back with: exactly one of the two.

    Sessions and errors as in ``otps.verify``.
    """
    if (token is None) == (code is None):
        raise ValueError("Give exactly one of token and code.")
    name, value = ("token", token) if token is not None else ("code", code)
    wanted = _session_wanted(core, **session)
    body = {name: text(value, name, 2048), **wanted}
    return (yield from core.api.login("oauth/verify", body))


def verify_totp(
    core: Core,
    code: str,
    *,
    user_id: str,
    **session: Unpack[SessionWanted],
) -> Plan[Login]:
    """Verify a code of the user's authenticator app. Sessions and errors as in ``otps.verify``."""
    wanted = _session_wanted(core, **session)
    body = {"totp": text(code, "code"), "user_id": user_id_argument(user_id), **wanted}
    return (yield from core.api.login("totps/verify", body))


def verify_wallet(
    core: Core,
    *,
    wallet_type: str,
    public_address: str,
    signature: str,
    **session: Unpack[SessionWanted],
) -> Plan[Login]:
    """Verify a wallet's signature (``wallet_type`` such as ``"ethereum"`` or ``"solana"``).

    Sessions and errors as in ``otps.verify``.
    """
    wanted = _session_wanted(core, **session)
    body = {
        "wallet_type": text(wallet_type, "wallet_type"),
        "public_address": text(public_address, "public_address"),
        "signature": text(signature, "signature", 4096),
        **wanted,
    }
    return (yield from core.api.login("wallets/verify", body))


def _send(
    core: Core,
    how: str,
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
        path, body["email"] = f"otps/email/{how}", text(email, "email")
    else:
        path, body["phone_number"] = f"otps/sms/{how}", text(phone_number, "phone_number")
    if expires_in is not None:
        body["expires_in"] = expires_in
    return (yield from core.api.send_otp(path, body))


def _session_wanted(
    core: Core,
    *,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Mapping[str, Any]:
    """The part that all login bodies share: which session to start or to extend, and from which device."""
    body = _device(device)
    if session_expires_in is not None:
        body["session_expires_in"] = core.settings.session_minutes(session_expires_in)
    if session_token is not None or session_jwt is not None:
        kind, value = exactly_one(core.settings, session_token=session_token, session_jwt=session_jwt)
        body[kind] = value
    return body


def _device(device: Device | None) -> dict[str, Any]:
    if device is None:
        return {}
    return {"device_fingerprint": {"ip": device.ip or "", "user_agent": device.user_agent or ""}}
