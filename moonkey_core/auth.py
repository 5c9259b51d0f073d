"""The identity of a request: always present, in one of five states."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeAlias,
    cast,
)

from moonkey_core import _clock
from moonkey_core._dict_habits import item_error
from moonkey_core._verified import CacheEntry, Principal
from moonkey_core.errors import AuthenticationError, CrossSiteRequest, MoonKeyError, ProviderError
from moonkey_core.events import MOONKEY, Source, Verified
from moonkey_core.models import Grants, Machine, MfaRecord, Session, User, VerifiedSession

__all__ = ["Auth", "AuthState", "AuthenticatedAuth", "new_auth"]

AuthState = Literal["anonymous", "authenticated", "machine", "rejected", "unavailable"]

_PRINCIPALS: Final[dict[AuthState, Principal]] = {"authenticated": "user", "machine": "machine"}

P = ParamSpec("P")


class Raiser(Protocol):
    """The part of a framework package that makes what gates raise from the errors of the core."""

    def to_raise(self, error: MoonKeyError) -> MoonKeyError:
        """Return an error of the same class, which layers of the framework know how to answer."""
        ...


class Held(Protocol):
    """What this app has recorded for the client of a request, as far as it counts for an identity."""

    @property
    def trouble(self) -> MoonKeyError | None:
        """Why it is not known what is recorded; ``None`` where it is."""
        ...

    @property
    def must_load(self) -> bool:
        """Whether a shared store has to be asked first."""
        ...

    @property
    def allows_unenrolled(self) -> bool:
        """Whether a user without a second factor passes where one is required."""
        ...

    @property
    def enrol_url(self) -> str | None:
        """Where a user enrols a second factor."""
        ...

    def mfa(self, auth: BaseAuth) -> MfaRecord | None:
        """Return the record of the second factor that counts for an identity."""
        ...


class BaseAuth:
    """The identity of one request.

    - *anonymous*: the request carries no credential.
    - *authenticated*: it carries a valid one of a user; only then are ``user`` and ``session`` set.
    - *machine*: it carries a valid one of a program, which has no session. Only a provider with ``allow_machines``
      lets that happen, and only then is ``machine`` set.
    - *rejected*: it carries an invalid one; ``error`` has the reason.
    - *unavailable*: it cannot be determined whether the credential is valid; ``error`` has the reason. Never treat
      this state as anonymous.

    ``bool(auth)`` is ``auth.is_authenticated``. An ``Auth`` is immutable, except that it notes whether the app has
    read it: the headers of a response that depends on identity must name that to caches.

    This is the class of every ``Auth``. Annotate with :data:`Auth`, and with :class:`AuthenticatedAuth` behind a
    gate.
    """

    __qualname__ = "Auth"  # what users call it; pickles name it too

    __slots__ = (
        "_accessed",
        "_actor",  # this one and the machine: only of a copy
        "_admitted",  # only of a machine
        "_as_of",
        "_asked",
        "_binding",
        "_entry",
        "_error",
        "_fresh",
        "_from_cookies",
        "_given",  # this one and the next: only where the app records something of its users
        "_held",
        "_hint",
        "_machine",
        "_provider",  # set where it is another one than MoonKey, or there are several
        "_raiser",
        "_session",
        "_source",
        "_state",
        "_user",
    )  # fmt: skip

    _provider: str
    _given: tuple[Any, ...] | None
    _held: Held | None

    if not TYPE_CHECKING:  # only errors come here. No `__getattr__`: slots that are not set yet would come there

        def __getitem__(self, key: object) -> NoReturn:
            raise item_error(BaseAuth, key)

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> NoReturn:
        """Refuse to be a field: FastAPI would make one of a parameter ``auth: Auth``."""
        raise TypeError(
            "An Auth is no field of a request or a response. In FastAPI, write `auth: CurrentAuth` as a "
            "parameter, or `auth: Annotated[Auth, Depends(RequireAuth())]`, and return auth.user."
        )

    def __init__(
        self,
        entry: CacheEntry | None = None,
        source: Source = "none",
        as_of: float | None = None,
        from_cookies: bool = False,
        fresh: str | None = None,
        asked_for_it: bool = False,
        user: User | None = None,
        binding: str | None = None,
        *,
        verified: VerifiedSession | None = None,
        error: AuthenticationError | CrossSiteRequest | ProviderError | None = None,
        hint: str = "",
    ) -> None:
        # Every request makes one. Arguments by position take half as long as by keyword.
        self._entry = entry
        self._error = error
        self._source: Source = source
        self._as_of = as_of
        self._accessed = False
        self._asked = asked_for_it
        self._from_cookies = from_cookies
        self._hint = hint
        self._raiser: Raiser | None = None
        self._user = user  # an entry may lack fields of the user
        self._session: Session | None = None
        self._fresh = fresh
        self._binding = binding
        self._state: AuthState = (
            "anonymous" if entry is None else "machine" if entry.principal == "machine" else "authenticated"
        )
        if verified is not None:
            self._user, self._session, self._fresh = verified.user, verified.session, verified.fresh_jwt
            self._state = "authenticated"
        if error is not None:
            self._user = self._session = self._entry = None
            self._state = "unavailable" if isinstance(error, ProviderError) else "rejected"

    @property
    def state(self) -> AuthState:
        """The state: ``anonymous``, ``authenticated``, ``machine``, ``rejected`` or ``unavailable``."""
        self._accessed = True
        return self._state

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a verified user and session."""
        self._accessed = True
        return self._state == "authenticated"

    @property
    def is_anonymous(self) -> bool:
        """Whether the request carries no credential."""
        return self.state == "anonymous"

    @property
    def is_machine(self) -> bool:
        """Whether there is a verified machine, and no user and session."""
        return self.state == "machine"

    @property
    def is_rejected(self) -> bool:
        """Whether the request carries a credential that is not valid."""
        return self.state == "rejected"

    @property
    def is_unavailable(self) -> bool:
        """Whether it cannot be determined if the request's credential is valid."""
        return self.state == "unavailable"

    @property
    def user(self) -> User | None:
        """The verified user, or ``None`` unless authenticated."""
        self._accessed = True
        found = self._user
        return self._made_user() if found is None else found

    @property
    def session(self) -> Session | None:
        """The verified session, or ``None`` unless authenticated."""
        self._accessed = True
        found = self._session
        return self._made_session() if found is None else found

    @property
    def machine(self) -> Machine | None:
        """The verified machine; ``None`` for a user, and where there is no valid credential."""
        self._accessed = True
        return self._made_machine()

    @property
    def principal(self) -> Principal | None:
        """What the credential speaks for, a user or a machine; ``None`` where there is no valid credential."""
        return _PRINCIPALS.get(self.state)

    @property
    def actor(self) -> str | None:
        """The id of who acts for the user or machine (RFC 8693 section 4.1); ``None`` where no one does.

        Only the outermost ``act.sub`` of a token counts. The user is still ``user``.
        """
        self._accessed = True
        return self._known_actor()

    def _made_user(self) -> User | None:
        entry = self._entry
        if self._user is None and entry is not None and self._state == "authenticated":
            known = entry.simple_user
            self._user = entry.user() if known is None else known
        return self._user

    def _made_session(self) -> Session | None:
        entry = self._entry
        if self._session is None and entry is not None and self._state == "authenticated":
            known = entry.built_session
            self._session = entry.session() if known is None else known
        return self._session

    def _made_machine(self) -> Machine | None:
        if self._state == "machine" and self._entry is not None:
            session = self._entry.session()
            return Machine(
                id=self._entry.user_id,
                expires_at=session.expires_at,
                extra=session.extra,
                grants=session.grants,
                scope=self._entry.scope,
            )
        return getattr(self, "_machine", None)  # of a copy

    def _known_actor(self) -> str | None:
        return getattr(self, "_actor", None) if self._entry is None else self._entry.actor

    @property
    def mfa(self) -> MfaRecord | None:
        """What this app has recorded of a second factor (``client.mfa``) that counts for this identity.

        ``None`` where there is none. In the scope ``user`` it is known only behind a gate with ``mfa_max_age``, or
        after ``client.mfa.get(auth)``.
        """
        self._accessed = True
        held: Held | None = getattr(self, "_held", None)
        return None if held is None or self._state != "authenticated" else held.mfa(self)

    @property
    def provider(self) -> str:
        """The name of the provider that the credential belongs to.

        Where there are several, it is ``none`` for a request that presents no credential of any of them.
        """
        self._accessed = True
        return provider_name(self)

    @property
    def error(self) -> MoonKeyError | None:
        """The reason why the credential was rejected or could not be checked; else ``None``."""
        self._accessed = True
        return self._error

    @property
    def source(self) -> Source:
        """Where the identity comes from.

        ``none``: there is none. ``local``: a JWT verified here; ``stale``: the same, with keys that have expired.
        ``cache``: a remembered verification; ``grace``: the same, as the API cannot be reached.
        ``remote``: the API.
        """
        return self._source

    @property
    def scope(self) -> str:
        """What the ids of user and session, or of a machine, belong to: ``moonkey`` or an issuer; else empty.

        Equal ids of two scopes are different users.
        """
        self._accessed = True
        return scope_of(self)

    @property
    def as_of(self) -> float | None:
        """The time when the API itself vouched for this identity (Unix seconds); ``None`` unless authenticated."""
        return self._as_of

    @property
    def staleness(self) -> float:
        """The seconds since ``as_of``; 0 unless authenticated."""
        return 0.0 if self._as_of is None else max(_clock.wall() - self._as_of, 0.0)

    @property
    def accessed(self) -> bool:
        """Whether the app has read this identity.

        Reading ``accessed``, ``source`` or the times does not count.
        """
        return self._accessed

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A copy holds the verified user and session, but no credential and no cache entry.
        state = {name: getattr(self, name, None) for name in self.__slots__}
        return None, {
            **state,
            "_entry": None,
            "_fresh": None,
            "_binding": None,
            "_given": None,
            "_held": None,
            "_raiser": None,
            "_user": self._made_user(),
            "_session": self._made_session(),
            "_machine": self._made_machine(),
            "_actor": self._known_actor(),
        }

    def __bool__(self) -> bool:
        return self.is_authenticated

    def __repr__(self) -> str:
        reason = f", reason={self._error.reason!r}" if self._error else ""
        return f"Auth({self._state!r}{reason})"


