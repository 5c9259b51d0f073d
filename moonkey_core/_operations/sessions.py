"""The operations of the clients on sessions and users, each once, as a plan. Their methods are these, run.

Signatures and docstrings here are the public ones; ``core`` is supplied by the client.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from moonkey_core import _clock
from moonkey_core._operations.arguments import Kind, Lifetime, an_id, exactly_one, user_id_argument
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core._verify.recall import Presented
from moonkey_core._verify.verification import NO_SUCH_USER
from moonkey_core.auth import Auth
from moonkey_core.errors import (
    MoonKeyError,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.events import Revoked
from moonkey_core.gate import Requirements
from moonkey_core.models import Session, User, VerifiedSession
from moonkey_core.web.credentials import Credentials

_TROUBLES_BEFORE_GIVING_UP = 2

Ids = tuple[str, str]
"""The ids of a session and of its user; that of the user is empty where nobody has said it."""


def authenticate(core: Core, presented: Presented, requirements: Requirements | None = None) -> Plan[Auth]:
    """The identity of a request that is not known yet."""
    started = _clock.elapsed()
    auth = yield from core.verifier.authenticate(presented, requirements)
    core.after(auth, started, presented.headers, presented.info)
    return auth


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
    known, ``RequestRefused`` where it is good, but the API would not extend it so far. Source: API
    reference, Verify Session.
    """
    kind, value = exactly_one(core.settings, session_token=session_token, session_jwt=session_jwt)
    minutes = None if extend is None else core.settings.session_minutes(extend)
    wanted: Literal["session_jwt", "session_token"] = "session_jwt" if kind == "session_jwt" else "session_token"
    return (yield from core.verifier.verify(Credentials(value, wanted, "argument"), minutes))


def list_sessions(core: Core, user_id: str) -> Plan[tuple[Session, ...]]:
    """The active sessions of a user. Source: API reference, List Sessions."""
    return (yield from core.api.list_sessions(user_id_argument(user_id)))


def revoke(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> Plan[None]:
    """End a session for good; one that is gone already counts as ended.

    This process refuses it first, its JWTs included, and so does the fleet where there is a feed: for as long as a
    JWT of it may last, also where the API could not be told, which raises ``MoonKeyError`` afterwards. A token or
    JWT is verified before, to learn which session it belongs to; where that cannot be known, the API is told all
    the same. A credential whose session may not have ended is refused in this process for a day. Exactly one
    argument, or ``ValueError``. Source: API reference, Delete Session.
    """
    kind, value = exactly_one(
        core.settings, session_id=session_id, session_token=session_token, session_jwt=session_jwt
    )
    if kind == "session_id":
        yield from end_session(core, kind, value, (value, ""))
        return
    known, done = core.recall.credentials, False
    digest = known.digest(value)
    try:
        ids = yield from _ids_of(core, Credentials(value, kind, "argument"), digest)
        yield from end_session(core, kind, value, ids)
        done = True
    finally:
        if not done:  # raised, or cancelled
            known.give_back(digest)


def _ids_of(core: Core, credentials: Credentials, digest: bytes) -> Plan[Ids | None]:
    """The session of a credential and its user, as far as anybody can say."""
    known = core.recall.credentials.get(digest)
    ids: Ids | None = None
    with suppress(ProviderError):
        ids = yield from core.verifier.ids_of(credentials)
    return ids if ids is not None or known is None else (known.session_id, known.user_id)


def end_session(core: Core, kind: Kind, value: str, ids: Ids | None, *, pause: float = 0.0) -> Plan[None]:
    """Refuse a session here and in the fleet, then end it at the API, after ``pause`` seconds."""
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
    """End every session of a user, but for the one with the id ``keep``; returns the ids that were ended.

    This process, and the fleet where there is a feed, first refuse what the user was issued until now. Then the
    sessions are listed and ended one by one, as the API has no single call for it. Where none is listed, it is
    asked whether there is such a user: ``NotFound`` if not, unless ``missing_ok``.

    Raises :class:`~moonkey_core.errors.RevocationIncomplete`, which says which ones failed, and ``ProviderError``
    where they could not even be listed. All are refused then, for as long as JWTs of theirs may last.
    """
    kept = None if keep is None else an_id(keep, "keep")
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
    """End sessions of a user, and take those off the list that were tried. Raises ``RevocationIncomplete``."""
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
    """Refuse what a user was issued until now, but for one session; returns those that the API lists."""
    core.revocations.cut_off(user_id, keep=kept)
    listed = False
    try:
        sessions = yield from core.api.list_sessions(user_id)
        listed = True
    finally:
        if not listed:  # raised, or cancelled: nothing was ended, so the API would vouch for it
            core.revocations.add(user_id=user_id, keep=kept)
    return sessions


def get_user(core: Core, user_id: str) -> Plan[User]:
    """One user with all fields. Raises ``NotFound``. Source: API reference, Get User."""
    return (yield from core.api.get_user(user_id_argument(user_id)))
