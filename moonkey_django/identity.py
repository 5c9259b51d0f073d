"""The identity of one request: determined when it is needed, and kept on the request alone."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from moonkey_core.auth import Auth, AuthenticatedAuth, set_raiser
from moonkey_core.client import AsyncMoonKey, MoonKey, Pending
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import Requirements
from moonkey_core.web.lazy import LazyAuth
from moonkey_core.web.once import Once
from moonkey_core.web.request import (
    HeaderView,
    RequestInfo,
    asgi_headers,
    asgi_request,
    wsgi_headers,
    wsgi_request,
)
from moonkey_django.conf import Configuration, configuration, get_async_client, get_client
from moonkey_django.page_cache import keep_out
from moonkey_django.refused import RAISER
from moonkey_django.signals import authenticated, rejected, tell

ATTRIBUTE = "_moonkey_identity"
_NOTHING_MORE = Requirements()


class MoonKeyRequest(HttpRequest):
    """A request that has passed the middleware; for annotations: ``def view(request: MoonKeyRequest)``."""

    moonkey: Auth
    amoonkey: Callable[[], Coroutine[Any, Any, Auth]]


class AuthenticatedRequest(MoonKeyRequest):
    """A request that has passed a gate: ``def view(request: AuthenticatedRequest)`` below ``@require_auth``."""

    moonkey: AuthenticatedAuth  # pyright: ignore[reportIncompatibleVariableOverride]
    amoonkey: Callable[[], Coroutine[Any, Any, AuthenticatedAuth]]  # pyright: ignore[reportIncompatibleVariableOverride]


class Identity:
    """The identity of one request.

    Attributes:
        auth: The identity, once it is determined.
        config: The configuration by which it is determined.
        headers: The request's headers.
        info: The other facts of the request, where the settings need them. Where they are for cookies only, and
            the request of WSGI brings none, they are ``None``.
        is_asgi: Whether the request came through ASGI.
        is_eager: Whether the middleware determines the identity before the view.
        is_leaving: Whether the user has logged out of Django, so that the MoonKey session is to end, too.
        refused_with: The status of MoonKey's refusal of the request, which MoonKey's own log has recorded.
        uncaught: The error that Django has found uncaught, as one of another middleware is.
        written: The identity for which the usual headers were added to a response, with its ``Vary`` and its
            ``Cache-Control`` since then.
    """

    __slots__ = (
        "_client",
        "_once",
        "_pending",
        "_request",
        "auth",
        "config",
        "headers",
        "info",
        "is_asgi",
        "is_eager",
        "is_leaving",
        "refused_with",
        "uncaught",
        "written",
    )

    def __init__(self, request: HttpRequest, config: Configuration) -> None:
        self.config: Configuration = config
        self.headers: HeaderView
        self.info: RequestInfo | None = None
        if isinstance(request, ASGIRequest):  # as in `header_view` and `request_info`, without their calls
            self.is_asgi: bool = True
            self.is_eager: bool = not config.lazy
            self.headers = asgi_headers(request.scope["headers"])
            if config.needs_info:
                self.info = asgi_request(request.scope)
        else:
            self.is_asgi = self.is_eager = False
            environ = request.META
            self.headers = wsgi_headers(environ)
            if config.needs_info and (config.needs_info_always or "HTTP_COOKIE" in environ):
                self.info = wsgi_request(environ)
        self.auth: Auth | None = None
        self.is_leaving: bool = False
        self.refused_with: int | None = None
        self.uncaught: MoonKeyError | None = None
        self.written: tuple[Auth, object, object] | None = None
        self._client: MoonKey | AsyncMoonKey | None = None
        self._once: Once[Auth] | None = None
        self._pending: Pending | None = None
        # Weak, as the request holds this object: without a cycle, both are freed without the garbage collector.
        self._request = weakref.ref(request)

    def resolve(self) -> Auth:
        """Return the identity. Blocks if it is not determined yet.

        Raises:
            ConfigurationError: The call would block the event loop of an ASGI server.
        """
        return self.verify() if self.auth is None else self.auth

    async def aresolve(self) -> Auth:
        """Return the identity. Waits if it is not determined yet; concurrent callers share one verification."""
        if not self.is_asgi:
            return self.resolve()  # under WSGI the event loop serves this request alone, so it may block
        if self.peek() is None:
            if self._once is None:
                self._once = Once()
            auth = await self._once.get(self._finished)
            if self.auth is None:  # else a gate has verified the credential meanwhile, by stricter requirements
                self._settle(auth)
        assert self.auth is not None
        return self.auth

    async def _finished(self) -> Auth:
        assert self._pending is not None
        return await get_async_client().finish(self._pending)

    def peek(self, requirements: Requirements | None = None) -> Auth | None:
        """Return the identity of an ASGI request where no network call is needed for it; else ``None``.

        A verification that has begun is kept, and :meth:`aresolve` continues it.

        Args:
            requirements: The requirements of the gate, if any.
        """
        if self.auth is None and self._pending is None:
            begun = get_async_client().begin(self.headers, requirements, self.info)
            if not isinstance(begun, Pending):
                return self._settle(begun)
            self._pending = begun
        return self.auth

    def meet(self, requirements: Requirements) -> Auth:
        """Return the identity for a gate.

        Where the identity is not fresh enough for this gate, the credential is verified again. The result is then
        the identity of the request. Blocks as :meth:`resolve` does.

        Args:
            requirements: The requirements of the gate.

        Raises:
            ConfigurationError: The call would block the event loop of an ASGI server, or a provider cannot give
                what the gate requires.
        """
        auth = self.auth
        if auth is None:
            return self.verify(requirements)
        if not requirements.are_met_by(auth, self):
            if requirements.needs_record(auth):
                get_client().mfa.load(auth)
                if requirements.are_met_by(auth, self):
                    return auth
            auth = self.verify(requirements)
        return auth

    async def ameet(self, requirements: Requirements) -> Auth:
        """Do the same as :meth:`meet`, in asynchronous code."""
        if not self.is_asgi:
            return self.meet(requirements)
        auth = self.peek(requirements)
        if auth is None and requirements == _NOTHING_MORE:
            return await self.aresolve()
        if auth is None and self._pending is not None:
            return self._settle(await get_async_client().finish(self._pending, requirements))
        if auth is not None and requirements.needs_record(auth):
            await get_async_client().mfa.load(auth)
        if auth is None or not requirements.are_met_by(auth, self):
            auth = self._settle(await get_async_client().authenticate(self.headers, requirements, self.info))
        return auth

    def verify(self, requirements: Requirements | None = None) -> Auth:
        """Verify the credential, whether or not that was done before, and return the identity. Blocks.

        Args:
            requirements: The requirements of a gate, if any.

        Raises:
            ConfigurationError: As :meth:`meet` does.
        """
        if self.is_asgi and is_on_event_loop():
            raise RAISER.to_raise(
                ConfigurationError(
                    "request.moonkey was read in asynchronous code before it was known. Write "
                    '`auth = await request.amoonkey()` first, or remove "LAZY" from MOONKEY.'
                )
            )
        return self._settle(get_client().authenticate(self.headers, requirements, self.info))

    def _settle(self, auth: Auth) -> Auth:
        is_first, self.auth = self.auth is None, auth
        set_raiser(auth, RAISER)
        if is_first and (authenticated.receivers or rejected.receivers):  # mostly the project has none
            tell(self._request(), auth, AsyncMoonKey if self.is_asgi else MoonKey)
        return auth

    def renew(self, auth: Auth, headers: HeaderView) -> None:
        """Take over the identity by a newer credential, and the headers that present it."""
        self.headers = headers
        self._settle(auth)

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that each provider can give what a gate requires.

        Raises:
            ConfigurationError: One cannot.
        """
        self.client.check_requirements(requirements)

    @property
    def client(self) -> MoonKey | AsyncMoonKey:
        """The client that verifies requests of this kind."""
        if self._client is None:
            self._client = get_async_client() if self.is_asgi else get_client()
        return self._client

    def read(self) -> Auth:
        """Return the identity to code that reads ``request.moonkey``."""
        request, auth = self._request(), self.auth
        if request is not None:  # as `keep_out` does, without its call: a view reads it several times
            request._cache_update_cache = False  # type: ignore[attr-defined]
        return self.verify() if auth is None else auth

    async def aread(self) -> Auth:
        """Return the identity for ``await request.amoonkey()``."""
        request, auth = self._request(), self.auth
        if request is not None:
            keep_out(request)
        return await self.aresolve() if auth is None else auth

    def keep_out_of_caches(self) -> None:
        """Keep the response to this request out of Django's page cache, as it depends on the identity."""
        request = self._request()
        if request is not None:
            keep_out(request)


