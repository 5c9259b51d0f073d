"""What all backends have in common: headers and body of a request, a reply read within bounds, TLS."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from moonkey_core._plan import Fetch, Reply, TransportError
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

READ_SIZE = 64 * 1024
KEEP_ALIVE = 30.0  # seconds
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # the wbits of zlib; "deflate" is the format of zlib itself
_MAX_MEMBERS = 16
_TEXT = json.JSONEncoder().encode

_BAD_COMPRESSION = "compressed wrongly"


class Unreadable(Exception):
    """A reply that cannot be read: too large, compressed wrongly, or in an encoding that was not requested."""

    def __init__(self, outcome: TransportError) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Body:
    """The reader of a reply's body by its ``Content-Encoding``, bounded in bytes before and after inflating."""

    def __init__(self, encoding: str | None, limit: int) -> None:
        """Begin a body.

        Args:
            encoding: The ``Content-Encoding`` of the reply, or ``None``.
            limit: The most bytes, received or inflated.

        Raises:
            Unreadable: The encoding was not requested.
        """
        self._limit = limit
        self._data = bytearray()
        self._received = 0
        encoding = (encoding or "identity").strip().lower()
        self._inflate = None if encoding == "identity" else _Inflater(encoding)

    def add(self, chunk: bytes) -> None:
        """Add the next piece.

        Raises:
            Unreadable: The reply is too large or malformed.
        """
        self._received += len(chunk)
        if self._received > self._limit:
            raise Unreadable(TransportError("too_large"))
        if self._inflate is None:
            self._data += chunk
        else:
            self._inflate.inflate_into(self._data, chunk, self._limit)

    def reply(self, status: int, headers: Iterable[tuple[str, str]]) -> Reply:
        """Return the whole reply. A body of no bytes at all is an empty one, whatever its encoding.

        Args:
            status: The status of the reply.
            headers: All header lines. Those of one name are joined by commas (RFC 9110 section 5.3).

        Raises:
            Unreadable: The compressed data ends before its checksum (RFC 1952 section 2.3.1, RFC 1950 section
                2.2).
        """
        if self._inflate is not None and self._received and not self._inflate.at_end:
            raise Unreadable(TransportError("broken", cause=_BAD_COMPRESSION))
        lines = [*headers]
        joined = {name.lower(): value for name, value in lines}
        if len(joined) < len(lines):  # rare
            joined.clear()
            for name, value in lines:
                name = name.lower()
                joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Reply(status, joined, bytes(self._data))


class _Inflater:
    """The decoder of one content coding (RFC 9110 section 8.4.1). It raises :class:`Unreadable`."""

    def __init__(self, encoding: str) -> None:
        window = _WINDOWS.get(encoding)
        if window is None:
            raise Unreadable(TransportError("broken", cause="an encoding that was not asked for"))
        self._window = window
        self._members = 1
        self._stream = zlib.decompressobj(wbits=window)

    @property
    def at_end(self) -> bool:
        """Whether the data is complete, with its checksum."""
        return self._stream.eof

    def inflate_into(self, data: bytearray, chunk: bytes, limit: int) -> None:
        """Inflate a piece into ``data``, which may grow to ``limit`` bytes."""
        while chunk:
            if self._stream.eof:
                self._next_member()
            try:
                data += self._stream.decompress(chunk, limit + 1 - len(data))
            except zlib.error:
                raise Unreadable(TransportError("broken", cause=_BAD_COMPRESSION)) from None
            if len(data) > limit:
                raise Unreadable(TransportError("too_large"))
            chunk = self._stream.unused_data

    def _next_member(self) -> None:
        """Begin the next member: gzip may have several in a row (RFC 1952 section 2.2), deflate only one."""
        self._members += 1
        if self._window != _WINDOWS["gzip"] or self._members > _MAX_MEMBERS:
            raise Unreadable(TransportError("broken", cause=_BAD_COMPRESSION))
        self._stream = zlib.decompressobj(wbits=self._window)


def request_headers(fetch: Fetch) -> dict[str, str]:
    """Return all headers of a request but those of the connection."""
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"moonkey-python/{_own_version()}",
    }
    if fetch.authorization is not None:
        authorization = fetch.authorization.header()
        if authorization is not None:
            headers["authorization"] = authorization
    if fetch.json is not None:
        headers["content-type"] = "application/json"
    elif fetch.form is not None:
        headers["content-type"] = "application/x-www-form-urlencoded"
    if fetch.headers is not None:
        headers.update(fetch.headers)
    if fetch.closes_connection:
        headers["connection"] = "close"
    return headers if fetch.trace_headers is None else {**fetch.trace_headers, **headers}


def request_content(fetch: Fetch) -> bytes | None:
    """Return the body of a request, if it has one."""
    if fetch.form is not None:
        added = {} if fetch.authorization is None else fetch.authorization.members()
        return urlencode({**fetch.form, **added}).encode()
    return None if fetch.json is None else _json(fetch.json).encode()


def _json(body: Mapping[str, Any]) -> str:
    """Return what ``json.dumps`` returns, in half the time for a body of one text: the usual verification."""
    if len(body) == 1:
        ((name, value),) = body.items()
        if type(name) is type(value) is str:
            return f"{{{_TEXT(name)}: {_TEXT(value)}}}"
    return json.dumps(body)


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """Make the TLS context for all connections of a client: making one takes about 20 ms.

    Returns:
        ``False`` where all addresses are plain http, so that there is nothing to verify. Those of other providers
        than MoonKey are their own, and count as https.

    Raises:
        ConfigurationError: The certificates cannot be loaded.
    """
    urls = (settings.base_url, settings.jwks_url or settings.base_url)
    is_moonkey_alone = settings.provider is None and not settings.providers
    if is_moonkey_alone and all(url.startswith("http:") for url in urls):
        return False
    import httpx  # with the first client, not with the classes: it takes longer than all of this package

    try:
        return httpx.create_ssl_context(trust_env=settings.trust_env)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"The certificates for API calls cannot be loaded ({type(error).__name__}). With MOONKEY_TRUST_ENV "
            "(trust_env), check what SSL_CERT_FILE and SSL_CERT_DIR name."
        ) from None


@cache
def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("moonkey")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