BaseAuth.__name__ = "Auth"

if TYPE_CHECKING:
    MYPY = False  # mypy alone takes this for true

    class AuthenticatedAuth(BaseAuth):
        """An ``Auth`` whose user and session are certainly set, as behind a gate."""

        @property
        def state(self) -> Literal["authenticated"]: ...
        @property
        def is_authenticated(self) -> Literal[True]: ...
        @property
        def is_anonymous(self) -> Literal[False]: ...
        @property
        def is_machine(self) -> Literal[False]: ...
        @property
        def is_rejected(self) -> Literal[False]: ...
        @property
        def is_unavailable(self) -> Literal[False]: ...
        @property
        def user(self) -> User: ...
        @property
        def session(self) -> Session: ...
        @property
        def machine(self) -> None: ...
        @property
        def principal(self) -> Literal["user"]: ...
        @property
        def error(self) -> None: ...
        def __bool__(self) -> Literal[True]: ...

    class _UnauthenticatedAuth(BaseAuth):
        """An ``Auth`` in one of the other states."""

        @property
        def state(self) -> Literal["anonymous", "machine", "rejected", "unavailable"]: ...
        @property
        def is_authenticated(self) -> Literal[False]: ...
        def __bool__(self) -> Literal[False]: ...

        # pyright does not narrow a union by `if auth.is_authenticated`. With None here it would report each
        # `auth.user.id` in that branch. mypy narrows, and reports the ones outside of it.
        if MYPY:

            @property
            def user(self) -> None: ...  # pyright: ignore[reportRedeclaration]
            @property
            def session(self) -> None: ...  # pyright: ignore[reportRedeclaration]
        else:

            @property
            def user(self) -> Any: ...
            @property
            def session(self) -> Any: ...

    Auth: TypeAlias = AuthenticatedAuth | _UnauthenticatedAuth
    """The identity of one request, see :class:`BaseAuth`. ``auth.is_authenticated`` tells the two apart."""
