"""What gates and identities raise: an error of the core that is also an HTTP exception of Starlette or FastAPI."""

from __future__ import annotations

import contextlib
import inspect
import sys
import weakref
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moonkey_core.errors import MoonKeyError
from moonkey_core.privates import changed
from moonkey_core.settings import Settings
from moonkey_core.web.raised import FrameworkError, as_framework_error
from moonkey_core.web.responses import Refusal, public_detail, refusal_headers

_HANDLERS = "starlette.exception_handlers"
"""The key of the scope under which an app's ``ExceptionMiddleware`` puts its handlers: by class, and by status."""

Handler = Callable[[Any, Any], Any]


class RefusingReply(Protocol):
    """What is needed of the reply to a request or WebSocket."""

    scope: Scope

    @property
    def settings(self) -> Settings:
        """The settings of the client."""
        ...

    @property
    def can_refuse(self) -> bool:
        """Whether the request can still be answered with a refusal."""
        ...

    def refusal(self, error: MoonKeyError) -> Refusal:
        """Return the response for an error, and log the error."""
        ...

    async def reject(self, error: MoonKeyError) -> bool:
        """Answer with an error; ``False`` where the app has answered already."""
        ...


class HttpRefusal(FrameworkError, HTTPException):
    """An HTTP exception with the whole response, for layers that answer errors by themselves.

    Its status, detail and headers are those of the problem body. The response is made, and logged, when it is
    first read.

    Attributes:
        reply: The reply to the request; dead when the request is over.
    """

    reply: weakref.ref[RefusingReply]
    _made: Response | None = None

    @property
    def response(self) -> Response | None:
        """The response; ``None`` where the request is over."""
        reply = self.reply()
        if self._made is None and reply is not None:
            found = reply.refusal(self.plain)
            self._made = Response(found.body, found.status, dict(found.headers))
        return self._made


class HttpRaiser(weakref.ref[RefusingReply]):
    """Makes what gates raise for one request. It does not keep the reply alive, which refers to the identity."""

    __slots__ = ()

    def to_raise(self, error: MoonKeyError) -> MoonKeyError:
        """Return the error as an HTTP exception; the error itself where no response can follow any more."""
        reply = self()
        if reply is None or not reply.can_refuse:
            return error
        install(reply.scope)
        return as_framework_error(
            error,
            *_kinds(),
            reply=self,
            status_code=error.status,
            detail=public_detail(error),
            headers=dict(refusal_headers(error, reply.settings)),
        )


def _kinds() -> tuple[type[Exception], ...]:
    """Return the classes of what is raised. FastAPI's own exception derives from Starlette's."""
    of_fastapi = getattr(sys.modules.get("fastapi.exceptions"), "HTTPException", None)
    return (HttpRefusal,) if of_fastapi is None else (HttpRefusal, of_fastapi)


def install(scope: Scope) -> None:
    """Have the innermost app of a request answer refusals as the middleware does, before other layers see them.

    Its own handler for ``MoonKeyError`` or a subclass is still asked first. Those for HTTP exceptions and for
    statuses are not asked, as for any ``MoonKeyError``.
    """
    handlers = scope.get(_HANDLERS)
    if handlers is None:
        return  # there is no such layer
    by_class, by_status = handlers
    by_class[HttpRefusal] = _answer
    for status, handler in by_status.items():
        if not isinstance(handler, _OtherErrors):
            by_status[status] = _OtherErrors(handler, by_class)


async def _answer(connection: HTTPConnection, error: HttpRefusal) -> Response | None:
    if connection.scope["type"] == "http":
        response = error.response
        if response is None:
            raise error
        return response
    reply = error.reply()
    if reply is None or not await reply.reject(error.plain):
        raise error
    return None


class _OtherErrors:
    """An app's handler for a status. A refusal goes to the handler for its class instead."""

    def __init__(self, handler: Handler, by_class: dict[type[Exception], Handler]) -> None:
        self._handler = handler
        self._by_class = by_class

    async def __call__(self, connection: HTTPConnection, error: Exception) -> Any:
        handler = self._handler
        if isinstance(error, HttpRefusal):
            handler = next(self._by_class[kind] for kind in type(error).__mro__ if kind in self._by_class)
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__):
            return await handler(connection, error)
        return await run_in_threadpool(handler, connection, error)


@lru_cache(1)
def check_handlers() -> None:
    """Check, once per process, that the handlers of an app are where :func:`_install` looks for them.

    Raises:
        ConfigurationError: The installed Starlette keeps them elsewhere.
    """
    found: list[Any] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope.get(_HANDLERS))

    async def never(*_: Any) -> Any:
        raise AssertionError

    run: Awaitable[None] = ExceptionMiddleware(look)({"type": "http", "headers": []}, never, never)
    with contextlib.suppress(StopIteration):
        run.__await__().send(None)  # it waits for nothing
    match found:
        case [(dict() as by_class, dict())] if HTTPException in by_class:
            return
    raise changed("starlette", f"scope[{_HANDLERS!r}]")
