"""The identity of a request: always present, in one of four states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeAlias, cast

from moonkey_core import _clock
from moonkey_core._verified import CacheEntry
from moonkey_core.errors import AuthenticationError, CrossSiteRequest, MoonKeyError, ProviderError
from moonkey_core.events import Source, Verified
from moonkey_core.models import Session, User, VerifiedSession

__all__ = ["Auth", "AuthState", "AuthenticatedAuth"]

AuthState = Literal["anonymous", "authenticated", "rejected", "unavailable"]

P = ParamSpec("P")


class BaseAuth:
    """The identity of one request.

    - *anonymous*: the request carries no credential.
    - *authenticated*: it carries a valid one; only then are ``user`` and ``session`` set.
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
        "_as_of",
        "_asked",
        "_entry",
        "_error",
        "_fresh",
        "_from_cookies",
        "_hint",
        "_session",
        "_source",
        "_state",
        "_user",
    )  # fmt: skip

    def __init__(
        self,
        *,
        verified: VerifiedSession | None = None,
        error: AuthenticationError | CrossSiteRequest | ProviderError | None = None,
        entry: CacheEntry | None = None,
        source: Source = "none",
        as_of: float | None = None,
        fresh: str | None = None,
        asked_for_it: bool = False,
        from_cookies: bool = False,
        hint: str = "",
    ) -> None:
        good = verified if error is None else None
        self._user = None if good is None else good.user
        self._session = None if good is None else good.session
        self._entry = entry if error is None else None
        self._error = error
        self._source: Source = source
        self._fresh = verified.fresh_jwt if verified is not None else fresh
        self._as_of = as_of
        self._accessed = False
        self._asked = asked_for_it
        self._from_cookies = from_cookies
        self._hint = hint
        self._state: AuthState = "anonymous"
        if error is not None:
            self._state = "unavailable" if isinstance(error, ProviderError) else "rejected"
        elif entry is not None or verified is not None:
            self._state = "authenticated"

    @property
    def state(self) -> AuthState:
        """The state: ``anonymous``, ``authenticated``, ``rejected`` or ``unavailable``."""
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
        return self._made_user()

    @property
    def session(self) -> Session | None:
        """The verified session, or ``None`` unless authenticated."""
        self._accessed = True
        return self._made_session()

    def _made_user(self) -> User | None:
        if self._user is None and self._entry is not None:
            self._user = self._entry.user()
        return self._user

    def _made_session(self) -> Session | None:
        if self._session is None and self._entry is not None:
            self._session = self._entry.session()
        return self._session

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

        Reading ``accessed``, ``fresh``, ``source`` or the times does not count.
        """
        return self._accessed

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A copy holds the verified user and session, but no credential and no cache entry.
        state = {name: getattr(self, name) for name in self.__slots__}
        return None, {
            **state,
            "_entry": None,
            "_fresh": None,
            "_user": self._made_user(),
            "_session": self._made_session(),
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
        def is_rejected(self) -> Literal[False]: ...
        @property
        def is_unavailable(self) -> Literal[False]: ...
        @property
        def user(self) -> User: ...
        @property
        def session(self) -> Session: ...
        @property
        def error(self) -> None: ...
        def __bool__(self) -> Literal[True]: ...

    class _UnauthenticatedAuth(BaseAuth):
        """An ``Auth`` in one of the three other states."""

        @property
        def state(self) -> Literal["anonymous", "rejected", "unavailable"]: ...
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

        For annotations. ``isinstance`` is true for each ``Auth`` that is authenticated.
        """

        __slots__ = ()


def _typed(kind: Callable[P, BaseAuth]) -> Callable[P, Auth]:
    return cast("Callable[P, Auth]", kind)


new_auth: Final = _typed(BaseAuth)
"""The class itself, with its instances typed as :data:`Auth`."""


# What the package itself knows of an identity. None of it is part of the public face of ``Auth``, and none of
# these functions notes that the identity was accessed.


def fresh_jwt(auth: BaseAuth) -> str | None:
    """Return a new session JWT, where the one presented was too old and has been refreshed. Never log it."""
    return auth._fresh


def from_cookies(auth: BaseAuth) -> bool:
    """Return whether the credential stood in the request's cookies."""
    return auth._from_cookies


def scheme_hint(auth: BaseAuth) -> str:
    """Return a sentence on what stands in ``Authorization`` instead of a credential, for the operator."""
    return auth._hint


def cache_entry(auth: BaseAuth) -> CacheEntry | None:
    """Return the entry of the verification cache that the identity was made from, if there is one."""
    return auth._entry


def peek_error(auth: BaseAuth) -> MoonKeyError | None:
    """Return the ``error`` of an identity."""
    return auth._error


def peek_identity(auth: BaseAuth) -> tuple[User, Session] | None:
    """Return the user and session, where the request is authenticated."""
    user, session = auth._made_user(), auth._made_session()
    return None if user is None or session is None else (user, session)


def consume_fresh_answer(auth: BaseAuth) -> bool:
    """Return whether the provider was asked on behalf of this very request.

    That is true once: a second gate has to ask anew.
    """
    asked, auth._asked = auth._asked, False
    return asked


def verified_event(auth: BaseAuth, seconds: float) -> Verified:
    """Return the event for an identity that took so many ``seconds`` to work out."""
    error = auth._error
    return Verified(auth._state, auth._source, seconds, error.reason if error else None)
