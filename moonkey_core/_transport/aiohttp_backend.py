"""Calls sent by ``aiohttp``: a small fraction of what ``httpx`` costs per call, where many are under way at once.

Imported only where the extra ``fast`` is installed and used.
"""

from __future__ import annotations

import ssl

import aiohttp
from yarl import URL

from moonkey_core._plan import Fetch, Outcome, TransportError
from moonkey_core._transport.aiohttp_connections import (
    Connector,
    UnsolicitedData,
    check_connection_used,
    used_connections,
)
from moonkey_core._transport.causes import cause_of
from moonkey_core._transport.messages import KEEP_ALIVE, Body, Unreadable, request_content, request_headers
from moonkey_core.privates import set_private
from moonkey_core.settings import Settings

_NEVER_PAUSED = 2 * 1024 * 1024
"""More bytes than any reply may have. So reading never pauses, and the end of a reply is seen at once."""

_CALL_ERRORS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, Unreadable, OSError, ValueError)
"""What sending a request and reading its reply may raise."""


class AsyncSender:
    """The sender of the calls of the tasks of one event loop.

    The session keeps no cookies, follows no redirects, adds no headers, uses neither proxies nor ``.netrc``, sends
    nothing twice, and has no limits in time or number. Those limits are set by the exchange.
    """

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool) -> None:
        self._settings = settings
        # Without a context there are plain http addresses only; should that change, the default one verifies.
        self._verify = tls if isinstance(tls, ssl.SSLContext) else True
        self._session: aiohttp.ClientSession | None = None  # made when it is needed, as it has to be closed

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=0, keepalive_timeout=KEEP_ALIVE, ssl=self._verify),
                cookie_jar=_NoCookies(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                skip_auto_headers=("Content-Type", "User-Agent"),
                read_bufsize=_NEVER_PAUSED,
            )
        return self._session

    async def send(self, fetch: Fetch, seconds: float) -> Outcome:
        """Send a request once and read the reply. The caller cancels it when the time is over."""
        token = used_connections.set([])
        try:
            response = await self._opened().request(
                fetch.method,
                URL(fetch.url, encoded=fetch.url.isascii()),
                headers=request_headers(fetch),
                data=request_content(fetch),
                allow_redirects=False,
            )
            whole = False
            try:
                check_connection_used()
                body = Body(response.headers.get("content-encoding"), fetch.max_bytes)
                while chunk := await response.content.readany():
                    body.add(chunk)
                whole = True
            finally:
                if not whole:
                    response.close()  # and its connection, which has unread data
            return body.reply(response.status, response.headers.items())
        except _CALL_ERRORS as error:
            return _transport_error(error)
        finally:
            used_connections.reset(token)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def abandon(self) -> None:
        """Forget the connections without closing them, in the child of a fork or after the end of the event loop.

        Closing them would remove them from the selector, which parent and child share.
        """
        if self._session is not None:
            connector = self._session.connector
            self._session.detach()
            if connector is not None:
                set_private(connector, "_closed", True)


class _NoCookies(aiohttp.DummyCookieJar):
    """A cookie jar that keeps nothing, and does not read any cookie, so that nothing of it is logged."""

    def update_cookies_from_headers(self, headers: object, response_url: URL) -> None:
        """Keep nothing."""


def _transport_error(error: Exception) -> TransportError:
    """Return what an exception of :data:`_CALL_ERRORS` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError("connect", unsent=True, cause=cause_of(error))
    return TransportError("broken", unsent=isinstance(error, UnsolicitedData), cause=cause_of(error))
