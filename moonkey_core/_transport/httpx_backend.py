"""Calls sent by ``httpx``: over small pools of our own, or over a client that the app has made."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, Literal, TypeVar

import httpx

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport.causes import cause_of
from moonkey_core._transport.httpx_connections import (
    UnsolicitedData,
    check_guarded,
    forget_connections,
    guard_connections,
    reads_until,
)
from moonkey_core._transport.messages import (
    KEEP_ALIVE,
    READ_SIZE,
    Body,
    Unreadable,
    request_content,
    request_headers,
)
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

_POOL_SIZE = 4
"""Connections per pool. A pool of ``httpcore`` goes through all of its connections for every request: with 64
calls at the same time, 16 pools of 4 make ten times as many calls a second as one of 64."""

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_HTTP2_LOGGERS = ("hpack.hpack", "hpack.table")

_CALL_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, Unreadable, OSError, ValueError)
"""What sending a request and reading its reply may raise: besides the errors of ``httpx``, those of TLS
(``ssl.SSLError``) and of a host name in a ``Location`` (``UnicodeError``)."""

C = TypeVar("C", httpx.Client, httpx.AsyncClient)

_operation: ContextVar[str | None] = ContextVar("moonkey_operation", default=None)
"""The operation of the call that is being sent in this context, if any."""


class _LogMask(logging.Filter):
    """A log filter that removes paths and headers from the records of our own calls: they can contain a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        operation = _operation.get()
        if operation is None:
            return True
        if record.name == "httpx":
            args = record.args if isinstance(record.args, tuple) else ()
            shown = tuple(_without_path(arg, operation) if isinstance(arg, httpx.URL) else arg for arg in args)
            if shown == args:  # no URL was found: the record is made otherwise than those that are known
                record.msg, shown = "HTTP Request: %s", (operation,)
            record.args = shown
        else:
            record.msg, record.args = str(record.msg).split(" ", 1)[0], ()  # the name of the event
        return True


def _without_path(url: httpx.URL, operation: str) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}/({operation})"


_mask = _LogMask()


def _mask_logs() -> None:
    for name in (*_LOGGERS, *_HTTP2_LOGGERS):
        logging.getLogger(name).addFilter(_mask)  # a second time has no effect


@contextmanager
def _sending(operation: str) -> Iterator[None]:
    token = _operation.set(operation)
    try:
        yield
    finally:
        _operation.reset(token)


class _Pools(Generic[C]):
    """Small clients, made when they are needed, each with a few connections. The limiter bounds their number.

    A client whose call was cancelled is retired: ``httpcore`` may count a connection or a request of that call for
    ever, and would be full before long.
    """

    def __init__(self, make: Callable[[], C], http_client: C | None) -> None:
        self._make: Callable[[], C] = make
        self._http_client: C | None = http_client
        self._closed = False
        self._lock = threading.Lock()
        self._pools: list[_Pool[C]] = []
        self._retired: list[_Pool[C]] = []

    @contextmanager
    def client(self) -> Iterator[C]:
        """Lend a client with a free connection, or the one that was given."""
        if self._http_client is not None:
            if self._http_client.is_closed:
                raise ConfigurationError("The http_client of this MoonKey client was closed by its owner.")
            yield self._http_client
            return
        with self._lock:
            if self._closed:
                raise RuntimeError("The connections are closed.")
            pool = min(self._pools, key=_in_use, default=None)
            if pool is None or pool.in_use >= _POOL_SIZE:
                pool = _Pool(self._make())
                self._pools.append(pool)
            pool.in_use += 1
        try:
            yield pool.client
        except Exception:
            raise
        except BaseException:  # cancelled, or ended by a signal or a time-out of gevent
            with self._lock:
                if pool in self._pools:
                    self._pools.remove(pool)
                    self._retired.append(pool)
            raise
        finally:
            with self._lock:
                pool.in_use -= 1

    def check(self, response: httpx.Response) -> None:
        """Raise ``ConfigurationError`` where a client of our own has not used a guarded connection."""
        if self._http_client is None:
            check_guarded(response.extensions.get("network_stream"))

    def take_all(self) -> list[C]:
        """Return all clients of our own, to be closed. No more are lent."""
        with self._lock:
            self._closed = True
            self._retired += self._pools
            clients = [pool.client for pool in self._retired]
            self._pools.clear()
            self._retired.clear()
        return clients

    def take_retired(self) -> list[C]:
        """Return the retired clients without a call under way, to be closed."""
        with self._lock:
            idle = [pool.client for pool in self._retired if not pool.in_use]
            self._retired = [pool for pool in self._retired if pool.in_use]
        return idle

    def take_idle(self) -> list[C]:
        """Return the clients without a call under way, to be closed. No more are lent.

        The others may be opening connections, and are returned by a later call.
        """
        with self._lock:
            self._closed = True
            self._retired += self._pools
            self._pools = []
        return self.take_retired()


class _Pool(Generic[C]):
    """A client, and how many calls it is lent to."""

    __slots__ = ("client", "in_use")

    def __init__(self, client: C) -> None:
        self.client: C = client
        self.in_use = 0


def _in_use(pool: _Pool[Any]) -> int:
    return pool.in_use


