"""In front of the cores of a client with several providers: what belongs to which of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from moonkey_core import _clock
from moonkey_core._evidence import shown
from moonkey_core._operations.core import Core, Headers
from moonkey_core._provider import Capability
from moonkey_core._tracing import CallTracer
from moonkey_core._verify.authenticator import Pending
from moonkey_core._verify.jwt import unreadable
from moonkey_core.auth import Auth, new_auth, set_provider, verified_event
from moonkey_core.errors import ConfigurationError, InvalidCredentials
from moonkey_core.events import NO_PROVIDER, Hook, Hooks
from moonkey_core.gate import Requirements
from moonkey_core.revocations import Revocation, RevocationHandle, Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import (
    PresentedCredentials,
    is_jwt,
    read_credentials,
    unverified_issuer,
)
from moonkey_core.web.request import RequestInfo, mapped_headers


class Router:
    """The front of a client with several providers.

    It reads the credential of a request once, and passes it to the core of the one provider that it belongs to.
    A credential that belongs to none of them is refused here, and no provider is asked about it.
    """

    def __init__(self, settings: Settings, cores: Mapping[str, Core]) -> None:
        """Take the settings of the whole client, and the cores by the names of their providers."""
        self.settings = settings
        self.cores = cores
        self.hooks: Hooks = SharedHooks(tuple(core.hooks for core in cores.values()))

    def begin(
        self, headers: Headers, requirements: Requirements | None, info: RequestInfo | None = None
    ) -> Auth | Pending:
        """Authenticate a request as far as that is possible without a call, see :meth:`Core.begin`."""
        if requirements is not None:
            self.check_requirements(requirements)
        started = _clock.elapsed() if self.hooks.all else 0.0
        view = headers if callable(headers) else mapped_headers(headers)
        presented = read_credentials(view, info, self.settings)
        core = self.cores.get(presented.provider)
        if core is not None:
            return core.begin(view, requirements, info, presented)
        auth = _unrouted(presented)
        set_provider(auth, NO_PROVIDER)
        if started:
            self.hooks.emit(verified_event(auth, _clock.elapsed() - started))
        return auth

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that each provider can give what a route requires, see :meth:`Core.check_requirements`."""
        for core in self.cores.values():
            core.check_requirements(requirements)

    def provider_for(
        self,
        provider: str | None,
        *,
        session_token: str | None = None,
        session_jwt: str | None = None,
    ) -> str:
        """Return the name of the provider that a call of the client is about.

        Args:
            provider: Its name, where the caller has given that.
            session_token: The session token that the call is about, if it is about one.
            session_jwt: The same of a session JWT.

        Raises:
            InvalidCredentials: The issuer of the JWT belongs to none of the providers.
            ValueError: There is no such provider, or it is not clear which one is meant.
        """
        if provider is not None:
            if provider not in self.cores:
                raise ValueError(f"There is no provider {provider!r} here. There are: {self._names}.")
            return provider
        routes = self.settings.routes
        assert routes is not None
        if isinstance(session_jwt, str):
            issuer = unverified_issuer(session_jwt)
            if issuer not in routes.issuers:
                raise _foreign_jwt(session_jwt)
            return routes.issuers[issuer]
        if session_token is not None and len(routes.opaque_owners) == 1:
            return next(iter(routes.opaque_owners))
        raise ValueError(
            f"There are several providers ({self._names}): say which one is meant, with provider='…'."
        )

    @property
    def _names(self) -> str:
        return ", ".join(map(repr, self.cores))


class SharedHooks(Hooks):
    """The hooks of a client with several providers: each is called with the events of all of them."""

    def __init__(self, members: Iterable[Hooks]) -> None:
        """Take the hooks of the providers, which know their names."""
        super().__init__(NO_PROVIDER)
        self._members = tuple(members)

    def add(self, hook: Hook) -> None:
        """Call ``hook`` with every event from now on."""
        super().add(hook)
        for member in self._members:
            member.add(hook)

    def trace(self, tracer: CallTracer) -> None:
        """Have ``tracer`` begin a span for each attempt of a call of any provider, from now on."""
        super().trace(tracer)
        for member in self._members:
            member.trace(tracer)


