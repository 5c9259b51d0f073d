"""The check of what authenticates a caller, in front of a service's routes."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.endpoints import error_response
from moonkey_core.emulator.errors import ApiError


class Guarded:
    """The app that passes accepted requests on, and answers the others with an error.

    Args:
        conditions: The circumstances, which write the error.
        refusal: The error for a request, or ``None`` for one that is accepted.
        app: The app behind it.
    """

    def __init__(self, conditions: Conditions, refusal: Callable[[Scope], ApiError | None], app: ASGIApp) -> None:
        self._conditions = conditions
        self._refusal = refusal
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request (ASGI)."""
        error = self._refusal(scope)
        app = self._app if error is None else error_response(self._conditions, error)
        await app(scope, receive, send)


def equal(given: str, wanted: str) -> bool:
    """Return whether two texts are equal, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Return the name and the password of a Basic ``Authorization`` header (RFC 7617), else ``None``."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return None
    return (name, password) if colon else None
