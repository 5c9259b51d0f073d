"""The record of a verified credential: the cache keeps it, and an ``Auth`` is made from it."""

from __future__ import annotations

import math
import operator
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object
from moonkey_core.models import Session, User, VerifiedSession, read_only_model, with_session_user, with_user_id

CredentialKind = Literal["session_token", "session_jwt"]
"""The kinds of credentials: opaque, or a signed JWT."""

Principal = Literal["user", "machine"]
"""What a credential speaks for: a person with a session, or a program without one."""

DEFAULT_SCOPE = "moonkey"
"""The scope of MoonKey, and of all that is stored without one."""

NEVER = -math.inf
"""The date (Unix seconds) of what has not happened: one object for all entries."""

Key = str | tuple[str, str]
"""An id of the default scope, or any other scope and an id."""


def key_of(scope: str, value: str) -> Key:
    """Return what an id is found by in tables: equal ids of two scopes differ."""
    return value if scope == DEFAULT_SCOPE else (scope, value)


class SessionIds(NamedTuple):
    """The ids of a session and of its user; that of the user is empty, and the scope ``None``, where unknown.

    ``names_session`` is false where the first one is that of the credential itself.
    """

    session_id: str
    user_id: str
    scope: str | None = None
    names_session: bool = True


Body = bytes | Mapping[str, Any]
"""The user and session in a provider's reply or a JWT: JSON, or its decoded form. It has been checked."""


def decoded(body: Body) -> Mapping[str, Any]:
    """Return the members of a checked body.

    Raises:
        ValueError: It is no JSON object.
    """
    return load_object(body) if isinstance(body, bytes) else body


class BodyReader(Protocol):
    """The builder of models from a checked body."""

    def user(self, body: Body) -> User:
        """Return the user in the body."""
        ...

    def session(self, body: Body) -> Session:
        """Return the session in the body."""
        ...


@lru_cache(64)  # classes of an app's providers
def is_own(reader: type[object]) -> bool:
    """Return whether a reader is one of this package: all in its models is read-only, and it changes no body.

    Requests share the models of a remembered credential. Those of an app's own provider are made read-only first.
    """
    return reader.__module__.startswith("moonkey_core.")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _ScopedReader:
    """A reader whose users belong to a scope."""

    reader: BodyReader
    scope: str

    def user(self, body: Body) -> User:
        user = self.reader.user(body).replace(scope=self.scope)
        return user if is_own(type(self.reader)) else read_only_model(user)

    def session(self, body: Body) -> Session:
        session = self.reader.session(body)
        return session if is_own(type(self.reader)) else read_only_model(session)

    def same_user(self, one: str, other: str) -> bool:
        return names_same_user(self.reader, one, other)


def names_same_user(reader: BodyReader, one: str, other: str) -> bool:
    """Return whether two ids name the same user: equal ones, unless the reader knows several spellings."""
    same_user: Callable[[str, str], bool] = getattr(reader, "same_user", operator.eq)
    return same_user(one, other)


def scoped_reader(reader: BodyReader, scope: str) -> BodyReader:
    """Return a reader whose users belong to a scope. They belong to the default one by themselves."""
    return reader if scope == DEFAULT_SCOPE else _ScopedReader(reader, scope)


def scoped_user(user: User, scope: str) -> User:
    """Return a user who belongs to a scope."""
    return user if user.scope == scope else user.replace(scope=scope)


