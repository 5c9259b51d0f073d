"""Requests and WebSockets for annotations, which give ``state.moonkey`` its type; without them it is ``Any``.

These classes have no instances: an endpoint gets Starlette's own objects.
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
        def moonkey(self) -> Auth:
            """The identity, in any of its states."""
            ...


class AuthenticatedState(MoonKeyState):
    """The ``state`` of a request that has passed a gate."""

    if TYPE_CHECKING:

        @property
        def moonkey(self) -> AuthenticatedAuth:
            """The identity, authenticated."""
            ...


class MoonKeyRequest(Request):
    """A request that has passed the middleware: ``async def endpoint(request: MoonKeyRequest)``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> MoonKeyState:
            """The state, with the identity as ``moonkey``."""
            ...


class AuthenticatedRequest(MoonKeyRequest):
    """A request that has passed a gate, for endpoints below ``@require_auth``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> AuthenticatedState:
            """The state, with the authenticated identity as ``moonkey``."""
            ...


class MoonKeyWebSocket(WebSocket):
    """A WebSocket that has passed the middleware: ``async def endpoint(websocket: MoonKeyWebSocket)``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> MoonKeyState:
            """The state, with the identity as ``moonkey``."""
            ...


class AuthenticatedWebSocket(MoonKeyWebSocket):
    """A WebSocket that has passed a gate, for endpoints below ``@require_auth``."""

    if TYPE_CHECKING:

        @property
        def state(self) -> AuthenticatedState:
            """The state, with the authenticated identity as ``moonkey``."""
            ...
