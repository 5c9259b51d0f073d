"""Ends of sessions that the API did not confirm: refused meanwhile, and tried again beside the requests."""

from __future__ import annotations

from moonkey_core._operations.arguments import Kind
from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_queue import Ending, log_given_up
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._operations.sessions import Ids, end_session, end_user_sessions
from moonkey_core._plan import Plan
from moonkey_core._verified import SessionIds
from moonkey_core.errors import MoonKeyError, RevocationIncomplete
from moonkey_core.models import Session

_FIRST_PAUSE = 2.0  # seconds; it doubles with each failure
_LONGEST_PAUSE = 30.0


def end_with_retries(
    core: Core, kind: Kind, value: str, ids: Ids | None, pending: PendingRevocations
) -> Plan[None]:
    """Refuse a session in all processes of the app, then end it at the API. What fails is tried again later.

    The caller waits for ``pending``.

    Raises:
        MoonKeyError: The API has not confirmed the end yet.
    """
    done = False
    try:
        yield from end_session(core, kind, value, ids, pending)
        done = True
    finally:
        if not done:  # raised, or cancelled
            end_later(core, kind, value, ids)


def revoke_all_with_retries(
    core: Core, user_id: str, keep: str, pending: PendingRevocations
) -> Plan[tuple[str, ...]]:
    """End all sessions of a user but one, as ``revoke_all`` does. What fails is tried again later.

    A session that begins after this call is not ended by a later try. The caller waits for ``pending``.

    Raises:
        RevocationIncomplete: Some sessions could not be ended yet; it has their ids.
        ProviderError: The sessions could not be listed yet.
    """
    before, done = core.revocations.now(), False
    try:
        ended = yield from end_user_sessions(core, user_id, pending, keep=keep, missing_ok=True)
        done = True
    except RevocationIncomplete as error:
        done = True
        for session_id in error.failed:
            end_later(core, "session_id", session_id, Ids(session_id, user_id))
        raise
    finally:
        if not done:  # the sessions could not be listed, or it was cancelled
            _add(core, Ending("user_id", user_id, "", user_id, keep, before))
    return ended


def end_later(core: Core, kind: Kind, value: str, ids: Ids | tuple[str, str] | None) -> None:
    """End a session beside the requests, as it could not be ended now. It has been refused already."""
    if ids is not None:
        scope = ids.scope if isinstance(ids, SessionIds) else None
        if core.able_to("revoke_session").ends_sessions_by_id:  # a credential may be replaced or too old by then
            kind, value = "session_id", ids[0]
        _add(core, Ending(kind, value, ids[0], ids[1], scope=scope))
    else:
        _add(core, Ending(kind, value))


def _add(core: Core, ending: Ending) -> None:
    if not core.endings.add(ending):
        log_given_up(1, "too many of them wait already, or the client is closed")
    elif core.endings.claim() and core.run_lasting(_retries(core)) is False:
        core.endings.give_up()


def _retries(core: Core) -> Plan[None]:
    """Try all endings in turn until there is none left, with a pause after each that failed."""
    endings, pause, done = core.endings, _FIRST_PAUSE, False
    try:
        while (ending := endings.next()) is not None:
            _refuse_again(core)
            try:
                yield from _tried_again(core, ending, pause)
            except MoonKeyError as error:
                pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                if not endings.postpone(ending):
                    log_given_up(1, error.reason)
            else:
                endings.remove(ending)
                pause = 0.0
        done = True
    finally:
        if not done:  # cancelled, as the event loop ends; or an exception, which is logged
            endings.give_up()


def _tried_again(core: Core, ending: Ending, pause: float) -> Plan[None]:
    if ending.kind != "user_id":
        ids = Ids(ending.session_id, ending.user_id, ending.scope) if ending.session_id else None
        # Nothing waits for it: that it is refused was waited for before the first try.
        yield from end_session(core, ending.kind, ending.value, ids, PendingRevocations(core), pause=pause)
        return
    for session in (yield from core.able_to("list_sessions").list_sessions(ending.value, pause=pause)):
        if session.id != ending.kept and _began_by(session, ending.before + core.settings.leeway):
            end_later(core, "session_id", session.id, Ids(session.id, ending.value))


def _began_by(session: Session, time: float) -> bool:
    return session.started_at is None or session.started_at.timestamp() <= time


def _refuse_again(core: Core) -> None:
    """Refuse again what the table of revocations would forget, for as long as it is tried."""
    for ending in core.endings.to_refuse_again(core.revocations.retention / 3):
        if ending.kind == "user_id":
            core.revocations.add(user_id=ending.value, issued_before=ending.before, keep=ending.kept)
        elif ending.session_id:
            core.revocations.add_session(ending.session_id, ending.user_id, scope=ending.scope)
