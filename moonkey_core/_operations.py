"""Every operation of the clients, once, as a plan. The clients' methods are these, run.

Signatures and docstrings here are the public ones; ``core`` is supplied by the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from moonkey_core._core import Core
from moonkey_core._plan import Plan
from moonkey_core.auth import Auth
from moonkey_core.credentials import Credentials, HeaderView, well_formed
from moonkey_core.errors import MoonKeyError, ProviderError, ProviderUnavailable, RevocationIncomplete
from moonkey_core.models import Device, Login, OtpRequest, Session, User, VerifiedSession, identifier

Lifetime = timedelta | int
"""A session lifetime: a ``timedelta``, or whole minutes."""

_MAX_OTP_MINUTES = 10
_TROUBLES_BEFORE_GIVING_UP = 2


def authenticate(core: Core, headers: HeaderView) -> Plan[Auth]:
    """The identity of a request, from its headers. What every framework package calls.

    ``headers`` returns all values of one header by its lower-case name. Raises only
    :class:`~moonkey_core.errors.ConfigurationError`; anything about the caller or the API is in the ``Auth``.
    """
    return (yield from core.verifier.authenticate(headers))


def verify(
    core: Core,
    *,
    session_token: str | None = None,
    session_jwt: str | None = None,
    extend: Lifetime | None = None,
) -> Plan[VerifiedSession]:
    """Verify one credential and return its user and session.

    ``extend`` (a ``timedelta``, or minutes) sets the session's end to that time from now. Exactly one credential,
    or ``ValueError``. Raises ``AuthenticationError`` where it is not good, ``ProviderError`` where that cannot be
    known. Source: API reference, Verify Session.
    """
    kind, value = _exactly_one(core, session_token=session_token, session_jwt=session_jwt)
    minutes = None if extend is None else core.settings.session_minutes(extend)
    wanted: Literal["session_jwt", "session_token"] = "session_jwt" if kind == "session_jwt" else "session_token"
    return (yield from core.verifier.verify(Credentials(value, wanted, "argument"), minutes))


def list_sessions(core: Core, user_id: str) -> Plan[tuple[Session, ...]]:
    """The active sessions of a user. Source: API reference, List Sessions."""
    return (yield from core.api.list_sessions(_argument(user_id, "user_id")))


def revoke(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> Plan[None]:
    """End a session for good; one that is gone already counts as ended.

    Exactly one argument, or ``ValueError``. Raises ``ProviderError`` where it could not be done. Source: API
    reference, Delete Session.
    """
    kind, value = _exactly_one(core, session_id=session_id, session_token=session_token, session_jwt=session_jwt)
    yield from core.api.revoke(kind, value)


def revoke_all(core: Core, user_id: str, *, keep: str | None = None) -> Plan[tuple[str, ...]]:
    """End every session of a user, but for the one with the id ``keep``; returns the ids that were ended.

    The API has no single call for it: the sessions are listed, then ended one by one. Raises
    :class:`~moonkey_core.errors.RevocationIncomplete`, which says which ones failed, and ``ProviderError`` where
    they could not even be listed.
    """
    sessions = yield from core.api.list_sessions(_argument(user_id, "user_id"))
    revoked: list[str] = []
    failed: dict[str, MoonKeyError] = {}
    troubles = 0
    for session_id in [session.id for session in sessions if session.id != keep]:
        if troubles >= _TROUBLES_BEFORE_GIVING_UP:
            failed[session_id] = ProviderUnavailable(reason="not_tried")
            continue
        try:
            yield from core.api.revoke("session_id", session_id)
            revoked.append(session_id)
        except MoonKeyError as error:
            failed[session_id] = error
            troubles += isinstance(error, ProviderError)
    if failed:
        raise RevocationIncomplete(revoked=tuple(revoked), failed=failed)
    return tuple(revoked)


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
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify a one-time passcode, by the ``method_id`` of its sending or by ``email``: exactly one of the two.

    ``session_expires_in`` starts a session of that length, or extends the one whose credential is given. Raises
    ``InvalidCredentials`` where the code is not accepted. Source: API reference, OTP verify.
    """
    if (method_id is None) == (email is None):
        raise ValueError("Give exactly one of method_id and email.")
    if method_id is not None:
        body = {"method_id": _argument(method_id, "method_id"), "otp": _argument(code, "code")}
    else:
        body = {"email": _argument(email, "email"), "code": _argument(code, "code")}
    wanted = _session_wanted(core, session_expires_in, session_token, session_jwt, device)
    return (yield from core.api.login("otps/verify", {**body, **wanted}))


