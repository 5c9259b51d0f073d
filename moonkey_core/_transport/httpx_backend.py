"""Calls sent by ``httpx``: over small pools of our own, or over a client that somebody else has made."""

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
from moonkey_core._transport.httpx_deadline import bound_reads, forget_connections, reads_until
from moonkey_core._transport.httpx_unread import Unasked, check_in_turn, keep_in_turn
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
"""Connections per pool. A pool of httpcore looks at each of its connections for every request; with 64 at once, 16
pools of 4 carry ten times as many calls a second as one of 64 (4 and 8 measured alike, 16 half as much)."""

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_HTTP2_LOGGERS = ("hpack.hpack", "hpack.table")

_TROUBLE = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, Unreadable, OSError, ValueError)
"""What sending a request and reading its reply may raise: besides the client's own errors, those that it lets
through of TLS (``ssl.SSLError``) and of a host name that a reply's ``Location`` holds (``UnicodeError``)."""

C = TypeVar("C", httpx.Client, httpx.AsyncClient)

_operation: ContextVar[str | None] = ContextVar("moonkey_operation", default=None)
"""The operation whose call is being sent right here, if any."""


class _Mask(logging.Filter):
    """Takes out of the records of our own calls what could name a user or show a key: paths and headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        operation = _operation.get()
        if operation is None:
            return True
        if record.name == "httpx":
            args = record.args if isinstance(record.args, tuple) else ()
            shown = tuple(_without_path(arg, operation) if isinstance(arg, httpx.URL) else arg for arg in args)
            if shown == args:  # no URL to be found: written otherwise than we know
                record.msg, shown = "HTTP Request: %s", (operation,)
            record.args = shown
        else:
            record.msg, record.args = str(record.msg).split(" ", 1)[0], ()  # the name of what happened
        return True


def _without_path(url: httpx.URL, operation: str) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}/({operation})"


_mask = _Mask()


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
    """Small clients, made at need, each with a few connections. No more is in use than the limiter lets in.

    One with a call that was broken off is given no more: ``httpcore`` may count a connection or a request of it
    for ever, if that came while it was putting things in order, and would be full before long.
    """

    def __init__(self, make: Callable[[], C], given: C | None) -> None:
        self._make: Callable[[], C] = make
        self._given: C | None = given
        self._closed = False
        self._lock = threading.Lock()
        self._pools: list[_Pool[C]] = []
        self._left: list[_Pool[C]] = []

    @contextmanager
    def client(self) -> Iterator[C]:
        """A client with a connection to spare, or the one that was given."""
        if self._given is not None:
            if self._given.is_closed:
                raise ConfigurationError("The http_client of this MoonKey client was closed by its owner.")
            yield self._given
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
                    self._left.append(pool)
            raise
        finally:
            with self._lock:
                pool.in_use -= 1

    def check(self, response: httpx.Response) -> None:
        """Raise ``ConfigurationError`` where a client of our own has not used a connection that keeps in turn."""
        if self._given is None:
            check_in_turn(response.extensions.get("network_stream"))

    def take_all(self) -> list[C]:
        """All clients of our own, to be closed. From now on there are none."""
        with self._lock:
            self._closed = True
            self._left += self._pools
            clients = [pool.client for pool in self._left]
            self._pools.clear()
            self._left.clear()
        return clients

    def take_left(self) -> list[C]:
        """Those that are given to nobody any more and that nobody uses, to be closed."""
        with self._lock:
            idle = [pool.client for pool in self._left if not pool.in_use]
            self._left = [pool for pool in self._left if pool.in_use]
        return idle

    def take_idle(self) -> list[C]:
        """Those that nobody uses, to be closed; the others may be opening connections, and are taken later.

        No more are made from now on.
        """
        with self._lock:
            self._closed = True
            self._left += self._pools
            self._pools = []
        return self.take_left()


class _Pool(Generic[C]):
    __slots__ = ("client", "in_use")

    def __init__(self, client: C) -> None:
        self.client: C = client
        self.in_use = 0


def _in_use(pool: _Pool[Any]) -> int:
    return pool.in_use


class SyncSender:
    """Sends calls from threads."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool, given: httpx.Client | None) -> None:
        self._settings = settings
        self._pools = _Pools(lambda: _own_client(settings, tls), given)
        check_httpx()
        if given is not None:
            bound_reads(given)
        _mask_logs()

    def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send once and read the reply, in so many seconds."""
        end = _clock.elapsed() + seconds
        for left in self._pools.take_left():
            with suppress(*_TROUBLE):
                left.close()
        try:
            with _sending(fetch.operation), self._pools.client() as client, reads_until(end):
                request = _request(fetch, self._settings, seconds)
                response = client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    self._pools.check(response)
                    body = _body(response, fetch)
                    for chunk in _whole(response) or response.iter_raw(READ_SIZE):
                        body.add(chunk)
                        if _clock.elapsed() > end:
                            return TransportError("timeout", cause="timed out")
                finally:
                    response.close()
            return body.reply(response.status_code, response.headers.multi_items())
        except httpx.HTTPStatusError as error:
            return _raised_by_a_hook(error)
        except _TROUBLE as error:
            return _transport_error(error)

    def close(self) -> None:
        """Close all connections of our own that are not in use. To be called again when one comes free."""
        for client in self._pools.take_idle():
            client.close()


class AsyncSender:
    """Sends calls from the tasks of one event loop."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool, given: httpx.AsyncClient | None) -> None:
        self._settings = settings
        self._pools = _Pools(lambda: _own_async_client(settings, tls), given)
        if given is not None:
            keep_in_turn(given)
        _mask_logs()

    async def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send once and read the reply. Whoever calls ends it when the time is over."""
        for left in self._pools.take_left():
            with suppress(*_TROUBLE):
                await left.aclose()
        try:
            with _sending(fetch.operation), self._pools.client() as client:
                request = _request(fetch, self._settings, seconds)
                response = await client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    self._pools.check(response)
                    body, whole = _body(response, fetch), _whole(response)
                    if whole is not None:
                        body.add(whole[0])
                    else:
                        async for chunk in response.aiter_raw(READ_SIZE):
                            body.add(chunk)
                finally:
                    await response.aclose()
            return body.reply(response.status_code, response.headers.multi_items())
        except httpx.HTTPStatusError as error:
            return _raised_by_a_hook(error)
        except _TROUBLE as error:
            return _transport_error(error)

    async def aclose(self) -> None:
        """Close all connections of our own."""
        for client in self._pools.take_all():
            await client.aclose()

    def abandon(self) -> None:
        """In the child of a fork: the connections are the parent's. Forgotten, they do no harm."""


