"""WebSockets and event streams that end with the session of the request that opened them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterable, Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from moonkey_core.auth import ends_with_token
from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import require_admitted
from moonkey_core.streams import (
    AsyncBoundSession,
    AsyncBoundStream,
    CredentialIn,
    Ended,
    Renewal,
    abound_items,
    renewal_of,
    run_until,
)
from moonkey_core.web.request import asgi_request
from moonkey_starlette.identity import Identity, identity_of
from moonkey_starlette.pages import Pages
from moonkey_starlette.responses import WebSocketReply, close_code, offers_denial

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
"""The longest wait for the last message to a client that has stopped reading."""

_CODE, _REASON = close_code(HTTPStatus.UNAUTHORIZED), HTTPStatus.UNAUTHORIZED.phrase


def bound_stream(
    request: HTTPConnection,
    items: AsyncIterable[T] | Iterable[T],
    *,
    renewal: Renewal | CredentialIn | None = None,
) -> AsyncBoundStream[T]:
    """Return the items of a stream until the session of its request ends, for a ``StreamingResponse`` or the like.

    At the end of the session, an async iterable is cancelled while it makes an item. A plain iterable runs in a
    thread, and stops between two items. With ``await stream.renew(credential)`` it goes on with a newer credential
    of the same user and session.

    Args:
        request: The request or WebSocket, with a verified user and session.
        items: The items to send.
        renewal: Finds a newer credential in an item of the app's own form, which is not sent then: the stream goes
            on with it, as by ``renew``.

    Raises:
        MoonKeyError: The request has no verified user and session; the error is the one of a gate.
        ConfigurationError: The request has not passed the middleware, or its identity has not been verified yet.
    """
    identity = identity_of(request)
    auth = require_admitted(identity.read())
    made = items if isinstance(items, AsyncIterable) else iterate_in_threadpool(items)
    info = asgi_request(request.scope)
    return abound_items(
        identity.client, auth, made, identity.headers, info, on_renewed=identity.renew, renewal=renewal
    )


def bound_session(
    websocket: HTTPConnection, *, renewal: Renewal | CredentialIn | None = None
) -> AsyncBoundSession:
    """Return the tie of an accepted WebSocket to its session.

    With ``await bound_session(websocket).renew(credential)`` the WebSocket goes on with a newer credential of the
    same user and session, such as one that the client has sent in a message. Where the credential is refused, that
    raises a :class:`~moonkey_core.errors.MoonKeyError`, and the WebSocket goes on as before.

    Args:
        websocket: The WebSocket, accepted, with a verified user and session.
        renewal: Finds a newer credential in a message of the client, a text or bytes. The app does not receive
            that message: the WebSocket goes on with the credential, as by ``renew``, while the app receives.

    Raises:
        MoonKeyError: It has no verified user and session; the error is the one of a gate.
        ConfigurationError: It is not bound: it has not been accepted, or ``bind_websockets`` is off.
    """
    identity = identity_of(websocket)
    require_admitted(identity.read())
    bound = identity.bound if isinstance(identity, WatchedIdentity) else None
    if bound is None:
        raise ConfigurationError(
            "This connection is not bound to its session. Accept the WebSocket first, and leave bind_websockets "
            "on. For a streamed response, use what bound_stream returns."
        )
    if renewal is not None:
        bound.renewal = renewal_of(renewal)
    return bound


class SessionOver(ConnectionError):
    """The app sends to a WebSocket that was closed because its session had ended.

    An ``OSError``, as servers raise after the client has disconnected (ASGI, WebSocket message format 2.4).
    """


class WatchedIdentity(Identity):
    """The identity of a WebSocket, which calls ``on_verified`` when it has been verified."""

    __slots__ = ("bound", "on_verified")

    def __init__(self, scope: Scope, client: AsyncMoonKey, pages: Pages, is_eager: bool, needs_info: bool) -> None:
        self.on_verified: Callable[[], None] | None = None
        self.bound: AsyncBoundSession | None = None
        super().__init__(scope, client, pages, is_eager, needs_info)

    @property
    def is_watched(self) -> bool:
        """Whether a :class:`BoundReply` watches its session, or will when it is verified."""
        return self.on_verified is not None

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
        super().__init__(scope, receive, send, identity, offers_denial=offers_denial(scope))
        self._info = asgi_request(scope)
        self._watched = identity
        self._reason = _REASON
        self._over = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        self._renewing: Message | None = None
        identity.on_verified = self._bind

    @property
    def is_over(self) -> bool:
        """Whether the WebSocket was closed because its session had ended."""
        return self._over.done()

    async def receive(self) -> Message:
        """Return the next message from the client; after the end of the session, a disconnect."""
        if not self.is_over:
            with contextlib.suppress(Ended):
                return await run_until(self._over, self._next_message())
        await asyncio.sleep(0)  # an app that ignores the disconnect must not block the event loop
        return {"type": "websocket.disconnect", "code": _CODE, "reason": self._reason}

    async def _next_message(self) -> Message:
        """Return the next message that is for the app, and renew the connection by those that are for that."""
        while True:
            message = self._renewing or await super().receive()
            bound = self._watched.bound
            if bound is None or bound.renewal is None or message["type"] != "websocket.receive":
                self._renewing = None
                return message
            self._renewing = message  # where the app stops waiting meanwhile, it is taken up the next time
            text = message.get("text")
            renewed = await bound.renew_by(bound.renewal, message.get("bytes") if text is None else text)
            self._renewing = None
            if renewed is None:
                return message
            if renewed.answer is not None and not self._is_answered:
                await self._send(_message_of(renewed.answer))

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
        if auth is None or self._watch is not None or not self._is_accepted or self._is_answered:
            return
        if auth or auth.is_machine:
            identity = self._watched
            bound = identity.client.bind(auth, identity.headers, self._info)
            bound.on_renewed, identity.bound = identity.renew, bound
            self._watch = asyncio.get_running_loop().create_task(self._close_at_the_end(bound))

    async def _close_at_the_end(self, bound: AsyncBoundSession) -> None:
        if await bound.session_end() == "expired" and ends_with_token(bound.auth):
            self._reason = "expired"  # the session may go on: the client connects again with a newer token
        if self._is_answered or self._is_gone:
            return
        self._is_answered = True
        self._over.set_result(None)
        with contextlib.suppress(OSError, RuntimeError):  # the client is gone, and the server has not reported it
            await self._send({"type": "websocket.close", "code": _CODE, "reason": self._reason})


def _message_of(answer: Any) -> Message:
    if isinstance(answer, bytes):
        return {"type": "websocket.send", "bytes": answer}
    return {"type": "websocket.send", "text": answer if isinstance(answer, str) else json.dumps(answer)}
