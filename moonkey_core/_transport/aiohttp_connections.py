"""The connections of ``aiohttp``: no unsolicited data becomes a reply.

``aiohttp`` reads on while a connection is idle, and takes what came meanwhile for the reply to the next request.
Here a connection notes when a request begins, and is not used again once data has arrived that belongs to none
(RFC 9112 section 9.2; see ``httpx_connections``). What follows a reply within one piece is found by feeding the
parser all of it but the last byte: a reply that is complete without that byte was followed by something. A piece
that is one reply of exactly the length that it states needs no second look: its body ends where the piece ends.
"""

from __future__ import annotations

import asyncio
import select
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from moonkey_core._transport.limiter import LoopThrottle
from moonkey_core.privates import changed, set_private

_TICKET_ITERATIONS = 4  # of the event loop, for the session tickets that TLS sends after its handshake

_LENGTH = b"\r\ncontent-length:"

_OPENING_SECONDS = 0.0003  # of CPU time, in one iteration of the event loop
_NO_TIMEOUTS = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the exchange has one for the whole call


class Connector(aiohttp.TCPConnector):
    """A connection pool that lends connections without unread data."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        set_private(self, "_factory", partial(Handler, loop=asyncio.get_running_loop()))
        self._throttle = LoopThrottle(_OPENING_SECONDS)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        if not self._throttle.passes():
            await self._throttle.wait()
        return await super()._create_connection(req, traces, timeout)

    async def lend(self, request: aiohttp.ClientRequest) -> tuple[Connection, Handler]:
        """Return a connection for one request, to be released or closed after it.

        Raises:
            ClientError: There is none.
        """
        while True:
            connection = await self.connect(request, [], _NO_TIMEOUTS)
            handler = connection.protocol
            if not isinstance(handler, Handler):
                connection.close()
                raise changed("aiohttp", "BaseConnector._factory")
            try:
                is_drained = handler.is_quiet() or await handler.is_drained()
            except BaseException:
                connection.close()
                raise
            if handler.owes_reply:  # a pool keeps none whose reply has not ended: so our methods were not called
                connection.close()
                raise changed("aiohttp", "ResponseHandler.feed_data")
            if is_drained:
                return connection, handler
            fresh = handler.is_fresh
            connection.close()
            if fresh:
                raise UnsolicitedData


class UnsolicitedData(aiohttp.ClientError):
    """Data, or the end of the connection, has arrived before a request was sent. Nothing was sent."""


def check_aiohttp() -> None:
    """Check for the private attributes of ``aiohttp`` that are needed here.

    Raises:
        ConfigurationError: One is missing.
    """
    made = aiohttp.BaseConnector.__init__.__code__.co_names
    for name in ("_factory", "_closed"):
        if name not in made:
            raise changed("aiohttp", f"BaseConnector.{name}")


class Handler(ResponseHandler):
    """A connection that notes when a reply is due, and is closed by data that arrives at any other time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.is_fresh = True
        self._awaits_reply = False  # between a request and the end of its reply
        self._body: Any = None  # of the reply, once its headers have arrived
        self._has_unsolicited_data = False
        self._is_paused = False
        self._poll: select.poll | None = None

    def begin_request(self, buffer: int) -> None:
        """Note that a request begins, and expect its reply; ``buffer`` is how many bytes of it may be unread."""
        self.is_fresh, self._awaits_reply, self._body = False, True, None
        self.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=buffer)

    def send(self, request: bytes) -> None:
        """Send a whole request. What the system does not take at once is sent while its reply is awaited.

        Raises:
            ClientConnectionResetError: The connection is closed.
        """
        if self.transport is None or self.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("The connection is closed.")
        self.transport.write(request)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Note that the headers of a reply have arrived."""
        message, body = data
        if self._body is not None:
            self._taint()  # a second reply
        elif message.code >= 200:
            self._body = body
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Feed the parser with what has arrived. No bytes: a reader wants more of what is here."""
        if not data:
            super().data_received(data)
            return
        if not self._is_reply_due():
            self._taint()
            self.close()
            return
        if self._body is None and (size := _sole_body(data)):
            super().data_received(data)
            if not self._is_reply_due() and getattr(self._body, "total_bytes", -1) != size:
                self._taint()  # it is not what it looked like
            return
        if len(data) > 1:
            super().data_received(data[:-1])
            if not self._is_reply_due():
                self._taint()
                return
        super().data_received(data[-1:])

    def pause_reading(self) -> None:
        """Note that there is something to resume."""
        self._is_paused = True
        super().pause_reading()

    def resume_reading(self, *options: Any, **named: Any) -> None:
        """Resume what was paused. The reader of a body asks for it with each piece, and mostly nothing was."""
        if self._is_paused:
            self._is_paused = False
            super().resume_reading(*options, **named)

    def is_connected(self) -> bool:
        """Return whether the connection may be used."""
        return not self._has_unsolicited_data and super().is_connected()

    @property
    def owes_reply(self) -> bool:
        """Whether a reply is still to come."""
        return not self.is_fresh and self._is_reply_due()

    def is_quiet(self) -> bool:
        """Return whether a connection that was used before has no unread data: as usual."""
        return not self.is_fresh and self.is_connected() and not self._is_readable()

    async def is_drained(self) -> bool:
        """Return whether no data is unread: neither here nor in the system."""
        iterations = _TICKET_ITERATIONS if self.is_fresh and self._is_tls() else 0
        while self.is_connected() and self._is_readable():
            if not iterations:
                return False
            iterations -= 1
            await asyncio.sleep(0)  # the loop reads: TLS keeps its tickets, and data taints the connection
        return self.is_connected()

    def _is_reply_due(self) -> bool:
        if self._awaits_reply and self._body is not None and self._body.is_eof():
            self._awaits_reply = False
        return self._awaits_reply

    def _taint(self) -> None:
        self._has_unsolicited_data = True
        self.force_close()

    def _is_tls(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def _is_readable(self) -> bool:
        if self._poll is None:
            sock = None if self.transport is None else self.transport.get_extra_info("socket")
            if sock is None or sock.fileno() < 0:
                return True
            if not hasattr(select, "poll"):  # Windows
                return bool(select.select([sock], [], [], 0)[0])
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)
        return bool(self._poll.poll(0))


def _sole_body(piece: bytes) -> int:
    """Return how many bytes of body a piece has that looks like one whole reply (RFC 9112 section 6.3); else 0.

    It states the length of its body, and ends there. What it is in truth, the parser says.
    """
    end = piece.find(b"\r\n\r\n")
    if end < 0 or not piece.startswith(b"HTTP/1."):
        return 0
    head, size = piece[:end].lower(), len(piece) - end - len(b"\r\n\r\n")
    at = head.find(_LENGTH)
    if at < 0:
        return 0
    return size if head[at + len(_LENGTH) :].partition(b"\r\n")[0].strip() == b"%d" % size else 0
