"""The parts of a request that are read: its headers, unchanged, and the facts by which cookies are judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
    """Return the facts of a request from its WSGI environ (PEP 3333).

    Extensions such as Flask-SocketIO serve WebSockets there: a handshake is told by its ``Upgrade`` (RFC 6455
    section 4.2.1).
    """
    upgrade = environ.get("HTTP_UPGRADE")
    return RequestInfo(
        environ["REQUEST_METHOD"],
        environ["wsgi.url_scheme"],
        environ.get("REMOTE_ADDR"),
        upgrade is not None and "websocket" in upgrade.lower(),
    )


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


def asgi_headers(lines: Collection[tuple[bytes, bytes]]) -> HeaderView:
    """Return a view of the headers of an ASGI scope: each line as it came, by its exact name."""
    by_name = dict(lines)
    # Mostly each name stands there once and in lower case, as ASGI demands.
    if len(by_name) != len(lines) or not b"".join(by_name).islower():
        return _repeated_headers(lines)
    find = by_name.get

    def values(name: str) -> Sequence[str]:
        value = find(name.encode("ascii"))
        return () if value is None else (value.decode("latin-1"),)

    return values


def _repeated_headers(lines: Collection[tuple[bytes, bytes]]) -> HeaderView:
    def values(name: str) -> Sequence[str]:
        wanted = name.encode("ascii")
        return [value.decode("latin-1") for key, value in lines if key.lower() == wanted]

    return values


def mapped_headers(headers: Mapping[str, str]) -> HeaderView:
    """Return a view of the headers in a mapping; two spellings of one name are two lines."""

    def values(name: str) -> Sequence[str]:
        return [value for key, value in headers.items() if key.lower() == name]

    return values
