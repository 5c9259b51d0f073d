"""The app's own exception handler for an error that the middleware itself finds."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core.errors import MoonKeyError
from moonkey_starlette.mounted import layers
from moonkey_starlette.responses import DENIAL, Reply, offers_denial


async def answer_by_handler(app: ASGIApp, scope: Scope, reply: Reply, error: MoonKeyError) -> None:
    """Have the app's own handler for a ``MoonKeyError`` answer, as it would if a gate inside had raised the error.

    Args:
        app: The app that the middleware calls.
        scope: The scope of the request or WebSocket.
        reply: Its reply.
        error: The error.

    Raises:
        MoonKeyError: The app has no such handler, or the handler has raised the error again; or the handler has
            returned a response, and the server cannot send one in place of a handshake.
    """
    handler = _handler(app, scope, error)
    if handler is None:
        raise error

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async def send(message: Message) -> None:
        if message["type"].startswith(DENIAL) and not offers_denial(scope):
            raise error
        await reply.send(message)

    await ExceptionMiddleware(refuse, {type(error): handler})(scope, reply.receive, send)
    error.__traceback__ = None  # the Auth keeps the error, whose traceback would keep these frames alive


def _handler(app: ASGIApp, scope: Scope, error: MoonKeyError) -> Any:
    handlers = getattr(_owner(app, scope), "exception_handlers", {})
    kinds = (kind for kind in type(error).__mro__ if issubclass(kind, MoonKeyError))
    return next((handlers[kind] for kind in kinds if kind in handlers), None)


def _owner(app: ASGIApp, scope: Scope) -> Any:
    """Return the Starlette app around or inside of which the middleware stands."""
    for layer in layers(app):
        if isinstance(layer, Starlette):
            return layer
        if isinstance(layer, ExceptionMiddleware | Router):
            break
    return scope.get("app")
