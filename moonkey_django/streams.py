"""Streamed responses that end when the session of their request ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import TypeVar, overload

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from moonkey_core.gate import require
from moonkey_core.streams import abound_items, bound_items
from moonkey_core.web.request import asgi_request, wsgi_request
from moonkey_django.conf import get_async_client, get_client
from moonkey_django.identity import identity_of

T = TypeVar("T")


@overload
def bound_stream(request: HttpRequest, items: AsyncIterable[T]) -> AsyncGenerator[T, None]: ...
@overload
def bound_stream(request: HttpRequest, items: Iterable[T]) -> Generator[T, None, None]: ...
def bound_stream(
    request: HttpRequest, items: AsyncIterable[T] | Iterable[T]
) -> AsyncGenerator[T, None] | Generator[T, None, None]:
    """Return the items of a ``StreamingHttpResponse``, until the session of its request is over.

    An asynchronous iterable is cancelled at that moment, while it makes the next item. For a plain iterable, the
    session is checked between two items.

    Args:
        request: The request.
        items: The items of the response.

    Raises:
        ConfigurationError: Under ASGI, the request's credential has not been verified yet.
        MoonKeyError: The request has no verified user and session; the same error as that of ``require_auth``.
    """
    identity = identity_of(request)
    auth = require(identity.read())
    info = asgi_request(request.scope) if isinstance(request, ASGIRequest) else wsgi_request(request.META)
    if isinstance(items, AsyncIterable):
        return abound_items(get_async_client(), auth, items, identity.headers, info)
    return bound_items(get_client(), auth, items, identity.headers, info)
