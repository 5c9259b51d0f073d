"""The entry of the emulator: every request comes here first."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.control_routes import CONTROL_PREFIX
from moonkey_core.emulator.endpoints import error_response, json_response
from moonkey_core.emulator.errors import ApiError, invalid
from moonkey_core.emulator.faults import Fault
from moonkey_core.emulator.playback import CallerGone, play

Play = Callable[[Fault, ASGIApp, Scope, Receive, Receive, Send], Awaitable[None]]
"""What answers a request with a fault, as :func:`moonkey_core.emulator.playback.play` does."""

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
    """The app that guards the control interface, counts calls, bounds bodies and injects faults.

    Args:
        conditions: The clock, faults and counts of the emulator.
        api: The routes of the emulated service.
        control: The routes of the control interface.
        any_host: Whether the server listens off loopback on purpose, so that any ``Host`` may reach the control.
        guard: What is put in front of the service's routes, such as the check of an API key.
    """

    def __init__(
        self,
        conditions: Conditions,
        api: Sequence[Route],
        control: Sequence[Route],
        any_host: bool,
        guard: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ) -> None:
        self._conditions = conditions
        self._any_host = any_host
        self._routes = api
        self._api = guard(_application(api))
        self._control = _application(control)
        self.play: Play = play

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
        conditions = self._conditions
        with conditions.lock:
            conditions.traffic.begin(self._route_name(scope))
            fault = conditions.faults.take(scope["path"])
        try:
            body = await _read(receive, MAX_BODY_BYTES)
            app = self._api if body is not None else self._too_large()
            replay = _replay(body or b"")
            if fault is None:
                await app(scope, replay, send)
            else:
                await self.play(fault, app, scope, receive, replay, send)
        finally:
            with conditions.lock:
                conditions.traffic.end()

    def _route_name(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return f"{scope['method']} {route.path}"
        return "(other)"

    def _too_large(self) -> Response:
        return error_response(self._conditions, invalid("The body is too large"))


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
