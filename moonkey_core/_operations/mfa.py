"""The operations of the clients on what an app records of its users, as plans. See :mod:`._session_life.mfa`.

The signatures and docstrings here are the public ones; the client supplies ``core``.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

from moonkey_core._operations.core import Core
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._plan import AwaitPublished, Fetch, Plan, RecordReply, RecordStep
from moonkey_core._session_life.mfa import ClientRecords, Records, all_of, as_mfa, as_start
from moonkey_core.auth import Auth, from_cookies, give, held_by, peek_identity, provider_name, scope_of
from moonkey_core.errors import MoonKeyError, ProviderUnavailable
from moonkey_core.models import MfaRecord, StartRecord
from moonkey_core.revocations import RevocationState
from moonkey_core.settings.checks import setting_error
from moonkey_core.web.handles import (
    Handle,
    Note,
    Purpose,
    carrier_of,
    open_stored,
    presented_notes,
    seal_handle,
    seal_stored,
)
from moonkey_core.web.handles import stored_keys as keys_of
from moonkey_core.web.request import HeaderView

T = TypeVar("T")
RecordPlan = Generator[Fetch | AwaitPublished | RecordStep, Any, T]
"""A plan that also reads and writes records in the shared store, and waits until an end is published."""


def record(core: Core, auth: Auth, *, method: str = "totp") -> RecordPlan[MfaRecord]:
    """Record that the user has verified a second factor just now.

    Call it where your app, or the front end of the provider, has verified it. In the scope ``credential`` the
    response to this request carries a handle to the client: in a header, or in a cookie. In the scope ``user`` all
    clients of the user are satisfied.

    Args:
        auth: The identity of the request.
        method: What was verified, for ``auth.mfa.method`` and logs: a plain name.

    Returns:
        The record. Its ``handle`` is for a client that the response of this request does not reach.

    Raises:
        ConfigurationError: ``mfa_lifetime`` is not set.
        ProviderUnavailable: The shared store cannot be reached. Nothing was recorded.
        ValueError: The identity is not that of a user, or the method is no plain name.
    """
    core = _core_of(core, auth)
    records = _records(core, "mfa")
    note = records.new_note(auth, "mfa", method)
    handle: Handle | None = None
    if records.by_user:
        yield from _keep(core, records, note)
    else:
        note = _continued(auth, "mfa", note)
        handle = issue(core, auth, "mfa", note)
        give(auth, handle)
    _learn(auth, note)
    return as_mfa(note, note.until, handle)


def get(core: Core, auth: Auth) -> RecordPlan[MfaRecord | None]:
    """Return the record of a second factor that counts for an identity; ``None`` where there is none.

    Afterwards ``auth.mfa`` has it as well. In the scope ``user`` it is looked up in the shared store.

    Args:
        auth: The identity of the request.

    Raises:
        ConfigurationError: ``mfa_lifetime`` is not set.
        ProviderUnavailable: The shared store cannot be reached.
    """
    yield from load(core, auth)
    held = held_by(auth)
    if held is None or not auth.is_authenticated:
        _records(_core_of(core, auth), "mfa")
        return None
    if held.trouble is not None:
        raise held.trouble
    return held.mfa(auth)


def load(core: Core, auth: Auth) -> RecordPlan[None]:
    """Look the record of a user up, where that has not been done for this request."""
    held = held_by(auth)
    if not isinstance(held, ClientRecords) or not held.must_load:
        return
    core = _core_of(core, auth)
    records = _records(core, "mfa")
    holder = records.holder(auth)
    if records.table is not None:
        held.learn(records.table.get(holder))
        return
    reply = yield RecordStep("get", keys_of(core.settings, holder))
    if reply is None or reply.is_lost:
        held.learn(None, _lost())
    else:
        held.learn(open_stored(core.settings, holder, reply.found))


def end(core: Core, auth: Auth) -> RecordPlan[RevocationState]:
    """End the record of a second factor that counts for an identity, here and in all processes of the app.

    In the scope ``user``, it ends for all clients of the user. The response to this request removes a handle in a
    cookie. A front end should forget its handle in a header, which counts no more. It waits until Redis has the
    end, for ``publish_timeout`` at most.

    Args:
        auth: The identity of the request.

    Returns:
        Whether the other processes of the app know: ``published``, ``pending`` or ``local``, as
        ``sessions.revoke`` returns it; ``local`` also where there was nothing to end.

    Raises:
        ConfigurationError: ``mfa_lifetime`` is not set.
        ProviderUnavailable: The shared store cannot be reached. The record is refused where the feed is heard.
        RevocationsFull: There is no room for one more revocation. The record has not ended.
    """
    _records(_core_of(core, auth), "mfa")
    return (yield from _ended(core, auth, ("mfa",)))


def drop(core: Core, auth: Auth, *, everywhere: bool = False) -> RecordPlan[RevocationState]:
    """End all that is recorded for the client of an identity, where an app signs a user in or out by itself.

    That is a second factor (in the scope ``user``, for all clients of the user) and a noted start of the session.
    The ready-made routes do this by themselves. Nothing happens where the app records nothing.

    Args:
        auth: The identity of the request.
        everywhere: Whether second factors end too whose handles the request does not present, as other tabs keep
            them; for a sign-out. A handle that was made in a session ends with that: revoke the session. Where
            the credential names no session, those of all clients of the user end.

    Returns:
        Whether the other processes of the app know, as for :meth:`end`.

    Raises:
        ProviderUnavailable: The shared store cannot be reached. The record is refused where the feed is heard.
        RevocationsFull: There is no room for one more revocation. The record has not ended.
    """
    return (yield from _ended(core, auth, ("mfa", "start"), everywhere=everywhere))


def _ended(
    core: Core, auth: Auth, purposes: tuple[Purpose, ...], *, everywhere: bool = False
) -> RecordPlan[RevocationState]:
    pending = PendingRevocations(core)
    try:
        yield from end_records(core, auth, pending, purposes=purposes, everywhere=everywhere)
    except MoonKeyError:
        yield from pending.settled()
        raise
    return (yield from pending.settled())


def end_records(
    core: Core,
    auth: Auth,
    pending: PendingRevocations,
    *,
    purposes: tuple[Purpose, ...] = ("mfa", "start"),
    everywhere: bool = False,
) -> RecordPlan[None]:
    """End all that counts for an identity. Nothing happens where the app records nothing.

    Args:
        core: The parts of the client.
        auth: The identity.
        pending: Takes in what is refused. The caller waits for it.
        purposes: What is ended.
        everywhere: As for :func:`drop`.

    Raises:
        ProviderUnavailable: The shared store cannot be reached.
        RevocationsFull: There is no room for one more revocation.
    """
    held, core = held_by(auth), _core_of(core, auth)
    records = core.records
    if records is None or not isinstance(held, ClientRecords):
        return
    yield from load(core, auth)
    trouble = held.trouble
    holder = records.holder(auth)
    found: list[tuple[str, Purpose]] = [
        (note, one) for one in purposes for note in sorted(held.note_ids(auth, one))
    ]
    for record_id, purpose in found:
        pending.add_record(record_id, all_of(holder, purpose), scope=scope_of(auth), of=core)
    for purpose in purposes:
        if held.presents(purpose):
            give(auth, Handle(purpose, "cookie", "", 0.0))
    held.forget()
    if "mfa" not in purposes:
        return
    if records.by_user or (everywhere and records.leaves_handles and not records.session_of(auth)):
        # Also while the store is lost.
        pending.add(session_id=all_of(holder, "mfa"), issuer=scope_of(auth), of=core)
    if not records.by_user:
        return
    if records.table is not None:
        records.table.drop(holder)
        return
    reply = yield RecordStep("drop", keys_of(core.settings, holder))
    if reply is None or reply.is_lost:
        raise trouble or _lost()


def note_start(core: Core, auth: Auth) -> Plan[StartRecord]:
    """Note that the session of this client has started just now, where the tokens of the provider do not say so.

    Call it once, where your app learns of a sign-in: never at each request. The response to this request carries a
    handle to the client, in a header or in a cookie. With it, ``session.started_at`` and ``session.expires_soon``
    are known, and the requirement ``session_max_age`` can be met.

    A start that was noted stays where it is: where the request presents a handle that counts, the client gets that
    start again. A sign-out ends it; where a user signs in anew without one, call ``client.mfa.drop(auth)`` before.
    With several providers, nothing is noted for one without a ``longest_session`` whose credentials state the
    start: the record is that start, with the id of the session and without a handle.

    Args:
        auth: The identity of the request.

    Returns:
        The record. Its ``handle`` is for a client that the response of this request does not reach.

    Raises:
        ConfigurationError: ``note_starts`` is not set, or it is not known how long a session of the provider
            lasts: ``longest_session``.
        ValueError: The identity is not that of a user.
    """
    yield from ()
    core = _core_of(core, auth)
    stated = _stated_start(core, auth)
    if stated is not None:
        return stated
    records, held = _records(core, "start"), held_by(auth)
    note = records.new_note(auth, "start")
    earlier = held.note(auth, "start") if isinstance(held, ClientRecords) else None
    if earlier is not None:
        is_another = "" not in (earlier.session, note.session) and earlier.session != note.session
        note = replace(note, id=earlier.id) if is_another else earlier
    handle = issue(core, auth, "start", note)
    give(auth, handle)
    if isinstance(held, ClientRecords):
        held.learn_start(note)
    records.apply_start(auth, note)
    return as_start(note, records.ends_at(note, "start"), handle)


def _stated_start(core: Core, auth: Auth) -> StartRecord | None:
    """Return the start of a session that its own credential states, where nothing is noted for its provider."""
    identity = peek_identity(auth)
    if not core.settings.note_starts or core.settings.session_limit is not None or identity is None:
        return None
    session = identity[1]
    return None if session.started_at is None else StartRecord(session.id, session.started_at, session.expires_at)


def _continued(auth: Auth, purpose: Purpose, note: Note) -> Note:
    """Return a new note for a client under the id of the one it has, so that older handles end with it."""
    held = held_by(auth)
    earlier = held.note(auth, purpose) if isinstance(held, ClientRecords) else None
    return note if earlier is None else replace(note, id=earlier.id)


def end_presented(core: Core, headers: HeaderView, pending: PendingRevocations) -> None:
    """End the handles that a request presents beside no verified identity: it grants nothing.

    The caller waits for ``pending``.

    Raises:
        RevocationsFull: There is no room for one more revocation.
    """
    for one in core.siblings.values() or (core,):
        purposes: tuple[Purpose, ...] = ("mfa", "start") if one.records is not None else ()
        groups = {
            note.id: all_of(note.holder, purpose)
            for purpose in purposes
            for note in presented_notes(headers, one.settings, purpose)
            if note.until > one.revocations.now()
        }
        for record_id, group in sorted(groups.items()):
            for scope in one.revocations.scopes:
                pending.add_record(record_id, group, scope=scope, of=one)


def end_for_user(
    core: Core, scope: str, user_id: str, pending: PendingRevocations, *, names_session: bool
) -> None:
    """End what a sign-out ends for all clients of a user, where the credential is genuine, and too old.

    The caller waits for ``pending``.

    Raises:
        RevocationsFull: There is no room for one more revocation.
    """
    records = core.records
    if records is not None and (records.by_user or (records.leaves_handles and not names_session)):
        pending.add(session_id=all_of(records.holder_of(scope, user_id), "mfa"), issuer=scope)


def issue(core: Core, auth: Auth, purpose: Purpose, note: Note) -> Handle:
    """Seal a note for the client of an identity, in the place where it keeps its handles."""
    carrier = carrier_of(core.settings, from_cookies=from_cookies(auth))
    return seal_handle(core.settings, purpose, carrier, note)


def _keep(core: Core, records: Records, note: Note) -> RecordPlan[None]:
    if records.table is not None:
        records.table.put(note.holder, note)
        return
    keys, values = keys_of(core.settings, note.holder), seal_stored(core.settings, note.holder, note)
    reply: RecordReply | None = yield RecordStep("put", keys, values, note.until - note.made_at)
    if reply is None or reply.is_lost:
        raise _lost()


def _learn(auth: Auth, note: Note) -> None:
    held = held_by(auth)
    if isinstance(held, ClientRecords):
        held.learn(note)


def _core_of(core: Core, auth: Auth) -> Core:
    """Return the core of the provider that an identity is of, where a client has several."""
    return core.siblings.get(provider_name(auth), core)


def _records(core: Core, purpose: Purpose) -> Records:
    """Return the rules of records.

    Raises:
        ConfigurationError: The settings do not say how long one lasts.
    """
    settings, records = core.settings, core.records
    if purpose == "mfa" and settings.mfa_lifetime is None:
        raise setting_error("mfa_lifetime", "is not set: it says how long a second factor counts.")
    if purpose == "start" and not settings.note_starts:
        raise setting_error(
            "note_starts", "is not set. Set it to True: only then clients get handles, and these are looked at."
        )
    if purpose == "start" and settings.session_limit is None:
        raise setting_error("longest_session", "is not set: it says how long a session of the provider lasts.")
    if records is None or not settings.has_lasting_secret:
        raise setting_error("cache_secret", "is missing: handles are sealed with it. Set it to a random text.")
    return records


def _lost() -> ProviderUnavailable:
    return ProviderUnavailable(
        "The shared store cannot be reached, so it is not known whether the user has verified a second factor.",
        reason="records_lost",
    )