class SeveralRevocations(Revocations):
    """The revocations of a client with several providers, each of which has a table of its own.

    An id belongs to one provider. So it has to be said which one it is.
    """

    def __init__(self, tables: Mapping[str, Revocations]) -> None:
        """Take the tables by the names of the providers.

        Raises:
            ConfigurationError: Two providers have one scope, so that their ids could not be told apart.
        """
        self._tables = tables
        self._by_scope: dict[str, Revocations] = {}
        for name, table in tables.items():
            for scope in table.scopes:
                if self._by_scope.setdefault(scope, table) is not table:
                    raise ConfigurationError(
                        f"MOONKEY_PROVIDERS (providers): the ids of {name!r} have the scope {scope!r}, which is "
                        "that of another provider as well."
                    )

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
        keep: str | None = None,
        provider: str | None = None,
        issuer: str | None = None,
    ) -> RevocationHandle:
        """Revoke a session, or what was issued to one user or to all users of a provider.

        The arguments and the result are those of :meth:`Revocations.add`.

        Raises:
            ValueError: There is no such provider, none is named, or another argument is wrong.
        """
        return self._tables[self.provider_of(provider, issuer)].add(
            session_id=session_id, user_id=user_id, issued_before=issued_before, keep=keep, issuer=issuer
        )

    def provider_of(self, provider: str | None = None, issuer: str | None = None) -> str:
        """Return the name of the provider that is meant, see :meth:`Revocations.provider_of`."""
        if provider is None and issuer is not None:
            having = [name for name, one in self._tables.items() if issuer in one.issuers or issuer in one.scopes]
            if len(having) != 1:
                issuers = ", ".join(repr(known) for one in self._tables.values() for known in one.issuers)
                raise ValueError(f"No provider here has the issuer {issuer!r}. There are: {issuers}.")
            provider = having[0]
        table = None if provider is None else self._tables.get(provider)
        if table is None:
            found = "There are several providers" if provider is None else f"There is no provider {provider!r}"
            raise ValueError(f"{found} here. Give provider=, one of {', '.join(map(repr, self._tables))}.")
        return table.provider_of(provider, issuer)

    def refuses(self, session_id: str, user_id: str, issued_at: float | None, scope: str | None = None) -> bool:
        """Return whether a credential is revoked, see :meth:`Revocations.refuses`."""
        table = None if scope is None else self._by_scope.get(scope)
        return table is not None and table.refuses(session_id, user_id, issued_at, scope)

    def is_precautionary(
        self, session_id: str, user_id: str, issued_at: float | None, scope: str | None = None
    ) -> bool:
        """Return whether a credential is refused as a precaution, see :meth:`Revocations.is_precautionary`."""
        table = None if scope is None else self._by_scope.get(scope)
        return table is not None and table.is_precautionary(session_id, user_id, issued_at, scope)

    def asked_until(self, user_id: str, scope: str | None = None) -> float:
        """Return since when the API has to have vouched for it, see :meth:`Revocations.asked_until`."""
        table = None if scope is None else self._by_scope.get(scope)
        return -math.inf if table is None else table.asked_until(user_id, scope)

    def entries(self) -> tuple[Revocation, ...]:
        """Return all revocations that are known, as entries."""
        return tuple(entry for table in self._tables.values() for entry in table.entries())

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` after each change of any of the tables."""
        for table in self._tables.values():
            table.watch(watcher)

    def __len__(self) -> int:
        """Return the number of sessions and users."""
        return sum(map(len, self._tables.values()))

    def __repr__(self) -> str:
        """Return the number of revocations of each provider."""
        return f"{type(self).__name__}({', '.join(f'{name}: {len(one)}' for name, one in self._tables.items())})"


def _unrouted(presented: PresentedCredentials) -> Auth:
    """Return the identity of a request whose credential belongs to no provider, or that presents none."""
    if presented.error is not None:
        return new_auth(error=presented.error, from_cookies=presented.from_cookies)
    if not presented.source:
        return new_auth(hint=presented.hint)
    if is_jwt(presented.value):
        return new_auth(error=_foreign_jwt(presented.value))
    evidence = f"No provider takes an opaque credential in {presented.source}."
    return new_auth(error=InvalidCredentials(reason="opaque_credential", evidence=evidence))


def _foreign_jwt(jwt: str) -> InvalidCredentials:
    issuer = unverified_issuer(jwt)
    if not issuer and (error := unreadable(jwt)).reason == "jwt_encrypted":
        return error
    evidence = f"Its iss is {shown(issuer)}, which is an issuer of none of the providers."
    return InvalidCredentials(reason="jwt_issuer", evidence=evidence)


class _HasCore(Protocol):
    """A client, as far as it matters here."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its provider can do."""
        ...


C = TypeVar("C", bound=_HasCore)
N = TypeVar("N")


def lead_of(clients: Mapping[str, C]) -> C:
    """Return the client whose provider can sign users in, if there is one; else the first one."""
    every = tuple(clients.values())
    return next((one for one in every if "sign_in" in one.capabilities), every[0])


def selected(router: Router, namespaces: Mapping[str, N], lead: N) -> Callable[[bool, Mapping[str, Any]], N]:
    """Return the function that finds the namespace of the provider that a call is about, by its arguments.

    Args:
        router: The router.
        namespaces: The namespace of each provider, by its name.
        lead: The one for calls that are not about any provider's ids or credentials.
    """

    def select(takes_provider: bool, arguments: Mapping[str, Any]) -> N:
        if not takes_provider:
            return lead
        credentials = {name: arguments.get(name) for name in ("session_token", "session_jwt")}
        return namespaces[router.provider_for(arguments.get("provider"), **credentials)]

    return select
