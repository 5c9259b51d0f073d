"""Replies in turn: over HTTP/1, nothing but their order on a connection binds a reply to its request.

A connection on which something has arrived that nobody asked for is therefore never used again (RFC 9112 section
9.2), whether it came behind a reply, while the connection was idle, or before the first request. ``httpx`` and its
``httpcore`` keep what came behind a reply and read it as the reply to the next request, and have no option against
that. So the network backend of their pools is wrapped here: the last byte of what arrives is held back until more
is asked for. A reply that is complete without that byte was followed by something.

HTTP/2 numbers its streams and needs none of this; what does not begin like an HTTP/1 request passes unchanged.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import httpcore
import httpx

from moonkey_core.privates import changed, private, set_private

_READ_SIZE = 64 * 1024
_HTTP1_REQUEST = re.compile(rb"(?!PRI )[A-Z]+ ")
_STEPS = 16
_SECONDS_FOR_TICKETS = 0.01  # for what TLS itself has to say after its handshake, to be read to the end


class Unasked(httpcore.RemoteProtocolError):
    """Something has arrived before anything was asked, or the end. Nothing was sent."""


class UnaskedByProxy(httpcore.ConnectError):
    """A proxy said more than that the tunnel is there."""


def keep_in_turn(
    client: httpx.Client | httpx.AsyncClient,
    below: Callable[[httpcore.NetworkBackend], httpcore.NetworkBackend] = lambda backend: backend,
) -> None:
    """Make the connections that ``client`` will open keep replies in turn; a second time has no effect.

    Those that it has already, and those of transports that are not of ``httpx``, stay as they are. ``below`` may
    change the network backend of a blocking client. Raises :class:`~moonkey_core.errors.ConfigurationError` where
    ``httpx`` is made otherwise than it was.
    """
    for pool in pools_of(client):
        backend = private(pool, "_network_backend")
        if isinstance(backend, httpcore.AsyncNetworkBackend):
            if not isinstance(backend, _AsyncBackend):
                set_private(pool, "_network_backend", _AsyncBackend(backend))
        elif not isinstance(backend, _Backend):
            set_private(pool, "_network_backend", _Backend(below(backend)))


def check_in_turn(stream: object) -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where a reply came over a connection of another make.

    The attribute of the pools is there then, but has no effect any more.
    """
    if not isinstance(stream, _Stream | _AsyncStream):
        raise changed("httpcore", "ConnectionPool._network_backend")


def pools_of(client: httpx.Client | httpx.AsyncClient) -> list[Any]:
    """The connection pools of a client; transports of other makes have none that is known."""
    transports = (private(client, "_transport"), *private(client, "_mounts").values())
    known = (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
    return [private(one, "_pool") for one in transports if isinstance(one, known)]


class _Turn:
    """Where one connection stands: who has the word, and the byte that is held back."""

    __slots__ = ("_asking", "_counts", "held", "is_fresh")

    def __init__(self) -> None:
        self.held = b""
        self.is_fresh = True
        self._asking = False
        self._counts = False

    @property
    def is_busy(self) -> bool:
        """Whether asking the system would say nothing: something is held back, or a reply is being waited for.

        A pool asks while another thread may already use the connection, and would close it.
        """
        return self.held != b"" or (self._asking and self._counts)

    def begins(self, buffer: bytes) -> bool:
        """Whether these bytes, about to be written, begin a request of HTTP/1."""
        begins = bool(buffer) and not self._asking
        if begins:
            self._asking, self._counts = True, _HTTP1_REQUEST.match(buffer) is not None
        return begins and self._counts

    def release(self) -> bytes:
        """The byte that was held back, if any: somebody wants more."""
        self._asking = self.is_fresh = False
        held, self.held = self.held, b""
        return held

    def hand_out(self, data: bytes) -> bytes:
        """What of these bytes may be read now. A first byte is always wanted, else nobody would be reading."""
        if not self._counts or len(data) < 2:
            return data
        self.held = data[-1:]
        return data[:-1]

    def refusal(self) -> Exception:
        """The error for a connection that may not be used: the pool takes another one, unless it was new."""
        return Unasked("the server closed or spoke before it was asked") if self.is_fresh else _not_available()


def _not_available() -> Exception:
    return httpcore.ConnectionNotAvailable()


def _without_frames(error: BaseException) -> BaseException:
    """The same without tracebacks, which would keep all callers until the garbage collector runs.

    ``httpcore`` translates errors in a ``contextmanager``; from Python 3.13 on, that leaves a circle.
    """
    for one in (error, error.__cause__, error.__context__):
        if one is not None:
            one.__traceback__ = None
    return error


class _Stream(httpcore.NetworkStream):
    """A connection of a blocking client."""

    def __init__(self, stream: httpcore.NetworkStream, is_tls: bool = False) -> None:
        self._stream = stream
        self._is_tls = is_tls
        self._turn = _Turn()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._turn.release() or self._turn.hand_out(self._stream.read(max_bytes, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._turn.begins(buffer) and not self._is_silent():
            raise self._turn.refusal()
        self._stream.write(buffer, timeout)

    def _is_silent(self) -> bool:
        """Whether nothing has arrived: neither here, nor in the layers below, nor in the system."""
        # After its handshake TLS may have something to say to itself, which reading tells from anything else.
        if self._turn.held or (
            self._stream.get_extra_info("is_readable") and not (self._is_tls and self._turn.is_fresh)
        ):
            return False
        try:
            self._stream.read(1, 0.0)
        except httpcore.ReadError as error:
            return isinstance(_without_frames(error).__cause__, BlockingIOError | ssl.SSLWantReadError)
        except httpcore.ReadTimeout as error:
            _without_frames(error)
            return True
        return False

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        if self._turn.held:
            raise UnaskedByProxy("the proxy said more than it was asked")
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), is_tls=True)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._turn.is_busy:
            return self._turn.held != b""
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens connections of a blocking client."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """A connection of an asynchronous client."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, is_tls: bool = False) -> None:
        self._stream = stream
        self._is_tls = is_tls
        self._turn = _Turn()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._turn.release() or self._turn.hand_out(await self._stream.read(max_bytes, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._turn.begins(buffer) and not await self._is_silent():
            raise self._turn.refusal()
        await self._stream.write(buffer, timeout)

    async def _is_silent(self) -> bool:
        """Whether nothing has arrived: neither here, nor in the layers below, nor in the system."""
        if self._turn.held or _would_return(self._stream.read(1)):
            return False
        if not self._stream.get_extra_info("is_readable"):
            return True
        if not (self._is_tls and self._turn.is_fresh):
            return False
        try:  # after its handshake TLS may have something to say to itself, which reading tells from anything else
            await self._stream.read(1, _SECONDS_FOR_TICKETS)
        except (httpcore.ReadTimeout, httpcore.ReadError) as error:
            return isinstance(_without_frames(error), httpcore.ReadTimeout)
        return False

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if self._turn.held:
            raise UnaskedByProxy("the proxy said more than it was asked")
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), is_tls=True)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._turn.is_busy:
            return self._turn.held != b""
        return self._stream.get_extra_info(info)


def _would_return(reading: Coroutine[Any, Any, bytes]) -> bool:
    """Whether a read would end at once: with bytes that the layers below have read already, or with the end.

    It is run up to where it waits for the socket, which is the first future that it yields, and no further.
    """
    try:
        for _ in range(_STEPS):
            if reading.send(None) is not None:
                return False
    except StopIteration:
        return True
    except httpcore.NetworkError:
        return True
    finally:
        reading.close()
    return True


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections of an asynchronous client."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._backend.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)
