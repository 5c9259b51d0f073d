"""WebSockets and event streams that end with the session of the request that opened them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from http import HTTPStatus
from typing import TypeVar

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from moonkey_core.auth import Auth
from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import MoonKeyError
from moonkey_core.gate import require
from moonkey_core.streams import Ended, abound_items, run_until
from moonkey_core.web.request import asgi_request
from moonkey_starlette.identity import Identity, identity_of
from moonkey_starlette.responses import WebSocketReply, close_code, offers_denial

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
"""The longest wait for the last message to a client that has stopped reading."""

_CODE, _REASON = close_code(HTTPStatus.UNAUTHORIZED), HTTPStatus.UNAUTHORIZED.phrase


def bound_stream(request: HTTPConnection, items: AsyncIterable[T] | Iterable[T]) -> AsyncGenerator[T, None]:
    """Return the items of a stream until the session of its request ends, for a ``StreamingResponse`` or the like.

    At the end of the session, an async iterable is cancelled while it makes an item. A plain iterable runs in a
    thread, and stops between two items.

    Args:
        request: The request or WebSocket, with a verified user and session.
        items: The items to send.

    Raises:
        MoonKeyError: The request has no verified user and session; the error is the one of a gate.
        ConfigurationError: The request has not passed the middleware, or its identity has not been verified yet.
    """
    identity = identity_of(request)
    auth = require(identity.read())
    made = items if isinstance(items, AsyncIterable) else iterate_in_threadpool(items)
    return abound_items(identity.client, auth, made, identity.headers, asgi_request(request.scope))


class SessionOver(ConnectionError):
    """The app sends to a WebSocket that was closed because its session had ended.

    An ``OSError``, as servers raise after the client has disconnected (ASGI, WebSocket message format 2.4).
    """


class WatchedIdentity(Identity):
    """The identity of a WebSocket, which calls ``on_verified`` when it has been verified."""

    __slots__ = ("on_verified",)

    def __init__(self, scope: Scope, client: AsyncMoonKey) -> None:
        self.on_verified: Callable[[], None] | None = None
        super().__init__(scope, client)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "auth" and value is not None and self.on_verified is not None:
            self.on_verified()


class BoundReply(WebSocketReply):
    """The reply to a WebSocket that is closed when its session ends.

    The watch of the session starts once the WebSocket is accepted and its user is verified.
    """

    is_bound = True

    def __init__(self, scope: Scope, receive: Receive, send: Send, identity: WatchedIdentity) -> None:
        super().__init__(receive, send, identity, offers_denial=offers_denial(scope))
        self._info = asgi_request(scope)
        self._watched = identity
        self._over = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        identity.on_verified = self._bind

    @property
    def is_over(self) -> bool:
        """Whether the WebSocket was closed because its session had ended."""
        return self._over.done()

    async def receive(self) -> Message:
        """Return the next message from the client; after the end of the session, a disconnect."""
        if not self.is_over:
            with contextlib.suppress(Ended):
                return await run_until(self._over, super().receive())
        await asyncio.sleep(0)  # an app that ignores the disconnect must not block the event loop
        return {"type": "websocket.disconnect", "code": _CODE, "reason": _REASON}

    async def send(self, message: Message) -> None:
        """Send a message of the app.

        Raises:
            SessionOver: The session has ended.
        """
        if self.is_over:
            raise SessionOver("The session of this WebSocket is over.")
        await super().send(message)
        self._bind()

    async def reject(self, error: MoonKeyError) -> bool:
        """Refuse or close the WebSocket with an error, unless the end of its session has closed it."""
        return self.is_over or await super().reject(error)

    async def finish(self) -> None:
        """End the watch of the session when the app has returned, after a closing message that is being sent."""
        self._watched.on_verified = None
        watch = self._watch
        if watch is None:
            return
        try:
            if not self.is_over:
                watch.cancel()
            await asyncio.wait((watch,), timeout=_CLOSE_SECONDS)
        finally:
            watch.cancel()

    def _bind(self) -> None:
        auth = self._watched.auth
        if self._watch is None and self._is_accepted and not self._is_answered and auth is not None and auth:
            self._watch = asyncio.get_running_loop().create_task(self._close_at_the_end(auth))

    async def _close_at_the_end(self, auth: Auth) -> None:
        identity = self._identity
        await identity.client.session_end(auth, identity.headers, self._info)
        if self._is_answered or self._is_gone:
            return
        self._is_answered = True
        self._over.set_result(None)
        with contextlib.suppress(OSError, RuntimeError):  # the client is gone, and the server has not reported it
            await self._send({"type": "websocket.close", "code": _CODE, "reason": _REASON})
