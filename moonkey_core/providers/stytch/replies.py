"""What a reply of Stytch's API means: a success, a refusal of a known form, or trouble.

A refusal is known by its ``error_type``, never by its status alone (Stytch's documentation, "Errors"). The status
has to agree with it. What is neither is trouble, which never becomes a refusal of a credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import quoted
from moonkey_core._plan import Reply, ReplyClass
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import not_understood, refuses, retry_after
from moonkey_core.errors import (
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
)

SESSION_OVER = frozenset({"session_not_found"})
"""The types that mean that a session is over, or never was."""

USER_GONE = frozenset({"user_not_found"})
"""The types that mean that there is no such user."""

DENIED = frozenset(
    {
        "session_authorization_error",
        "session_authorization_tenancy_error",
        "consumer_session_authorization_error",
    }
)
"""The types that mean that the user of a valid session may not do what was asked."""

_UNAUTHORIZED = "unauthorized_credentials"  # how the types begin that are about the id or secret
_CREDENTIAL = frozenset(
    {
        *("invalid_session_token", "invalid_session_id", "unable_to_parse_session_jwt"),
        *("jwt_invalid_audience", "jwt_invalid_issuer", "jwt_invalid_claims"),
        *("attribute_mismatch", "insufficient_factors"),
    }
)
"""The types that mean that a credential is not good here. They do not say that its session is over."""

DURATION = frozenset({"invalid_session_duration_minutes"})
"""The types that mean that a session cannot last as long as was asked."""

_OUR_FAULT = frozenset(
    {
        *("too_many_session_arguments", "no_session_arguments"),
        *("too_many_session_revoke_arguments", "no_session_revoke_arguments", "use_https"),
        *("cname_required_for_http_only_cookies", "cname_invalid_for_http_only_cookies"),
    }
)
"""The types that mean that the call itself, or the set-up of the project, is wrong."""

_OVER_STATUSES = (400, 401, 403, 404, 410, 422)  # with any other, type and status contradict each other
_TYPE = re.compile(r"[a-z0-9_.\-]{1,80}")
_CONTENT = ("session", "member_session", "session_token", "session_jwt", "user", "member")
_ERRORS = ("error_type", "error", "error_message")


@dataclass(frozen=True, slots=True)
class StytchError:
    """A refusal of a known form.

    Attributes:
        status: The status of the reply.
        type: Its ``error_type``.
        detail: Type and message for the operator, without what was sent.
    """

    status: int
    type: str
    detail: str = field(default="", repr=False)

    @property
    def is_of_secret(self) -> bool:
        """Whether it means that the id or the secret of the project is wrong."""
        return self.type.startswith(_UNAUTHORIZED)

    @property
    def is_known(self) -> bool:
        """Whether its type says what is wrong."""
        known = SESSION_OVER | USER_GONE | DENIED | _CREDENTIAL | DURATION | _OUR_FAULT
        return self.is_of_secret or self.type in known

    @property
    def evidence(self) -> str:
        """A sentence with the status and the message, for the operator."""
        return f"It answered {self.status}{f', {self.detail!r}' if self.detail else ''}."


def judge(reply: Reply, check: Callable[[Mapping[str, Any]], object] | None = None) -> ReplyClass:
    """Return what a reply of the API is. ``check`` raises ``ValueError`` for content that is not good."""
    if 200 <= reply.status < 300:
        try:
            body = load_success(reply.body)
            if check is not None:
                check(body)
        except ValueError:
            return "trouble"
        return "success"
    return "trouble" if error_of(reply) is None else "refusal"


def load_success(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a success.

    Raises:
        ValueError: It is anything else, or contains an error.
    """
    body = load_object(data)
    status = body.get("status_code", 200)
    if type(status) is not int or not 200 <= status < 300:
        raise ValueError("another status in a good reply")
    if any(body.get(name) is not None for name in _ERRORS):
        raise ValueError("an error in a good reply")
    return body


def error_of(reply: Reply, sent: Collection[str] = ()) -> StytchError | None:
    """Return the refusal in a reply.

    One that comes with a session or a user, or that names another status than its own, contradicts itself.

    Args:
        reply: The reply.
        sent: What the request carried, which the message for the operator must not repeat.

    Returns:
        ``None`` where the reply is no refusal of a known form.
    """
    if not refuses(reply.status):
        return None
    try:
        body = load_object(reply.body)
    except ValueError:
        return None
    if body.get("status_code", reply.status) != reply.status or any(body.get(name) for name in _CONTENT):
        return None
    # The endpoints of OAuth have the names of RFC 6749 section 5.2.
    kind = body.get("error_type") if body.get("error_type") is not None else body.get("error")
    message = body.get("error_message") or body.get("error_description") or ""
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind) or kind in sent or not isinstance(message, str):
        return None
    if kind in SESSION_OVER and reply.status not in _OVER_STATUSES:
        return None
    return StytchError(reply.status, kind, quoted(kind, message, sent))


def answer_of(reply: Reply, sent: Collection[str] = ()) -> dict[str, Any] | StytchError:
    """Return the content of a success, or the error of a refusal.

    Raises:
        ProviderUnavailable: The reply is neither.
    """
    if 200 <= reply.status < 300:
        try:
            return load_success(reply.body)
        except ValueError:
            raise not_understood(reply) from None
    error = error_of(reply, sent)
    if error is None:
        raise not_understood(reply)
    return error


def refused_credential(error: StytchError, *, asked_permission: bool = False) -> MoonKeyError:
    """Return the error for a refused credential.

    Args:
        error: The refusal.
        asked_permission: Whether the call has asked for a permission as well.
    """
    if error.type in SESSION_OVER:
        return InvalidCredentials(reason="session_unknown")
    if error.type in _CREDENTIAL:
        return InvalidCredentials(reason="session_refused", evidence=error.evidence)
    if error.type in DENIED and asked_permission:
        return PermissionDenied()
    return _of_our_own(error) or ProviderUnavailable(reason="api_status", evidence=error.evidence)


def refused_call(error: StytchError, *, reason: str | None = None) -> MoonKeyError:
    """Return the error for a refused call that the app has asked for.

    Args:
        error: The refusal.
        reason: The reason where the type does not say it.
    """
    if error.type in SESSION_OVER:
        return InvalidCredentials(reason="session_unknown")
    if error.type in DENIED:
        return PermissionDenied()
    found = _of_our_own(error)
    if found is not None:
        return found
    if error.type in DURATION:
        return RequestRefused(code=error.type, reason="duration_refused", evidence=error.evidence)
    if error.status in (404, 410):
        return NotFound(code=error.type, evidence=error.evidence, is_gone=error.type in USER_GONE)
    return RequestRefused(code=error.type, reason=reason, evidence=error.evidence)


def _of_our_own(error: StytchError) -> MoonKeyError | None:
    """Return the error where the project's secret or our call is wrong."""
    if error.is_of_secret:
        return ProviderRejectedKey(
            "Stytch does not accept the project's id and secret. Check both, and that they are of one "
            "environment: test or live.",
            evidence=error.evidence,
        )
    if error.type in _OUR_FAULT:
        return ProviderRejectedKey(
            "Stytch refuses a correct call. Check the set-up of the project in its dashboard.",
            reason="provider_refused",
            evidence=error.evidence,
        )
    return None


def trouble(reply: Reply) -> ProviderUnavailable:
    """Return the error for a reply whose content cannot be understood."""
    return ProviderUnavailable(
        reason="api_content", retry_after=retry_after(reply), address=reply.address, cause=f"status {reply.status}"
    )
