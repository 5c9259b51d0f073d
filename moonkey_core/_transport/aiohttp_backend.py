"""Calls sent by ``aiohttp``: a small fraction of what ``httpx`` costs per call, where many are under way at once.

Imported only where the extra ``fast`` is installed and used.
"""

from __future__ import annotations

import ssl

import aiohttp
from yarl import URL

from moonkey_core._plan import Fetch, Outcome, TransportError
from moonkey_core._transport.aiohttp_unread import Connector, Unasked, check_was_given, one_try
from moonkey_core._transport.causes import cause_of
from moonkey_core._transport.messages import KEEP_ALIVE, Body, Unreadable, request_content, request_headers
from moonkey_core.privates import set_private
from moonkey_core.settings import Settings

_NEVER_PAUSED = 2 * 1024 * 1024
"""More bytes than any reply may have: what arrives is parsed at once, so that the end of a reply is seen."""

_TROUBLE = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, Unreadable, OSError, ValueError)
"""What sending a request and reading its reply may raise."""


class AsyncSender:
    """Sends calls from the tasks of one event loop.

    The session neither follows, keeps nor adds anything: no cookies, no redirects, no headers, no proxies, no
    ``.netrc``, no second try and no limits in time or number; those are the exchange's.
    """

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool) -> None:
        self._settings = settings
        # Without a context there are plain http addresses only; should that change, the default one verifies.
        self._verify = tls if isinstance(tls, ssl.SSLContext) else True
        self._session: aiohttp.ClientSession | None = None  # made when it is needed: it has to be closed

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
        """Send once and read the reply. Whoever calls ends it when the time is over."""
        token = one_try.set([])
        try:
            response = await self._opened().request(
                fetch.method,
                URL(fetch.url, encoded=fetch.url.isascii()),
                headers=request_headers(fetch, self._settings),
                data=request_content(fetch),
                allow_redirects=False,
            )
            whole = False
            try:
                check_was_given()
                body = Body(response.headers.get("content-encoding"), fetch.max_bytes)
                async for chunk in response.content.iter_any():
                    body.add(chunk)
                whole = True
            finally:
                if not whole:
                    response.close()  # and its connection: what is left of it belongs to nobody else
            return body.reply(response.status, response.headers.items())
        except _TROUBLE as error:
            return _transport_error(error)
        finally:
            one_try.reset(token)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def abandon(self) -> None:
        """In the child of a fork, or when the loop is gone: let go of the connections without touching them.

        Closing them would take them out of the parent's selector as well, which parent and child share.
        """
        if self._session is not None:
            connector = self._session.connector
            self._session.detach()
            if connector is not None:
                set_private(connector, "_closed", True)


class _NoCookies(aiohttp.DummyCookieJar):
    """A jar that takes nothing and does not even read what it is given, so that nothing of it is logged."""

    def update_cookies_from_headers(self, headers: object, response_url: URL) -> None:
        """Take nothing."""


def _transport_error(error: Exception) -> TransportError:
    """What an exception of :data:`_TROUBLE` means."""
    if isinstance(error, Unreadable):
        return error.outcome
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError("connect", unsent=True, cause=cause_of(error))
    return TransportError("broken", unsent=isinstance(error, Unasked), cause=cause_of(error))
