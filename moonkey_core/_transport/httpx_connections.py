"""The connections of ``httpx`` pools: no unsolicited data becomes a reply, and no read outlasts the call.

**Unsolicited data.** Over HTTP/1 nothing but their order on a connection binds a reply to its request. A
connection on which data arrives that no request caused is therefore never used again (RFC 9112 section 9.2),
whether the data came behind a reply, while the connection was idle, or before the first request. ``httpx`` and its
``httpcore`` keep what came behind a reply and read it as the reply to the next request, and have no option against
that. So the network backend of their pools is wrapped here: the last byte of what arrives is held back until more
is read. A reply that is complete without that byte was followed by something. HTTP/2 numbers its streams and
needs none of this; what does not begin like an HTTP/1 request passes unchanged.

**Deadline.** The time-outs of a blocking ``httpx`` client hold for one read each; a reply that arrives byte by
byte never meets one. Here each operation of a socket gets no more time than the whole call has left. Asynchronous
calls need none of this: they are cancelled.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from moonkey_core import _clock
from moonkey_core.privates import changed, private, set_private

_HTTP1_REQUEST = re.compile(rb"(?!PRI )[A-Z]+ ")
_MAX_STEPS = 16
_TICKET_SECONDS = 0.01  # for the session tickets that TLS sends after its handshake, to be read to the end

# Each greenlet has a context of its own, whether gevent came before this module or after it.
_deadline: ContextVar[float | None] = ContextVar("moonkey_deadline", default=None)


class UnsolicitedData(httpcore.RemoteProtocolError):
    """Data, or the end of the connection, has arrived before a request was sent. Nothing was sent."""


class UnsolicitedProxyData(httpcore.ConnectError):
    """A proxy sent more than its reply to ``CONNECT``."""


@contextmanager
def reads_until(deadline: float) -> Iterator[None]:
    """End all socket operations of this thread within this block by ``deadline`` (monotonic seconds)."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def guard_connections(client: httpx.Client | httpx.AsyncClient) -> None:
    """Wrap the connections that ``client`` will open; a second call has no effect.

    Connections that are open already, and those of transports that are not of ``httpx``, stay as they are.

    Raises:
        ConfigurationError: The installed ``httpx`` or ``httpcore`` is made otherwise than those that are known.
    """
    for pool in _pools_of(client):
        backend = private(pool, "_network_backend")
        if isinstance(backend, httpcore.AsyncNetworkBackend):
            if not isinstance(backend, _AsyncBackend):
                set_private(pool, "_network_backend", _AsyncBackend(backend))
        elif not isinstance(backend, _Backend):
            set_private(pool, "_network_backend", _Backend(backend))


def check_guarded(stream: object) -> None:
    """Check the connection that a reply came over.

    Raises:
        ConfigurationError: It is not one of ours: the attribute of the pools is there, but has no effect any more.
    """
    if not isinstance(stream, _Stream | _AsyncStream):
        raise changed("httpcore", "ConnectionPool._network_backend")


def forget_connections(client: httpx.Client | httpx.AsyncClient) -> None:
    """Make ``client`` open new connections in the child of a fork.

    Those of the parent process are neither used nor closed.
    """
    for pool in _pools_of(client):
        lock = private(pool, "_optional_thread_lock")
        set_private(pool, "_connections", [])
        set_private(pool, "_requests", [])
        set_private(pool, "_optional_thread_lock", type(lock)())


