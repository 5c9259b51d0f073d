"""The identity of one request or WebSocket: verified when it is needed, and kept on its scope only."""

from __future__ import annotations

from typing import overload

from starlette.requests import HTTPConnection
from starlette.types import Scope

from moonkey_core.auth import Auth, AuthenticatedAuth
from moonkey_core.client import AsyncMoonKey, Pending
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.lazy import LazyAuth
from moonkey_core.web.once import Once
from moonkey_core.web.request import HeaderView, RequestInfo, asgi_headers, asgi_request
from moonkey_starlette.pages import Pages
from moonkey_starlette.requests import AuthenticatedRequest, AuthenticatedWebSocket

KEY = "moonkey"
"""The key of the :class:`Identity` in a scope, and the name of the ``Auth`` in ``request.state``."""

_NO_REQUIREMENTS = Requirements()


class Identity:
    """The identity of the client that sent one request or opened one WebSocket.

    Args:
        scope: The ASGI scope of the request or WebSocket.
        client: The client that verifies it.

    Attributes:
        auth: The verified identity; ``None`` until it has been verified.
        client: The client that verifies it.
        headers: The headers of the request.
        info: The other facts of the request, where the settings need them.
        is_eager: Whether the middleware verifies the identity before it calls the app.
        pages: The renderer of pages for the app.
    """

    pages: Pages
    is_eager: bool

    __slots__ = ("_once", "_pending", "auth", "client", "headers", "info", "is_eager", "pages")

    def __init__(self, scope: Scope, client: AsyncMoonKey) -> None:
        self.client: AsyncMoonKey = client
        self.headers: HeaderView = asgi_headers(scope["headers"])
        self.info: RequestInfo | None = asgi_request(scope) if client.settings.needs_request_info else None
        self.auth: Auth | None = None
        self._once: Once[Auth] | None = None
        self._pending: Pending | None = None

    def peek(self, requirements: Requirements | None = None) -> Auth | None:
        """Return the identity if that takes no network call, else ``None``; then :meth:`resolve` continues."""
        if self.auth is None and self._pending is None:
            begun = self.client.begin(self.headers, requirements, self.info)
            if isinstance(begun, Pending):
                self._pending = begun
            else:
                self.auth = begun
        return self.auth

    async def resolve(self) -> Auth:
        """Return the identity, verified at the first call. Concurrent callers share one verification."""
        if self.peek() is None:
            if self._once is None:
                self._once = Once()
            auth = await self._once.get(self._finished)
            if self.auth is None:  # else a stricter gate has verified it meanwhile
                self.auth = auth
        assert self.auth is not None
        return self.auth

    async def _finished(self) -> Auth:
        assert self._pending is not None
        return await self.client.finish(self._pending)

    def fit_for(self, requirements: Requirements) -> Auth | None:
        """Return the identity if it meets the requirements of a gate without a network call, else ``None``."""
        auth = self.peek(requirements)
        return auth if auth is not None and requirements.are_met_by(auth) else None

    async def meet(self, requirements: Requirements) -> Auth:
        """Verify the identity for a gate that :meth:`fit_for` returned ``None`` for.

        The result is the identity of the request from then on. The gate still has to check it.
        """
        if self.auth is None and requirements == _NO_REQUIREMENTS:
            return await self.resolve()
        if self.auth is None and self._pending is not None:
            auth = await self.client.finish(self._pending, requirements)
        else:
            auth = await self.client.authenticate(self.headers, requirements, self.info)
        self.auth = auth
        return auth

    def read(self) -> Auth:
        """Return the identity to code that cannot await.

        Raises:
            ConfigurationError: The identity has not been verified yet.
        """
        if self.auth is None:
            raise ConfigurationError(
                "The identity of this request was read before it was known. Write "
                "`auth = await get_auth(request)` first, or remove lazy=True from MoonKeyMiddleware."
            )
        return self.auth

    @property
    def shown(self) -> Auth | LazyAuth:
        """The value in ``request.state``: the identity; before verification, a stand-in that raises when read."""
        return LazyAuth(self) if self.auth is None else self.auth


@overload
async def get_auth(request: AuthenticatedRequest | AuthenticatedWebSocket) -> AuthenticatedAuth: ...
@overload
async def get_auth(request: HTTPConnection) -> Auth: ...
async def get_auth(request: HTTPConnection) -> Auth:
    """Return the identity of a request or WebSocket, in any of its four states.

    With ``lazy=True`` this verifies it.

    Raises:
        ConfigurationError: The request has not passed the middleware.
    """
    return await identity_of(request).resolve()


def get_client(request: HTTPConnection) -> AsyncMoonKey:
    """Return the client of the middleware, to revoke sessions, send codes and so on.

    Raises:
        ConfigurationError: The request has not passed the middleware.
    """
    return identity_of(request).client


def identity_of(connection: HTTPConnection) -> Identity:
    """Return the :class:`Identity` that the middleware has put on the scope.

    Raises:
        ConfigurationError: The request has not passed the middleware.
    """
    identity = connection.scope.get(KEY)
    if not isinstance(identity, Identity):
        raise ConfigurationError(
            "This request has not passed MoonKey. Add the line app.add_middleware(MoonKeyMiddleware), "
            "with MoonKeyMiddleware from moonkey_starlette."
        )
    return identity
