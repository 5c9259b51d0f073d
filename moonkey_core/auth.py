"""What a request carries: always present, in one of four states."""

from __future__ import annotations

from typing import Literal

from moonkey_core import _clock
from moonkey_core._verify.cache import Known
from moonkey_core.errors import AuthenticationError, CrossSiteRequest, MoonKeyError, ProviderError
from moonkey_core.events import Source, Verified
from moonkey_core.models import Session, User, VerifiedSession

__all__ = ["Auth", "AuthState"]

AuthState = Literal["anonymous", "authenticated", "rejected", "unavailable"]


class Auth:
    """The identity of one request.

    - *anonymous*: the request carried no credential.
    - *authenticated*: it carried a good one; only then are ``user`` and ``session`` set.
    - *rejected*: it carried a bad one; ``error`` says why.
    - *unavailable*: it cannot be known whether it is good; ``error`` says why. Never treat it as anonymous.

    ``bool(auth)`` is ``auth.is_authenticated``. Immutable, except that it notes whether anybody has looked:
    a response that depends on identity must tell caches so.
    """

    __slots__ = (
        "_as_of", "_asked", "_error", "_fresh", "_from_cookies", "_hint", "_known", "_looked_at", "_session",
        "_source", "_state", "_user",
    )  # fmt: skip

    def __init__(
        self,
        *,
        verified: VerifiedSession | None = None,
        error: AuthenticationError | CrossSiteRequest | ProviderError | None = None,
        known: Known | None = None,
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
        self._known = known if error is None else None
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
        elif known is not None or verified is not None:
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
        if self._user is None and self._known is not None:
            self._user = self._known.user()
        return self._user

    def _made_session(self) -> Session | None:
        if self._session is None and self._known is not None:
            self._session = self._known.session()
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
    def known(self) -> Known | None:
        """How this identity is remembered, if it is; for the core itself."""
        return self._known

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
            "_known": None,
            "_fresh": None,
            "_user": self._made_user(),
            "_session": self._made_session(),
        }

    def __bool__(self) -> bool:
        return self.is_authenticated

    def __repr__(self) -> str:
        reason = f", reason={self._error.reason!r}" if self._error else ""
        return f"Auth({self._state!r}{reason})"