else:
    Auth = BaseAuth

    class _Authenticated(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, BaseAuth) and instance.is_authenticated

    class AuthenticatedAuth(BaseAuth, metaclass=_Authenticated):
        """An ``Auth`` whose user and session are certainly set, as behind a gate.

        For annotations. ``isinstance`` is true for each ``Auth`` that is authenticated. Asked of a stand-in, it
        resolves the identity, as reading ``is_authenticated`` does.
        """

        __slots__ = ()


def _typed(kind: Callable[P, BaseAuth]) -> Callable[P, Auth]:
    return cast("Callable[P, Auth]", kind)


new_auth: Final = _typed(BaseAuth)
"""The class itself, with its instances typed as :data:`Auth`."""


def remembered_auth(entry: CacheEntry, from_cookies: bool = False, source: Source = "cache") -> Auth:
    """Return the identity of a remembered credential: as ``new_auth(entry, source, …)`` does, in less time.

    Almost every request has such a one.
    """
    if entry.principal != "user":
        return new_auth(entry, source, entry.vouched_at, from_cookies)
    auth: Any = _bare_auth(BaseAuth)  # a `cast` would be a call
    auth._entry = entry
    auth._source = source
    auth._state = "authenticated"
    auth._as_of = entry.vouched_at
    auth._from_cookies = from_cookies
    auth._accessed = auth._asked = False
    auth._user = entry.simple_user  # `None` where they were not built lately
    auth._session = entry.built_session
    auth._error = auth._fresh = auth._binding = None
    auth._hint = ""
    found: Auth = auth
    return found


