"""Why a call came to nothing, in plain words for the operator: from the exception that ended it.

What a library writes into its messages is not shown, as it may name paths; what the system and TLS say is.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

_MOST = 20
_LED_BY = ("__cause__", "__context__")
_LONGEST = 160

_OURS = {
    "Unasked": "the server closed or spoke before it was asked",
    "UnaskedByProxy": "the proxy said more than it was asked",
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
    """What went wrong: ``DNS: …``, ``TLS: …``, ``refused``, ``timed out``, ``reset``, …"""
    found = list(_chain(error))
    for tell in (_exactly, _by_number, _of_our_own, _of_the_library):
        for one in found:
            text = tell(one)
            if text:
                return "".join(char if char.isprintable() else "?" for char in text)[:_LONGEST]
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what has led to it, nearest first, each once."""
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting and len(seen) < _MOST:
        one = waiting.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [getattr(one, name, None) for name in ("certificate_error", "os_error", *_LED_BY)]
        waiting += getattr(one, "exceptions", ())


def _exactly(error: BaseException) -> str | None:
    if isinstance(error, socket.gaierror):
        return f"DNS: {error.strerror or 'the name was not found'}"
    if isinstance(error, ssl.SSLCertVerificationError):
        said = getattr(error, "verify_message", "")  # that of aiohttp, which is one too, has none
        return f"TLS: {said}" if said else None
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLWantReadError):
        said = getattr(error, "reason", "")  # likewise
        return f"TLS: {said}" if said else None
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "reset"
    if isinstance(error, TimeoutError):
        return "timed out"
    return None


def _by_number(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return "TLS: failed"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return None


def _of_our_own(error: BaseException) -> str | None:
    return _OURS.get(type(error).__name__)


def _of_the_library(error: BaseException) -> str | None:
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
