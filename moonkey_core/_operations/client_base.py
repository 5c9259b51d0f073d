"""The methods that both clients share. None of them makes a network call or waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

from moonkey_core._operations.core import Core, Headers
from moonkey_core._operations.late_namespaces import NAMESPACES
from moonkey_core._operations.routing import Router, SeveralRevocations, lead_of, selected
from moonkey_core._provider import Capability
from moonkey_core._verify.authenticator import Pending
from moonkey_core.auth import Auth, provider_name
from moonkey_core.events import Hooks
from moonkey_core.gate import Requirements
from moonkey_core.health import Health, health_of, health_of_all
from moonkey_core.lag import RevocationLag, lag_of, longest_lag, lost_feed_bound
from moonkey_core.models import Login, VerifiedSession
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import cleared_cookies, cleared_handles, response_cookies, session_cookies
from moonkey_core.web.request import RequestInfo


class ClientBase:
    """The methods that both clients share. None of them makes a network call or waits."""

    _core: Core
    _front: Core | Router  # what takes a request first

    settings: Settings
    """The settings of this client."""

    revocations: Revocations
    """The sessions and users that are refused, although a JWT of theirs may still be valid."""

    providers: Mapping[str, Self] = MappingProxyType({})
    """Where there are several providers: the client of each, by its name, in the configured order."""

    def _join(self, members: Mapping[str, Any], settings: Settings) -> None:
        """Become the client of several providers, each of which has one of its own.

        Signing in is what the first one does whose provider can. A method about a credential or an id is called on
        the client of the provider that this belongs to.
        """
        lead = lead_of(members)
        for name in NAMESPACES:
            getattr(lead, name)  # so that both have the same one
        vars(self).update(vars(lead))
        self.providers, self.settings = MappingProxyType(members), settings
        cores = {name: one._core for name, one in members.items()}
        for core in cores.values():
            core.siblings = cores
        router = self._front = Router(settings, cores)
        self.revocations = SeveralRevocations({name: one.revocations for name, one in members.items()})
        for namespace in ("sessions", "users"):
            of_lead = getattr(lead, namespace)
            own = type(of_lead)(lead._core, lead._exchange)
            own._select = selected(
                router, {name: getattr(one, namespace) for name, one in members.items()}, of_lead
            )
            setattr(self, namespace, own)

    def _client_of(self, auth: Auth) -> Self:
        """Return the client of the provider that an identity is of."""
        return self.providers.get(provider_name(auth), self)

    @property
    def hooks(self) -> Hooks:
        """The hooks that are called with every event."""
        return self._front.hooks

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the provider can do beyond signing JWTs: all else raises ``NotSupported``.

        With several providers, it is what any of them can do; ``client.providers["…"].capabilities`` has those of
        one.
        """
        cores = self._front.cores.values() if isinstance(self._front, Router) else (self._front,)
        return frozenset[Capability]().union(*(core.provider.capabilities for core in cores))

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that the provider can give what a route requires; of several, each of them.

        Raises:
            ConfigurationError: It requires a credential to be fresh (``max_staleness``), and a provider cannot be
                asked about one.
        """
        self._front.check_requirements(requirements)

    def begin(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth | Pending:
        """Authenticate a request without a network call where possible. Never waits.

        The arguments are those of :meth:`authenticate`.

        Returns:
            The ``Auth`` where no call is needed; else a ``Pending`` for ``finish``, which continues from there and
            repeats nothing. It may be dropped.
        """
        return self._front.begin(headers, requirements, info)

    def health(self) -> Health:
        """Return the health of this process, for a readiness probe. Makes no network call."""
        if isinstance(self._front, Router):
            return health_of_all({name: health_report(core) for name, core in self._front.cores.items()})
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
            NotSupported: The provider's own script in the browser sets the cookies.
        """
        settings = self._core.settings
        return (*session_cookies(login, settings, remember_me=remember_me), *cleared_handles(settings))

    def sign_out_cookies(self) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that remove all cookies of a session. ``sessions.revoke`` ends it.

        Raises:
            ValueError: Cookies are not configured.
        """
        return cleared_cookies(self.settings)

    def revocation_lag(self) -> RevocationLag:
        """Return for how long a revoked session may still be accepted, at most, with these settings.

        With several providers, each value is the greatest of theirs.
        """
        if isinstance(self._front, Router):
            return longest_lag([lag_of(core.settings) for core in self._front.cores.values()])
        return lag_of(self.settings)

    def __repr__(self) -> str:
        """Return the name and the address of the API, or the names of other providers; no secret."""
        if isinstance(self._front, Router):
            return f"{type(self).__name__}(providers={list(self._front.cores)})"
        if self.settings.provider is not None:
            return f"{type(self).__name__}(provider={self.settings.provider.name!r})"
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
        feed_lost_bound=lost_feed_bound(core.settings),
    )