_bare_auth: Final = BaseAuth.__new__


# What the package itself knows of an identity. None of it is part of the public face of ``Auth``, and none of
# these functions notes that the identity was accessed. Each takes a stand-in (`moonkey_core.web.lazy`), too, which
# has no private names but its own. It is rare, so it is found by the missing name.


class _StandIn(Protocol):
    def _read(self) -> BaseAuth:
        """Return the identity itself."""
        ...


def _settled(auth: BaseAuth) -> BaseAuth:
    """Return the identity for which a stand-in stands; resolves it, where it is not yet."""
    return cast("_StandIn", auth)._read()


def fresh_jwt(auth: BaseAuth) -> str | None:
    """Return a new session JWT, where the one presented was too old and has been refreshed. Never log it."""
    try:
        return auth._fresh
    except AttributeError:
        return _settled(auth)._fresh


def is_plain(auth: BaseAuth) -> bool:
    """Return whether an identity has neither an error nor a new session JWT."""
    try:
        return auth._error is None and auth._fresh is None
    except AttributeError:
        return is_plain(_settled(auth))


def is_read_and_plain(auth: BaseAuth) -> bool:
    """Return whether the app has read an identity, and it has neither an error nor a new session JWT."""
    try:
        return auth._accessed and auth._error is None and auth._fresh is None
    except AttributeError:
        return is_read_and_plain(_settled(auth))


def is_user(auth: BaseAuth) -> bool:
    """Return whether an identity is that of a verified user."""
    try:
        return auth._state == "authenticated"
    except AttributeError:
        return is_user(_settled(auth))


def fresh_binding(auth: BaseAuth) -> str | None:
    """Return what binds the new session JWT to the session token beside which it goes into a cookie."""
    try:
        return auth._binding
    except AttributeError:
        return _settled(auth)._binding


def from_cookies(auth: BaseAuth) -> bool:
    """Return whether the credential stood in the request's cookies."""
    try:
        return auth._from_cookies
    except AttributeError:
        return _settled(auth)._from_cookies


def set_provider(auth: BaseAuth, name: str) -> None:
    """Note the provider that the credential of a request belongs to."""
    auth._provider = name


