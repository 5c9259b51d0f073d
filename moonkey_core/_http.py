"""What goes over the wire and comes back: the pool's options, the request, and a reply read within bounds."""

from __future__ import annotations

import json
import ssl
import zlib
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from moonkey_core._plan import Fetch, Reply, TransportError
from moonkey_core.settings import Settings


class Unreadable(Exception):
    """A reply that cannot be taken: too large, or in an encoding that was not asked for."""

    def __init__(self, outcome: TransportError) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Body:
    """A reply being read: bounded in bytes, counted after inflating."""

    def __init__(self, response: httpx.Response, limit: int) -> None:
        self._response = response
        self._limit = limit
        self._data = bytearray()
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        self._inflate = zlib.decompressobj(wbits=47) if encoding in ("gzip", "deflate") else None
        if self._inflate is None and encoding != "identity":
            raise Unreadable(TransportError("broken"))

    def add(self, chunk: bytes) -> None:
        if self._inflate is not None:
            try:
                chunk = self._inflate.decompress(chunk, self._limit + 1)
            except zlib.error:
                raise Unreadable(TransportError("broken")) from None
            if self._inflate.unused_data:  # something behind the end, of any length
                raise Unreadable(TransportError("broken"))
        self._data += chunk
        if len(self._data) > self._limit or (self._inflate is not None and self._inflate.unconsumed_tail):
            raise Unreadable(TransportError("too_large"))

    def reply(self) -> Reply:
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Reply(self._response.status_code, headers, bytes(self._data))


TROUBLE = (httpx.HTTPError, httpx.InvalidURL, Unreadable, OSError, ValueError)
"""What sending a request and reading its reply may raise: besides the client's own errors, those that it lets
through of TLS (``ssl.SSLError``) and of a host name that a reply's ``Location`` holds (``UnicodeError``)."""


def transport_error(error: Exception) -> TransportError:
    """What an exception in :data:`TROUBLE` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportError("timeout" if isinstance(error, httpx.TimeoutException) else "connect", unsent=True)
    return TransportError("timeout" if isinstance(error, httpx.TimeoutException) else "broken")


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """One context for all pools of a client: making one costs about 20 ms."""
    urls = (settings.base_url, settings.jwks_url or settings.base_url)
    if all(url.startswith("http:") for url in urls):
        return False  # nothing to verify: plain http only
    return httpx.create_ssl_context(trust_env=settings.trust_env)


def client_options(settings: Settings, tls: ssl.SSLContext | bool) -> dict[str, Any]:
    count = settings.max_connections
    return {
        "verify": tls,
        "trust_env": settings.trust_env,
        "limits": httpx.Limits(max_connections=count, max_keepalive_connections=count, keepalive_expiry=30.0),
        # A jar that takes nothing: a cookie set by a reply must not travel with anybody's next call.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "headers": {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"moonkey-python/{_own_version()}",
        },
    }


def build_request(
    client: httpx.Client | httpx.AsyncClient, fetch: Fetch, settings: Settings, seconds: float
) -> httpx.Request:
    headers = {}
    if fetch.send_key:
        headers["authorization"] = f"Bearer {settings.secret_key.reveal()}"
    content = None
    if fetch.json is not None:
        headers["content-type"] = "application/json"
        content = json.dumps(fetch.json).encode()
    return client.build_request(
        fetch.method, fetch.url, headers=headers, content=content, timeout=max(seconds, 0.001)
    )


def _own_version() -> str:
    try:
        return version("moonkey")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
