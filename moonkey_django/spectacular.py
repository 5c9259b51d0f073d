"""MoonKey for drf-spectacular: how requests are authenticated, in the OpenAPI document.

Imported by :mod:`moonkey_django.rest_framework` where drf-spectacular is installed.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.drainage import set_override  # pyright: ignore[reportMissingImports]
from drf_spectacular.extensions import OpenApiAuthenticationExtension  # pyright: ignore[reportMissingImports]

from moonkey_core.errors import ConfigurationError
from moonkey_django.conf import configuration
from moonkey_django.rest_framework import MoonKeyAuthentication

# A subclass has the same schemes, which drf-spectacular would warn of.
set_override(MoonKeyAuthentication, "suppress_collision_warning", True)


class MoonKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]  # untyped
    """The security schemes of ``MoonKeyAuthentication``: either header, or the cookie where there are cookies."""

    target_class: str | type[object] | None = "moonkey_django.rest_framework.MoonKeyAuthentication"
    match_subclasses: bool = True

    @property
    def name(self) -> list[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The names of the schemes."""
        return list(_schemes())

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Return the schemes as alternatives."""
        return [{name: []} for name in _schemes()]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        """Return the definitions of the schemes, in the order of their names."""
        return list(_schemes().values())


def _schemes() -> dict[str, dict[str, Any]]:
    try:
        settings = configuration().settings
    except ConfigurationError:  # a document can be made without a secret key
        return _header_schemes(("authorization", "session-token"))
    found = _header_schemes(settings.credential_headers)
    if settings.cookies is not None:
        found["MoonKeySessionCookie"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.cookies.session_name,
            "description": "That of a browser that has signed in; unsafe methods need a trusted Origin.",
        }
    return found


def _header_schemes(headers: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for header in headers:
        if header == "authorization":
            found["MoonKeyBearer"] = {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT or session token",
                "description": "A MoonKey session token or session JWT.",
            }
        else:
            name = "MoonKey" + "".join(word.capitalize() for word in header.split("-"))
            found[name] = {
                "type": "apiKey",
                "in": "header",
                "name": header,
                "description": "A MoonKey session token or session JWT.",
            }
    return found
