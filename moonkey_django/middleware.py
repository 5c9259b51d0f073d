"""The middleware, which attaches an identity to each request. It requires no sign-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLResolver, get_resolver

from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_django.conf import configuration
from moonkey_django.gates import check_urls
from moonkey_django.identity import attach
from moonkey_django.page_cache import check_page_cache
from moonkey_django.responses import apply_response_effects, must_resolve, reject
from moonkey_django.user import attach_user, aunless_unknown, check_user_setup, unless_unknown

GetResponse = Callable[[HttpRequest], HttpResponseBase]
AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class MoonKeyMiddleware:
    """Middleware that gives every request ``request.moonkey`` and ``request.amoonkey()``.

    ``request.moonkey`` is an :class:`~moonkey_core.auth.Auth`. Under WSGI the credential is verified at the first
    read. Under ASGI it is verified before the view, or, with ``MOONKEY = {"LAZY": True, …}``, by ``await
    request.amoonkey()``. A :class:`~moonkey_core.errors.MoonKeyError` that a view raises becomes the response.
    Where ``MOONKEY["USERS"]`` is set, the request gets ``request.user`` and ``request.auser()`` too.

    Raises:
        ImproperlyConfigured: A setting is wrong, missing or unknown.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        try:
            configuration()
            check_user_setup()
            check_page_cache()
        except ConfigurationError as error:
            raise ImproperlyConfigured(str(error)) from None
        self.get_response = get_response
        self._checked: URLResolver | None = None
        self.async_mode: bool = iscoroutinefunction(get_response)
        if self.async_mode:
            markcoroutinefunction(self)
            if type(self).process_view is MoonKeyMiddleware.process_view:
                # Without this, Django would call the method in a thread.
                vars(self)["process_view"] = self._aprocess_view

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Return the response to a request, or an awaitable of it in asynchronous mode."""
        if self.async_mode:
            return self.__acall__(request)
        identity = attach(request)
        attach_user(request, identity)
        if identity.is_eager:  # ASGI, but a middleware inside of this one is sync: this runs in a thread
            identity.resolve()
        response = unless_unknown(request, cast(GetResponse, self.get_response)(request))
        if must_resolve(identity, response):
            identity.resolve()
        return apply_response_effects(request, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        identity = attach(request)
        attach_user(request, identity)
        if identity.is_eager and identity.peek() is None:
            await identity.aresolve()
        response = await aunless_unknown(request, await cast(AsyncGetResponse, self.get_response)(request))
        if must_resolve(identity, response):
            await identity.aresolve()
        return apply_response_effects(request, response)

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponse | None:
        """Refuse the request with 500 where any view of the URLconf has lost its gate; the log has the reason."""
        resolver = get_resolver(getattr(request, "urlconf", None))
        if resolver is not self._checked:
            try:
                check_urls(resolver)
            except ConfigurationError as error:
                return reject(request, error)
            self._checked = resolver
        return None

    async def _aprocess_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponse | None:
        return MoonKeyMiddleware.process_view(self, request, view_func, view_args, view_kwargs)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response for a ``MoonKeyError`` that a view raised; ``None`` for any other exception."""
        return reject(request, exception) if isinstance(exception, MoonKeyError) else None
