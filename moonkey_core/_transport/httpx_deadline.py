"""A deadline over all the reads of a blocking HTTP call.

The HTTP client's time-outs hold for one read each; a reply that drips in byte by byte never meets one. Here every
read of a socket gets no more time than the whole call has left. (Asynchronous calls need none of this.)
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from moonkey_core import _clock
from moonkey_core._transport.httpx_unread import keep_in_turn, pools_of
from moonkey_core.privates import private, set_private

# Each greenlet has a context of its own, whether gevent came before this module or after it.
_current: ContextVar[float | None] = ContextVar("moonkey_deadline", default=None)


@contextmanager
def reads_until(deadline: float) -> Iterator[None]:
    """Within this block, this thread's socket operations end by ``deadline`` (monotonic seconds)."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def bound_reads(client: httpx.Client) -> None:
    """Make the connections that ``client`` will open obey :func:`reads_until`, and keep replies in turn.

    Raises :class:`~moonkey_core.errors.ConfigurationError` where ``httpx`` is made otherwise than it was.
    """
    keep_in_turn(client, _Backend)


def forget_connections(client: httpx.Client | httpx.AsyncClient) -> None:
    """In the child of a fork: ``client`` opens new connections, the parent's are neither used nor closed."""
    for pool in pools_of(client):
        lock = private(pool, "_optional_thread_lock")
        set_private(pool, "_connections", [])
        set_private(pool, "_requests", [])
        set_private(pool, "_optional_thread_lock", type(lock)())


def _clamped(timeout: float | None) -> float | None:
    deadline = _current.get()
    if deadline is None:
        return timeout
    left = deadline - _clock.elapsed()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline of the call has passed")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose operations obey the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _clamped(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _clamped(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _clamped(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return [str(entry[4][0]) for entry in found]


class _Backend(httpcore.NetworkBackend):
    """Opens connections that obey the deadline."""

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
        if _current.get() is None:  # somebody else's call, by a client that was given
            return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))
        trouble: Exception = httpcore.ConnectError("the host has no address")
        # One address after the other: given a name, the backend would allow each of them the whole time.
        for address in _addresses(host, port):
            try:
                return _Stream(
                    self._backend.connect_tcp(address, port, _clamped(timeout), local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise trouble

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, _clamped(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)
