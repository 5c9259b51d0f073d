"""The identity of one request or WebSocket: verified when it is needed, and kept on its scope only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, overload

from starlette.authentication import BaseUser
from starlette.requests import HTTPConnection
from starlette.types import Scope

from moonkey_core.auth import Auth, AuthenticatedAuth, Raiser, set_raiser
from moonkey_core.client import AsyncMoonKey, Pending
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements, optional_user
from moonkey_core.web.lazy import LazyAuth
from moonkey_core.web.once import Once
from moonkey_core.web.request import HeaderView, RequestInfo, asgi_headers, asgi_request
from moonkey_starlette.pages import Pages
from moonkey_starlette.requests import AuthenticatedRequest, AuthenticatedWebSocket

KEY = "moonkey"
"""The key of the :class:`Identity` in a scope, and the name of the ``Auth`` in ``request.state``."""

AUTHENTICATED = "authenticated"
"""The only permission, for Starlette's ``@requires``."""

_NO_REQUIREMENTS = Requirements()


class Identity(BaseUser):
    """The identity of the client that sent one request or opened one WebSocket.

    It is the value of ``request.user`` and ``request.auth``, too: the verified user, or an anonymous one. What
    Starlette reads of these raises :class:`~moonkey_core.errors.ProviderError` where the identity cannot be
    determined, so that an outage is never taken for an anonymous user, and
    :class:`~moonkey_core.errors.ConfigurationError` where the identity has not been verified yet.

    Args:
        scope: The ASGI scope of the request or WebSocket.
        client: The client that verifies it.
        pages: The renderer of pages for the app.
        is_eager: Whether the middleware verifies the identity before it calls the app.
        needs_info: Whether the settings need more of a request than its headers.

    Attributes:
        auth: The verified identity; ``None`` until it has been verified.
        client: The client that verifies it.
        headers: The headers of the request.
        info: The other facts of the request, where the settings need them.
        is_eager: Whether the middleware verifies the identity before it calls the app.
        pages: The renderer of pages for the app.
        raiser: What makes the errors that gates raise.
    """

    raiser: Raiser

    # Every request makes one: what most requests do not set stands here.
    auth: Auth | None = None
    info: RequestInfo | None = None
    _once: Once[Auth] | None = None
    _pending: Pending | None = None

    def __init__(self, scope: Scope, client: AsyncMoonKey, pages: Pages, is_eager: bool, needs_info: bool) -> None:
        self.client: AsyncMoonKey = client
        self.pages: Pages = pages
        self.is_eager: bool = is_eager
        # Not the lines themselves: what shows all that `request.user` holds must not show a credential.
        self._received = received = asgi_headers(scope["headers"])
        self.headers: HeaderView = received
        if needs_info:
            self.info = asgi_request(scope)

    def is_of(self, scope: Scope, client: AsyncMoonKey) -> bool:
        """Return whether this is the identity that a client would find for a scope: nothing has changed since."""
        if self.client is not client or not self._received.has_lines(scope["headers"]):
            return False
        return self.info is None or self.info == asgi_request(scope)

    def raise_for(self, raiser: Raiser) -> None:
        """Have gates raise errors for the reply of a middleware: the innermost one with this identity."""
        self.raiser = raiser
        if self.auth is not None:
            set_raiser(self.auth, raiser)

    def peek(self, requirements: Requirements | None = None) -> Auth | None:
        """Return the identity if that takes no network call, else ``None``; then :meth:`resolve` continues."""
        if self.auth is None and self._pending is None:
            begun = self.client.begin(self.headers, requirements, self.info)
            if not isinstance(begun, Pending):
                set_raiser(begun, self.raiser)
                self.auth = begun
                return begun
            self._pending = begun
        return self.auth

    async def resolve(self) -> Auth:
        """Return the identity, verified at the first call. Concurrent callers share one verification."""
        if self.peek() is None:
            if self._once is None:
                self._once = Once()
            auth = await self._once.get(self._finished)
            if self.auth is None:  # else a stricter gate has verified it meanwhile
                self._settle(auth)
        assert self.auth is not None
        return self.auth

    async def _finished(self) -> Auth:
        assert self._pending is not None
        return await self.client.finish(self._pending)

    def fit_for(self, requirements: Requirements) -> Auth | None:
        """Return the identity if it meets the requirements of a gate without a network call, else ``None``."""
        try:
            auth = self.peek(requirements) if self.auth is None else self.auth
            return auth if auth is not None and requirements.are_met_by(auth, self.client) else None
        except ConfigurationError as error:
            raise self.raiser.to_raise(error) from None

    async def meet(self, requirements: Requirements) -> Auth:
        """Verify the identity for a gate that :meth:`fit_for` returned ``None`` for.

        The result is the identity of the request from then on. The gate still has to check it.
        """
        if self.auth is None and requirements == _NO_REQUIREMENTS:
            return await self.resolve()
        if self.auth is not None and requirements.needs_record(self.auth):
            await self.client.mfa.load(self.auth)
            if requirements.are_met_by(self.auth, self.client):
                return self.auth
        try:
            if self.auth is None and self._pending is not None:
                auth = await self.client.finish(self._pending, requirements)
            else:
                auth = await self.client.authenticate(self.headers, requirements, self.info)
        except ConfigurationError as error:
            raise self.raiser.to_raise(error) from None
        self._settle(auth)
        return auth

    def _settle(self, auth: Auth) -> None:
        set_raiser(auth, self.raiser)
        self.auth = auth

    def renew(self, auth: Auth, headers: HeaderView) -> None:
        """Take over the identity by a newer credential, and the headers that present it."""
        self.headers = headers
        self._settle(auth)

    def read(self) -> Auth:
        """Return the identity to code that cannot await.

        Raises:
            ConfigurationError: The identity has not been verified yet.
        """
        if self.auth is None:
            raise self.raiser.to_raise(
                ConfigurationError(
                    "The identity of this request was read before it was known. Write "
                    "`auth = await get_auth(request)` first, or remove lazy=True from MoonKeyMiddleware."
                )
            )
        return self.auth

    if not TYPE_CHECKING:  # only errors come here

        def __getattr__(self, name: str) -> NoReturn:
            said = f"request.user has no attribute {name!r}"
            raise AttributeError(said if name.startswith("_") else f"{said}. {_advice(name)}")

        def __getitem__(self, name: object) -> NoReturn:
            raise TypeError(f"request.user is an object and no dict. {_advice(name)}")

    @property
    def is_authenticated(self) -> bool:
        """Whether a user is signed in."""
        return optional_user(self.read()) is not None

    @property
    def display_name(self) -> str:
        """The user's name, else e-mail address, else id; empty for an anonymous user."""
        user = optional_user(self.read())
        if user is None:
            return ""
        name = " ".join(part for part in (user.first_name, user.last_name) if part)
        return name or user.email or user.id

    @property
    def identity(self) -> str:
        """The user's id; empty for an anonymous user. Of several providers, two users may have equal ids."""
        user = optional_user(self.read())
        return "" if user is None else user.id

    @property
    def scopes(self) -> list[str]:
        """The permissions for ``@requires``: ``["authenticated"]`` if a user is signed in, else none."""
        return [] if optional_user(self.read()) is None else [AUTHENTICATED]

    @property
    def shown(self) -> Auth | LazyAuth:
        """The value in ``request.state``: the identity; before verification, a stand-in that raises when read."""
        return LazyAuth(self) if self.auth is None else self.auth