def _pools_of(client: httpx.Client | httpx.AsyncClient) -> list[Any]:
    """Return the connection pools of a client. Transports of other makes have none that is known."""
    transports = (private(client, "_transport"), *private(client, "_mounts").values())
    known = (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
    return [private(one, "_pool") for one in transports if isinstance(one, known)]


def _remaining(timeout: float | None) -> float | None:
    """Return ``timeout`` (seconds), or less where the call has less time left. Raises where it has none."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - _clock.elapsed()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline of the call has passed")
    return left if timeout is None else min(timeout, left)


class _UnreadGuard:
    """The state of one connection: whether a request was sent, and the byte that is held back.

    Attributes:
        held: The last byte that has arrived, or nothing.
        is_fresh: Whether nothing has been read from the connection yet.
    """

    __slots__ = ("_is_http1", "_request_sent", "held", "is_fresh")

    def __init__(self) -> None:
        self.held = b""
        self.is_fresh = True
        self._request_sent = False
        self._is_http1 = False

    @property
    def is_busy(self) -> bool:
        """Whether asking the system says nothing: a byte is held back, or a reply is being waited for.

        A pool asks while another thread may already use the connection, and would close it.
        """
        return self.held != b"" or (self._request_sent and self._is_http1)

    def starts_request(self, buffer: bytes) -> bool:
        """Return whether these bytes, which are about to be written, begin a request of HTTP/1."""
        starts = bool(buffer) and not self._request_sent
        if starts:
            self._request_sent, self._is_http1 = True, _HTTP1_REQUEST.match(buffer) is not None
        return starts and self._is_http1

    def release(self) -> bytes:
        """Return the byte that was held back, if any: the reader wants more."""
        self._request_sent = self.is_fresh = False
        held, self.held = self.held, b""
        return held

    def hold_back(self, data: bytes) -> bytes:
        """Return what may be read now. The first byte always may, since the reader is waiting for one."""
        if not self._is_http1 or len(data) < 2:
            return data
        self.held = data[-1:]
        return data[:-1]

    def error(self) -> Exception:
        """Make the error for a connection that must not be used. The pool takes another, unless it was new."""
        if self.is_fresh:
            return UnsolicitedData("the server closed or spoke before it was asked")
        error: Exception = httpcore.ConnectionNotAvailable()
        return error


class _Guarded:
    """What connections of blocking and of asynchronous clients have in common."""

    def __init__(self, stream: Any, is_tls: bool = False) -> None:
        self._stream = stream
        self._is_tls = is_tls
        self._guard = _UnreadGuard()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._guard.is_busy:
            return self._guard.held != b""
        return self._stream.get_extra_info(info)

    def _check_before_tls(self) -> None:
        if self._guard.held:
            raise UnsolicitedProxyData("the proxy said more than it was asked")

    @property
    def _expects_tickets(self) -> bool:
        """Whether TLS may have sent session tickets, which only reading tells from unsolicited data."""
        return self._is_tls and self._guard.is_fresh


class _Stream(_Guarded, httpcore.NetworkStream):
    """A connection of a blocking client."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._guard.release() or self._guard.hold_back(self._stream.read(max_bytes, _remaining(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._guard.starts_request(buffer) and not self._is_drained():
            raise self._guard.error()
        self._stream.write(buffer, _remaining(timeout))

    def _is_drained(self) -> bool:
        """Return whether no data is unread: neither here, nor in the layers below, nor in the system."""
        if self._guard.held or (self._stream.get_extra_info("is_readable") and not self._expects_tickets):
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
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._check_before_tls()
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _remaining(timeout)), is_tls=True)


class _Backend(httpcore.NetworkBackend):
    """The network backend that opens connections of a blocking client."""

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
        # Each address is tried singly: given a name, the backend would allow each of them the whole time. Without
        # a deadline it is a call of the owner of a client that was given to us.
        hosts = [host] if _deadline.get() is None else _addresses(host, port)
        last_error: Exception = httpcore.ConnectError("the host has no address")
        for one in hosts:
            try:
                connection = self._backend.connect_tcp(
                    one, port, _remaining(timeout), local_address, socket_options
                )
                return _Stream(connection)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, _remaining(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _AsyncStream(_Guarded, httpcore.AsyncNetworkStream):
    """A connection of an asynchronous client."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._guard.release() or self._guard.hold_back(await self._stream.read(max_bytes, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._guard.starts_request(buffer) and not await self._is_drained():
            raise self._guard.error()
        await self._stream.write(buffer, timeout)

    async def _is_drained(self) -> bool:
        """Return whether no data is unread: neither here, nor in the layers below, nor in the system."""
        if self._guard.held or _has_buffered_data(self._stream.read(1)):
            return False
        if not self._stream.get_extra_info("is_readable"):
            return True
        if not self._expects_tickets:
            return False
        try:
            await self._stream.read(1, _TICKET_SECONDS)
        except (httpcore.ReadTimeout, httpcore.ReadError) as error:
            return isinstance(_without_frames(error), httpcore.ReadTimeout)
        return False

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._check_before_tls()
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), is_tls=True)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """The network backend that opens connections of an asynchronous client."""

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


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return [str(entry[4][0]) for entry in found]


def _has_buffered_data(reading: Coroutine[Any, Any, bytes]) -> bool:
    """Return whether a read would end at once: with bytes that the layers below have read, or with the end.

    The coroutine is run up to where it waits for the socket, which is the first future that it yields, and no
    further.
    """
    try:
        for _ in range(_MAX_STEPS):
            if reading.send(None) is not None:
                return False
    except StopIteration:
        return True
    except httpcore.NetworkError:
        return True
    finally:
        reading.close()
    return True


def _without_frames(error: BaseException) -> BaseException:
    """Take off the tracebacks, which would keep all callers alive until the garbage collector runs.

    ``httpcore`` translates errors in a ``contextmanager``; from Python 3.13 on, that leaves a reference cycle.
    """
    for one in (error, error.__cause__, error.__context__):
        if one is not None:
            one.__traceback__ = None
    return error
