"""The middleware: it attaches an identity to each request and WebSocket, and refuses nobody unless told to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import refusal_of
from moonkey_core.settings import Options
from moonkey_starlette.bound import BoundReply, SessionOver, WatchedIdentity
from moonkey_starlette.gates import RouteCheck
from moonkey_starlette.identity import Identity
from moonkey_starlette.mounted import Mounted, check_cookies
from moonkey_starlette.pages import Pages, Templates
from moonkey_starlette.paths import answers_preflights, exact_paths, is_preflight, route_path
from moonkey_starlette.replies import Reply, reply_to
from moonkey_starlette.scope import attach

__all__ = ["MoonKeyMiddleware"]


class MoonKeyMiddleware:
    """Gives every request and WebSocket an :class:`~moonkey_core.auth.Auth`, as ``request.state.moonkey``.

    ``request.user.is_authenticated`` and ``@requires("authenticated")`` of Starlette work as well. A
    :class:`~moonkey_core.errors.MoonKeyError` that the app raises becomes its response, unless the app has an
    exception handler of its own for it. A refused WebSocket gets the same response where the server can send one,
    else it is closed, before it is accepted; for the codes see :func:`~moonkey_starlette.messages.close_code`.

    With cookies, every response whose request has been verified carries what is new of them. An answer of
    Starlette's own to an error that nobody handles is made outside of all middleware and carries nothing; the next
    one does. Whoever wants to know of sign-ins, renewals and so on, adds a hook: ``client.hooks.add``.

    Arguments:
        client: a client that is configured already; else one is made from the other keyword arguments, which are
            those of :class:`~moonkey_core.client.AsyncMoonKey`, and the ``MOONKEY_*`` variables. Starlette makes
            its middleware when the app starts; ``client=AsyncMoonKey()`` finds a wrong setting on import.
        required: deny everything that has no verified user and session, but for the session routes where they are
            mounted; these are found through layers that keep the next one as ``app``, as Starlette's own do.
        public_paths: what ``required`` leaves open: exact paths, as the routes of this app see them, for every
            method and host.
        lazy: verify nothing until a gate or ``await get_auth(request)`` asks.
        bind_websockets: close a WebSocket of somebody who is signed in, with 4401, when the session is over.
        templates: with cookies, where the app has pages of its own for browsers: a ``Jinja2Templates``, or one or
            several directories; their ``moonkey/error.html`` and so on replace ours. Without Jinja2 installed,
            browsers get problem bodies.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong or missing setting.
    """

    def __init__(
        self,
        app: ASGIApp,
        client: AsyncMoonKey | None = None,
        *,
        required: bool = False,
        public_paths: Iterable[str] = (),
        lazy: bool = False,
        bind_websockets: bool = True,
        templates: Templates | None = None,
        **options: Unpack[Options],
    ) -> None:
        if client is not None and options:
            raise TypeError("Give MoonKeyMiddleware either a client or single settings, not both.")
        if client is not None and not isinstance(client, AsyncMoonKey):
            raise TypeError(f"MoonKeyMiddleware needs an AsyncMoonKey, not a {type(client).__name__}.")
        self.app = app
        self.client = client or AsyncMoonKey(**options)
        self._required = required
        self._public_paths = exact_paths(public_paths)
        self._lazy = lazy
        self._bind_websockets = bind_websockets
        self._answers_preflights = answers_preflights(app)
        self._pages = Pages(templates)
        self._mounted = Mounted(app)
        self._routes = RouteCheck(app)
        if self._public_paths and not required:
            raise ConfigurationError(
                "public_paths without required=True has no effect: every path is public. Add required=True."
            )
        check_cookies(app, self.client.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            if scope["type"] != "lifespan" or not await self._routes.refuses_to_start(scope, receive, send):
                await self.app(scope, receive, send)
            return
        reply: Reply
        if self._bind_websockets and scope["type"] == "websocket":
            identity: Identity = (watched := WatchedIdentity(scope, self.client))
            reply = BoundReply(scope, receive, send, watched)
        else:
            identity = Identity(scope, self.client)
            reply = reply_to(scope, receive, send, identity, self._mounted)
        identity.pages = self._pages
        try:
            self._routes.at_request(scope)
            attach(scope, identity)
            if not self._lazy and identity.at_once() is None:
                await identity.resolve()
            if not self._required or await self._admits(scope, identity, reply):
                await self.app(scope, reply.receive, reply.send)
        except MoonKeyError as error:
            if not await reply.refuse(error):
                raise
            error.__traceback__ = None  # the Auth keeps the error, which would keep all these frames
        except (SessionOver, WebSocketDisconnect):
            if not reply.is_over:
                raise
        finally:
            if reply.held or reply.is_bound:
                await reply.finish()

    async def _admits(self, scope: Scope, identity: Identity, reply: Reply) -> bool:
        """Whether the request may enter the app. Where it may not, raises its refusal, unless it has an answer."""
        path = route_path(scope)
        if path in self._public_paths or (scope["type"] == "http" and self._mounted.covers(path)):
            return True
        error = refusal_of(await identity.resolve())
        if error is None:
            return True
        if not is_preflight(scope):
            raise error
        if self._answers_preflights:
            return True
        # Browsers send preflights without credentials. This answer grants nothing, and runs none of the app.
        await reply.send({"type": "http.response.start", "status": 204, "headers": []})
        await reply.send({"type": "http.response.body", "body": b""})
        return False
