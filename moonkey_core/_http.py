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


class Unreadable(Exception):
    """A reply that cannot be taken: too large, or in an encoding that was not asked for."""

    def __init__(self, outcome: TransportError) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Body:
    """A reply's body being read: bounded in bytes, counted after inflating, by its ``Content-Encoding``."""

    def __init__(self, encoding: str | None, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        encoding = (encoding or "identity").strip().lower()
        self._inflate = zlib.decompressobj(wbits=47) if encoding in ("gzip", "deflate") else None
        if self._inflate is None and encoding != "identity":
            raise Unreadable(TransportError("broken", cause="an encoding that was not asked for"))

    def add(self, chunk: bytes) -> None:
        """Take the next piece. Raises :class:`Unreadable`."""
        if self._inflate is not None:
            try:
                chunk = self._inflate.decompress(chunk, self._limit + 1)
            except zlib.error:
                raise Unreadable(TransportError("broken", cause="compressed wrongly")) from None
            if self._inflate.unused_data:  # something behind the end, of any length
                raise Unreadable(TransportError("broken", cause="compressed wrongly"))
        self._data += chunk
        if len(self._data) > self._limit or (self._inflate is not None and self._inflate.unconsumed_tail):
            raise Unreadable(TransportError("too_large"))

    def reply(self, status: int, headers: Iterable[tuple[str, str]]) -> Reply:
        """The whole reply. A header that came more than once is joined by commas (RFC 9110 section 5.3)."""
        joined: dict[str, str] = {}
        for name, value in headers:
            name = name.lower()
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Reply(status, joined, bytes(self._data))


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
