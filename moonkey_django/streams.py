"""Streamed responses that end when the session of their request ends."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TypeVar, overload

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from moonkey_core.gate import require_admitted
from moonkey_core.streams import (
    AsyncBoundStream,
    BoundStream,
    CredentialIn,
    Renewal,
    abound_items,
    bound_items,
)
from moonkey_core.web.request import asgi_request, wsgi_request
from moonkey_django.conf import get_async_client, get_client
from moonkey_django.identity import identity_of

T = TypeVar("T")


@overload
def bound_stream(
    request: HttpRequest, items: AsyncIterable[T], *, renewal: Renewal | CredentialIn | None = None
) -> AsyncBoundStream[T]: ...
@overload
def bound_stream(
    request: HttpRequest, items: Iterable[T], *, renewal: Renewal | CredentialIn | None = None
) -> BoundStream[T]: ...
def bound_stream(
    request: HttpRequest,
    items: AsyncIterable[T] | Iterable[T],
    *,
    renewal: Renewal | CredentialIn | None = None,
) -> AsyncBoundStream[T] | BoundStream[T]:
    """Return the items of a ``StreamingHttpResponse``, until the session of its request is over.

    An asynchronous iterable is cancelled at that moment, while it makes the next item. For a plain iterable, the
    session is checked between two items. With ``stream.renew(credential)``, which is awaited for an asynchronous
    iterable, the stream goes on with a newer credential of the same user and session.

    Args:
        request: The request.
        items: The items of the response.
        renewal: Finds a newer credential in an item of the app's own form, which is not sent then: the stream goes
            on with it, as by ``renew``.

    Raises:
        ConfigurationError: Under ASGI, the request's credential has not been verified yet.
        MoonKeyError: The request has no verified user and session; the same error as that of ``require_auth``.
    """
    identity = identity_of(request)
    auth = require_admitted(identity.read())
    info = asgi_request(request.scope) if isinstance(request, ASGIRequest) else wsgi_request(request.META)
    headers, on_renewed = identity.headers, identity.renew
    if isinstance(items, AsyncIterable):
        client = get_async_client()
        return abound_items(client, auth, items, headers, info, on_renewed=on_renewed, renewal=renewal)
    return bound_items(get_client(), auth, items, headers, info, on_renewed=on_renewed, renewal=renewal)
