"""WebSockets and event streams that end with the session they were begun with."""

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
"""For the last message to a client that reads no more; then the server drops the connection anyway."""

_CODE, _REASON = close_code(HTTPStatus.UNAUTHORIZED), HTTPStatus.UNAUTHORIZED.phrase


def bound_stream(request: HTTPConnection, items: AsyncIterable[T] | Iterable[T]) -> AsyncGenerator[T, None]:
    """The items of a stream, until the session of its request is over; for a ``StreamingResponse`` and its like.

    Whoever makes the next item asynchronously is cancelled then; a plain iterable is asked between two items.
    Raises what a gate would for a request without a verified user and session, and
    :class:`~moonkey_core.errors.ConfigurationError` without the middleware, or where nobody has verified it yet.
    """
    identity = identity_of(request)
    auth = require(identity.read())
    made = items if isinstance(items, AsyncIterable) else iterate_in_threadpool(items)
    return abound_items(identity.client, auth, made, identity.headers, asgi_request(request.scope))


class SessionOver(ConnectionError):
    """Nothing more can be sent: the WebSocket was closed when its session was over.

    An ``OSError``, as servers raise for a client that has gone (ASGI, WebSocket message format 2.4).
    """


class WatchedIdentity(Identity):
    """The identity of a WebSocket, that tells when somebody has verified it."""

    __slots__ = ("on_verified",)

    def __init__(self, scope: Scope, client: AsyncMoonKey) -> None:
        self.on_verified: Callable[[], None] | None = None
        super().__init__(scope, client)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "auth" and value is not None and self.on_verified is not None:
            self.on_verified()


class BoundReply(WebSocketReply):
    """A WebSocket that is closed when its session is over. Bound once it is accepted and somebody is signed in."""

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
        """Whether it was closed because its session was over."""
        return self._over.done()

    async def receive(self) -> Message:
        if not self.is_over:
            with contextlib.suppress(Ended):
                return await run_until(self._over, super().receive())
        await asyncio.sleep(0)  # an app that takes no notice must not hold up the others
        return {"type": "websocket.disconnect", "code": _CODE, "reason": _REASON}

    async def send(self, message: Message) -> None:
        if self.is_over:
            raise SessionOver("The session of this WebSocket is over.")
        await super().send(message)
        self._bind()

    async def reject(self, error: MoonKeyError) -> bool:
        return self.is_over or await super().reject(error)

    async def finish(self) -> None:
        """The app is done: wait for the last message, if it is on its way, and leave nothing behind."""
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
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone, and nobody has told us
            await self._send({"type": "websocket.close", "code": _CODE, "reason": _REASON})
