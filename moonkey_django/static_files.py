"""Requests for static files, for which nothing reads the identity: they are not worth a call to the API."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

_SERVE = (("django.views.static", "serve"), ("django.contrib.staticfiles.views", "serve"))
_KNOWN = ("django.", "corsheaders.", "whitenoise.", "moonkey_django.")

_have_files: WeakKeyDictionary[URLResolver, bool] = WeakKeyDictionary()
"""For each URL configuration: whether any of its views serves static files."""


def is_for_a_file(request: HttpRequest) -> bool:
    """Return whether one of Django's own views for static files answers a request, and nothing reads the identity.

    False where that is not certain: an asynchronous middleware of the project's own may read it.

    Args:
        request: The request, before its URL is resolved.
    """
    resolver = get_resolver(getattr(request, "urlconf", None))
    if not _has_files(resolver):
        return False
    try:
        match = resolver.resolve(request.path_info)
    except Resolver404:
        return False
    return serves_files(match.func) and not any(map(_may_read, settings.MIDDLEWARE))


def is_answered_by_a_file(request: HttpRequest) -> bool:
    """Return whether one of Django's own views for static files has answered a request."""
    match = request.resolver_match
    return match is not None and serves_files(match.func)


def _has_files(resolver: URLResolver) -> bool:
    found = _have_files.get(resolver)
    if found is None:
        found = _have_files[resolver] = _any_serves_files(resolver)
    return found


def _any_serves_files(resolver: URLResolver) -> bool:
    return any(
        _any_serves_files(one) if isinstance(one, URLResolver) else _is_file_pattern(one)
        for one in resolver.url_patterns
    )


def _is_file_pattern(pattern: URLPattern) -> bool:
    return serves_files(pattern.callback)


def serves_files(view: Any) -> bool:
    """Return whether a view is one of Django's own for static files, without any decorator."""
    where = (getattr(view, "__module__", None), getattr(view, "__name__", None))
    return where in _SERVE and not hasattr(view, "__wrapped__")  # a decorator may read the identity


def _may_read(path: str) -> bool:
    """Return whether a middleware may run code of the project in the event loop, where nothing could wait."""
    if path.startswith(_KNOWN):
        return False
    try:
        kind = import_string(path)
    except ImportError:
        return True
    return bool(getattr(kind, "async_capable", False)) and not _runs_in_threads(kind)


def _runs_in_threads(kind: Any) -> bool:
    """Return whether a class of middleware leaves it to Django's own one to call its methods, in threads."""
    if not (isinstance(kind, type) and issubclass(kind, MiddlewareMixin)):
        return False
    return all(getattr(kind, name) is getattr(MiddlewareMixin, name) for name in ("__call__", "__acall__"))
