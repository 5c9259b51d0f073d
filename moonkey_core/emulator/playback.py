"""The answer to one request with an injected fault."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import MutableMapping
from http.client import responses
from typing import Any

from h11 import LocalProtocolError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core.emulator.faults import Fault

TRANSPORT = "transport"
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing sends a reset


class CallerGone(Exception):
    """The caller has closed the connection, so there is no answer to send."""


async def play(fault: Fault, app: ASGIApp, scope: Scope, caller: Receive, replay: Receive, send: Send) -> None:
    """Answer a request with a fault.

    Args:
        fault: The fault.
        app: The app that has the real answer.
        scope: The ASGI scope of the request.
        caller: The connection's ``receive``, with the body already read, so that it waits for the disconnect.
        replay: A ``receive`` for the body.
        send: The connection's ``send``.

    Raises:
        CallerGone: The caller has closed the connection meanwhile.
    """
    await hold(caller, fault.delay)
    if fault.reset:
        transport: asyncio.Transport = scope["state"][TRANSPORT]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        transport.abort()
        await hold(caller, 1)
        return
    answer: ASGIApp = app
    if fault.answer is not None:
        status, headers, body = fault.answer
        answer = Response(body, status, headers)
    if fault.drip_headers:
        await _drip_all(fault.drip_headers, answer, scope, caller, replay)
        return
    try:
        await answer(scope, replay, _dripping(fault.drip, caller, send) if fault.drip else send)
    except LocalProtocolError:
        # An injected answer may contradict itself, such as by a wrong Content-Length: it ends here.
        scope["state"][TRANSPORT].close()
        await hold(caller, 1)


async def hold(caller: Receive, seconds: float) -> None:
    """Wait so many seconds, but no longer than the caller is connected.

    Raises:
        CallerGone: The caller has closed the connection.
    """
    if not seconds:
        return
    try:
        async with asyncio.timeout(seconds):
            while (await caller())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
    raise CallerGone


def _dripping(pause: float, caller: Receive, send: Send) -> Send:
    """Return a ``send`` that passes the body on byte by byte."""

    async def drip(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        for byte in message.get("body", b""):
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await hold(caller, pause)
        await send({**message, "body": b""})

    return drip


async def _drip_all(pause: float, answer: ASGIApp, scope: Scope, caller: Receive, replay: Receive) -> None:
    """Write the whole answer, from its first byte, to the raw connection, then close it."""
    transport: asyncio.Transport = scope["state"][TRANSPORT]
    for byte in await _raw_answer(answer, scope, replay):
        transport.write(bytes([byte]))
        await hold(caller, pause)
    transport.close()
    await hold(caller, 1)


async def _raw_answer(answer: ASGIApp, scope: Scope, replay: Receive) -> bytes:
    start: MutableMapping[str, Any] = {}
    body = bytearray()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await answer(scope, replay, collect)
    status = int(start["status"])
    reason = responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}".encode(), *(b": ".join(pair) for pair in start["headers"])]
    return b"\r\n".join([*lines, b"connection: close", b"", bytes(body)])
