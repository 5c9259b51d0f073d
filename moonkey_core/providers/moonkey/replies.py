"""What a reply of the MoonKey API is, before its content is read: a success, a refusal, or not understood.

Only a JSON object without any error is a success, and only a JSON error of a known shape is a refusal. Everything
else is trouble of the API, which never becomes a refusal.
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
from moonkey_core._transport.replies import not_understood, refuses
from moonkey_core.errors import ProviderUnavailable

DEAD_SESSION = frozenset({"invalid_session"})
"""The codes that mean that a session is over, or never was: the one that the guides of MoonKey name."""

_DEAD_STATUSES = (400, 401, 403, 404, 410, 422)  # with any other, the code and the status contradict each other
_LONGEST_OWN_CODE = 20  # characters: a longer code that was sent, too, is a credential
_CREDENTIAL = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}={0,2}")
_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_ERRORS = (
    *("error", "errors", "error_type", "error_code", "error_message", "error_description"),
    *("errorType", "errorCode", "errorMessage"),  # of gateways
)
_STATUSES = ("status", "statusCode", "code")
_FAILED = frozenset({"error", "fail", "failed", "failure"})
_PRAISES = ("success", "ok")
_SIGNS = frozenset((*_PRAISES, *_STATUSES, *_ERRORS))
_NOTHING: tuple[object, ...] = (None, False, "", [], {})


@dataclass(frozen=True, slots=True)
class ApiError:
    """A JSON error of one of the two known shapes.

    Attributes:
        status: The status of the reply.
        code: The code of the error, or ``None`` where it names none.
        detail: Code and message for the operator, as :func:`~moonkey_core._evidence.quoted` leaves them.
    """

    status: int
    code: str | None
    detail: str = field(default="", repr=False)

    @property
    def is_dead_session(self) -> bool:
        """Whether it certainly means that a session is over, or never was."""
        return self.code in DEAD_SESSION


def judge(reply: Reply, check: Callable[[Mapping[str, Any]], object] | None = None) -> ReplyClass:
    """Return what a reply of the API is. ``check`` raises ``ValueError`` for content that is not good."""
    if reply.status in (200, 201):
        try:
            body = load_success(reply.body)
            if check is not None:
                check(body)
        except ValueError:
            return "trouble"
        return "success"
    if not refuses(reply.status):
        return "trouble"
    is_known = api_error(reply) is not None or (reply.status == 401 and not reply.body)
    return "refusal" if is_known else "trouble"


def judge_keys(reply: Reply) -> ReplyClass:
    """Return what the reply to the fetch of the key set is, to which our key may be sent."""
    return "refusal" if reply.status in (401, 403) and not reply.body else judge(reply)


def content(reply: Reply) -> dict[str, Any]:
    """Return the JSON object of a success.

    Raises:
        ProviderUnavailable: There is none.
    """
    try:
        return load_success(reply.body)
    except ValueError:
        raise not_understood(reply) from None


def load_success(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a success.

    Raises:
        ValueError: It is anything else, or contains an error.
    """
    body = load_object(data)
    status = body.get("status_code")
    if _SIGNS.isdisjoint(body) and (status is None or (type(status) is int and 200 <= status < 300)):
        return body  # as usual: nothing in it could speak of an error
    denied = any(body.get(name) not in (None, True) for name in _PRAISES)
    failed = any(_is_failure(body[name]) for name in _STATUSES if name in body)
    if denied or failed or any(body.get(name) not in _NOTHING for name in _ERRORS):
        raise ValueError("an error in a good reply")
    if status is not None and (type(status) is not int or not 200 <= status < 300):
        raise ValueError("another status in a good reply")
    return body


def _is_failure(value: object) -> bool:
    """Return whether a status or code in the body, of whatever type, is that of a failure."""
    if isinstance(value, str):
        return value in DEAD_SESSION or value.lower() in _FAILED
    return isinstance(value, int | float) and 400 <= value < 600


def api_error(reply: Reply, sent: Collection[str] = ()) -> ApiError | None:
    """Return the error in a reply, flat (``error_type``) or nested (``error.code``).

    An error that comes with a user or a session, or that names another status than that of a refusal, contradicts
    itself and is not understood.

    Args:
        reply: The reply.
        sent: What the request carried, which the message for the operator must not repeat.

    Returns:
        ``None`` where the error is not understood.
    """
    try:
        body = load_object(reply.body)
    except ValueError:
        return None
    status = body.get("status_code")
    if status is not None and (type(status) is not int or not refuses(status)):
        return None
    if body.get("session") is not None or body.get("user") is not None:
        return None
    nested, flat = body.get("error"), body.get("error_type")
    if nested is not None and flat is not None:
        return None
    if nested is None:
        code, message = flat, body.get("error_message")
        known = isinstance(code, str)
    else:
        code, message = (nested.get("code"), nested.get("message")) if isinstance(nested, Mapping) else (0, 0)
        known = code is not None or message is not None
    if not known or not all(one is None or isinstance(one, str) for one in (code, message)):
        return None
    found = _code(code)
    if found is not None and len(found) > _LONGEST_OWN_CODE and found in sent:
        found = None  # the credential that was sent, rather than a code
    if found in DEAD_SESSION and reply.status not in _DEAD_STATUSES:
        return None
    return ApiError(reply.status, found, quoted(found or "", message or "", sent))


def sound_credential(value: object) -> str | None:
    """Return a credential from a reply, fit for a header; ``None`` where it is absent or the empty string.

    Raises:
        ProviderUnavailable: It is malformed.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
        raise ProviderUnavailable(reason="api_content")
    return value


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
