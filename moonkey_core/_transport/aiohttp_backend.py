"""Calls sent by ``aiohttp``: a small fraction of what ``httpx`` costs per call, where many are under way at once.

Imported only where the extra ``fast`` is installed and used. Its connections, its writer and its parser are used
without its session, which does more for each request than all of them together: cookies, redirects, proxies,
``.netrc`` and a second attempt, none of which a call may have here.
"""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
from aiohttp.http import StreamWriter
from multidict import CIMultiDict
from yarl import URL

from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport.aiohttp_connections import Connector, Handler, UnsolicitedData
from moonkey_core._transport.causes import cause_of
from moonkey_core._transport.messages import KEEP_ALIVE, Body, Unreadable, request_content, request_headers
from moonkey_core.privates import set_private
from moonkey_core.settings import Settings

_NEVER_PAUSED = 2 * 1024 * 1024
"""More bytes than any reply may have. So reading never pauses, and the end of a reply is seen at once."""

_CALL_ERRORS = (
    aiohttp.ClientError,
    aiohttp.EofStream,
    aiohttp.http.HttpProcessingError,
    Unreadable,
    OSError,
    ValueError,
)
"""What sending a request and reading its reply may raise."""

_MAX_TARGETS = 16


class _Target:
    """What the requests to one URL have in common.

    Attributes:
        request: Stands for them where a connection is chosen or opened. It is never sent.
        path: The request target (RFC 9112 section 3.2.1).
        host: The value of the ``Host`` header.
    """

    __slots__ = ("host", "path", "request")

    def __init__(self, url: str) -> None:
        parsed = URL(url, encoded=url.isascii())
        self.request = aiohttp.ClientRequest("GET", parsed, loop=asyncio.get_running_loop())
        self.path: str = parsed.raw_path_qs
        self.host: str = self.request.headers["host"]


class AsyncSender:
    """The sender of the calls of the tasks of one event loop.

    It keeps no cookies, follows no redirects, uses neither proxies nor ``.netrc``, sends nothing twice, and has no
    limits in time or number. Those limits are set by the exchange.
    """

    few_calls: int = 64

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool) -> None:
        self._settings = settings
        # Without a context there are plain http addresses only; should that change, the default one verifies.
        self._verify = tls if isinstance(tls, ssl.SSLContext) else True
        self._connector: Connector | None = None  # made when it is needed, as it has to be closed
        self._targets: dict[str, _Target] = {}  # by URL, oldest first

    def _opened(self) -> Connector:
        if self._connector is None:
            self._connector = Connector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=self._verify)
        elif self._connector.closed:
            raise RuntimeError("The connections of this event loop are closed.")
        return self._connector

    def _target(self, url: str) -> _Target:
        found = self._targets.get(url)
        if found is None:
            found = _Target(url)
            if "?" in url:
                return found  # one of a kind, and it may hold a secret
            if len(self._targets) >= _MAX_TARGETS:
                del self._targets[next(iter(self._targets))]
            self._targets[url] = found
        return found

    async def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send a request once and read the reply. The caller cancels it when the time is over."""
        connector = self._opened()
        try:
            target = self._target(fetch.url)
            content = request_content(fetch) or b""
            headers = CIMultiDict({"host": target.host, **request_headers(fetch)})
            if content or fetch.method != "GET":
                headers["content-length"] = str(len(content))
            connection, handler = await connector.lend(target.request)
            if fetch.closes_connection:
                handler.force_close()
            try:
                handler.begin_request(_NEVER_PAUSED)
                writer = StreamWriter(handler, asyncio.get_running_loop())
                await writer.write_headers(f"{fetch.method} {target.path} HTTP/1.1", headers)
                await writer.write_eof(content)
                reply = await _read(handler, fetch.max_bytes)
            except BaseException:
                connection.close()  # it has unread data
                raise
            connection.release()
            return reply
        except _CALL_ERRORS as error:
            return _transport_error(error)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._connector is not None:
            await self._connector.close()

    def abandon(self) -> None:
        """Forget the connections without closing them, in the child of a fork or after the end of the event loop.

        Closing them would remove them from the selector, which parent and child share.
        """
        if self._connector is not None:
            set_private(self._connector, "_closed", True)


async def _read(handler: Handler, limit: int) -> Reply:
    """Read the reply to a request; ``limit`` is the most bytes of its body.

    Raises:
        Unreadable: It is too large or malformed.
        ClientError: It does not arrive whole.
    """
    while True:
        message, content = await handler.read()
        if message.code >= 200 or message.code == 101:  # others inform of what is to come (RFC 9110 section 15.2)
            break
    body = Body(message.headers.get("content-encoding"), limit)
    while not content.is_eof():
        body.add(await content.readany())
    body.add(content.read_nowait())
    return body.reply(message.code, message.headers.items())


def _transport_error(error: Exception) -> TransportError:
    """Return what an exception of :data:`_CALL_ERRORS` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError("connect", unsent=True, cause=cause_of(error))
    return TransportError("broken", unsent=isinstance(error, UnsolicitedData), cause=cause_of(error))
