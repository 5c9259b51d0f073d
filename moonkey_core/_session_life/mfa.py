"""What this app records of its users: that one has verified a second factor, and when a session has started.

A record counts for one user of one scope only, beside a verified credential of theirs. Either the client keeps it,
as a handle, or it is kept for the user, and counts for all their clients. No I/O.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cachetools import TLRUCache

from moonkey_core import _clock
from moonkey_core._crypto import fleet_sealer
from moonkey_core._fork import reset_after_fork
from moonkey_core._provider import Provider
from moonkey_core.auth import (
    Auth,
    BaseAuth,
    credential_facts,
    note_start,
    peek_identity,
    scope_of,
    session_facts,
    set_held,
)
from moonkey_core.errors import ConfigurationError, MoonKeyError, ProviderUnavailable
from moonkey_core.models import MfaRecord, StartRecord
from moonkey_core.revocations import MAX_CLOCK_AHEAD, Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.handles import (
    Handle,
    Note,
    Purpose,
    holder_of,
    ignored,
    new_id,
    presented_notes,
    presents,
)
from moonkey_core.web.request import HeaderView

_METHOD = r"[A-Za-z0-9._:/-]{1,64}"
_MAX_USERS = 100_000
"""Records of users that one process keeps at most; beyond, the one that was used least lately is forgotten."""


class Records:
    """The rules by which records are made and count, for one provider.

    Attributes:
        by_user: Whether a second factor counts for all clients of its user.
        table: The records of users, where one process serves the whole app.
        leaves_handles: Whether handles for second factors may stand in headers, so that a sign-out need not bring
            all of them.
    """

    def __init__(self, settings: Settings, provider: Provider, revocations: Revocations) -> None:
        self.settings = settings
        self.by_user: bool = settings.records_by_user
        self.table: UserTable | None = _table_of(settings) if self.by_user and settings.redis_url is None else None
        self.leaves_handles: bool = settings.uses_mfa_handles and settings.mfa_handles != "cookie"
        self._key_of_user = provider.key_of_user
        self._revocations = revocations
        self._lifetime = 0.0 if settings.mfa_lifetime is None else settings.mfa_lifetime.total_seconds()
        limit = settings.session_limit
        self._longest = 0.0 if limit is None else limit.total_seconds()

    def attach(self, auth: Auth, headers: HeaderView) -> None:
        """Let an identity find what is recorded for its client."""
        if session_facts(auth) is None:
            return
        set_held(auth, ClientRecords(self, headers))
        if self._longest and presents(headers, self.settings, "start"):
            note = self.presented(auth, headers, "start")
            if note is not None:
                self.apply_start(auth, note)

    def apply_start(self, auth: Auth, note: Note) -> None:
        """Let the session of an identity have the start that was noted, where the provider does not say it."""
        identity = peek_identity(auth)
        if identity is None or (identity[1].started_at is not None and identity[1].must_end_at is None):
            return  # the provider knows better
        start = as_start(note, self.ends_at(note, "start"))
        note_start(auth, start.started_at, start.ends_at)

    def new_note(self, auth: Auth, purpose: Purpose, method: str = "") -> Note:
        """Make the note of what a user has done just now.

        Raises:
            ValueError: The identity is not that of a user, or the method is no plain name.
        """
        if session_facts(auth) is None:
            raise ValueError("Only of a signed-in user can something be recorded: auth.is_authenticated is false.")
        if purpose == "mfa" and not re.fullmatch(_METHOD, method):
            raise ValueError("method must be a plain name of 64 characters at most, such as 'totp'.")
        now = self._revocations.now()
        session = "" if purpose == "mfa" and self.by_user else self.session_of(auth)
        return Note(new_id(purpose), self.holder(auth), method, now, now + self._life(purpose), session)

    def session_of(self, auth: BaseAuth) -> str:
        """Return the id of the session that the credential of an identity names; empty where it names none."""
        facts = credential_facts(auth)
        return facts.session_id if facts is not None and facts.names_session else ""

    def holder(self, auth: BaseAuth) -> str:
        """Return what stands for the user of an identity in notes."""
        facts = session_facts(auth)
        assert facts is not None
        return self.holder_of(scope_of(auth), facts[1])

    def holder_of(self, scope: str, user_id: str) -> str:
        """Return what stands for a user in notes, in whichever spelling of the id."""
        return holder_of(scope, self._key_of_user(user_id))

    def presented(self, auth: BaseAuth, headers: HeaderView, purpose: Purpose) -> Note | None:
        """Return the newest note of this purpose that a request presents and that counts for its identity.

        A request has two where its page keeps one in a header, and the browser another one in a cookie.
        """
        return max(self.all_presented(auth, headers, purpose), key=lambda one: one.made_at, default=None)

    def all_presented(self, auth: BaseAuth, headers: HeaderView, purpose: Purpose) -> Iterator[Note]:
        """Yield the notes of this purpose that a request presents and that count for its identity."""
        notes = presented_notes(headers, self.settings, purpose)
        return (note for note in notes if self.counts(note, auth, purpose))

    def counts(self, note: Note, auth: BaseAuth, purpose: Purpose) -> bool:
        """Return whether a note counts for an identity now. If not, a line for debugging says why."""
        facts = session_facts(auth)
        if facts is None:
            return False
        (session_id, user_id, *_), scope, now = facts, scope_of(auth), self._revocations.now()
        if note.holder != self.holder_of(scope, user_id):
            why = "it is that of another user"
        elif note.made_at > now + MAX_CLOCK_AHEAD:
            why = "it was made ahead of time"
        elif now >= min(note.until, note.made_at + self._life(purpose)):
            why = "its time is over"
        elif self._revocations.ends_record(
            (note.id, note.session, all_of(note.holder, purpose)), session_id, user_id, note.made_at, scope
        ):
            why = "it was revoked"
        else:
            return True
        ignored(purpose, why)
        return False

    def _life(self, purpose: Purpose) -> float:
        return self._lifetime if purpose == "mfa" else self._longest

    def ends_at(self, note: Note, purpose: Purpose) -> float:
        """Return when a note ends, also where the setting has become shorter since."""
        return min(note.until, note.made_at + self._life(purpose))


def all_of(holder: str, purpose: Purpose) -> str:
    """Return the id by which all records of a user that were made until then are revoked."""
    return f"{purpose}_of_{holder}"


class ClientRecords:
    """What counts for the identity of one request. Nothing is read before it is needed."""

    __slots__ = ("_headers", "_is_known", "_note", "_records", "_start", "_trouble")

    def __init__(self, records: Records, headers: HeaderView) -> None:
        self._records = records
        self._headers = headers
        self._note: Note | None = None
        self._start: Note | None = None  # noted by this very request
        self._is_known = False
        self._trouble: MoonKeyError | None = None

    @property
    def must_load(self) -> bool:
        """Whether the record of the user has to be looked up first."""
        return self._records.by_user and not self._is_known

    @property
    def trouble(self) -> MoonKeyError | None:
        """Why it is not known what is recorded."""
        if self.must_load:
            return ConfigurationError(
                "The record of the user's second factor was not looked up. Authenticate the request with the "
                "requirements of the gate, or call client.mfa.get(auth) before it."
            )
        return self._trouble

    @property
    def allows_unenrolled(self) -> bool:
        """Whether a user without a second factor passes where one is required."""
        return self._records.settings.mfa_unenrolled == "allow"

    @property
    def enrol_url(self) -> str | None:
        """Where a user enrols a second factor."""
        return self._records.settings.mfa_enrol_url

    def mfa(self, auth: BaseAuth) -> MfaRecord | None:
        """Return the record that counts for an identity now."""
        if not self._is_known and not self._records.by_user:
            self.learn(self._records.presented(auth, self._headers, "mfa"))
        note = self._note
        if note is None or not self._records.counts(note, auth, "mfa"):
            return None
        return as_mfa(note, self._records.ends_at(note, "mfa"))

    def note(self, auth: BaseAuth, purpose: Purpose) -> Note | None:
        """Return the note of this purpose that counts for an identity now."""
        if purpose == "start":
            noted = self._start
            if noted is not None and self._records.counts(noted, auth, "start"):
                return noted
            return self._records.presented(auth, self._headers, "start")
        return self._note if self.mfa(auth) is not None else None

    def note_ids(self, auth: BaseAuth, purpose: Purpose) -> set[str]:
        """Return the ids of all notes of this purpose that count for an identity now."""
        first = self.note(auth, purpose)
        if first is None:
            return set()
        return {first.id, *(one.id for one in self._records.all_presented(auth, self._headers, purpose))}

    def presents(self, purpose: Purpose) -> bool:
        """Return whether the request presents a handle of this purpose, good or not."""
        return presents(self._headers, self._records.settings, purpose)

    def learn(self, note: Note | None, trouble: ProviderUnavailable | None = None) -> None:
        """Take what was found, or why it is not known."""
        self._note, self._trouble, self._is_known = note, trouble, True

    def learn_start(self, note: Note) -> None:
        """Take what was noted of the session's start."""
        self._start = note

    def forget(self) -> None:
        """Count nothing any more for this request."""
        self._start = None
        self.learn(None)


