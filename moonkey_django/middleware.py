"""The middleware, which attaches an identity to each request. It requires no sign-in."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLResolver, get_resolver

from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_django.advice import explain_uncaught
from moonkey_django.closed import arefusal, refusal
from moonkey_django.conf import configuration
from moonkey_django.gates import check_requirements, check_urls
from moonkey_django.identity import attach, note_uncaught
from moonkey_django.log_out import aend_session, end_session, watch_log_out
from moonkey_django.page_cache import check_page_cache
from moonkey_django.refused import error_behind
from moonkey_django.responses import (
    areject,
    check_headers,
    complete_refusal,
    must_resolve,
    reject,
    with_effects,
)
from moonkey_django.static_files import is_answered_by_a_file, is_for_a_file
from moonkey_django.user import attach_user, check_user_setup, trouble_of

GetResponse = Callable[[HttpRequest], HttpResponseBase]
AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class MoonKeyMiddleware:
    """Middleware that gives every request ``request.moonkey`` and ``request.amoonkey()``.

    ``request.moonkey`` is an :class:`~moonkey_core.auth.Auth`. Under WSGI the credential is verified at the first
    read. Under ASGI it is verified before the view, or, with ``MOONKEY = {"LAZY": True, …}``, by ``await
    request.amoonkey()``. A :class:`~moonkey_core.errors.MoonKeyError` that a view raises becomes the response.
    With ``MOONKEY = {"REQUIRED": True, …}`` each view requires a verified user and session, except those with
    ``@public``, ``@optional_auth`` or ``@login_not_required``, the session routes, static files, and the admin's.
    Where ``MOONKEY["USERS"]`` is set, the request gets ``request.user`` and ``request.auser()`` too.

    Attributes:
        required: Whether each view requires a verified user and session by default.

    Raises:
        ImproperlyConfigured: A setting is wrong, missing or unknown.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        try:
            found = configuration()
            maps_users = found.users is not None
            check_user_setup()
            check_page_cache()
            check_headers()
        except ConfigurationError as error:
            raise ImproperlyConfigured(str(error)) from None
        if maps_users:
            watch_log_out()
        self.get_response: Any = get_response  # sync or async, as this middleware is
        self.required: bool = found.required
        self._checked: URLResolver | None = None
        self.async_mode: bool = iscoroutinefunction(get_response)
        if self.async_mode:
            markcoroutinefunction(self)
            # Without this, Django would call these methods in a thread.
            if type(self).process_view is MoonKeyMiddleware.process_view:
                vars(self)["process_view"] = self._aprocess_view
            if type(self).process_template_response is MoonKeyMiddleware.process_template_response:
                vars(self)["process_template_response"] = self._aprocess_template_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Return the response to a request, or an awaitable of it in asynchronous mode."""
        if self.async_mode:
            return self.__acall__(request)
        identity = attach(request)
        if identity.config.users is not None:
            attach_user(request, identity)
        if identity.is_eager and not is_for_a_file(request):
            identity.resolve()  # ASGI, but a middleware inside of this one is sync: this runs in a thread
        response: HttpResponseBase = self.get_response(request)
        if (identity.uncaught is not None or identity.config.users is not None) and (
            trouble := trouble_of(request, identity, response)
        ) is not None:
            response = reject(request, trouble)
        if identity.is_leaving:
            response = end_session(request, identity, response)
        if identity.auth is None and must_resolve(identity, response) and not is_answered_by_a_file(request):
            identity.resolve()
        if identity.refused_with is not None:
            complete_refusal(request, identity, response)
        return with_effects(identity, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        identity = attach(request)
        if identity.config.users is not None:
            attach_user(request, identity)
        if identity.is_eager and identity.peek() is None and not is_for_a_file(request):
            await identity.aresolve()
        response: HttpResponseBase = await self.get_response(request)
        if (identity.uncaught is not None or identity.config.users is not None) and (
            trouble := trouble_of(request, identity, response)
        ) is not None:
            response = await areject(request, trouble)
        if identity.is_leaving:
            response = await aend_session(request, identity, response)
        if identity.auth is None and must_resolve(identity, response) and not is_answered_by_a_file(request):
            await identity.aresolve()
        if identity.refused_with is not None:
            complete_refusal(request, identity, response)
        return with_effects(identity, response)

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        """Refuse the request with 500 where a gate of the URLconf has no effect, or asks what can never be met.

        With ``MOONKEY["REQUIRED"]`` it is refused without a verified user and session, unless the view is open.
        """
        resolver = get_resolver(getattr(request, "urlconf", None))
        if resolver is not self._checked and (response := self._first_look(request, resolver)) is not None:
            return response
        return refusal(request, view_func) if self.required else None

    async def _aprocess_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        resolver = get_resolver(getattr(request, "urlconf", None))
        if resolver is not self._checked and (response := self._first_look(request, resolver)) is not None:
            return response
        return await arefusal(request, view_func) if self.required else None

    def _first_look(self, request: HttpRequest, resolver: URLResolver) -> HttpResponse | None:
        """Return the response where a gate of a URL configuration is of no use; else note that it was checked."""
        try:
            check_urls(resolver)
            check_requirements(resolver)
        except ConfigurationError as error:
            return reject(request, error)
        self._checked = resolver
        return None

    def process_template_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Return the response; in place of REST framework's own for an error of MoonKey, the refusal."""
        error = error_behind(response)
        return response if error is None else _as_rendered(reject(request, error))

    async def _aprocess_template_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        error = error_behind(response)
        return response if error is None else _as_rendered(await areject(request, error))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response for a ``MoonKeyError`` that a view raised; ``None`` for any other exception."""
        return reject(request, exception) if isinstance(exception, MoonKeyError) else None


def _as_rendered(response: HttpResponse) -> HttpResponse:
    """Return a response that Django may render, as it does with the one that this stands for."""
    response.render = lambda: response  # type: ignore[attr-defined]
    return response


@receiver(got_request_exception)
def _note_uncaught(request: HttpRequest | None = None, **_kwargs: object) -> None:
    """Note an error of MoonKey that Django is about to make its 500 of; explain one of the app's own."""
    error = sys.exc_info()[1]
    if error is not None:
        explain_uncaught(request, error)
    if isinstance(error, MoonKeyError) and request is not None:
        note_uncaught(request, error)
