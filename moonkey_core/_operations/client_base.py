"""The methods that both clients share. None of them makes a network call or waits."""

from __future__ import annotations

from collections.abc import Iterable

from moonkey_core._operations.core import Core, Headers
from moonkey_core._verify.authenticator import Pending
from moonkey_core.auth import Auth
from moonkey_core.events import Hooks
from moonkey_core.gate import Requirements
from moonkey_core.health import Health, health_of
from moonkey_core.lag import RevocationLag, lag_of
from moonkey_core.models import Login, VerifiedSession
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import cleared_cookies, response_cookies, session_cookies
from moonkey_core.web.request import RequestInfo


class ClientBase:
    """The methods that both clients share. None of them makes a network call or waits."""

    _core: Core

    @property
    def settings(self) -> Settings:
        """The settings of this client."""
        return self._core.settings

    @property
    def revocations(self) -> Revocations:
        """The sessions and users that are refused, although a JWT of theirs may still be valid."""
        return self._core.revocations

    @property
    def hooks(self) -> Hooks:
        """The hooks that are called with every event."""
        return self._core.hooks

    def begin(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth | Pending:
        """Authenticate a request without a network call where possible. Never waits.

        The arguments are those of :meth:`authenticate`.

        Returns:
            The ``Auth`` where no call is needed; else a ``Pending`` for ``finish``, which continues from there and
            repeats nothing. It may be dropped.
        """
        return self._core.begin(headers, requirements, info)

    def health(self) -> Health:
        """Return the health of this process, for a readiness probe. Makes no network call."""
        return health_report(self._core)

    def cookies_after(self, auth: Auth, already: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values for the response to a request with this identity. Never log them.

        Args:
            auth: The identity of the request.
            already: The ``Set-Cookie`` values of the response. Where one of them sets a session cookie, it stays.
        """
        return response_cookies(auth, self.settings, self.revocations, already)

    def sign_in_cookies(self, login: Login | VerifiedSession, *, remember_me: bool = False) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that sign a browser in with a login of the app's own. Never log them.

        Args:
            login: The new session.
            remember_me: Whether the cookies outlive the browser. They also do if the settings give a lifetime.

        Raises:
            ValueError: The login has no session, or cookies are not configured.
        """
        return session_cookies(login, self.settings, remember_me=remember_me)

    def sign_out_cookies(self) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that remove both cookies. ``sessions.revoke`` ends the session itself.

        Raises:
            ValueError: Cookies are not configured.
        """
        return cleared_cookies(self.settings)

    def revocation_lag(self) -> RevocationLag:
        """Return for how long a revoked session may still be accepted, at most, with these settings."""
        return lag_of(self.settings)

    def __repr__(self) -> str:
        """Return the name and the address of the API; no secret."""
        return f"{type(self).__name__}(base_url={self.settings.base_url!r})"


def health_report(core: Core) -> Health:
    """Return the health of one client. Makes no network call."""
    keys = core.keys.current if core.settings.jwks is None else None
    return health_of(
        key_set_fetched_at=None if keys is None else keys.fetched_at,
        feed=core.feed,
        breaker=core.breaker,
        revocations=len(core.revocations),
        remembered=len(core.cache),
    )