def provider_name(auth: BaseAuth) -> str:
    """Return the name of the provider that the credential of a request belongs to."""
    if type(auth) is not BaseAuth:
        auth = _settled(auth)
    name: str | None = getattr(auth, "_provider", None)
    return MOONKEY if name is None else name


def scheme_hint(auth: BaseAuth) -> str:
    """Return a sentence on what stands in ``Authorization`` instead of a credential, for the operator."""
    try:
        return auth._hint
    except AttributeError:
        return _settled(auth)._hint


def cache_entry(auth: BaseAuth) -> CacheEntry | None:
    """Return the entry of the verification cache that the identity was made from, if there is one."""
    try:
        return auth._entry
    except AttributeError:
        return _settled(auth)._entry


def vouched_at(auth: BaseAuth) -> float | None:
    """Return when the provider vouched for an identity (Unix seconds); ``None`` unless authenticated."""
    return auth._as_of


class CredentialFacts(NamedTuple):
    """What is known of the credential that an identity comes from. The times are Unix seconds.

    Attributes:
        session_id: Its session.
        user_id: Its user, or the machine that it was issued to.
        started_at: The date by which it may be revoked: that of the session or of the credential.
        ends_at: When the session ends, as far as the credential says.
        scope: What the ids belong to.
        principal: Whether it speaks for a user or for a machine.
        names_session: Whether it names a session. Else the id is that of the credential itself.
        entry: The entry of the verification cache, if there is one.
    """

    session_id: str
    user_id: str
    started_at: float | None
    ends_at: float
    scope: str = "moonkey"
    principal: Principal = "user"
    names_session: bool = True
    entry: CacheEntry | None = None

    @property
    def issued_at(self) -> float | None:
        """When the credential itself was issued, where it or the provider's reply says so (``iat``)."""
        entry = self.entry
        if entry is None:
            return None
        payload = entry.body if isinstance(entry.body, Mapping) else json.loads(entry.body)
        date = payload.get("iat")
        return float(date) if isinstance(date, int | float) else None

    @property
    def ends_with_token(self) -> bool:
        """Whether the end is that of the credential, and not that of its session."""
        return self.entry is not None and self.entry.session().ends_with_token


def credential_facts(auth: BaseAuth) -> CredentialFacts | None:
    """Return the facts of a credential that was verified; ``None`` where none was."""
    entry = cache_entry(auth)
    if entry is None:
        facts = session_facts(auth)
        return None if facts is None else CredentialFacts(*facts, scope_of(auth))
    return CredentialFacts(
        entry.session_id,
        entry.user_id,
        entry.issued_at,
        entry.ends_at,
        entry.scope,
        entry.principal,
        entry.names_session,
        entry,
    )


def session_facts(auth: BaseAuth) -> tuple[str, str, float | None, float] | None:
    """Return session id, user id, start and end of the session; ``None`` unless authenticated.

    The start is that of the credential, by which it may be revoked. The times are Unix seconds.
    """
    entry = cache_entry(auth)
    if entry is not None:
        return (
            None
            if entry.principal == "machine"
            else (entry.session_id, entry.user_id, entry.issued_at, entry.ends_at)
        )
    verified = peek_identity(auth)
    if verified is None:
        return None
    user, session = verified
    started_at = None if session.started_at is None else session.started_at.timestamp()
    return session.id, user.id, started_at, session.expires_at.timestamp()


def ends_with_token(auth: BaseAuth) -> bool:
    """Return whether the known end is that of a token, and not that of the session."""
    if peek_machine(auth) is not None:
        return True
    verified = peek_identity(auth)
    return verified is not None and verified[1].ends_with_token


def peek_machine(auth: BaseAuth) -> Machine | None:
    """Return the machine that a request comes from, if it does."""
    try:
        return auth._made_machine()
    except AttributeError:
        return peek_machine(_settled(auth))


def note_admitted(auth: BaseAuth) -> None:
    """Note that a gate has let a machine pass."""
    object.__setattr__(auth if type(auth) is BaseAuth else _settled(auth), "_admitted", True)


