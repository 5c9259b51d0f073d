"""Requests and WebSockets for annotations: they say what stands in ``state.moonkey``, which is ``Any`` otherwise.

Nothing is made of these classes; an endpoint gets Starlette's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import State
from starlette.requests import Request
from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from moonkey_core.auth import Auth, AuthenticatedAuth

__all__ = [
    "AuthenticatedRequest", "AuthenticatedState", "AuthenticatedWebSocket",
    "MoonKeyRequest", "MoonKeyState", "MoonKeyWebSocket",
]  # fmt: skip


class MoonKeyState(State):
    """The ``state`` of a request that has passed the middleware."""

    if TYPE_CHECKING:

        @property
        def moonkey(self) -> Auth: ...


class AuthenticatedState(MoonKeyState):
    """The ``state`` of a request that has passed a gate."""

    if TYPE_CHECKING:

        @property
        def moonkey(self) -> AuthenticatedAuth: ...


class MoonKeyRequest(Request):
    """A request that has passed the middleware: ``async def endpoint(request: MoonKeyRequest)``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> MoonKeyState: ...


class AuthenticatedRequest(MoonKeyRequest):
    """A request that has passed a gate, for endpoints below ``@require_auth``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> AuthenticatedState: ...


class MoonKeyWebSocket(WebSocket):
    """A WebSocket that has passed the middleware: ``async def endpoint(websocket: MoonKeyWebSocket)``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> MoonKeyState: ...


class AuthenticatedWebSocket(MoonKeyWebSocket):
    """A WebSocket that has passed a gate, for endpoints below ``@require_auth``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> AuthenticatedState: ...
