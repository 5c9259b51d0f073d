"""What both clients can say without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable

from moonkey_core._operations.core import Core, Headers
from moonkey_core.auth import Auth
from moonkey_core.events import Hooks
from moonkey_core.gate import Requirements
from moonkey_core.health import Health, health_of
from moonkey_core.lag import RevocationLag, lag_of
from moonkey_core.models import Login, VerifiedSession
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import cleared_cookies, cookies_after, session_cookies
from moonkey_core.web.origin import RequestInfo


class ClientBase:
    """What both clients can say without waiting."""

    _core: Core

    @property
    def settings(self) -> Settings:
        """All settings, as they were found."""
        return self._core.settings

    @property
    def revocations(self) -> Revocations:
        """Who may no longer pass."""
        return self._core.revocations

    @property
    def hooks(self) -> Hooks:
        """Who is told of events."""
        return self._core.hooks

    def known(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth | None:
        """What :meth:`authenticate` would return, where that is known without any call or wait; else ``None``."""
        found = self._core.start(headers, requirements, info)
        return found if isinstance(found, Auth) else None

    def health(self) -> Health:
        """How this process stands with the API and the fleet, for a readiness probe. Asks nobody."""
        return health_of(self._core)

    def cookies_after(self, auth: Auth, already: Iterable[str] = ()) -> tuple[str, ...]:
        """The ``Set-Cookie`` values for the response to a request with this identity. Never log them.

        ``already`` are the values that the response has: where they speak of our cookies, they stand.
        """
        return cookies_after(auth, self.settings, self.revocations, already)

    def sign_in_cookies(self, login: Login | VerifiedSession, *, remember_me: bool = False) -> tuple[str, ...]:
        """The ``Set-Cookie`` values that sign a browser in with a login of the app's own. Never log them.

        Without ``remember_me`` the session's cookie ends with the browser, unless the settings give it a lifetime.
        Raises ``ValueError`` where the login has no session, or cookies are not configured.
        """
        return session_cookies(login, self.settings, remember_me=remember_me)

    def sign_out_cookies(self) -> tuple[str, ...]:
        """The ``Set-Cookie`` values that remove both cookies. The session itself is ended by ``sessions.revoke``.

        Raises ``ValueError`` where cookies are not configured.
        """
        return cleared_cookies(self.settings)

    def revocation_lag(self) -> RevocationLag:
        """For how long a revoked session may still be accepted, at worst, with these settings."""
        return lag_of(self.settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.settings.base_url!r})"
