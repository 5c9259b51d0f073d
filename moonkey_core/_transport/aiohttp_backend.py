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
_MAX_SECTIONS = 64  # of one target


class _Target:
    """What the requests to one URL have in common.

    Attributes:
        request: Stands for them where a connection is chosen or opened. It is never sent.
    """

    __slots__ = ("_host", "_path", "_sections", "request")

    def __init__(self, url: str) -> None:
        parsed = URL(url, encoded=url.isascii())
        self.request = aiohttp.ClientRequest("GET", parsed, loop=asyncio.get_running_loop())
        self._path: str = parsed.raw_path_qs
        self._host: str = self.request.headers["host"]
        self._sections: dict[tuple[str, int], tuple[dict[str, str], bytes]] = {}  # oldest first

    async def header_section(self, fetch: Fetch, length: int) -> bytes:
        """Return the request line and the headers of a call, with the empty line that ends them.

        Requests with the same headers have the same ones, and nearly all calls of a client do.

        Args:
            fetch: The call.
            length: How many bytes its body has.

        Raises:
            ValueError: A header cannot be sent.
        """
        headers = request_headers(fetch)
        kept = self._sections.get((fetch.method, length))
        if kept is not None and kept[0] == headers:
            return kept[1]
        lines = CIMultiDict({"host": self._host, **headers})
        if length or fetch.method != "GET":
            lines["content-length"] = str(length)
        head = await _written(f"{fetch.method} {self._path} HTTP/1.1", lines)
        if kept is None and len(self._sections) >= _MAX_SECTIONS:
            del self._sections[next(iter(self._sections))]
        self._sections[fetch.method, length] = headers, head
        return head


class _Recorder(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def is_closing(self) -> bool:
        """Return ``False``."""
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the data."""
        self.data += data


async def _written(line: str, headers: CIMultiDict[str]) -> bytes:
    """Return what ``aiohttp`` writes at the beginning of a request.

    Raises:
        ValueError: A header cannot be sent.
    """
    loop, recorder = asyncio.get_running_loop(), _Recorder()
    handler = Handler(loop)
    handler.connection_made(recorder)
    writer = StreamWriter(handler, loop)
    await writer.write_headers(line, headers)
    await writer.write_eof()
    return recorder.data


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
            head = await target.header_section(fetch, len(content))
            connection, handler = await connector.lend(target.request)
            if fetch.closes_connection:
                handler.force_close()
            try:
                handler.begin_request(_NEVER_PAUSED)
                handler.send(head + content)
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