class CacheEntry:
    """The user and session of a credential that was verified once, and how long it may be reused.

    All times are Unix seconds. The user and session are built from ``body`` when they are read.

    Attributes:
        body: The provider's reply or the payload of the JWT; it holds no credential.
        reader: Builds the models from ``body``.
        session_id: The session that the credential belongs to.
        user_id: The user, in the spelling that the credential proved.
        issued_at: When the credential was issued. A revocation applies to what was issued up to its own time.
            ``None`` where unknown.
        starts_at: The time from which on the entry may be reused, less the leeway.
        reusable_until: The time up to which the entry may be reused.
        vouched_at: When the provider itself last vouched for the credential: its last call (``asked_at``), else
            the time when the JWT was issued.
        ends_at: When the session ends.
        last_accepted_at: When the credential was last accepted.
        asked_at: When the provider was last called about it; minus infinity where it never was.
        started_at: When the session started; ``None`` where unknown.
        revocations_version: The version of the revocations that the entry was last checked against.
        kid: The key id of a JWT that was verified here.
        key: The key that verified it.
        key_set: The key set that this key was last found in.
        needs_introspection: Whether the provider has to confirm the credential on each use.
        simple_user: The user of a JWT, which has no field but the id, where it was built lately, or the whole user
            that was loaded for it. Requests share the object, which is immutable.
        user_until: The time up to which ``simple_user`` need not be loaded again; minus infinity where it was not
            loaded.
        whole_user: The user with all fields, where they were loaded, and when (Unix seconds). For outages only.
        scope: What the ids belong to: the provider, or one issuer of several.
        principal: Whether the credential speaks for a user or for a program.
        actor: The id of the party that acts for the user, where the credential names one (RFC 8693 section 4.1).
        names_session: Whether ``session_id`` is that of a session, and not of the credential itself.
        has_moved: Whether ``ends_at`` is not the end that ``body`` states, as the provider has named another one.
        built_session: The session, where it was built lately. Requests share the object, which is immutable.
        claims: ``body`` in its decoded form, while it is likely that user and session will be built; else nothing.
    """

    __slots__ = (
        "__weakref__", "actor", "asked_at", "body", "built_session", "claims", "ends_at", "has_moved", "issued_at",
        "key", "key_set", "kid", "last_accepted_at", "names_session", "needs_introspection", "principal", "reader",
        "reusable_until", "revocations_version", "scope", "session_id", "simple_user", "started_at", "starts_at",
        "user_id", "user_until", "vouched_at", "whole_user",
    )  # fmt: skip

    def __init__(
        self,
        body: Body,
        reader: BodyReader,
        session_id: str,
        user_id: str,
        issued_at: float | None,
        starts_at: float,
        reusable_until: float,
        vouched_at: float,
        ends_at: float,
        last_accepted_at: float,
        asked_at: float = NEVER,
        started_at: float | None = None,
        kid: str | None = None,
        key: object = None,
        key_set: object = None,
        scope: str = DEFAULT_SCOPE,
        principal: Principal = "user",
        actor: str | None = None,
        *,
        names_session: bool = True,
    ) -> None:
        # Each JWT at first sight makes one. Arguments by position take half as long as by keyword.
        self.body: Body = body
        self.reader: BodyReader = reader
        self.session_id: str = session_id
        self.user_id: str = user_id
        self.issued_at: float | None = issued_at
        self.starts_at: float = starts_at
        self.reusable_until: float = reusable_until
        self.vouched_at: float = vouched_at
        self.ends_at: float = ends_at
        self.last_accepted_at: float = last_accepted_at
        self.asked_at: float = asked_at
        self.started_at: float | None = started_at
        self.revocations_version: int = -1
        self.kid: str | None = kid
        self.key: object = key
        self.key_set: object = key_set
        self.needs_introspection: bool = False
        self.simple_user: User | None = None
        self.user_until: float = NEVER
        self.whole_user: tuple[User, float] | None = None
        self.has_moved: bool = False
        self.scope: str = scope
        self.principal: Principal = principal
        self.actor: str | None = actor
        self.names_session: bool = names_session
        self.built_session: Session | None = None
        self.claims: Sequence[Mapping[str, Any]] = ()

    def move_end(self, ends_at: float) -> None:
        """Take over the end of the session (Unix seconds) that the provider has named since."""
        if ends_at != self.ends_at:
            self.ends_at, self.has_moved = ends_at, True
            self.built_session = None

    def user(self) -> User:
        """Return the user, under the id that the credential proved."""
        known = self.simple_user
        if known is not None:
            return known
        user = with_user_id(self.reader.user(self._contents()), self.user_id, self._same_user)
        if not is_own(type(self.reader)):
            user = read_only_model(user)
        if self.key is not None:
            self.simple_user = user
            if self.built_session is None:
                _keep_models_of(self)
            else:
                self.claims = ()  # both are built
        return user

    def session(self) -> Session:
        """Return the session, with the user that was proven and its end as far as it is known by now."""
        known = self.built_session
        if known is not None:
            return known
        ends_at = self.ends_at if self.has_moved else None
        session = with_session_user(self.reader.session(self._contents()), self.user_id, self._same_user)
        if not is_own(type(self.reader)):
            session = read_only_model(session)
        if ends_at is not None:
            session = session.replace(expires_at=datetime.fromtimestamp(ends_at, UTC))
        self.built_session = session
        if self.has_moved and ends_at != self.ends_at:
            self.built_session = None  # another thread has moved the end meanwhile
        if self.simple_user is None or self.user_until > NEVER:
            _keep_models_of(self)  # else that was done when the user was built
        else:
            self.claims = ()
        return session

    def _contents(self) -> Body:
        for claims in self.claims:
            return claims
        return self.body

    def _same_user(self, one: str, other: str) -> bool:
        return names_same_user(self.reader, one, other)

    def verified_session(self) -> VerifiedSession:
        """Return the user and the session."""
        return VerifiedSession(self.user(), self.session())

    def is_fresh(self, now: float, max_staleness: float) -> bool:
        """Return whether the provider vouched for it at most ``max_staleness`` seconds before ``now``.

        A credential that is dated ahead of ``now`` has not been vouched for yet.
        """
        return max_staleness > 0 and 0 <= now - self.vouched_at <= max_staleness


_MAX_BUILT_SESSIONS = 1536  # about 2 kB each, with the user
_have_sessions: deque[weakref.ref[CacheEntry]] = deque()


def _keep_models_of(entry: CacheEntry) -> None:
    """Let an entry keep the user and session that it has built, and the first one that did so forget its own.

    To build them takes several times as long as all else of a request with a remembered credential.
    """
    _have_sessions.append(weakref.ref(entry))
    while len(_have_sessions) > _MAX_BUILT_SESSIONS:
        try:
            oldest = _have_sessions.popleft()()
        except IndexError:
            return  # another thread has taken the last one
        if oldest is not None:
            oldest.built_session = None
            if oldest.user_until == NEVER:
                oldest.simple_user = None


_MAX_KEPT_CLAIMS = 4  # more of them would not stay in the processor's cache
_have_claims: deque[list[Mapping[str, Any]]] = deque()


def keep_claims(entry: CacheEntry, claims: Mapping[str, Any]) -> None:
    """Let an entry keep its decoded body for a while, until some newer ones have come.

    The request that has brought a credential first is the one that reads its user and session, mostly.
    """
    entry.claims = kept = [claims]
    _have_claims.append(kept)
    if len(_have_claims) > _MAX_KEPT_CLAIMS:
        try:
            oldest = _have_claims.popleft()
        except IndexError:
            return  # another thread has taken the last one
        oldest.clear()
