"""What a request carries: always present, in one of four states."""

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

    - *anonymous*: the request carried no credential.
    - *authenticated*: it carried a good one; only then are ``user`` and ``session`` set.
    - *rejected*: it carried a bad one; ``error`` says why.
    - *unavailable*: it cannot be known whether it is good; ``error`` says why. Never treat it as anonymous.

    ``bool(auth)`` is ``auth.is_authenticated``. Immutable, except that it notes whether anybody has looked:
    a response that depends on identity must tell caches so.

    This is the class of every ``Auth``. Annotate with :data:`Auth`, and with :class:`AuthenticatedAuth` behind a
    gate.
    """

    __qualname__ = "Auth"  # what users call it; pickles name it too

    __slots__ = (
        "_as_of",
        "_asked",
        "_entry",
        "_error",
        "_fresh",
        "_from_cookies",
        "_hint",
        "_looked_at",
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
        self._looked_at = False
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
        """Which of the four states this is."""
        self._looked_at = True
        return self._state

    @property
    def is_authenticated(self) -> bool:
        """A verified user and session are here."""
        self._looked_at = True
        return self._state == "authenticated"

    @property
    def is_anonymous(self) -> bool:
        """The request carried no credential."""
        return self.state == "anonymous"

    @property
    def is_rejected(self) -> bool:
        """The request carried a credential that is not good."""
        return self.state == "rejected"

    @property
    def is_unavailable(self) -> bool:
        """It cannot be known whether the request's credential is good."""
        return self.state == "unavailable"

    @property
    def user(self) -> User | None:
        """The verified user, or ``None`` unless authenticated."""
        self._looked_at = True
        return self._made_user()

    @property
    def session(self) -> Session | None:
        """The verified session, or ``None`` unless authenticated."""
        self._looked_at = True
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
        """Why the credential was rejected, or why it could not be checked; else ``None``."""
        self._looked_at = True
        return self._error

    @property
    def fresh(self) -> str | None:
        """A new session JWT, where the one presented was too old and has been refreshed. Never log it."""
        return self._fresh

    @property
    def source(self) -> Source:
        """Where the answer came from: ``none`` (no answer), ``local`` (a JWT verified here; ``stale``: with keys
        that are past their time), ``cache`` (remembered), ``remote`` (the API), ``grace`` (remembered, as the API
        cannot
        be asked)."""
        return self._source

    @property
    def as_of(self) -> float | None:
        """When the API itself vouched for this identity (Unix seconds); ``None`` unless authenticated."""
        return self._as_of

    @property
    def staleness(self) -> float:
        """How long ago that was, in seconds."""
        return 0.0 if self._as_of is None else max(_clock.wall() - self._as_of, 0.0)

    @property
    def looked_at(self) -> bool:
        """Whether anybody has read this identity; asking for
        ``looked_at``, ``fresh``, ``source`` or the times does not count."""
        return self._looked_at

    @property
    def from_cookies(self) -> bool:
        """Whether the credential stood in the request's cookies."""
        return self._from_cookies

    @property
    def hint(self) -> str:
        """What stands in ``Authorization`` instead of a credential: a sentence for the operator, or nothing."""
        return self._hint

    @property
    def entry(self) -> CacheEntry | None:
        """How this identity is remembered, if it is; for the core itself."""
        return self._entry

    @property
    def refusal(self) -> MoonKeyError | None:
        """The ``error``, for whoever writes the response: it does not count as looking."""
        return self._error

    def verified(self) -> tuple[User, Session] | None:
        """The user and session where authenticated; it does not count as looking either."""
        user, session = self._made_user(), self._made_session()
        return None if user is None or session is None else (user, session)

    def spend_answer(self) -> bool:
        """Whether the API was asked on behalf of this very request; true once, as its answer is fresh but once."""
        asked, self._asked = self._asked, False
        return asked

    def event(self, seconds: float) -> Verified:
        """The event that tells of this identity having been worked out, which took so many ``seconds``."""
        return Verified(self._state, self._source, seconds, self._error.reason if self._error else None)

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A copy holds what was verified, no credential, and nothing of how it is remembered.
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
        """An ``Auth`` whose user and session are known to be there, as behind a gate."""

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
        """An ``Auth`` whose user and session are known to be there, as behind a gate.

        For annotations. ``isinstance`` holds for each ``Auth`` that is authenticated.
        """

        __slots__ = ()


def _typed(kind: Callable[P, BaseAuth]) -> Callable[P, Auth]:
    return cast("Callable[P, Auth]", kind)


new_auth: Final = _typed(BaseAuth)
"""Makes an ``Auth``: the class itself, typed as what it makes."""
