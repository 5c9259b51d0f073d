"""The operations of the clients on sessions and users, each once, as a plan. The methods of both clients run them.

The signatures and docstrings here are the public ones; the client supplies ``core``.
"""

from __future__ import annotations

from contextlib import suppress

from moonkey_core._operations.arguments import (
    Kind,
    Lifetime,
    given,
    id_argument,
    one_credential,
    user_id_argument,
)
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core._verify.authenticator import NO_SUCH_USER
from moonkey_core.errors import (
    MoonKeyError,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.events import Revoked
from moonkey_core.models import Session, User, VerifiedSession
from moonkey_core.web.credentials import PresentedCredentials

_TROUBLES_BEFORE_GIVING_UP = 2

Ids = tuple[str, str]
"""The ids of a session and of its user; that of the user is empty where it is unknown."""


def verify(
    core: Core,
    *,
    session_token: str | None = None,
    session_jwt: str | None = None,
    extend: Lifetime | None = None,
) -> Plan[VerifiedSession]:
    """Verify one credential and return its user and session.

    Source: API reference, Verify Session.

    Args:
        session_token: A session token. Give either this or ``session_jwt``.
        session_jwt: A session JWT.
        extend: The new lifetime of the session from now, as a ``timedelta`` or in minutes. Without it, the end of
            the session does not change.

    Raises:
        AuthenticationError: The credential is not valid.
        ProviderError: It cannot be determined whether the credential is valid.
        RequestRefused: The credential is valid, but the API refused to extend the session by that much.
        ValueError: There is not exactly one credential, or the lifetime is out of bounds.
    """
    kind, value = one_credential(core.settings, session_token=session_token, session_jwt=session_jwt)
    minutes = None if extend is None else core.settings.session_minutes(extend)
    return (yield from core.authenticator.verify(given(kind, value), minutes))


def list_sessions(core: Core, user_id: str) -> Plan[tuple[Session, ...]]:
    """Return the active sessions of a user.

    Source: API reference, List Sessions.

    Args:
        user_id: The id of the user, with or without ``user_``.

    Raises:
        RequestRefused: The API refused the call.
        ProviderError: The API cannot be reached or understood.
        ValueError: The id is malformed.
    """
    return (yield from core.api.list_sessions(user_id_argument(user_id)))


def revoke(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> Plan[None]:
    """End a session for good. A session that does not exist any more counts as ended.

    First the session and its JWTs are refused in this process, and in all others where there is a feed, for as
    long as a JWT of it may be accepted. That remains so where the API cannot be reached. A token or JWT is
    verified first, to find its session; where that is not possible, the API is called nevertheless. A credential
    whose session may not have ended is refused in this process for a day. Source: API reference, Delete Session.

    Args:
        session_id: The id of the session. Give exactly one of the three.
        session_token: A session token of the session.
        session_jwt: A session JWT of the session.

    Raises:
        MoonKeyError: The API did not confirm that the session has ended, or the credential is malformed.
        ValueError: There is not exactly one argument, or the id is malformed.
    """
    kind, value = one_credential(
        core.settings, session_id=session_id, session_token=session_token, session_jwt=session_jwt
    )
    if kind == "session_id":
        yield from end_session(core, kind, value, (value, ""))
        return
    done = False
    digest = core.cache.digest(value)
    try:
        ids = yield from _ids_of(core, given(kind, value), digest)
        yield from end_session(core, kind, value, ids)
        done = True
    finally:
        if not done:  # raised, or cancelled
            core.cache.deny(digest)


def _ids_of(core: Core, credential: PresentedCredentials, digest: bytes) -> Plan[Ids | None]:
    """Return the ids of the session of a credential and its user; ``None`` where unknown."""
    entry = core.cache.get(digest)
    ids: Ids | None = None
    with suppress(ProviderError):
        ids = yield from core.authenticator.ids_of(credential)
    return ids if ids is not None or entry is None else (entry.session_id, entry.user_id)


def end_session(core: Core, kind: Kind, value: str, ids: Ids | None, *, pause: float = 0.0) -> Plan[None]:
    """Refuse a session in all processes of the app, then end it at the API, after ``pause`` seconds."""
    if ids is not None:
        core.revocations.add(session_id=ids[0])
    yield from core.api.revoke(kind, value, pause=pause)
    if ids is not None:
        session_id, user_id = ids
        core.revocations.add(session_id=session_id)  # again: JWTs were issued until now
        core.hooks.emit(Revoked(user_id, session_id))


def revoke_all(
    core: Core, user_id: str, *, keep: str | None = None, missing_ok: bool = False
) -> Plan[tuple[str, ...]]:
    """End every session of a user, except for the one to keep.

    First all credentials that were issued to the user until now are refused in this process, and in all others
    where there is a feed. Then the sessions are listed and ended one by one, as the API has no single call for
    that. Sessions that could not be ended are refused for as long as a JWT of them may be accepted.

    Args:
        user_id: The id of the user, with or without ``user_``.
        keep: The id of a session that is not ended.
        missing_ok: Whether a user that does not exist counts as one without sessions.

    Returns:
        The ids of the sessions that were ended.

    Raises:
        NotFound: There is no such user.
        RevocationIncomplete: Some sessions could not be ended; it has their ids.
        ProviderError: The sessions could not be listed.
        ValueError: An id is malformed.
    """
    kept = None if keep is None else id_argument(keep, "keep")
    user_id = user_id_argument(user_id)
    try:
        sessions = yield from _cut_off(core, user_id, kept)
    except NotFound as error:
        if not missing_ok or error.code != NO_SUCH_USER:
            raise
        return ()
    if not sessions and not missing_ok:
        yield from core.api.get_user(user_id)
    left = [session.id for session in sessions if session.id != kept]
    try:
        return (yield from _end_all(core, user_id, left))
    finally:
        for session_id in left:  # cancelled, or not tried any more
            core.revocations.add(session_id=session_id)


def _end_all(core: Core, user_id: str, left: list[str]) -> Plan[tuple[str, ...]]:
    """End sessions of a user, and remove those from the list that were tried.

    Returns:
        The ids of the sessions that were ended.

    Raises:
        RevocationIncomplete: Some of them could not be ended.
    """
    revoked: list[str] = []
    failed: dict[str, MoonKeyError] = {}
    troubles = 0
    while left and troubles < _TROUBLES_BEFORE_GIVING_UP:
        session_id = left[0]
        try:
            yield from end_session(core, "session_id", session_id, (session_id, user_id))
            revoked.append(session_id)
        except MoonKeyError as error:
            failed[session_id] = error
            troubles += isinstance(error, ProviderError)
        del left[0]
    failed.update({session_id: ProviderUnavailable(reason="not_tried") for session_id in left})
    if failed:
        raise RevocationIncomplete(revoked=tuple(revoked), failed=failed)
    return tuple(revoked)


def _cut_off(core: Core, user_id: str, kept: str | None) -> Plan[tuple[Session, ...]]:
    """Refuse what was issued to a user until now, except for one session, and return those that the API lists."""
    core.revocations.add_cutoff(user_id, keep=kept)
    listed = False
    try:
        sessions = yield from core.api.list_sessions(user_id)
        listed = True
    finally:
        if not listed:  # raised, or cancelled: nothing was ended, so the API would still accept it
            core.revocations.add(user_id=user_id, keep=kept)
    return sessions


def get_user(core: Core, user_id: str) -> Plan[User]:
    """Return one user with all fields.

    Source: API reference, Get User.

    Args:
        user_id: The id of the user, with or without ``user_``.

    Raises:
        NotFound: There is no such user.
        ProviderError: The API cannot be reached or understood.
        ValueError: The id is malformed.
    """
    return (yield from core.api.get_user(user_id_argument(user_id)))
