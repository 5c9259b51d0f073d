"""The error answers, in the two shapes of the service.

Shape A is flat: ``{"status_code", "error_type", "error_message"}``. Shape B is nested:
``{"error": {"code", "message"}}``. The official clients read A alone, which is the usual one here; one guide of
the service shows a dead session in B.
"""

from __future__ import annotations

from typing import Literal

from moonkey_core.emulator.records import Json

Shape = Literal["A", "B"]


class ApiError(Exception):
    """An error answer, which ends the request. ``headers`` are sent with it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.headers: dict[str, str] = {}
        self.status = status
        self.kind = kind
        self.message = message

    def body(self, shape: Shape | None = None) -> Json:
        """Return the JSON body, in shape A by default."""
        if shape == "B":
            return {"error": {"code": self.kind, "message": self.message}}
        return {"status_code": self.status, "error_type": self.kind, "error_message": self.message}


def invalid(message: str) -> ApiError:
    """Return the answer to a request that is not well formed."""
    return ApiError(400, "invalid_request", message)


def bad_key() -> ApiError:
    """Return the answer to a missing or wrong API key."""
    return ApiError(401, "unauthorized", "Unauthorized")


def not_found(what: str) -> ApiError:
    """Return the answer to an unknown user or the like."""
    return ApiError(404, f"{what}_not_found", f"{what.replace('_', ' ').capitalize()} not found")


def dead_session(status: int, coded: bool) -> ApiError:
    """Return the answer to an unknown, expired or deleted session.

    An uncoded 401 is, to the byte, the answer to a wrong API key: the service's pages leave that open.
    """
    if coded:
        return ApiError(status, "invalid_session", "Session not found or has expired")
    if status == 401:
        return bad_key()
    return ApiError(status, "not_found" if status == 404 else "bad_request", "Session not found or has expired")