class SyncSender:
    """The sender of the calls of threads."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool, http_client: httpx.Client | None) -> None:
        self._settings = settings
        self._pools = _Pools(lambda: _own_client(settings, tls), http_client)
        check_httpx()
        if http_client is not None:
            guard_connections(http_client)
        _mask_logs()

    def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send a request once and read the reply, within ``seconds``."""
        end = _clock.elapsed() + seconds
        for retired in self._pools.take_retired():
            with suppress(*_CALL_ERRORS):
                retired.close()
        try:
            with _sending(fetch.operation), self._pools.client() as client, reads_until(end):
                request = _request(fetch, self._settings, seconds)
                response = client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    self._pools.check(response)
                    body = _body(response, fetch)
                    for chunk in _read_already(response) or response.iter_raw(READ_SIZE):
                        body.add(chunk)
                        if _clock.elapsed() > end:
                            return TransportError("timeout", cause="timed out")
                finally:
                    response.close()
            return body.reply(response.status_code, response.headers.multi_items())
        except httpx.HTTPStatusError as error:
            return _reply_of_raised(error)
        except _CALL_ERRORS as error:
            return _transport_error(error)

    def close(self) -> None:
        """Close all connections of our own that are not in use. To be called again after each call under way."""
        for client in self._pools.take_idle():
            client.close()


class AsyncSender:
    """The sender of the calls of the tasks of one event loop."""

    few_calls: int = 8

    def __init__(
        self, settings: Settings, tls: ssl.SSLContext | bool, http_client: httpx.AsyncClient | None
    ) -> None:
        self._settings = settings
        self._pools = _Pools(lambda: _own_async_client(settings, tls), http_client)
        if http_client is not None:
            guard_connections(http_client)
        _mask_logs()

    async def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send a request once and read the reply. The caller cancels it when the time is over."""
        for retired in self._pools.take_retired():
            with suppress(*_CALL_ERRORS):
                await retired.aclose()
        try:
            with _sending(fetch.operation), self._pools.client() as client:
                request = _request(fetch, self._settings, seconds)
                response = await client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    self._pools.check(response)
                    body, whole = _body(response, fetch), _read_already(response)
                    if whole is not None:
                        body.add(whole[0])
                    else:
                        async for chunk in response.aiter_raw(READ_SIZE):
                            body.add(chunk)
                finally:
                    await response.aclose()
            return body.reply(response.status_code, response.headers.multi_items())
        except httpx.HTTPStatusError as error:
            return _reply_of_raised(error)
        except _CALL_ERRORS as error:
            return _transport_error(error)

    async def aclose(self) -> None:
        """Close all connections of our own."""
        for client in self._pools.take_all():
            await client.aclose()

    def abandon(self) -> None:
        """Do nothing: connections that are forgotten close nothing of the parent process."""


def _own_client(settings: Settings, tls: ssl.SSLContext | bool) -> httpx.Client:
    client = httpx.Client(**_client_options(settings, tls))
    guard_connections(client)
    return client


def _own_async_client(settings: Settings, tls: ssl.SSLContext | bool) -> httpx.AsyncClient:
    client = httpx.AsyncClient(**_client_options(settings, tls))
    guard_connections(client)
    return client


@cache
def check_httpx() -> None:
    """Check for the private attributes of ``httpx`` that are needed here, once, before any call depends on them.

    Raises:
        ConfigurationError: One is missing.
    """
    blocking = httpx.Client(verify=False, trust_env=False)  # noqa: S501 - neither ever connects
    other = httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501
    guard_connections(blocking)
    guard_connections(other)
    for client in (blocking, other):
        forget_connections(client)


def _client_options(settings: Settings, tls: ssl.SSLContext | bool) -> dict[str, Any]:
    return {
        "verify": tls,
        "trust_env": settings.trust_env,
        "limits": httpx.Limits(
            max_connections=_POOL_SIZE, max_keepalive_connections=_POOL_SIZE, keepalive_expiry=KEEP_ALIVE
        ),
        # A jar that keeps nothing: a cookie set by a reply must not be sent with the call of another user.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    }


def _request(fetch: Fetch, settings: Settings, seconds: float) -> httpx.Request:
    # Not client.build_request(): that would add the headers, cookies and parameters of a client that was given.
    timeout = httpx.Timeout(max(seconds, 0.001)).as_dict()
    return httpx.Request(
        fetch.method,
        fetch.url,
        headers=request_headers(fetch),
        content=request_content(fetch),
        extensions={"timeout": timeout},
    )


def _body(response: httpx.Response, fetch: Fetch) -> Body:
    encoding = None if response.is_stream_consumed else response.headers.get("content-encoding")
    return Body(encoding, fetch.max_bytes)


def _read_already(response: httpx.Response) -> tuple[bytes] | None:
    """Return the body of a reply that a hook of a given client, or its transport, has read and decoded already."""
    return (response.content,) if response.is_stream_consumed else None


def _reply_of_raised(error: httpx.HTTPStatusError) -> Reply:
    """Return the reply behind an error that a hook of a given client has raised. Its body is lost."""
    return Reply(error.response.status_code, dict(error.response.headers), b"")


def _transport_error(error: Exception) -> TransportError:
    """Return what an exception of :data:`_CALL_ERRORS` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    cause = cause_of(error)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        kind: Literal["timeout", "connect"] = "timeout" if isinstance(error, httpx.TimeoutException) else "connect"
        return TransportError(kind, unsent=True, cause=cause)
    if isinstance(error, httpx.TimeoutException):
        return TransportError("timeout", cause=cause)
    return TransportError("broken", unsent=isinstance(error.__cause__, UnsolicitedData), cause=cause)
