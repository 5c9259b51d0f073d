"""The operations of the clients on sessions and users, each once, as a plan. The methods of both clients run them.

The signatures and docstrings here are the public ones; the client supplies ``core``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Self

from moonkey_core._operations.arguments import (
    Kind,
    Lifetime,
    given,
    id_argument,
    one_credential,
)
from moonkey_core._operations.core import Core
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._plan import Plan, RevokingPlan
from moonkey_core._provider import own_scope
from moonkey_core._verified import SessionIds, scoped_user
from moonkey_core.errors import (
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    NotSupported,
    ProviderError,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.events import Revoked
from moonkey_core.models import AuthorizationCheck, Session, User, VerifiedSession
from moonkey_core.revocations import RevocationState
from moonkey_core.web.credentials import PresentedCredentials

_TROUBLES_BEFORE_GIVING_UP = 2
_ONE_BY_ONE = frozenset({"list_sessions", "revoke_session"})

Ids = SessionIds


class RevokedSessions(tuple[str, ...]):
    """The ids of the sessions that were ended, as a tuple.

    Attributes:
        state: Whether the other processes of the app refuse them: ``published``, ``pending`` or ``local``.
    """

    state: RevocationState

    def __new__(cls, ids: Iterable[str] = (), state: RevocationState = "local") -> Self:
        """Make a tuple of ids with a state."""
        made = super().__new__(cls, ids)
        made.state = state
        return made

    def __repr__(self) -> str:
        return f"RevokedSessions({tuple(self)!r}, state={self.state!r})"


def verify(
    core: Core,
    *,
    session_token: str | None = None,
    session_jwt: str | None = None,
    extend: Lifetime | None = None,
    custom_claims: Mapping[str, object] | None = None,
    authorization_check: AuthorizationCheck | None = None,
    provider: str | None = None,
) -> Plan[VerifiedSession]:
    """Verify one credential and return its user and session.

    Source: API reference, Verify Session.

    Args:
        session_token: A session token. Give either this or ``session_jwt``.
        session_jwt: A session JWT.
        extend: The new lifetime of the session from now, as a ``timedelta`` or in minutes. Without it, the end of
            the session does not change.
        custom_claims: Claims of the app's own to set in the session, merged with those that it has; ``None`` as a
            value deletes one. They need ``extend``, as the provider sets them together with a lifetime only. JWTs
            of the session that are older are then asked about, in all processes where there is a feed.
        authorization_check: What the user has to be allowed to do, by the roles of the session.
        provider: The name of the provider that the credential is of. Where there are several, a JWT is otherwise
            one of the provider that has its issuer, and a token one of the only provider that takes any.

    Raises:
        AuthenticationError: The credential is not valid.
        ProviderError: It cannot be determined whether the credential is valid.
        RequestRefused: The credential is valid, but the API refused to change the session in that way.
        PermissionDenied: The credential is valid, but its user may not do that.
        NotSupported: The provider knows no such thing.
        ValueError: There is not exactly one credential, or the lifetime or a claim is out of bounds.
    """
    core.check_provider(provider)
    kind, value = one_credential(core.settings, session_token=session_token, session_jwt=session_jwt)
    minutes = None if extend is None else core.session_minutes(extend)
    if minutes is not None:
        core.check_able_to("extend")
    if authorization_check is not None:
        core.able_to("authorization_check").check_question(authorization_check)
    if custom_claims is None:
        return (yield from core.authenticator.verify(given(kind, value), minutes, check=authorization_check))
    claims = core.able_to("custom_claims").checked_claims(custom_claims)
    if minutes is None:
        raise ValueError(
            "custom_claims need extend=: the provider sets them only together with a new lifetime of the session."
        )
    digest, known = core.cache.digest(value), core.cache.seen_session(core.cache.digest(value))
    try:
        verified = yield from core.authenticator.verify(
            given(kind, value), minutes, custom_claims=claims, check=authorization_check
        )
    except ProviderUnavailable:
        if known is not None:  # the call may have had its effect
            _supersede(core, kind, digest, known, None)
        raise
    _supersede(core, kind, digest, verified.session.id, verified.user.scope)
    return verified


def _supersede(core: Core, kind: Kind, digest: bytes, session_id: str, scope: str | None) -> None:
    """Note that what was issued for a session until now does not say any more what the session says.

    It is not refused: the provider is asked about it, here and in the other processes of the app. A JWT that has
    been replaced gets no further new one for a while, as its client has one, or is about to get it.
    """
    core.cache.forget(digest)
    if kind == "session_jwt":
        core.cache.mark_superseded(digest, is_certain=True)
    core.revocations.add_report(session_id=session_id, scope=scope)


def list_sessions(core: Core, user_id: str, *, provider: str | None = None) -> Plan[tuple[Session, ...]]:
    """Return the active sessions of a user.

    Source: API reference, List Sessions.

    Args:
        user_id: The id of the user, in any of its spellings.
        provider: The name of the provider that the id is of. It is needed where there are several.

    Raises:
        RequestRefused: The API refused the call.
        ProviderError: The API cannot be reached or understood.
        ValueError: The id is malformed.
    """
    core.check_provider(provider)
    return (yield from core.able_to("list_sessions").list_sessions(core.user_id(user_id)))


def revoke(
    core: Core,
    *,
    session_id: str | None = None,
    session_token: str | None = None,
    session_jwt: str | None = None,
    provider: str | None = None,
) -> RevokingPlan[RevocationState]:
    """End a session for good. A session that does not exist any more counts as ended.

    First the session and its JWTs are refused in this process, and in all others where there is a feed, for as
    long as a JWT of it may be accepted. That remains so where the API cannot be reached. A token or JWT is
    verified first, to find its session; where that is not possible, the API is called nevertheless, but not with a
    JWT that is forged or of another issuer. A credential whose session may not have ended is refused in this
    process for a day; where its session is not known, as the API cannot be reached, in the others too. Source: API
    reference, Delete Session.

    With a feed, the call waits until Redis has the revocation, also where it raises: ``publish_timeout`` at most,
    while the API is called. So it is not lost if this process ends right after. That the time is over is no error.

    Args:
        session_id: The id of the session. Give exactly one of the three.
        session_token: A session token of the session.
        session_jwt: A session JWT of the session.
        provider: The name of the provider, as for :meth:`verify`. With an id, it is needed if there are several.

    Returns:
        ``published``: all processes whose feed is live refuse the session, after ``max_revocation_lag`` at the
        latest; those that have lost it do what ``on_feed_lost`` says. ``pending``: this one does, and goes on
        sending it to the others. ``local``: this one does, as there is no feed, or the session is unknown.

    Raises:
        NotSupported: The provider cannot end a session by that. Nothing was done.
        InvalidCredentials: The JWT is forged, or of another issuer. No call was made.
        MoonKeyError: The API did not confirm that the session has ended, or the credential is malformed.
        ValueError: There is not exactly one argument, or the id is malformed.
    """
    core.check_provider(provider)
    kind, value = one_credential(
        core.settings, session_id=session_id, session_token=session_token, session_jwt=session_jwt
    )
    core.check_able_to("revoke_session")  # before anything is done
    pending = PendingRevocations(core)
    try:
        if kind == "session_id":
            yield from end_session(core, kind, value, Ids(value, ""), pending)
        else:
            yield from end_by_credential(core, kind, value, pending)
    except MoonKeyError:
        yield from pending.settled()
        raise
    return (yield from pending.settled())


def end_by_credential(core: Core, kind: Kind, value: str, pending: PendingRevocations) -> Plan[None]:
    """Do what :func:`revoke` does for a credential, without the wait: the caller waits for ``pending``."""
    done, ids = False, None
    digest = core.cache.digest(value)
    is_new = not core.cache.is_denied(digest)
    try:
        ids = yield from _ids_of(core, given(kind, value), digest)
        yield from end_session(core, kind, value, ids, pending)
        done = True
    except ProviderError:
        if ids is None and is_new:
            pending.note(core.introspector.refuse_everywhere(value))
        raise
    finally:
        if not done:  # raised, or cancelled
            core.cache.deny(digest)


def _ids_of(core: Core, credential: PresentedCredentials, digest: bytes) -> Plan[Ids | None]:
    """Return the ids of the session of a credential and its user; ``None`` where unknown.

    Raises:
        InvalidCredentials: It is a JWT that is not one of the provider's.
    """
    entry = core.cache.get(digest)
    known = None if entry is None else Ids(entry.session_id, entry.user_id, entry.scope)
    if known is None or credential.kind != "session_jwt":
        return (yield from ids_to_end(core, credential)) or known
    return known


def ids_to_end(core: Core, credential: PresentedCredentials) -> Plan[Ids | None]:
    """Return the ids of the session of a credential that is to end, and of its user; ``None`` where unknown.

    Raises:
        InvalidCredentials: It is a JWT that is not one of the provider's, which must not see it.
    """
    if credential.kind == "session_token" or not core.verifies_jwts:
        with suppress(ProviderError):
            return (yield from core.authenticator.ids_of(credential))
        return None
    try:
        return (yield from core.authenticator.proven_ids(credential.value))
    except InvalidCredentials as error:
        if error.reason != "jwt_not_yet_valid":
            raise
    except ProviderError:
        pass
    core.authenticator.check_own_jwt(credential.value)
    return None


def end_session(
    core: Core,
    kind: Kind,
    value: str,
    ids: Ids | None,
    pending: PendingRevocations,
    *,
    pause: float | None = None,
) -> Plan[None]:
    """Refuse a session in all processes of the app, then end it at the API.

    Args:
        core: The parts of the client.
        kind: What ``value`` is.
        value: The id or the credential.
        ids: The ids of the session and its user, if they are known.
        pending: Takes in what is refused. The caller waits for it.
        pause: Where no request waits for the call, the seconds before it.

    Raises:
        NotSupported: The provider ends no sessions. Nothing was refused.
    """
    # What the provider cannot do is raised at once.
    revoker = core.able_to("revoke_session")
    ending = revoker.revoke(kind, value, pause=pause)
    if ids is not None:
        pending.add_session(ids)
    yield from ending
    if ids is None and kind != "session_id":  # its connections are found by the credential
        core.introspector.note_end_of(value, is_ended_here=True)
    if ids is not None:
        # JWTs were issued until now. With some providers, only the one credential has ended.
        pending.add_session(ids, is_ended=revoker.ends_sessions_by_id, again=True)
        core.hooks.emit(Revoked(ids.user_id, ids.session_id, scope=ids.scope or core.revocations.scopes[0]))


def revoke_all(
    core: Core,
    user_id: str,
    *,
    keep: str | None = None,
    missing_ok: bool = False,
    provider: str | None = None,
) -> RevokingPlan[RevokedSessions]:
    """End every session of a user, except for the one to keep.

    First all credentials that were issued to the user until now are refused in this process, and in all others
    where there is a feed. Then the sessions are listed and ended: by one call if the provider has it
    (``revoke_user``) and none is kept, else one by one. Sessions that could not be ended are refused for as long
    as a JWT of them may be accepted. It waits for Redis as :meth:`revoke` does.

    Args:
        user_id: The id of the user, in any of its spellings.
        keep: The id of a session that is not ended.
        missing_ok: Whether a user that does not exist counts as one without sessions.
        provider: The name of the provider that the ids are of. It is needed where there are several.

    Returns:
        A tuple of the ids of the sessions that were ended, as far as they can be listed. Its ``state`` says
        whether the other processes know, as the result of :meth:`revoke` does.

    Raises:
        NotFound: There is no such user.
        RevocationIncomplete: Some sessions could not be ended; it has their ids, and the ``state`` as well.
        ProviderError: The sessions could not be listed, or could neither be listed nor ended.
        NotSupported: The provider cannot do it, or cannot keep one session. Nothing was refused.
        ValueError: An id is malformed.
    """
    core.check_provider(provider)
    pending = PendingRevocations(core)
    try:
        ended = yield from end_user_sessions(core, user_id, pending, keep=keep, missing_ok=missing_ok)
    except MoonKeyError as error:
        state = yield from pending.settled()
        if isinstance(error, RevocationIncomplete):
            error.state = state
        raise
    return RevokedSessions(ended, (yield from pending.settled()))


def end_user_sessions(
    core: Core, user_id: str, pending: PendingRevocations, *, keep: str | None = None, missing_ok: bool = False
) -> Plan[tuple[str, ...]]:
    """Do what :func:`revoke_all` does, without the wait: the caller waits for ``pending``."""
    kept = None if keep is None else id_argument(keep, "keep")
    user_id = core.user_id(user_id)
    together = _ends_together(core, kept)
    if together and "list_sessions" not in core.provider.capabilities:
        return (yield from _end_unlisted(core, user_id, pending, missing_ok=missing_ok))
    began_at = core.revocations.now()
    try:
        sessions = yield from _cut_off(core, user_id, kept, began_at, pending)
    except NotFound as error:
        if not missing_ok or not error.is_gone:
            raise
        return ()
    if not sessions and not missing_ok:
        yield from core.able_to("get_user").get_user(user_id)
    left = [session.id for session in sessions if session.id != kept]
    try:
        if together and left:
            return (yield from _end_together(core, user_id, left, pending))
        ended = yield from _end_all(core, user_id, left, pending)
    finally:
        for session_id in left:  # cancelled, or not tried any more
            pending.add_session(Ids(session_id, user_id))
    pending.add_cutoff(user_id, keep=kept, at=began_at, is_ended=True, again=True)
    return ended


def _ends_together(core: Core, kept: str | None) -> bool:
    """Return whether all sessions of a user are ended by one call, and check that they can be ended at all.

    Raises:
        NotSupported: They cannot. It is raised before anything is refused.
    """
    has_call = "revoke_user" in core.provider.capabilities
    if has_call and kept is None:
        return True
    if has_call and not core.provider.capabilities >= _ONE_BY_ONE:
        why = "It ends all sessions of a user at once, and cannot keep one: leave keep out."
        raise NotSupported(provider=core.name, operation="revoke_user", why=why)
    core.check_able_to("list_sessions")
    core.check_able_to("revoke_session")
    return False


def _end_unlisted(
    core: Core, user_id: str, pending: PendingRevocations, *, missing_ok: bool
) -> Plan[tuple[str, ...]]:
    """End all sessions of a user by one call, where they cannot be listed. None of their ids is known."""
    done = False
    pending.add_cutoff(user_id)
    try:
        yield from core.able_to("revoke_user").revoke_user(user_id)
        done = True
    except NotFound as error:
        done = error.is_gone
        if not missing_ok or not error.is_gone:
            raise
    finally:
        if not done:  # raised, or cancelled: the provider may still accept its sessions
            pending.add(user_id=user_id)
    pending.add_cutoff(user_id, is_ended=True, again=True)  # JWTs were issued until now
    return ()


def _end_together(core: Core, user_id: str, left: list[str], pending: PendingRevocations) -> Plan[tuple[str, ...]]:
    """End all sessions of a user by one call, and remove those from the list that were known.

    Returns:
        The ids of these.

    Raises:
        RevocationIncomplete: It is not certain that they have ended.
    """
    for session_id in left:
        pending.add_session(Ids(session_id, user_id))
    try:
        yield from core.able_to("revoke_user").revoke_user(user_id)
    except MoonKeyError as error:
        raise RevocationIncomplete(revoked=(), failed=dict.fromkeys(left, error)) from error
    scope = core.revocations.scopes[0]
    for session_id in left:
        pending.add_session(Ids(session_id, user_id), is_ended=True, again=True)
        core.hooks.emit(Revoked(user_id, session_id, scope=scope))
    pending.add_cutoff(user_id, is_ended=True, again=True)  # JWTs were issued until now
    revoked = tuple(left)
    left.clear()
    return revoked


def _end_all(core: Core, user_id: str, left: list[str], pending: PendingRevocations) -> Plan[tuple[str, ...]]:
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
            yield from end_session(core, "session_id", session_id, Ids(session_id, user_id), pending)
            revoked.append(session_id)
        except MoonKeyError as error:
            failed[session_id] = error
            troubles += isinstance(error, ProviderError)
        del left[0]
    failed.update({session_id: ProviderUnavailable(reason="not_tried") for session_id in left})
    if failed:
        raise RevocationIncomplete(revoked=tuple(revoked), failed=failed)
    return tuple(revoked)


def _cut_off(
    core: Core, user_id: str, kept: str | None, began_at: float, pending: PendingRevocations
) -> Plan[tuple[Session, ...]]:
    """Refuse what was issued to a user until now, except for one session, and return those that the API lists."""
    pending.add_cutoff(user_id, keep=kept, at=began_at)
    listed = False
    try:
        sessions = yield from core.able_to("list_sessions").list_sessions(user_id)
        listed = True
    finally:
        if not listed:  # raised, or cancelled: nothing was ended, so the API would still accept it
            pending.add(user_id=user_id, keep=kept)
    return sessions


def get_user(core: Core, user_id: str, *, provider: str | None = None) -> Plan[User]:
    """Return one user with all fields.

    Source: API reference, Get User.

    Args:
        user_id: The id of the user, in any of its spellings.
        provider: The name of the provider that the id is of. It is needed where there are several.

    Raises:
        NotFound: There is no such user.
        ProviderError: The API cannot be reached or understood.
        ValueError: The id is malformed.
    """
    core.check_provider(provider)
    user = yield from core.able_to("get_user").get_user(core.user_id(user_id))
    return scoped_user(user, own_scope(core.provider))
