"""Streamed responses that end when the session of their request ends."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from moonkey_core.gate import require
from moonkey_core.streams import bound_items
from moonkey_core.web.request import wsgi_headers, wsgi_request
from moonkey_flask.identity import current_request, get_client, resolve

T = TypeVar("T")


def bound_stream(items: Iterable[T]) -> Generator[T, None, None]:
    """Return the items of a streamed response, until the session of the current request is over.

    The session is checked before and after each item, also when the request's context has ended.

    Args:
        items: The items of the response.

    Raises:
        MoonKeyError: The request has no verified user and session; the same error as that of ``require_auth``.
    """
    request = current_request()
    environ = request.environ
    return bound_items(
        get_client(), require(resolve(request)), items, wsgi_headers(environ), wsgi_request(environ)
    )
