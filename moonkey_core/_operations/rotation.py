"""Replace all sessions of a user by a new one, after a sensitive change."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._operations.arguments import Lifetime, text_argument
from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_retries import end_with_retries, revoke_all_with_retries
from moonkey_core._operations.logins import verify_otp, verify_totp
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._operations.sessions import Ids
from moonkey_core._plan import RevokingPlan
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RevocationIncomplete
from moonkey_core.models import Device, Login, Session
from moonkey_core.revocations import RevocationState
from moonkey_core.settings import Settings

_NEW = timedelta(minutes=5)
_AT_ONCE = timedelta(seconds=10)  # the factor of a new session is verified as it begins, that of a step-up later


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new session, and the result of ending the others.

    Attributes:
        login: The new session. Set its cookies in any case.
        revoked: The ids of the sessions that were ended.
        error: The error because of which others may still be active; ``None`` where all were ended. A
            ``RevocationIncomplete`` has their ids. After any other error they could not be listed. They are
            refused, and tried again beside the requests; ``sessions.revoke_all(user_id, keep=login.session.id)``
            tries at once.
        state: Whether the other processes of the app refuse the other sessions: ``published``, ``pending`` or
            ``local``, as ``sessions.revoke`` returns it.
    """

    login: Login
    revoked: tuple[str, ...] = ()
    error: MoonKeyError | None = None
    state: RevocationState = "local"

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
    login: Login | None = None,
    session_expires_in: Lifetime | None = None,
    replaces: Session | None = None,
    device: Device | None = None,
) -> RevokingPlan[Rotation]:
    """Verify a factor into a new session of a user, then end all their other sessions.

    For use after a change that makes old sessions suspect, such as that of an e-mail address. An error about the
    other sessions is not raised, as the new session has to be kept: it is in the result, and the other sessions
    are refused in all processes of the app while this one tries again to end them, for a day at most. It waits for
    Redis as ``revoke`` does.

    Args:
        user_id: The user.
        otp: A one-time passcode; it requires ``method_id``.
        method_id: The ``method_id`` of the ``OtpRequest``.
        totp: A code of an authenticator app, instead of a passcode.
        login: A login that has just been verified in any way, and has begun a session of its own; instead of a
            code, and without any of the arguments below.
        session_expires_in: The lifetime of the new session, as a ``timedelta`` or in minutes.
        replaces: Instead of a lifetime, the session whose remaining lifetime the new one gets.
        device: The device of the new session.

    Raises:
        ValueError: An argument is wrong or missing, or ``login`` is old, or has extended an earlier session.
        InvalidCredentials: The factor is not accepted, or is another user's; that user's new session is ended.
        RequestRefused: The API refused the factor for another reason, such as the lifetime.
        ProviderError: The factor could not be verified: no session was ended.
    """
    user_id = core.user_id(user_id)
    core.check_able_to("sign_in")
    if login is not None:
        if any(given is not None for given in (otp, method_id, totp, session_expires_in, replaces, device)):
            raise ValueError("login has a session already: give it with user_id alone.")
        session = _new_session(login, core.settings)
    else:
        minutes = _minutes(core.settings, session_expires_in, replaces)
        if (otp is None) == (totp is None) or (otp is None) != (method_id is None):
            raise ValueError("Give either otp and method_id, or totp, or login.")
        if otp is not None:
            login = yield from verify_otp(
                core, otp, method_id=method_id, session_expires_in=minutes, device=device
            )
        else:
            code = text_argument(totp, "totp")
            login = yield from verify_totp(core, code, user_id=user_id, session_expires_in=minutes, device=device)
        if login.session is None:
            raise ProviderUnavailable(reason="api_content")  # a session was requested
        session = login.session
    if not core.provider.same_user(login.user.id, user_id):
        yield from end_unwanted_session(core, session)
        raise InvalidCredentials("The factor is another user's.", reason="another_user")
    pending, failure = PendingRevocations(core), None
    try:
        revoked = yield from revoke_all_with_retries(core, user_id, session.id, pending)
    except MoonKeyError as error:
        revoked, failure = error.revoked if isinstance(error, RevocationIncomplete) else (), error
    state = yield from pending.settled()
    if isinstance(failure, RevocationIncomplete):
        failure.state = state
    return Rotation(login, revoked, failure, state)


def _new_session(login: Login, settings: Settings) -> Session:
    """Return the session that a login has begun.

    Raises:
        ValueError: It has none, or its session is an earlier one, of which a copy may exist.
    """
    session = login.session
    if session is None or login.session_token is None:
        raise ValueError("login has no session. Verify it with session_expires_in.")
    start = session.started_at
    verified = [factor.last_verified_at for factor in session.factors if factor.last_verified_at is not None]
    leeway = timedelta(seconds=settings.leeway)
    if (
        start is None
        or _clock.now() - start > _NEW + leeway
        or any(moment - start > _AT_ONCE for moment in verified)
    ):
        raise ValueError(
            "login has no session that has just begun. Verify it anew, with session_expires_in and without the "
            "session_token or session_jwt of an earlier session."
        )
    return session


def _minutes(settings: Settings, lifetime: Lifetime | None, replaces: Session | None) -> int:
    """Return the lifetime of the new session in minutes, within the configured bounds."""
    if lifetime is not None:
        return settings.session_minutes(lifetime)
    if replaces is None:
        raise ValueError("Say how long the new session lasts: session_expires_in, or replaces.")
    left = replaces.expires_in // timedelta(minutes=1)
    return min(max(left, settings.min_session_minutes), settings.max_session_minutes)


def end_unwanted_session(core: Core, session: Session) -> RevokingPlan[None]:
    """End a session that must not be used. Where it cannot be ended yet, all processes of the app refuse it."""
    pending = PendingRevocations(core)
    with suppress(MoonKeyError):  # it is tried again
        yield from end_with_retries(core, "session_id", session.id, Ids(session.id, session.user_id), pending)
    yield from pending.settled()
