"""A new session for the present one and all others, after something sensitive has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moonkey_core._operations.arguments import Lifetime, text, user_id_argument
from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_otp, verify_totp
from moonkey_core._operations.sessions import end_session, revoke_all
from moonkey_core._plan import Plan
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RevocationIncomplete
from moonkey_core.models import Device, Login, Session, same_user
from moonkey_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new session, and what became of the others.

    ``login`` holds the new session; its cookies are to be set in any case. ``revoked`` are the ids of the sessions
    that were ended. ``error`` says why others may still be active: a ``RevocationIncomplete`` names them; after
    any other error they could not even be listed. ``sessions.revoke_all(user_id, keep=login.session.id)`` tries
    again.
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

    For after a change that makes old sessions suspect, such as that of an e-mail address. The factor is ``otp``
    with the ``method_id`` of its sending, or ``totp``. The new session lasts for ``session_expires_in``, or as
    long as the one that it ``replaces`` still would have.

    Raises ``ValueError`` for wrong arguments, ``InvalidCredentials`` where the factor is not accepted or is
    another user's, whose new session is ended again, ``RequestRefused`` where the API refused it for something
    else, such as the length, and ``ProviderError`` where it could not be verified: no session was ended then.
    Trouble with the other sessions does not raise, as there is a new session to keep: the result tells of it, and
    they are refused here and in the fleet for as long as their JWTs would last.
    """
    user_id = user_id_argument(user_id)
    minutes = _minutes(core.settings, session_expires_in, replaces)
    if (otp is None) == (totp is None) or (otp is None) != (method_id is None):
        raise ValueError("Give either otp and method_id, or totp.")
    if otp is not None:
        login = yield from verify_otp(core, otp, method_id=method_id, session_expires_in=minutes, device=device)
    else:
        code = text(totp, "totp")
        login = yield from verify_totp(core, code, user_id=user_id, session_expires_in=minutes, device=device)
    session = login.session
    if session is None:
        raise ProviderUnavailable(reason="api_content")  # one was asked for
    if not same_user(login.user.id, user_id):
        yield from undone(core, session)
        raise InvalidCredentials("The code is another user's.", reason="another_user")
    try:
        revoked = yield from revoke_all(core, user_id, keep=session.id, missing_ok=True)
    except MoonKeyError as error:
        return Rotation(login, error.revoked if isinstance(error, RevocationIncomplete) else (), error)
    return Rotation(login, revoked)


def _minutes(settings: Settings, wanted: Lifetime | None, replaces: Session | None) -> int:
    """The new session's length; what is left of another is brought into the bounds of the settings."""
    if wanted is not None:
        return settings.session_minutes(wanted)
    if replaces is None:
        raise ValueError("Say how long the new session lasts: session_expires_in, or replaces.")
    left = replaces.expires_in // timedelta(minutes=1)
    return min(max(left, settings.min_session_minutes), settings.max_session_minutes)


def undone(core: Core, session: Session) -> Plan[None]:
    """End a session that should never have begun; what cannot be ended is refused here and in the fleet."""
    try:
        yield from end_session(core, "session_id", session.id, (session.id, session.user_id))
    except MoonKeyError:
        return
