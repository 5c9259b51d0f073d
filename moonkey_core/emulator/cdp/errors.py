"""The error answers of CDP: ``{"errorType", "errorMessage", "correlationId", "errorLink"}``."""

from __future__ import annotations

import uuid

from moonkey_core.emulator.errors import ApiError, Shape
from moonkey_core.emulator.records import Json

_LINK = "https://docs.cdp.coinbase.com/api-reference/v2/errors"


class CdpError(ApiError):
    """An error answer. ``kind`` is its ``errorType``."""

    def body(self, shape: Shape | None = None) -> Json:
        """Return the JSON body. It has one shape."""
        return error_body(self)


def error_body(error: ApiError) -> Json:
    """Return an error as CDP writes it."""
    return {
        "errorType": error.kind,
        "errorMessage": error.message,
        "correlationId": uuid.uuid4().hex,
        "errorLink": f"{_LINK}#{error.kind.replace('_', '-')}",
    }


def unauthorized() -> CdpError:
    """Return the answer to a wrong API key as well as to a wrong access token: it is the same."""
    return CdpError(401, "unauthorized", "The request is not properly authenticated.")


def invalid_request(message: str) -> CdpError:
    """Return the answer to a request that is not well formed."""
    return CdpError(400, "invalid_request", message)


def not_found() -> CdpError:
    """Return the answer about a user who does not exist."""
    return CdpError(404, "not_found", "End user with the given ID not found.")


def mfa_error(kind: str, message: str) -> CdpError:
    """Return the answer to a step of MFA that cannot be taken."""
    return CdpError(400, kind, message)
