"""The entry of the emulator: every request comes here first."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core.emulator.api import KEY_SET_PATH, api_routes
from moonkey_core.emulator.control import Control
from moonkey_core.emulator.control_http import CONTROL_PREFIX, control_routes
from moonkey_core.emulator.endpoints import error_response, json_response
from moonkey_core.emulator.errors import ApiError, bad_key, invalid
from moonkey_core.emulator.oauth import BEGIN_PATH, CALLBACK_PATH
from moonkey_core.emulator.playback import CallerGone, play
from moonkey_core.emulator.state import State

MAX_BODY_BYTES = 64 * 1024
MAX_CONTROL_BODY_BYTES = 4 * 1024 * 1024


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _application(routes: Sequence[Route]) -> Starlette:
    application = Starlette(routes=routes)
    application.router.redirect_slashes = False
    return application


class Gateway:
    """The app that guards the control interface, counts calls, bounds bodies, injects faults and checks the key.

    Args:
        state: The state of the emulator.
        control: The methods behind the control interface.
        any_host: Whether the server listens off loopback on purpose, so that any ``Host`` may reach the control.
    """

    def __init__(self, state: State, control: Control, any_host: bool) -> None:
        self._state = state
        self._any_host = any_host
        self._routes: Sequence[Route] = api_routes(state)
        self._api = _Keyed(state, _application(self._routes))
        self._control = _application(control_routes(state, control))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request (ASGI)."""
        if scope["type"] != "http":
            raise RuntimeError("the emulator speaks HTTP only")
        is_control = scope["path"] == CONTROL_PREFIX or scope["path"].startswith(f"{CONTROL_PREFIX}/")
        try:
            if is_control:
                await self._serve_control(scope, receive, send)
            else:
                await self._serve_api(scope, receive, send)
        except CallerGone:
            return

    async def _serve_control(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Headers(scope=scope))
        if refusal:
            answer: ASGIApp = json_response(403, ApiError(403, "forbidden", refusal).body())
            await answer(scope, receive, send)
            return
        body = await _read(receive, MAX_CONTROL_BODY_BYTES)
        await (self._control if body is not None else self._too_large())(scope, _replay(body or b""), send)

    def _refusal(self, headers: Headers) -> str | None:
        """Return why a web page's request to the control interface is refused; ``None`` if it is accepted.

        The request of a page has an ``Origin`` or ``Sec-Fetch-Site`` or, after DNS rebinding, a foreign ``Host``.
        """
        if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
            return "Web pages may not use the control interface"
        try:
            host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        except ValueError:
            host = ""
        if not self._any_host and not is_loopback(host):
            return "The control interface is reached by a loopback name only, such as 127.0.0.1"
        return None

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._state
        with state.lock:
            state.traffic.begin(self._route_name(scope))
            fault = state.faults.take(scope["path"])
        try:
            body = await _read(receive, MAX_BODY_BYTES)
            app = self._api if body is not None else self._too_large()
            replay = _replay(body or b"")
            if fault is None:
                await app(scope, replay, send)
            else:
                await play(fault, app, scope, receive, replay, send)
        finally:
            with state.lock:
                state.traffic.end()

    def _route_name(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return f"{scope['method']} {route.path}"
        return "(other)"

    def _too_large(self) -> Response:
        return error_response(self._state, invalid("The body is too large"))


class _Keyed:
    """The app that accepts only requests with the API key. For the key set it may be in the URL as well.

    A browser that begins an OAuth login sends the public token instead; one that comes back sends its state.
    """

    def __init__(self, state: State, app: ASGIApp) -> None:
        self._state = state
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        keys = [given.strip()] if scheme.lower() == "bearer" else []
        if scope["path"] == KEY_SET_PATH:
            keys += QueryParams(scope["query_string"]).getlist("api_key")[:1]
        app = self._app
        wanted = self._state.secret_key
        if not any(_equal(key, wanted) for key in keys) and not self._is_public(scope):
            app = error_response(self._state, bad_key())
        await app(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        """Return whether a request is one that browsers may send: the begin or the callback of an OAuth login."""
        if BEGIN_PATH.fullmatch(scope["path"]):
            return _equal(QueryParams(scope["query_string"]).get("public_token", ""), self._state.public_token)
        return CALLBACK_PATH.fullmatch(scope["path"]) is not None


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the request's body, or ``None`` where it is larger than ``limit`` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes) -> Receive:
    """Return a ``receive`` for a body that was read before."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
