"""What every call carries, whoever sends it, and a reply read within bounds."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Iterable
from functools import cache

import httpx

from moonkey_core._plan import Fetch, Reply, TransportError
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

READ_SIZE = 64 * 1024
KEEP_ALIVE = 30.0  # seconds
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # what zlib calls them; "deflate" is its own format
_MAX_MEMBERS = 16


_WRONGLY = "compressed wrongly"


class Unreadable(Exception):
    """A reply that cannot be taken: too large, or in an encoding that was not asked for."""

    def __init__(self, outcome: TransportError) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Body:
    """A reply's body being read, by its ``Content-Encoding``: bounded in bytes, before and after inflating."""

    def __init__(self, encoding: str | None, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._received = 0
        encoding = (encoding or "identity").strip().lower()
        self._inflate = None if encoding == "identity" else _Inflater(encoding)

    def add(self, chunk: bytes) -> None:
        """Take the next piece. Raises :class:`Unreadable`."""
        self._received += len(chunk)
        if self._received > self._limit:
            raise Unreadable(TransportError("too_large"))
        if self._inflate is None:
            self._data += chunk
        else:
            self._inflate.into(self._data, chunk, self._limit)

    def reply(self, status: int, headers: Iterable[tuple[str, str]]) -> Reply:
        """The whole reply. A header that came more than once is joined by commas (RFC 9110 section 5.3).

        Raises :class:`Unreadable` where what was compressed ends before its checksum (RFC 1952 section 2.3.1, RFC
        1950 section 2.2). A body of no bytes at all is an empty one, whatever its encoding.
        """
        if self._inflate is not None and self._received and not self._inflate.at_end:
            raise Unreadable(TransportError("broken", cause=_WRONGLY))
        joined: dict[str, str] = {}
        for name, value in headers:
            name = name.lower()
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Reply(status, joined, bytes(self._data))


class _Inflater:
    """Takes one content coding off (RFC 9110 section 8.4.1). Raises :class:`Unreadable`."""

    def __init__(self, encoding: str) -> None:
        window = _WINDOWS.get(encoding)
        if window is None:
            raise Unreadable(TransportError("broken", cause="an encoding that was not asked for"))
        self._window = window
        self._members = 1
        self._stream = zlib.decompressobj(wbits=window)

    @property
    def at_end(self) -> bool:
        """Whether all that was begun has come to its end, checksum and all."""
        return self._stream.eof

    def into(self, data: bytearray, chunk: bytes, limit: int) -> None:
        """Inflate a piece into ``data``, which may grow to ``limit`` bytes."""
        while chunk:
            if self._stream.eof:
                self._next_member()
            try:
                data += self._stream.decompress(chunk, limit + 1 - len(data))
            except zlib.error:
                raise Unreadable(TransportError("broken", cause=_WRONGLY)) from None
            if len(data) > limit:
                raise Unreadable(TransportError("too_large"))
            chunk = self._stream.unused_data

    def _next_member(self) -> None:
        """Begin anew behind an end: gzip may have several members in a row (RFC 1952 section 2.2), deflate not."""
        self._members += 1
        if self._window != _WINDOWS["gzip"] or self._members > _MAX_MEMBERS:
            raise Unreadable(TransportError("broken", cause=_WRONGLY))
        self._stream = zlib.decompressobj(wbits=self._window)


def request_headers(fetch: Fetch, settings: Settings) -> dict[str, str]:
    """All headers of a call but those of the connection."""
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"moonkey-python/{_own_version()}",
    }
    if fetch.send_key:
        headers["authorization"] = f"Bearer {settings.secret_key.reveal()}"
    if fetch.json is not None:
        headers["content-type"] = "application/json"
    if fetch.ends_connection:
        headers["connection"] = "close"
    return headers


def request_content(fetch: Fetch) -> bytes | None:
    """The body of a call, if it has one."""
    return None if fetch.json is None else json.dumps(fetch.json).encode()


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """One context for all pools of a client: making one costs about 20 ms."""
    urls = (settings.base_url, settings.jwks_url or settings.base_url)
    if all(url.startswith("http:") for url in urls):
        return False  # nothing to verify: plain http only
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
