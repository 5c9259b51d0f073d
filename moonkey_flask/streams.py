"""Streamed responses that end with the session they were begun with."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from moonkey_core.gate import require
from moonkey_core.streams import bound_items
from moonkey_core.web.request import wsgi_headers, wsgi_request
from moonkey_flask.identity import current_request, get_client, resolve

T = TypeVar("T")


def bound_stream(items: Iterable[T]) -> Generator[T, None, None]:
    """The items of a streamed response, until the session of the current request is over.

    That is looked at before and after each item, also when the request's context is long gone. Raises what
    ``require_auth`` would for a request without a verified user and session.
    """
    request = current_request()
    environ = request.environ
    return bound_items(
        get_client(), require(resolve(request)), items, wsgi_headers(environ), wsgi_request(environ)
    )
