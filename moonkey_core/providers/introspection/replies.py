"""What an authorization server's reply means: the token is active, it is not, or nothing is known (RFC 7662).

Only a JSON object with a boolean ``active`` is an answer. A refusal of our own client is a fault of our
configuration. Everything else is trouble, which never becomes a refusal of the token.
"""

from __future__ import annotations

from typing import Any

from moonkey_core._plan import Reply, ReplyClass
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import not_understood, refuses, retry_after
from moonkey_core.errors import NotSupported, ProviderError, ProviderRejectedKey, ProviderUnavailable

_JSON = "application/json"
_OF_OUR_CLIENT = frozenset({"invalid_client", "unauthorized_client"})
_CODES = _OF_OUR_CLIENT | {
    *("invalid_request", "invalid_token", "invalid_scope", "invalid_grant", "insufficient_scope"),
    *("access_denied", "server_error", "temporarily_unavailable", "unsupported_token_type"),
}
"""The codes that may be shown, as another text could be what was sent (RFC 6749 section 5.2, RFC 7009 2.2)."""


def active_claims(reply: Reply) -> dict[str, Any] | None:
    """Return the members of a reply about an active token; ``None`` for one about a token that is not active.

    Raises:
        ProviderUnavailable: The reply says neither.
        ProviderRejectedKey: The server does not accept our client.
    """
    if reply.status != 200:
        raise failure(reply)
    if not reply.from_store and _media_type(reply) != _JSON:
        raise _bad_content(reply)  # such as a signed reply (RFC 9701), which was not requested
    try:
        found = load_object(reply.body)
    except ValueError:
        raise _bad_content(reply) from None
    active = found.pop("active", None)
    if active is True:
        # Some servers write null for what they leave out. It never satisfies a rule.
        return {name: value for name, value in found.items() if value is not None}
    if active is False:
        return None
    raise _bad_content(reply)


def judge_introspection(reply: Reply) -> ReplyClass:
    """Return what a reply is: whether the server itself says something about the token, or refuses the call."""
    if reply.status != 200:
        return _judge_refusal(reply)
    try:
        active_claims(reply)
    except ProviderError:
        return "trouble"
    return "success"


def judge_revocation(reply: Reply) -> ReplyClass:
    """Return the same of a reply to a revocation, whose content does not count (RFC 7009 section 2.2)."""
    return "success" if reply.status in (200, 204) else _judge_refusal(reply)


def _judge_refusal(reply: Reply) -> ReplyClass:
    """Return whether an error is one of the server itself (RFC 6749 section 5.2), and not a proxy's page."""
    is_known = refuses(reply.status) and (_error_code(reply) is not None or _challenges(reply))
    return "refusal" if is_known else "trouble"


def check_revoked(reply: Reply, provider: str) -> None:
    """Check that a reply confirms a revocation. That of an unknown token counts as one (RFC 7009 section 2.2).

    Raises:
        NotSupported: The server does not revoke such tokens.
        ProviderError: The token may still be active.
    """
    if reply.status in (200, 204):
        return
    if reply.status == 400 and _error_code(reply) == "unsupported_token_type":
        raise NotSupported(
            provider=provider,
            operation="revoke_session",
            why="Its authorization server does not revoke access tokens of this type.",
        )
    raise failure(reply)


def failure(reply: Reply) -> ProviderError:
    """Return the error for a reply that says nothing about a token."""
    code = _error_code(reply)
    if reply.status in (400, 401) and (code in _OF_OUR_CLIENT or _challenges(reply)):
        return ProviderRejectedKey(
            "The authorization server does not accept this app as its client. Check client_id, client_secret or "
            "private_key, auth_method and, for a private key, assertion_audience, key_id and the clock.",
            evidence=f"{reply.address or 'It'} answered {reply.status}{f' {code}' if code else ''}.",
        )
    error = not_understood(reply)
    if code is None:
        return error
    return ProviderUnavailable(
        reason=error.reason,
        retry_after=retry_after(reply),
        address=reply.address,
        cause=f"status {reply.status}, {code}",
    )


def _challenges(reply: Reply) -> bool:
    """Return whether a 401 comes from the server itself (RFC 6749 section 5.2), and not from a proxy's page."""
    if reply.status != 401:
        return False
    return not reply.body or "www-authenticate" in reply.headers or _error_code(reply) is not None


def _error_code(reply: Reply) -> str | None:
    try:
        code = load_object(reply.body).get("error")
    except ValueError:
        return None
    return code if isinstance(code, str) and code in _CODES else None


def _media_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip(" \t").lower()


def _bad_content(reply: Reply) -> ProviderUnavailable:
    media_type = _media_type(reply)
    cause = "no introspection reply" if media_type == _JSON else "a reply that is not application/json"
    return ProviderUnavailable(reason="api_content", address=reply.address, cause=cause)
