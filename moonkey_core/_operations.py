"""The operations of the clients on sessions and users, each once, as a plan. Their methods are these, run.

Signatures and docstrings here are the public ones; ``core`` is supplied by the client.
"""

from __future__ import annotations

from typing import Literal

from moonkey_core import _clock
from moonkey_core._arguments import Kind, Lifetime, an_id, exactly_one
from moonkey_core._core import Core
from moonkey_core._plan import Plan
from moonkey_core._recall import Presented
from moonkey_core.auth import Auth
from moonkey_core.credentials import Credentials
from moonkey_core.errors import (
    MoonKeyError,
    ProviderError,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.events import Revoked
from moonkey_core.gate import Requirements
from moonkey_core.models import Session, User, VerifiedSession

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
    return (yield from core.api.list_sessions(an_id(user_id, "user_id")))


def revoke(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
) -> Plan[None]:
    """End a session for good; one that is gone already counts as ended.

    From then on this process refuses its JWTs too, and so does the fleet where there is a feed. A token or JWT is
    verified first, to learn which session it belongs to. Exactly one argument, or ``ValueError``. Raises
    ``ProviderError`` where it could not be done. Source: API reference, Delete Session.
    """
    kind, value = exactly_one(
        core.settings, session_id=session_id, session_token=session_token, session_jwt=session_jwt
    )
    ids: Ids | None = (value, "")
    if kind != "session_id":
        ids = yield from core.verifier.ids_of(Credentials(value, kind, "argument"))
    yield from end_session(core, kind, value, ids)


def end_session(core: Core, kind: Kind, value: str, ids: Ids | None, *, pause: float = 0.0) -> Plan[None]:
    """End a session at the API, after ``pause`` seconds, and refuse it here and in the fleet from then on."""
    yield from core.api.revoke(kind, value, pause=pause)
    if ids is not None:
        session_id, user_id = ids
        core.revocations.add(session_id=session_id)
        core.hooks.emit(Revoked(user_id, session_id))


def revoke_all(core: Core, user_id: str, *, keep: str | None = None) -> Plan[tuple[str, ...]]:
    """End every session of a user, but for the one with the id ``keep``; returns the ids that were ended.

    The API has no single call for it: the sessions are listed, then ended one by one. Raises
    :class:`~moonkey_core.errors.RevocationIncomplete`, which says which ones failed, and ``ProviderError`` where
    they could not even be listed.
    """
    kept = None if keep is None else an_id(keep, "keep")
    sessions = yield from core.api.list_sessions(an_id(user_id, "user_id"))
    revoked: list[str] = []
    failed: dict[str, MoonKeyError] = {}
    troubles = 0
    for session_id in [session.id for session in sessions if session.id != kept]:
        if troubles >= _TROUBLES_BEFORE_GIVING_UP:
            failed[session_id] = ProviderUnavailable(reason="not_tried")
            continue
        try:
            yield from end_session(core, "session_id", session_id, (session_id, user_id))
            revoked.append(session_id)
        except MoonKeyError as error:
            failed[session_id] = error
            troubles += isinstance(error, ProviderError)
    if failed:
        raise RevocationIncomplete(revoked=tuple(revoked), failed=failed)
    return tuple(revoked)


def get_user(core: Core, user_id: str) -> Plan[User]:
    """One user with all fields. Raises ``NotFound``. Source: API reference, Get User."""
    return (yield from core.api.get_user(an_id(user_id, "user_id")))
