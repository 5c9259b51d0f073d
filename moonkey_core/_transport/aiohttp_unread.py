"""Replies in turn, as in ``httpx_unread``, for ``aiohttp``; and no second try of its own.

``aiohttp`` reads on while a connection is idle, and takes what came meanwhile as the reply to the next request.
Here a connection knows when a request begins, and is not used again once anything has arrived that belongs to
none. What follows a reply within one piece is found by feeding the parser all of it but the last byte: a reply
that is complete without that byte was followed by something.
"""

from __future__ import annotations

import asyncio
import select
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from moonkey_core.privates import changed, set_private

_TURNS_FOR_TICKETS = 4  # of the event loop, for what TLS itself has to say after its handshake

one_try: ContextVar[list[ResponseHandler]] = ContextVar("moonkey_one_try")
"""The connections that the call being sent right here was given. ``aiohttp`` sends a GET or DELETE again when its
connection breaks, over another one, and has a switch against that in some of its releases only."""


class Connector(aiohttp.TCPConnector):
    """Hands out connections on which nothing has arrived, and one of them per call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        set_private(self, "_factory", partial(_Handler, loop=asyncio.get_running_loop()))

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """A connection for a request. Raises ``aiohttp.ClientError`` where there is none."""
        given = one_try.get()
        if given:  # the second try
            raise given[0].exception() or aiohttp.ServerDisconnectedError
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            if not isinstance(handler, _Handler):
                connection.close()
                raise changed("aiohttp", "BaseConnector._factory")
            try:
                silent = await handler.is_silent()
            except BaseException:
                connection.close()
                raise
            if handler.is_owed:  # a pool keeps none whose reply has not ended: then nobody has told us
                connection.close()
                raise changed("aiohttp", "ResponseHandler.feed_data")
            if silent:
                given.append(handler)
                if req.headers.get("Connection") == "close":
                    handler.force_close()
                return connection
            fresh = handler.is_fresh
            connection.close()
            if fresh:
                raise Unasked


class Unasked(aiohttp.ClientError):
    """Something has arrived before anything was asked, or the end. Nothing was sent."""


def check_was_given() -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where the call was sent past :class:`Connector`."""
    if not one_try.get():
        raise changed("aiohttp", "BaseConnector.connect")


def check_aiohttp() -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where ``aiohttp`` is made otherwise than it was."""
    made = aiohttp.BaseConnector.__init__.__code__.co_names
    for name in ("_factory", "_closed"):
        if name not in made:
            raise changed("aiohttp", f"BaseConnector.{name}")


class _Handler(ResponseHandler):
    """A connection that knows when a reply is due, and is broken by what arrives at any other time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.is_fresh = True
        self._is_due = False  # between a request and the end of its reply
        self._reply: Any = None  # its body, once its head is there
        self._is_soiled = False

    def set_response_params(self, *args: Any, **options: Any) -> None:
        """A request begins."""
        self.is_fresh, self._is_due, self._reply = False, True, None
        super().set_response_params(*args, **options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The head of a reply is there."""
        message, body = data
        if self._reply is not None:
            self._soil()  # a second one
        elif message.code >= 200:
            self._reply = body
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Bytes arrive, or (none) a reader wants more of what is here."""
        if not data:
            super().data_received(data)
            return
        if not self._is_awaited():
            self._soil()
            self.close()
            return
        if len(data) > 1:
            super().data_received(data[:-1])
            if not self._is_awaited():
                self._soil()
                return
        super().data_received(data[-1:])

    def is_connected(self) -> bool:
        """Whether it may be used."""
        return not self._is_soiled and super().is_connected()

    @property
    def is_owed(self) -> bool:
        """Whether a reply is still to come."""
        return not self.is_fresh and self._is_awaited()

    async def is_silent(self) -> bool:
        """Whether nothing has arrived: neither here nor in the system."""
        turns = _TURNS_FOR_TICKETS if self.is_fresh and self._is_tls() else 0
        while self.is_connected() and self._is_readable():
            if not turns:
                return False
            turns -= 1
            await asyncio.sleep(0)  # the loop reads; what belongs to us soils the connection
        return self.is_connected()

    def _is_awaited(self) -> bool:
        if self._is_due and self._reply is not None and self._reply.is_eof():
            self._is_due = False
        return self._is_due

    def _soil(self) -> None:
        self._is_soiled = True
        self.force_close()

    def _is_tls(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def _is_readable(self) -> bool:
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([sock], [], [], 0)[0])
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