def _advice(name: object) -> str:
    place = f"request.state.{KEY}"
    is_plain = isinstance(name, str) and name.isidentifier() and name not in ("get", "keys", "items", "to_dict")
    shown = f"{place}.{name}" if name in ("user", "session") else f"{place}.user.{name if is_plain else 'id'}"
    return (
        "It is Starlette's user, with is_authenticated, identity (the id) and display_name. MoonKey's is "
        f"{place}.user: write {shown}."
    )


@overload
async def get_auth(request: AuthenticatedRequest | AuthenticatedWebSocket) -> AuthenticatedAuth: ...
@overload
async def get_auth(request: HTTPConnection) -> Auth: ...
async def get_auth(request: HTTPConnection) -> Auth:
    """Return the identity of a request or WebSocket, in any of its states.

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


def known_auth(connection: HTTPConnection) -> AuthenticatedAuth | None:
    """Return the identity of a request where a user is known to have sent it, so that a gate may let it pass.

    ``None`` for all else, where a gate has more to decide.
    """
    identity = connection.scope.get(KEY)
    auth = identity.auth if isinstance(identity, Identity) else None
    if auth is None or not auth.is_authenticated:
        return None
    if TYPE_CHECKING:  # `cast` would be a call in each request
        assert isinstance(auth, AuthenticatedAuth)
    return auth


def outer_identity(scope: Scope, client: AsyncMoonKey) -> Identity | None:
    """Return the identity that a middleware further outside, with the same client, has put on the scope.

    ``None`` where there is none, or where a layer between has changed what it was made from.
    """
    outer = scope.get(KEY)
    return outer if isinstance(outer, Identity) and outer.is_of(scope, client) else None


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