def verify_magic_link(
    core: Core,
    token: str,
    *,
    session_expires_in: Lifetime | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    device: Device | None = None,
) -> Plan[Login]:
    """Verify the token of a magic link. Sessions and errors as in ``otps.verify``."""
    wanted = _session_wanted(core, session_expires_in, session_token, session_jwt, device)
    body = {"token": _argument(token, "token", 2048), **wanted}
    return (yield from core.api.login("magic_links/verify", body))


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
    """Exchange the ``token`` (or ``code``) that an OAuth sign-in came back with: exactly one of the two.

    Sessions and errors as in ``otps.verify``.
    """
    if (token is None) == (code is None):
        raise ValueError("Give exactly one of token and code.")
    name, value = ("token", token) if token is not None else ("code", code)
    wanted = _session_wanted(core, session_expires_in, session_token, session_jwt, device)
    body = {name: _argument(value, name, 2048), **wanted}
    return (yield from core.api.login("oauth/verify", body))


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
    """Verify a code of the user's authenticator app. Sessions and errors as in ``otps.verify``."""
    wanted = _session_wanted(core, session_expires_in, session_token, session_jwt, device)
    body = {"totp": _argument(code, "code"), "user_id": _argument(user_id, "user_id"), **wanted}
    return (yield from core.api.login("totps/verify", body))


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
    """Verify a wallet's signature (``wallet_type`` such as ``"ethereum"`` or ``"solana"``).

    Sessions and errors as in ``otps.verify``.
    """
    wanted = _session_wanted(core, session_expires_in, session_token, session_jwt, device)
    body = {
        "wallet_type": _argument(wallet_type, "wallet_type"),
        "public_address": _argument(public_address, "public_address"),
        "signature": _argument(signature, "signature", 4096),
        **wanted,
    }
    return (yield from core.api.login("wallets/verify", body))


def get_user(core: Core, user_id: str) -> Plan[User]:
    """One user with all fields. Raises ``NotFound``. Source: API reference, Get User."""
    return (yield from core.api.get_user(_argument(user_id, "user_id")))


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
    if expires_in is not None and not 1 <= expires_in <= _MAX_OTP_MINUTES:
        raise ValueError(f"A code lives 1 to {_MAX_OTP_MINUTES} minutes.")
    body: dict[str, Any] = _device(device)
    if email is not None:
        path, body["email"] = f"otps/email/{how}", _argument(email, "email")
    else:
        path, body["phone_number"] = f"otps/sms/{how}", _argument(phone_number, "phone_number")
    if expires_in is not None:
        body["expires_in"] = expires_in
    return (yield from core.api.send_otp(path, body))


def _session_wanted(
    core: Core,
    lifetime: Lifetime | None,
    session_token: str | None,
    session_jwt: str | None,
    device: Device | None,
) -> Mapping[str, Any]:
    """The part that all login bodies share: which session to start or to extend, and from which device."""
    body = _device(device)
    if lifetime is not None:
        body["session_expires_in"] = core.settings.session_minutes(lifetime)
    if session_token is not None or session_jwt is not None:
        kind, value = _exactly_one(core, session_token=session_token, session_jwt=session_jwt)
        body[kind] = value
    return body


def _device(device: Device | None) -> dict[str, Any]:
    if device is None:
        return {}
    return {"device_fingerprint": {"ip": device.ip or "", "user_agent": device.user_agent or ""}}


_Kind = Literal["session_id", "session_token", "session_jwt"]


def _exactly_one(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> tuple[_Kind, str]:
    options: tuple[tuple[_Kind, str | None], ...] = (
        ("session_id", session_id),
        ("session_token", session_token),
        ("session_jwt", session_jwt),
    )
    given: list[tuple[_Kind, str]] = [(kind, value) for kind, value in options if value is not None]
    if len(given) != 1:
        raise ValueError("Give exactly one credential: a session token or a session JWT (or, to revoke, an id).")
    kind, value = given[0]
    if kind == "session_id":
        return kind, _argument(value, "session_id")
    return kind, well_formed(value, core.settings)


def _argument(value: object, name: str, longest: int = 256) -> str:
    """A text argument. The value is never repeated: it may be a secret."""
    try:
        if isinstance(value, str) and len(value) > 256:
            if len(value) > longest or not value.isprintable():
                raise ValueError
            return value
        return identifier(value)
    except ValueError:
        raise ValueError(f"{name} must be a non-empty string of at most {longest} printable characters.") from None
