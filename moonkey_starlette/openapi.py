"""What gates add to the OpenAPI document of FastAPI: the refusals, and that a sign-in may be optional.

FastAPI takes the security schemes of an operation from its dependencies. For responses, and for an alternative
without credential, dependencies have no say, so the finished document is completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

BEARER_SCHEME = "MoonKeyBearer"
OPTIONAL_SCHEME = "MoonKeyOptional"
"""The scheme of a dependency that refuses no request. It is in no finished document."""

HEADER_SCHEME = "MoonKeySessionToken"
HEADER_MODEL: dict[str, Any] = {
    "type": "apiKey",
    "in": "header",
    "name": "session-token",
    "description": "The same, in a header of its own.",
}
"""The scheme of the other header. A finished route may name the first one only: both are always accepted."""

_PROBLEM = "MoonKeyProblem"
_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "The body of a refusal (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id under which the log has the reason."},
        "error": {"type": "string", "description": "The error code of RFC 6750 or RFC 9470, if any."},
        "reason": {"type": "string", "enum": ["expired"], "description": "Where the credential was good before."},
        "acr_values": {"type": "array", "items": {"type": "string"}},
        "max_age": {"type": "integer"},
        "factor_count": {"type": "integer"},
        "sign_in_again": {"type": "boolean"},
        "scope": {"type": "string"},
    },
}
_CHALLENGE = {"WWW-Authenticate": {"description": "RFC 6750, RFC 9470", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "400": ("The credential is malformed, or there is more than one.", _CHALLENGE),
    "401": ("No valid session, or it has to prove more.", _CHALLENGE),
    "403": ("The session may not do that, or another site has sent the request.", _CHALLENGE),
    "503": ("Whether the session is valid cannot be determined at the moment.", _RETRY_AFTER),
}


def describe_in_every_document(app_class: type[Any]) -> None:
    """Have the apps of a class complete their OpenAPI documents by :func:`describe_gates`.

    Documents without a security scheme of this package stay as they are.

    Args:
        app_class: FastAPI's class of apps.
    """
    make: Callable[[Any], dict[str, Any]] = app_class.openapi

    @wraps(make)
    def openapi(self: Any) -> dict[str, Any]:
        return describe_gates(make(self))

    app_class.openapi = openapi


def describe_gates(document: dict[str, Any]) -> dict[str, Any]:
    """Add the refusals and the optional sign-in to a document, in place. A second time changes nothing.

    ``FastAPI.openapi`` does it. An ``app.openapi`` of your own has to: ``return describe_gates(get_openapi(…))``.

    Args:
        document: An OpenAPI document.

    Returns:
        The same document.
    """
    components = document.get("components", {})
    schemes = components.get("securitySchemes", {})
    if OPTIONAL_SCHEME in schemes:
        optional = schemes.pop(OPTIONAL_SCHEME)
        schemes.setdefault(BEARER_SCHEME, optional)
    elif BEARER_SCHEME not in schemes:
        return document
    schemes.setdefault(HEADER_SCHEME, dict(HEADER_MODEL))
    has_gate = False
    for operation in _operations(document):
        security = operation.get("security", [])
        is_gated = {BEARER_SCHEME: []} in security and {} not in security
        if {OPTIONAL_SCHEME: []} in security:
            first: list[dict[str, list[str]]] = [] if is_gated else [{}, {BEARER_SCHEME: []}]
            operation["security"] = first + [one for one in security if one != {OPTIONAL_SCHEME: []}]
        _add_session_token(operation.get("security", []))
        if is_gated:
            has_gate = True
            _add_refusals(operation)
    if has_gate:
        components.setdefault("schemas", {}).setdefault(_PROBLEM, _PROBLEM_SCHEMA)
    return document


def _add_session_token(security: list[dict[str, list[str]]]) -> None:
    """Add the other header where the first one is accepted."""
    bearer: dict[str, list[str]] = {BEARER_SCHEME: []}
    other: dict[str, list[str]] = {HEADER_SCHEME: []}
    if bearer in security and other not in security:
        security.insert(security.index(bearer) + 1, other)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for paths in (document.get("paths", {}), document.get("webhooks", {})):
        for path in paths.values():
            yield from (one for one in path.values() if isinstance(one, dict) and "responses" in one)


def _add_refusals(operation: dict[str, Any]) -> None:
    """Add the refusals that the app has not described itself."""
    for status, (description, headers) in _REFUSALS.items():
        content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
        operation["responses"].setdefault(
            status, {"description": description, "headers": headers, "content": content}
        )
