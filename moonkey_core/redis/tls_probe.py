"""Whether a server speaks TLS, found out after a connection has failed. Sends no credential."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

NEEDS_TLS = "the server speaks TLS, and redis_url does not: begin it with rediss instead of redis"
HAS_NO_TLS = (
    "redis_url begins with rediss, and the server speaks no TLS on that port: name the port that does, or begin "
    "the URL with redis"
)

_PING = b"*1\r\n$4\r\nPING\r\n"
_REPLIES = (b"+", b"-")  # a server that wants a password answers with an error


async def tls_mismatch(host: str | None, port: int, timeout: float, *, is_tls: bool) -> str:
    """Return what to do where one side speaks TLS and the other does not; ``""`` where that is not so.

    Args:
        host: The name or address of the server; ``None`` of a unix socket.
        port: Its port.
        timeout: Seconds that this may take.
        is_tls: Whether ``redis_url`` asks for TLS.
    """
    if host is None:
        return ""
    if is_tls:
        return HAS_NO_TLS if await _speaks_plainly(host, port, timeout) else ""
    return NEEDS_TLS if await _speaks_tls(host, port, timeout) else ""


async def _speaks_tls(host: str, port: int, timeout: float) -> bool:
    """Return whether a TLS handshake succeeds. The certificate does not matter, as nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.transport.abort()
            return True
    return False


async def _speaks_plainly(host: str, port: int, timeout: float) -> bool:
    """Return whether the server replies to a ``PING`` without TLS."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_PING)
                return await reader.read(1) in _REPLIES
            finally:
                writer.transport.abort()
    return False