def forget_parent(given: httpx.Client | httpx.AsyncClient) -> None:
    """In the child of a fork: make a client that was given open connections of its own."""
    forget_connections(given)


def _own_client(settings: Settings, tls: ssl.SSLContext | bool) -> httpx.Client:
    client = httpx.Client(**_client_options(settings, tls))
    bound_reads(client)
    return client


def _own_async_client(settings: Settings, tls: ssl.SSLContext | bool) -> httpx.AsyncClient:
    client = httpx.AsyncClient(**_client_options(settings, tls))
    keep_in_turn(client)
    return client


@cache
def check_httpx() -> None:
    """Reach once for all that ``httpx`` keeps to itself and that is needed here, before any call depends on it.

    Raises :class:`~moonkey_core.errors.ConfigurationError` where something is missing.
    """
    blocking = httpx.Client(verify=False, trust_env=False)  # noqa: S501 - neither ever connects
    other = httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501
    bound_reads(blocking)
    keep_in_turn(other)
    for client in (blocking, other):
        forget_connections(client)


def _client_options(settings: Settings, tls: ssl.SSLContext | bool) -> dict[str, Any]:
    return {
        "verify": tls,
        "trust_env": settings.trust_env,
        "limits": httpx.Limits(
            max_connections=_POOL_SIZE, max_keepalive_connections=_POOL_SIZE, keepalive_expiry=KEEP_ALIVE
        ),
        # A jar that takes nothing: a cookie set by a reply must not travel with anybody's next call.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    }


def _request(fetch: Fetch, settings: Settings, seconds: float) -> httpx.Request:
    # Not client.build_request(): that would add the headers, cookies and parameters of a client that was given.
    timeout = httpx.Timeout(max(seconds, 0.001)).as_dict()
    return httpx.Request(
        fetch.method,
        fetch.url,
        headers=request_headers(fetch, settings),
        content=request_content(fetch),
        extensions={"timeout": timeout},
    )


def _body(response: httpx.Response, fetch: Fetch) -> Body:
    encoding = None if response.is_stream_consumed else response.headers.get("content-encoding")
    return Body(encoding, fetch.max_bytes)


def _whole(response: httpx.Response) -> tuple[bytes] | None:
    """The body of a reply that a hook of a given client, or its transport, has read and decoded already."""
    return (response.content,) if response.is_stream_consumed else None


def _raised_by_a_hook(error: httpx.HTTPStatusError) -> Reply:
    """A given client raises for the status of a reply and drops its body; the status is all that is left."""
    return Reply(error.response.status_code, dict(error.response.headers), b"")


def _transport_error(error: Exception) -> TransportError:
    """What an exception of :data:`_TROUBLE` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    cause = cause_of(error)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        kind: Literal["timeout", "connect"] = "timeout" if isinstance(error, httpx.TimeoutException) else "connect"
        return TransportError(kind, unsent=True, cause=cause)
    if isinstance(error, httpx.TimeoutException):
        return TransportError("timeout", cause=cause)
    return TransportError("broken", unsent=isinstance(error.__cause__, Unasked), cause=cause)