def attach(request: HttpRequest) -> Identity:
    """Give the request its ``moonkey`` and ``amoonkey()``. The credential is not verified yet.

    Where a middleware of ours stands further outside, the identity is the one that it has attached.
    """
    outer: Identity | None = getattr(request, ATTRIBUTE, None)
    if outer is not None:
        return outer
    identity = Identity(request, configuration())
    setattr(request, ATTRIBUTE, identity)
    request.moonkey = LazyAuth(identity)  # type: ignore[attr-defined]
    request.amoonkey = identity.aread  # type: ignore[attr-defined]
    return identity


def find_identity(request: HttpRequest) -> Identity | None:
    """Return the identity that :func:`attach` has put on the request; ``None`` where it has not."""
    identity: Identity | None = getattr(request, ATTRIBUTE, None)
    return identity


def identity_of(request: HttpRequest) -> Identity:
    """Return the identity that :func:`attach` has put on the request.

    Raises:
        ImproperlyConfigured: The request has not passed the middleware, or is not Django's.
    """
    identity: Identity | None = getattr(request, ATTRIBUTE, None)
    if identity is None:
        raise _not_passed(request)
    return identity


def peek_auth(request: HttpRequest) -> Auth | None:
    """Return the identity of a request, where it has passed the middleware and is determined already."""
    identity: Identity | None = getattr(request, ATTRIBUTE, None)
    return None if identity is None else identity.auth


