"""MoonKey for Starlette: a middleware, a gate for endpoints, and the identity of a request or WebSocket.

The dependencies for FastAPI are in :mod:`moonkey_starlette.fastapi`, which alone imports FastAPI.
"""

from moonkey_core.extras import needs

with needs("starlette", extra="starlette"):
    import starlette as _starlette  # noqa: F401

from moonkey_starlette.decorators import optional_auth, public, require_auth
from moonkey_starlette.identity import get_auth, get_client
from moonkey_starlette.middleware import MoonKeyMiddleware
from moonkey_starlette.requests import (
    AuthenticatedRequest,
    AuthenticatedWebSocket,
    MoonKeyRequest,
    MoonKeyWebSocket,
)
from moonkey_starlette.routes import session_routes
from moonkey_starlette.streams import bound_session, bound_stream

__all__ = [
    "AuthenticatedRequest",
    "AuthenticatedWebSocket",
    "MoonKeyMiddleware",
    "MoonKeyRequest",
    "MoonKeyWebSocket",
    "bound_session",
    "bound_stream",
    "get_auth",
    "get_client",
    "optional_auth",
    "public",
    "require_auth",
    "session_routes",
]
