"""The identity of one request or WebSocket: verified when it is needed, kept on its scope and nowhere else."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import Scope

from moonkey_core.auth import Auth
from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.credentials import asgi_headers, presents_cookies
from moonkey_core.web.once import Once
from moonkey_core.web.origin import asgi_request
from moonkey_starlette.pages import Pages

__all__ = ["KEY", "Identity", "PendingAuth", "get_auth", "get_client", "identity_of"]

KEY = "moonkey"
"""Where a scope holds its :class:`Identity`, and the name of the ``Auth`` in ``request.state``."""

_NOTHING_MORE = Requirements()


class Identity:
    """Who sent one request or opened one WebSocket; ``auth`` once anybody has verified it.

    ``info`` is what else is known of it, where the settings ask for that. ``pages`` renders for the app.
    """

    pages: Pages

    __slots__ = ("_once", "auth", "client", "headers", "info", "pages")

    def __init__(self, scope: Scope, client: AsyncMoonKey) -> None:
        self.client = client
        self.headers = asgi_headers(scope["headers"])
        self.info = asgi_request(scope) if client.settings.watches_requests else None
        self.auth: Auth | None = None
        self._once: Once[Auth] | None = None

    def at_once(self) -> Auth | None:
        """The identity, where it is known without any wait."""
        if self.auth is None:
            self.auth = self.client.known(self.headers, None, self.info)
        return self.auth

    async def resolve(self) -> Auth:
        """The identity, verified at the first need. Callers at the same time share one verification."""
        if self.auth is None:
            if self._once is None:
                self._once = Once()
            auth = await self._once.get(lambda: self.client.authenticate(self.headers, None, self.info))
            if self.auth is None:  # else a gate has asked meanwhile, which had its reasons
                self.auth = auth
        return self.auth

    def fit_for(self, requirements: Requirements) -> Auth | None:
        """The identity for a gate, where it is known without any wait and is fresh enough for that one."""
        auth = self.at_once()
        return auth if auth is not None and requirements.are_met_by(auth) else None

    async def meet(self, requirements: Requirements) -> Auth:
        """The identity for a gate that :meth:`fit_for` has none for; it is that of the request from then on."""
        if self.auth is None and requirements == _NOTHING_MORE:
            return await self.resolve()
        self.auth = auth = await self.client.authenticate(self.headers, requirements, self.info)
        return auth

    def known(self) -> Auth:
        """The identity, for code that cannot await.

        Raises :class:`~moonkey_core.errors.ConfigurationError` where nobody has verified it yet.
        """
        if self.auth is None:
            raise ConfigurationError(
                "The identity of this request was read before it was known. Write "
                "`auth = await get_auth(request)` first, or remove lazy=True from MoonKeyMiddleware."
            )
        return self.auth

    @property
    def presents_cookies(self) -> bool:
        """Whether there is a session cookie, and nothing that counts before it."""
        settings = self.client.settings
        if not presents_cookies(self.headers, settings):
            return False
        return not any(self.headers(name) for name in settings.credential_headers)

    @property
    def shown(self) -> Auth | PendingAuth:
        """What stands in ``request.state``."""
        return PendingAuth(self) if self.auth is None else self.auth


class PendingAuth:
    """Stands in for an ``Auth`` that nobody has verified yet (``lazy=True``), and acts as it afterwards."""

    __slots__ = ("_identity",)

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._identity.known(), name)

    def __bool__(self) -> bool:
        return bool(self._identity.known())

    def __repr__(self) -> str:
        return "PendingAuth()" if self._identity.auth is None else repr(self._identity.auth)


async def get_auth(connection: HTTPConnection) -> Auth:
    """The identity of a request or WebSocket, in any of its four states; with ``lazy=True`` this verifies it.

    Raises :class:`~moonkey_core.errors.ConfigurationError` without the middleware.
    """
    return await identity_of(connection).resolve()


def get_client(connection: HTTPConnection) -> AsyncMoonKey:
    """The middleware's client, to revoke sessions, send codes and so on.

    Raises :class:`~moonkey_core.errors.ConfigurationError` without the middleware.
    """
    return identity_of(connection).client


def identity_of(connection: HTTPConnection) -> Identity:
    """What the middleware has put on the scope.

    Raises :class:`~moonkey_core.errors.ConfigurationError` without the middleware.
    """
    identity = connection.scope.get(KEY)
    if not isinstance(identity, Identity):
        raise ConfigurationError(
            "This request has not passed MoonKey. Add the line app.add_middleware(MoonKeyMiddleware), "
            "with MoonKeyMiddleware from moonkey_starlette."
        )
    return identity
