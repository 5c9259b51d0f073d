"""The parts of a request that are read: its headers, unchanged, and the facts by which cookies are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = [
    "HeaderView", "RequestInfo", "asgi_headers", "asgi_request", "mapped_headers", "wsgi_headers", "wsgi_request",
]  # fmt: skip

HeaderView = Callable[[str], Sequence[str]]
"""All values of one request header by its lower-case name, one entry per line, exactly as received."""


class RequestInfo(NamedTuple):
    """The facts of a request that are not in its headers.

    Attributes:
        method: The HTTP method.
        scheme: ``http``, ``https``, ``ws`` or ``wss``, as the server sees it.
        peer: The address at the other end of the socket.
        is_websocket: Whether this is a WebSocket handshake.
    """

    method: str
    scheme: str
    peer: str | None = None
    is_websocket: bool = False


def wsgi_request(environ: Mapping[str, Any]) -> RequestInfo:
    """Return the facts of a request from its WSGI environ (PEP 3333)."""
    return RequestInfo(environ["REQUEST_METHOD"], environ["wsgi.url_scheme"], environ.get("REMOTE_ADDR"))


def asgi_request(scope: Mapping[str, Any]) -> RequestInfo:
    """Return the facts of a request from its ASGI scope of type ``http`` or ``websocket``."""
    client = scope.get("client")
    peer = client[0] if client else None
    if scope["type"] == "websocket":
        return RequestInfo("GET", scope.get("scheme", "ws"), peer, is_websocket=True)
    return RequestInfo(scope["method"], scope.get("scheme", "http"), peer)


def wsgi_headers(environ: Mapping[str, Any]) -> HeaderView:
    """Return a view of the headers in a WSGI environ (PEP 3333).

    Servers have joined repeated lines there, with a comma.
    """

    def values(name: str) -> Sequence[str]:
        value = environ.get(_wsgi_name(name))
        return () if value is None else (value,)

    return values


@lru_cache(256)  # names come from settings and from this package, never from a request
def _wsgi_name(name: str) -> str:
    spelled = name.upper().replace("-", "_")
    return spelled if spelled in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{spelled}"


def asgi_headers(lines: Iterable[tuple[bytes, bytes]]) -> HeaderView:
    """Return a view of the headers of an ASGI scope: each line as it came, by its exact name."""

    def values(name: str) -> Sequence[str]:
        wanted = name.encode("ascii")
        length = len(wanted)  # rules most lines out, at almost no cost
        found = []
        for key, value in lines:  # in Python 3.11 a comprehension here takes half as long again
            if len(key) == length and key.lower() == wanted:
                found.append(value.decode("latin-1"))
        return found

    return values


def mapped_headers(headers: Mapping[str, str]) -> HeaderView:
    """Return a view of the headers in a mapping; two spellings of one name are two lines."""

    def values(name: str) -> Sequence[str]:
        return [value for key, value in headers.items() if key.lower() == name]

    return values