def is_admitted(auth: BaseAuth) -> bool:
    """Return whether a gate has let a machine pass."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    return bool(getattr(auth, "_admitted", False))


def actor_of(auth: BaseAuth) -> str | None:
    """Return the id of who acts for the user or machine of an identity."""
    try:
        return auth._known_actor()
    except AttributeError:
        return actor_of(_settled(auth))


def scope_of(auth: BaseAuth) -> str:
    """Return what the ids of an identity belong to; empty unless authenticated."""
    entry = cache_entry(auth)
    if entry is not None:
        return entry.scope
    verified, machine = peek_identity(auth), peek_machine(auth)
    return verified[0].scope if verified is not None else "" if machine is None else machine.scope


def peek_error(auth: BaseAuth) -> MoonKeyError | None:
    """Return the ``error`` of an identity."""
    try:
        return auth._error
    except AttributeError:
        return _settled(auth)._error


def peek_identity(auth: BaseAuth) -> tuple[User, Session] | None:
    """Return the user and session, where the request is authenticated."""
    try:
        user, session = auth._made_user(), auth._made_session()
    except AttributeError:
        return peek_identity(_settled(auth))
    return None if user is None or session is None else (user, session)


def set_held(auth: BaseAuth, held: Held) -> None:
    """Note where an identity finds what this app has recorded for its client."""
    auth._held = held


def held_by(auth: BaseAuth) -> Held | None:
    """Return where an identity finds what this app has recorded for its client; ``None`` if it records nothing."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    return getattr(auth, "_held", None)


def follow_end(auth: BaseAuth) -> None:
    """Have the session state its end as it is known by now: it may have moved since the identity was made."""
    if auth._session is not None and auth._entry is not None:
        auth._session = auth._entry.built_session


def note_start(auth: BaseAuth, started_at: datetime, must_end_at: datetime) -> None:
    """Note when the session of an identity began, and when it ends at the latest, where its token says neither."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    session = auth._made_session()
    if session is not None:
        auth._session = session.replace(started_at=started_at, must_end_at=must_end_at)


def give(auth: BaseAuth, handle: object) -> None:
    """Note a handle that the response to the request of an identity has to carry, in the place of older ones."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    auth._accessed = True
    auth._given = (*given_to(auth), handle)


def given_to(auth: BaseAuth) -> tuple[Any, ...]:
    """Return the handles that the response to the request of an identity has to carry. Never log them."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    return getattr(auth, "_given", None) or ()


def lacks_permissions(auth: BaseAuth) -> bool:
    """Return whether it is not known yet what the user may do, as that follows from the roles of the session."""
    verified = peek_identity(auth)
    return verified is not None and verified[1].grants is not None and verified[1].grants.permissions is None


def set_permissions(auth: BaseAuth, grants: Grants) -> None:
    """Set what the user of a request may do, by the roles of the session; ``grants`` are those of the roles."""
    session = auth._made_session()
    if session is not None and session.grants is not None:
        known = session.grants._replace(permissions=grants.permissions, wholly=grants.wholly)
        auth._session = session.replace(grants=known)


def set_raiser(auth: BaseAuth, raiser: Raiser | None) -> None:
    """Set what makes the errors that gates raise for this identity; a copy of it has none."""
    auth._raiser = raiser


def to_raise(auth: BaseAuth, error: MoonKeyError) -> MoonKeyError:
    """Return what a gate raises for an error: made by the framework package, or the error itself."""
    auth = auth if type(auth) is BaseAuth else _settled(auth)
    raiser: Raiser | None = getattr(auth, "_raiser", None)  # a copy from an earlier version has no such attribute
    return error if raiser is None else raiser.to_raise(error)


def consume_fresh_answer(auth: BaseAuth) -> bool:
    """Return whether the provider was asked on behalf of this very request.

    That is true once: a second gate has to ask anew.
    """
    try:
        asked, auth._asked = auth._asked, False
    except AttributeError:
        return consume_fresh_answer(_settled(auth))
    return asked


def verified_event(auth: BaseAuth, seconds: float) -> Verified:
    """Return the event for an identity that took so many ``seconds`` to work out."""
    error = auth._error
    return Verified(auth._state, auth._source, seconds, error.reason if error else None)
