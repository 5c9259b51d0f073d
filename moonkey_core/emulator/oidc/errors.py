"""The error answers of OAuth: ``{"error", "error_description"}`` (RFC 6749, section 5.2)."""

from __future__ import annotations

from moonkey_core.emulator.errors import ApiError, Shape
from moonkey_core.emulator.records import Json


class OAuthError(ApiError):
    """An error answer of the token, introspection or revocation endpoint."""

    def body(self, shape: Shape | None = None) -> Json:
        """Return the JSON body. It has one shape."""
        return {"error": self.kind, "error_description": self.message}


def invalid_request(message: str) -> OAuthError:
    """Return the answer to a request that is not well formed."""
    return OAuthError(400, "invalid_request", message)


def invalid_client(message: str, *, challenge: bool) -> OAuthError:
    """Return the answer to a client that is unknown or not authenticated (RFC 6749, section 5.2)."""
    error = OAuthError(401, "invalid_client", message)
    error.headers = {"www-authenticate": 'Basic realm="oidc"'} if challenge else {}
    return error


def invalid_grant(message: str) -> OAuthError:
    """Return the answer to a code or refresh token that is wrong, used, expired or revoked."""
    return OAuthError(400, "invalid_grant", message)