def as_mfa(note: Note, ends_at: float, handle: Handle | None = None) -> MfaRecord:
    """Return a note as its model."""
    made_at, end = (datetime.fromtimestamp(at, UTC) for at in (note.made_at, ends_at))
    return MfaRecord(note.id, note.method, made_at, end, None if handle is None else handle.text)


def as_start(note: Note, ends_at: float, handle: Handle | None = None) -> StartRecord:
    """Return a note as its model."""
    made_at, until = (datetime.fromtimestamp(at, UTC) for at in (note.made_at, ends_at))
    return StartRecord(note.id, made_at, until, None if handle is None else handle.text)


class UserTable:
    """The records of users in the memory of a process. Thread-safe and bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._make_table()
        reset_after_fork(self.reset_lock)

    def _make_table(self) -> None:
        self._notes: TLRUCache[str, Note] = TLRUCache(
            _MAX_USERS, ttu=lambda _holder, note, _now: note.until, timer=_clock.wall
        )

    def reset_lock(self) -> None:
        """Make a new lock in the child of a fork, and a new table if another thread was just changing it."""
        is_torn = self._lock.locked()
        self._lock = threading.Lock()
        if is_torn:
            self._make_table()

    def get(self, holder: str) -> Note | None:
        """Return the record of a user, if there is one."""
        with self._lock:
            return self._notes.get(holder)

    def put(self, holder: str, note: Note) -> None:
        """Keep the record of a user."""
        with self._lock:
            self._notes[holder] = note

    def drop(self, holder: str) -> None:
        """Forget the record of a user."""
        with self._lock:
            self._notes.pop(holder, None)


_tables: weakref.WeakValueDictionary[str, UserTable] = weakref.WeakValueDictionary()
_tables_lock = threading.Lock()


@contextmanager
def records_among(tables: weakref.WeakValueDictionary[str, UserTable]) -> Iterator[None]:
    """Have the clients that are made meanwhile share their records with those of these tables only, for tests.

    Args:
        tables: The tables; an empty mapping at first.
    """
    global _tables
    with _tables_lock:
        kept, _tables = _tables, tables
    try:
        yield
    finally:
        with _tables_lock:
            _tables = kept


def _reset_tables_lock() -> None:
    global _tables_lock
    _tables_lock = threading.Lock()


reset_after_fork(_reset_tables_lock)


def _table_of(settings: Settings) -> UserTable:
    """Return the table that all clients of one app in this process share."""
    key = fleet_sealer(settings, "record").digest("table")
    with _tables_lock:
        found = _tables.get(key)
        if found is None:
            found = _tables[key] = UserTable()
        return found
