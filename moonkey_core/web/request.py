"""The parts of a request that are read: its headers, unchanged, and the facts by which cookies are judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

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


_new_info = partial(
    tuple.__new__, RequestInfo
)  # each request with cookies makes one: the class would be one call more


def wsgi_request(environ: Mapping[str, Any]) -> RequestInfo:
    """Return the facts of a request from its WSGI environ (PEP 3333).

    Extensions such as Flask-SocketIO serve WebSockets there: a handshake is told by its ``Upgrade`` (RFC 6455
    section 4.2.1).
    """
    upgrade = environ.get("HTTP_UPGRADE")
    is_websocket = upgrade is not None and "websocket" in upgrade.lower()
    peer = environ.get("REMOTE_ADDR")
    return _new_info((environ["REQUEST_METHOD"], environ["wsgi.url_scheme"], peer, is_websocket))


def asgi_request(scope: Mapping[str, Any]) -> RequestInfo:
    """Return the facts of a request from its ASGI scope of type ``http`` or ``websocket``."""
    client = scope.get("client")
    peer = client[0] if client else None
    if scope["type"] == "websocket":
        return RequestInfo("GET", scope.get("scheme", "ws"), peer, is_websocket=True)
    return _new_info((scope["method"], scope.get("scheme", "http"), peer, False))


class HeaderNames:
    """The headers that may hold a credential, in the spellings in which the views below look for them.

    Attributes:
        main: The lower-case name of the one in which it mostly stands; empty where that does not count.
        names: The lower-case names of all of them.
    """

    __slots__ = (
        "ascii_main", "ascii_names", "longest", "main", "names", "other_wsgi_names", "shortest", "wsgi_main",
    )  # fmt: skip

    def __init__(self, main: str, names: Sequence[str]) -> None:
        self.main: str = main if main in names else ""
        self.names: frozenset[str] = frozenset(names)
        self.shortest: int = min(map(len, names), default=0)
        self.longest: int = max(map(len, names), default=0)
        self.ascii_main: bytes = self.main.encode("ascii")
        self.ascii_names: frozenset[bytes] = frozenset(name.encode("ascii") for name in names)
        self.wsgi_main: str = _wsgi_name(self.main) if self.main else ""
        self.other_wsgi_names: tuple[str, ...] = tuple(_wsgi_name(one) for one in names if one != main)


class LineView:
    """A view of headers that also looks for several of them at once."""

    __slots__ = ()

    def __call__(self, name: str, /) -> Sequence[str]:
        """Return all values of one header by its lower-case name, one entry per line."""
        raise NotImplementedError

    def sole_line(self, names: HeaderNames) -> bytes | None:
        """Return what :func:`sole_line` does."""
        raise NotImplementedError


class _WsgiView(LineView):
    """A view of the headers in a WSGI environ (PEP 3333).

    Servers have joined repeated lines there, with a comma.
    """

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __call__(self, name: str, /) -> Sequence[str]:
        value = self._environ.get(_wsgi_name(name))
        return () if value is None else (value,)

    def sole_line(self, names: HeaderNames) -> bytes | None:
        environ = self._environ
        for name in names.other_wsgi_names:
            if name in environ:
                return None
        line: object = environ.get(names.wsgi_main)
        if line is None:
            return b""
        return line.encode("utf-8", "surrogatepass") or None if isinstance(line, str) else None


class _AsgiView(LineView):
    """A view of the headers of an ASGI scope: each line as it came, by its exact name."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Collection[tuple[bytes, bytes]]) -> None:
        self._lines = tuple(lines)

    def __call__(self, name: str, /) -> Sequence[str]:
        wanted, size = name.encode("ascii"), len(name)
        found: list[str] = []
        for key, value in self._lines:
            if len(key) == size and key.lower() == wanted:  # the length first: few names have the same
                found.append(value.decode("latin-1"))  # a comprehension is a call in Python 3.11
        return found

    def has_lines(self, lines: Collection[tuple[bytes, bytes]]) -> bool:
        """Return whether the view is one of exactly these lines."""
        return self._lines == tuple(lines)

    def sole_line(self, names: HeaderNames) -> bytes | None:
        shortest, longest, found = names.shortest, names.longest, None
        for key, value in self._lines:
            size = len(key)
            if size >= shortest and size <= longest and (name := key.lower()) in names.ascii_names:
                if found is not None or name != names.ascii_main:
                    return None
                found = value
        return b"" if found is None else found or None


class _MappedView(LineView):
    """A view of the headers in a mapping; two spellings of one name are two lines."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, name: str, /) -> Sequence[str]:
        return [value for key, value in self._headers.items() if key.lower() == name]

    def sole_line(self, names: HeaderNames) -> bytes | None:
        shortest, longest = names.shortest, names.longest
        found: object = None
        for key, value in self._headers.items():
            size = len(key)
            if size >= shortest and size <= longest and (name := key.lower()) in names.names:
                if found is not None or name != names.main:
                    return None
                found = value
        if found is None:
            return b""
        return found.encode("utf-8", "surrogatepass") or None if isinstance(found, str) else None


@lru_cache(256)  # names come from settings and from this package, never from a request
def _wsgi_name(name: str) -> str:
    spelled = name.upper().replace("-", "_")
    return spelled if spelled in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{spelled}"


# Each request makes one of them: a function around a class is another call.
wsgi_headers: Final = _WsgiView
asgi_headers: Final = _AsgiView
mapped_headers: Final = _MappedView


def sole_line(headers: HeaderView, names: HeaderNames) -> bytes | None:
    """Return the line of the main one of these headers, where it is the only line of all of them.

    Returns:
        The line in bytes, the same in each kind of view where it is in ASCII; empty where none of these headers is
        there; ``None`` for anything else, also for an empty line.
    """
    if isinstance(headers, LineView):
        return headers.sole_line(names)
    found: object = None
    for name in names.names:
        for line in headers(name):
            if found is not None or name != names.main:
                return None
            found = line
    if found is None:
        return b""
    return found.encode("utf-8", "surrogatepass") or None if isinstance(found, str) else None
