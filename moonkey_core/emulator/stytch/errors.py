"""The errors of the service. ``Project.error_body`` writes them; ``kind`` is the ``error_type``."""

from __future__ import annotations

from moonkey_core.emulator.errors import ApiError

ERRORS_URL = "https://stytch.com/docs/api/errors"
BAD_REQUEST = "bad_request"
"""The type for a request that is not well formed, where the service has no narrower one."""

INJECTED = {
    401: ("unauthorized_credentials", "Unauthorized credentials."),
    404: ("session_not_found", "Session could not be found."),
    429: ("too_many_requests", "Too many requests have been made."),
}


def session_not_found() -> ApiError:
    """Return the answer to an unknown, revoked or expired session."""
    return ApiError(404, "session_not_found", "Session could not be found.")


def bad_credentials() -> ApiError:
    """Return the answer to a wrong project id or secret."""
    return ApiError(401, "unauthorized_credentials", "Unauthorized credentials.")


def user_not_found() -> ApiError:
    """Return the answer to an unknown user."""
    return ApiError(404, "user_not_found", "User could not be found.")


def bad(kind: str, message: str) -> ApiError:
    """Return the answer to a request with something wrong in it, which has a type of its own."""
    return ApiError(400, kind, message)
