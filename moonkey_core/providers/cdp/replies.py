"""What a reply of the API of CDP means (OpenAPI document of CDP, ``Error``): the only place that knows its errors.

One status, 401, stands for a wrong API key as well as for a wrong access token. Which of the two it was has to be
found out by another call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import quoted
from moonkey_core._plan import Reply, ReplyClass
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import not_understood
from moonkey_core.errors import NotFound, ProviderError, ProviderRejectedKey, ProviderUnavailable

_TYPE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")  # an open set of more than a hundred
_CORRELATION = re.compile(r"[A-Za-z0-9\-]{1,64}")
_ABOUT_THE_TOKEN = (400, 401, 404)
_NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error of the API.

    Attributes:
        status: The status of the reply.
        type: Its ``errorType``.
        detail: Type, message and correlation id for the operator, without what was sent.
    """

    status: int
    type: str
    detail: str = field(default="", repr=False)


def judge(reply: Reply, check: Callable[[Mapping[str, Any]], object] = dict) -> ReplyClass:
    """Return what a reply is. One of a gateway (403) is definite as well: our key may not be used.

    Args:
        reply: The reply.
        check: Raises ``ValueError`` for the content of a success that cannot be read.
    """
    if reply.status == 200:
        try:
            check(content(reply))
        except (ValueError, ProviderUnavailable):
            return "trouble"
        return "success"
    if reply.status == 403 or (reply.status in _ABOUT_THE_TOKEN and api_error(reply) is not None):
        return "refusal"
    return "trouble"


def api_error(reply: Reply, sent: Iterable[str] = ()) -> ApiError | None:
    """Return the error in a reply; ``None`` where there is none that can be read.

    Args:
        reply: The reply.
        sent: What the request carried, which the message for the operator must not repeat.
    """
    body = {} if reply.status == 200 else _object(reply) or {}
    kind, message, correlation = (body.get(name) for name in ("errorType", "errorMessage", "correlationId"))
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        return None
    detail = quoted(kind, message if isinstance(message, str) else "", sent)
    if isinstance(correlation, str) and _CORRELATION.fullmatch(correlation):
        detail = f"{detail} (correlationId {correlation})"
    return ApiError(reply.status, kind, detail)


def content(reply: Reply) -> dict[str, Any]:
    """Return the members of a success.

    Raises:
        ProviderUnavailable: It is none.
    """
    body = _object(reply) if reply.status == 200 else None
    if body is None or "errorType" in body:
        raise not_understood(reply)
    return body


def failure(reply: Reply) -> ProviderError:
    """Return the error for a reply that says nothing about an access token or a user."""
    error = api_error(reply)
    if reply.status == 403:
        return ProviderRejectedKey(
            "CDP does not let this app call its API. Check that its API key may be used from the address of this "
            "server (the allow-list of addresses in CDP's portal), and for this project.",
            reason="provider_refused",
            evidence=_evidence(reply, error),
        )
    plain = not_understood(reply)
    if error is None:
        return plain
    cause = f"status {reply.status}, {error.type}"
    return ProviderUnavailable(
        reason=plain.reason, retry_after=plain.retry_after, address=reply.address, cause=cause
    )


def rejected_key(reply: Reply) -> ProviderRejectedKey:
    """Return the error for a refusal of our API key."""
    return ProviderRejectedKey(
        "CDP does not accept the API key of this app. Check api_key_id, api_key_secret, base_url and the clock of "
        "this machine.",
        evidence=_evidence(reply, api_error(reply)),
    )


def no_such_user(reply: Reply) -> NotFound | None:
    """Return the error for a user that the API does not know; ``None`` for any other reply."""
    error = api_error(reply)
    if reply.status != 404 or error is None or error.type != _NOT_FOUND:
        return None
    return NotFound(code=error.type, evidence=_evidence(reply, error))


def _evidence(reply: Reply, error: ApiError | None) -> str:
    what = f"{reply.status}, {error.detail!r}" if error is not None else f"{reply.status}, which is no JSON of CDP"
    return f"It answered {what}."


def _object(reply: Reply) -> dict[str, Any] | None:
    try:
        return load_object(reply.body)
    except ValueError:
        return None
