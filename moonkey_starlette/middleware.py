"""The middleware, which gives each request and WebSocket an identity, and refuses none unless configured to."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from functools import partial
from typing import Never, NoReturn, Unpack

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import check
from moonkey_core.settings import Options, Settings, check_names
from moonkey_core.web.advice import explain
from moonkey_starlette.closed import check_opened, default_for
from moonkey_starlette.cors import check_cors
from moonkey_starlette.gates import RouteCheck
from moonkey_starlette.handlers import answer_by_handler
from moonkey_starlette.identity import KEY, Identity, outer_identity
from moonkey_starlette.mounted import Mounted, check_cookies, is_inside_an_app
from moonkey_starlette.pages import Pages, Templates
from moonkey_starlette.paths import answers_preflights, exact_paths, is_preflight, route_path
from moonkey_starlette.refused import HttpRaiser, check_handlers
from moonkey_starlette.responses import HttpReply, Reply, ResponseRules, WebSocketReply, offers_denial
from moonkey_starlette.scope import RequestState
from moonkey_starlette.static_files import is_for_a_file
from moonkey_starlette.streams import BoundReply, SessionOver, WatchedIdentity

_ARGUMENTS = ("client", "required", "public_paths", "lazy", "bind_websockets", "templates")
# What `asyncio.get_running_loop` calls. It returns `None` where that raises, and takes a fraction of the time.
_running_loop = asyncio._get_running_loop
_NEEDS_ASYNCIO = (
    "MoonKey runs on asyncio only, and this server runs the app on another kind of event loop. "
    "Start it without trio: hypercorn --worker-class asyncio, or uvloop."
)


class MoonKeyMiddleware:
    """A middleware that gives each request and WebSocket an ``Auth``, as ``request.state.moonkey``.

    ``request.user.is_authenticated`` and ``@requires("authenticated")`` of Starlette work as well. A
    :class:`~moonkey_core.errors.MoonKeyError` that the app raises, or the middleware where ``required`` is set,
    becomes the response, unless the app has an exception handler of its own for it. A refused WebSocket gets the
    same response where the server supports one; else it is closed before it is accepted. For the codes see
    :func:`~moonkey_starlette.responses.close_code`.

    With cookies, every response to a verified request carries the changed ones. Starlette makes its response to an
    unhandled error outside of all middleware: that one carries none, and the next response does. To be told of
    sign-ins, renewals and so on, add a hook with ``client.hooks.add``.

    A wrong setting raises at once where the middleware is made by hand. ``add_middleware`` makes it when the app
    starts, where a server may take an exception for an app without lifespan support, and serve on. There the error
    is kept: the start of the app fails with it (``lifespan.startup.failed``), and if the server runs no lifespan,
    every request raises it. Pass ``client=AsyncMoonKey()`` to find a wrong setting on import.

    Args:
        app: The app to call.
        client: A configured client. If left out, the middleware makes one from ``options`` and the ``MOONKEY_*``
            variables.
        *surplus: Nothing; a further positional argument is refused.
        required: Whether to refuse every request without a verified user and session, except those for endpoints
            with ``@public`` or ``@optional_auth``, and for mounted session routes. These are found through layers
            that keep the next one as ``app``, as Starlette's do.
        public_paths: The exact paths that ``required`` leaves open, as the routes of this app see them, for every
            method and host.
        lazy: Whether to verify a request only when a gate or ``await get_auth(request)`` needs its identity.
        bind_websockets: Whether to close the WebSocket of a signed-in user, with code 4401, when the session ends.
        templates: The app's own pages for browsers, used with cookies: a ``Jinja2Templates``, or one or several
            directories, whose ``moonkey/error.html`` and so on replace the built-in ones. Without Jinja2
            installed, browsers get problem bodies.
        **options: The settings, as for :class:`~moonkey_core.client.AsyncMoonKey`.

    Attributes:
        client: The client.
        required: As the argument.
        public_paths: As the argument.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
        TypeError: The arguments contradict each other, or the client is not an ``AsyncMoonKey``.
    """

    def __init__(
        self,
        app: ASGIApp,
        client: AsyncMoonKey | None = None,
        *surplus: Never,
        required: bool = False,
        public_paths: Iterable[str] = (),
        lazy: bool = False,
        bind_websockets: bool = True,
        templates: Templates | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.app = app
        self._problem: Exception | None = None
        self._is_checked = False
        try:
            if surplus:
                raise TypeError("MoonKeyMiddleware takes all but the client by keyword.")
            self._pages = Pages(templates)
            self._set_up(client, public_paths, options, required=required, lazy=lazy, binds=bind_websockets)
        except Exception as error:
            if not is_inside_an_app(app):
                raise
            self._problem = copy.copy(error)  # without its traceback, which would keep the frames alive

    def _set_up(
        self,
        client: AsyncMoonKey | None,
        public_paths: Iterable[str],
        options: Options,
        *,
        required: bool,
        lazy: bool,
        binds: bool,
    ) -> None:
        check_handlers()
        check_names(options, beside=_ARGUMENTS)
        if client is not None and options:
            raise TypeError("Give MoonKeyMiddleware either a client or single settings, not both.")
        if client is not None and not isinstance(client, AsyncMoonKey):
            raise TypeError(f"MoonKeyMiddleware needs an AsyncMoonKey, not a {type(client).__name__}.")
        for name, value in (("required", required), ("lazy", lazy), ("bind_websockets", binds)):
            if not isinstance(value, bool):
                raise ConfigurationError(f"{name} must be True or False.")
        self._is_eager, self._bind_websockets = not lazy, binds
        self.required: bool = required
        self.public_paths: frozenset[str] = exact_paths(public_paths)
        if self.public_paths and not required:
            raise ConfigurationError(
                "public_paths without required=True has no effect: every path is public. Add required=True."
            )
        self._answers_preflights = answers_preflights(self.app)
        self._mounted = Mounted(self.app)
        self._has_started = False
        settings = Settings.load(options) if client is None else client.settings
        check_cookies(self.app, settings)
        self.client: AsyncMoonKey = client or AsyncMoonKey(settings)
        self._needs_info = self.client.settings.needs_request_info
        self._rules = ResponseRules(self.client, self._mounted, self._pages)
        also = partial(check_opened, self.app) if required else str
        self._routes = RouteCheck(self.app, self.client, MoonKeyMiddleware, also)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: attach the identity, admit or refuse the request, and complete the response."""
        kind = scope["type"]
        if not self._is_checked or kind == "lifespan" or _running_loop() is None:
            await self._begin(scope, receive, send)
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        if kind == "websocket" or KEY in scope:
            identity = self._identity(scope)
        else:
            identity = Identity(scope, self.client, self._pages, self._is_eager, self._needs_info)
        reply: Reply
        if kind == "http":
            reply = HttpReply(scope, receive, send, identity, self._rules)
        elif self._bind_websockets and isinstance(identity, WatchedIdentity) and not identity.is_watched:
            reply = BoundReply(scope, receive, send, identity)
        else:
            reply = WebSocketReply(scope, receive, send, identity, offers_denial=offers_denial(scope))
        if identity.auth is None:
            identity.raiser = HttpRaiser(reply)
        else:  # a middleware further outside has verified it
            identity.raise_for(HttpRaiser(reply))
        try:
            if not self._is_checked:
                self._routes.at_request(scope)
                self._is_checked = True
            # On the scope itself, not on a copy: outer layers read the scope after inner ones.
            scope[KEY] = scope["user"] = scope["auth"] = identity
            scope["state"] = RequestState(scope.get("state", {}), identity)
            if self._is_eager and identity.peek() is None and not is_for_a_file(self.app, scope):
                await identity.resolve()
            if not self.required or await self._admits(scope, identity, reply):
                await self.app(scope, reply.receive, reply.send)
        except MoonKeyError as error:
            if not await reply.reject(error):
                raise
            error.__traceback__ = None  # the Auth keeps the error, whose traceback would keep these frames alive
        except (AttributeError, TypeError) as error:
            explain(error, identity.auth)
            raise
        except (SessionOver, WebSocketDisconnect):
            if not reply.is_over:
                raise
        finally:
            if reply.held or reply.is_bound:
                await reply.finish()

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check whether this app can be served, until it has answered its first request.

        Raises:
            Exception: It cannot.
        """
        problem = self._problem if _is_asyncio() else ConfigurationError(_NEEDS_ASYNCIO)
        if problem is None and scope["type"] == "lifespan":
            problem = self._routes.at_start(scope)
        if problem is not None:
            await _refuse_to_serve(problem, scope, receive, send)
        if not self._has_started:
            self._has_started = True
            check_cors(self.app, scope, self.client.settings)

    def _identity(self, scope: Scope) -> Identity:
        """Return the identity for a scope: that of a middleware further outside, if it has the same client."""
        outer = outer_identity(scope, self.client) if KEY in scope else None
        if outer is None:
            kind = WatchedIdentity if scope["type"] == "websocket" else Identity
            return kind(scope, self.client, self._pages, self._is_eager, self._needs_info)
        outer.pages, outer.is_eager = self._pages, outer.is_eager or self._is_eager
        return outer

    async def _admits(self, scope: Scope, identity: Identity, reply: Reply) -> bool:
        """Return whether the app is to be called for the request. A refused preflight is answered here.

        Raises:
            MoonKeyError: The request is refused, and the app has no handler of its own for that.
        """
        path = route_path(scope)
        if path in self.public_paths or (scope["type"] == "http" and self._mounted.covers(path)):
            return True
        if not self._is_eager and default_for(self.app, scope) is None:
            return True
        auth = await identity.resolve()
        error = check(auth)
        if error is None:
            return True
        least = default_for(self.app, scope)
        if least is None or check(auth, least) is None:
            return True
        if not is_preflight(scope):
            await answer_by_handler(self.app, scope, reply, error)
            return False
        if self._answers_preflights:
            return True
        # Browsers send preflights without credentials. This response grants nothing and runs no code of the app.
        await reply.send({"type": "http.response.start", "status": 204, "headers": []})
        await reply.send({"type": "http.response.body", "body": b""})
        return False


async def _refuse_to_serve(problem: Exception, scope: Scope, receive: Receive, send: Send) -> NoReturn:
    """Raise the error found when the app was made; report it first to a server that waits for the start-up."""
    if scope["type"] == "lifespan":
        await receive()
        text = str(problem) or type(problem).__name__
        await send({"type": "lifespan.startup.failed", "message": text})
    raise copy.copy(problem)  # each raise adds to the traceback, which keeps the frames of the request alive


def _is_asyncio() -> bool:
    """Return whether the server runs the app on asyncio or a replacement of its event loop, such as uvloop."""
    return _running_loop() is not None
