"""The cause of a failed call in plain words for the operator, from the exception that ended it.

The messages of libraries are not shown, as they may name paths. Those of the system and of TLS are.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

_MAX_EXCEPTIONS = 20
_LINKS = ("__cause__", "__context__")
_LONGEST = 160

_OURS = {
    "UnsolicitedData": "the server closed or spoke before it was asked",
    "UnsolicitedProxyData": "the proxy said more than it was asked",
}
_NAMED = {
    "ProxyError": "the proxy refused",
    "ServerDisconnectedError": "closed without a reply",
    "ClientPayloadError": "closed within the reply",
    "ContentLengthError": "closed within the reply",
    "TransferEncodingError": "closed within the reply",
    "RemoteProtocolError": "a reply that is not HTTP",
    "HttpProcessingError": "a reply that is not HTTP",
    "BadHttpMessage": "a reply that is not HTTP",
    "BadStatusLine": "a reply that is not HTTP",
    "InvalidHeader": "a reply that is not HTTP",
    "LineTooLong": "a reply with a header that is too long",
    "TooManyRedirects": "too many redirects",
}


def cause_of(error: BaseException) -> str:
    """Return what went wrong, such as ``DNS: …``, ``TLS: …``, ``refused``, ``timed out``, ``reset``."""
    found = list(_chain(error))
    for describe in (_by_type, _by_errno, _by_own_name, _by_library_name):
        for one in found:
            text = describe(one)
            if text:
                return "".join(char if char.isprintable() else "?" for char in text)[:_LONGEST]
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the exceptions behind it, nearest first, each once."""
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting and len(seen) < _MAX_EXCEPTIONS:
        one = waiting.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [getattr(one, name, None) for name in ("certificate_error", "os_error", *_LINKS)]
        waiting += getattr(one, "exceptions", ())


def _by_type(error: BaseException) -> str | None:
    if isinstance(error, socket.gaierror):
        return f"DNS: {error.strerror or 'the name was not found'}"
    if isinstance(error, ssl.SSLCertVerificationError):
        message = getattr(error, "verify_message", "")  # the one of aiohttp has none
        return f"TLS: {message}" if message else None
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLWantReadError):
        reason = getattr(error, "reason", "")  # the same
        return f"TLS: {reason}" if reason else None
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "reset"
    if isinstance(error, TimeoutError):
        return "timed out"
    return None


def _by_errno(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return "TLS: failed"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return None


def _by_own_name(error: BaseException) -> str | None:
    return _OURS.get(type(error).__name__)


def _by_library_name(error: BaseException) -> str | None:
    name = type(error).__name__
    if name.endswith(("Timeout", "TimeoutError")):
        return "timed out"
    if name == "RemoteProtocolError":
        message = str(error)
        if message.startswith("Server disconnected"):
            return "closed without a reply"
        if message.startswith("peer closed connection"):
            return "closed within the reply"
    return _NAMED.get(name)
