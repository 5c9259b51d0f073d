"""Replace all sessions of a user by a new one, after a sensitive change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moonkey_core._operations.arguments import Lifetime, text_argument, user_id_argument
from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_otp, verify_totp
from moonkey_core._operations.sessions import end_session, revoke_all
from moonkey_core._plan import Plan
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RevocationIncomplete
from moonkey_core.models import Device, Login, Session, same_user
from moonkey_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new session, and the result of ending the others.

    Attributes:
        login: The new session. Set its cookies in any case.
        revoked: The ids of the sessions that were ended.
        error: The error because of which others may still be active; ``None`` where all were ended. A
            ``RevocationIncomplete`` has their ids. After any other error they could not be listed.
            ``sessions.revoke_all(user_id, keep=login.session.id)`` tries again.
    """

    login: Login
    revoked: tuple[str, ...] = ()
    error: MoonKeyError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all other sessions were ended."""
        return self.error is None


def rotate(
    core: Core,
    *,
    user_id: str,
    otp: str | None = None,
    method_id: str | None = None,
    totp: str | None = None,
    session_expires_in: Lifetime | None = None,
    replaces: Session | None = None,
    device: Device | None = None,
) -> Plan[Rotation]:
    """Verify a factor into a new session of a user, then end all their other sessions.

    For use after a change that makes old sessions suspect, such as that of an e-mail address. An error about the
    other sessions is not raised, as the new session has to be kept: it is in the result, and the other sessions
    are refused in all processes of the app for as long as a JWT of them might be accepted.

    Args:
        user_id: The user.
        otp: A one-time passcode; it requires ``method_id``.
        method_id: The ``method_id`` of the ``OtpRequest``.
        totp: A code of an authenticator app, instead of a passcode.
        session_expires_in: The lifetime of the new session, as a ``timedelta`` or in minutes.
        replaces: Instead of a lifetime, the session whose remaining lifetime the new one gets.
        device: The device of the new session.

    Raises:
        ValueError: An argument is wrong or missing.
        InvalidCredentials: The factor is not accepted, or is another user's; that user's new session is ended.
        RequestRefused: The API refused the factor for another reason, such as the lifetime.
        ProviderError: The factor could not be verified: no session was ended.
    """
    user_id = user_id_argument(user_id)
    minutes = _minutes(core.settings, session_expires_in, replaces)
    if (otp is None) == (totp is None) or (otp is None) != (method_id is None):
        raise ValueError("Give either otp and method_id, or totp.")
    if otp is not None:
        login = yield from verify_otp(core, otp, method_id=method_id, session_expires_in=minutes, device=device)
    else:
        code = text_argument(totp, "totp")
        login = yield from verify_totp(core, code, user_id=user_id, session_expires_in=minutes, device=device)
    session = login.session
    if session is None:
        raise ProviderUnavailable(reason="api_content")  # a session was requested
    if not same_user(login.user.id, user_id):
        yield from end_unwanted_session(core, session)
        raise InvalidCredentials("The code is another user's.", reason="another_user")
    try:
        revoked = yield from revoke_all(core, user_id, keep=session.id, missing_ok=True)
    except MoonKeyError as error:
        return Rotation(login, error.revoked if isinstance(error, RevocationIncomplete) else (), error)
    return Rotation(login, revoked)


def _minutes(settings: Settings, lifetime: Lifetime | None, replaces: Session | None) -> int:
    """Return the lifetime of the new session in minutes, within the configured bounds."""
    if lifetime is not None:
        return settings.session_minutes(lifetime)
    if replaces is None:
        raise ValueError("Say how long the new session lasts: session_expires_in, or replaces.")
    left = replaces.expires_in // timedelta(minutes=1)
    return min(max(left, settings.min_session_minutes), settings.max_session_minutes)


def end_unwanted_session(core: Core, session: Session) -> Plan[None]:
    """End a session that must not be used. Where it cannot be ended, all processes of the app refuse it."""
    try:
        yield from end_session(core, "session_id", session.id, (session.id, session.user_id))
    except MoonKeyError:
        return