def note_uncaught(request: HttpRequest, error: MoonKeyError) -> None:
    """Note the error that Django reports as uncaught, where the request has passed the middleware."""
    identity: Identity | None = getattr(request, ATTRIBUTE, None)
    if identity is not None:
        identity.uncaught = error


def _not_passed(request: object) -> ImproperlyConfigured:
    kind = type(request)
    if isinstance(request, HttpRequest) or kind.__module__.startswith("rest_framework."):
        return ImproperlyConfigured(
            'This request has not passed MoonKey. Add "moonkey_django.MoonKeyMiddleware" to MIDDLEWARE. A request '
            "of RequestFactory passes no middleware: in a test, take django.test.Client, or call "
            "MoonKeyMiddleware(view)(request)."
        )
    return ImproperlyConfigured(
        f"The gate of moonkey_django was given {kind.__qualname__} where Django's request was to be. To protect a "
        "method of a class, write @method_decorator(require_auth). In another framework, take its own gate: from "
        "moonkey_flask, or from moonkey_starlette, import require_auth."
    )


def header_view(request: HttpRequest) -> HeaderView:
    """Return the request's headers.

    Under ASGI these are the exact lines. Under WSGI the server has joined repeated lines with a comma.
    """
    # Neither result refers to the request: a cycle would keep it until the garbage collector runs.
    return (
        asgi_headers(request.scope["headers"]) if isinstance(request, ASGIRequest) else wsgi_headers(request.META)
    )


def request_info(request: HttpRequest) -> RequestInfo:
    """Return the facts by which cookies are judged beside the headers.

    They come from the server, not from the attributes of the request, which other middleware may change.
    """
    return asgi_request(request.scope) if isinstance(request, ASGIRequest) else wsgi_request(request.META)


def is_on_event_loop() -> bool:
    """Return whether this thread runs an event loop, as that of an ASGI server does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
