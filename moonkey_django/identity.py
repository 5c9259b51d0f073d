"""The identity of one request: worked out once, at the first need, and remembered on the request alone."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from moonkey_core.auth import Auth
from moonkey_core.credentials import HeaderView, asgi_headers, wsgi_headers
from moonkey_core.errors import ConfigurationError
from moonkey_core.once import Once
from moonkey_django.conf import configuration, get_async_client, get_client

_ATTRIBUTE = "_moonkey_identity"


class MoonKeyRequest(HttpRequest):
    """A request that has passed the middleware; for annotations: ``def view(request: MoonKeyRequest)``."""

    moonkey: Auth
    amoonkey: Callable[[], Coroutine[Any, Any, Auth]]


class Identity:
    """Who sent one request.

    ``is_asgi`` tells how the request came in, ``is_eager`` whether the middleware works it out before the view.
    """

    def __init__(self, headers: HeaderView, *, is_asgi: bool, is_eager: bool) -> None:
        self.headers = headers
        self.is_eager = is_eager
        self._is_asgi = is_asgi
        self._once: Once[Auth] = Once()

    def resolve(self) -> Auth:
        """The identity; blocks if it is not known yet.

        Raises :class:`~moonkey_core.errors.ConfigurationError` where that would hold up an ASGI server's event
        loop.
        """
        if self._once.value is None:
            if self._is_asgi and _is_on_event_loop():
                raise ConfigurationError(
                    "request.moonkey was read in asynchronous code before it was known. Write "
                    '`auth = await request.amoonkey()` first, or remove "LAZY" from MOONKEY.'
                )
            self._once.value = get_client().authenticate(self.headers)
        return self._once.value

    async def aresolve(self) -> Auth:
        """The identity; awaits if it is not known yet. Callers at the same time share one verification."""
        if not self._is_asgi:
            return self.resolve()  # an event loop of this request's own: nobody else is held up
        return await self._once.get(lambda: get_async_client().authenticate(self.headers))

    @property
    def auth(self) -> Auth | None:
        """The identity, if anybody has asked for it yet."""
        return self._once.value

    @property
    def is_looked_at(self) -> bool:
        """Whether anybody has asked who it is; the middleware's own asking does not count."""
        return self.auth is not None and (self.auth.looked_at or not self.is_eager)


def attach(request: HttpRequest) -> Identity:
    """Give the request its ``moonkey`` and ``amoonkey()``. Verifies nothing yet."""
    is_asgi = isinstance(request, ASGIRequest)
    identity = Identity(header_view(request), is_asgi=is_asgi, is_eager=is_asgi and not configuration().lazy)
    setattr(request, _ATTRIBUTE, identity)
    known = cast(MoonKeyRequest, request)
    keep_out = _keeper_out_of_caches(request)

    def look() -> Auth:
        keep_out()
        return identity.resolve()

    async def alook() -> Auth:
        keep_out()
        return await identity.aresolve()

    known.moonkey = cast(Auth, SimpleLazyObject(look))
    known.amoonkey = alook
    return identity


def identity_of(request: HttpRequest) -> Identity:
    """What :func:`attach` has put there. Raises ``ImproperlyConfigured`` if the middleware did not run."""
    identity = getattr(request, _ATTRIBUTE, None)
    if identity is None:
        raise ImproperlyConfigured(
            'This request has not passed MoonKey. Add "moonkey_django.MoonKeyMiddleware" to MIDDLEWARE. '
            "(And to protect a method of a class, write @method_decorator(require_auth).)"
        )
    return cast(Identity, identity)


def header_view(request: HttpRequest) -> HeaderView:
    """The request's headers: the exact lines under ASGI; WSGI servers have joined repeated ones with a comma."""
    # Neither closes over the request, which would then have to wait for the garbage collector.
    return (
        asgi_headers(request.scope["headers"]) if isinstance(request, ASGIRequest) else wsgi_headers(request.META)
    )


def _keeper_out_of_caches(request: HttpRequest) -> Callable[[], None]:
    """What to call when somebody looks: from then on the page is theirs, not one for Django's page cache.

    A ``cache_page`` around the view stores the page before the middleware can mark it private. The attribute is
    the one that ``UpdateCacheMiddleware`` asks. A weak reference, as the request holds the function.
    """
    reference = weakref.ref(request)

    def keep_out() -> None:
        looked_at = reference()
        if looked_at is not None:
            looked_at._cache_update_cache = False  # type: ignore[attr-defined]

    return keep_out


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
