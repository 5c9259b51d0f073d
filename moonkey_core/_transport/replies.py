"""The meaning of a reply of the API, before its content is judged.

A reply is one of three: a success, a refusal, or not understood. Only a JSON object without any error is a
success, and only a JSON error of a known shape is a refusal. Everything else is a failure of the API, which never
becomes a refusal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from moonkey_core import _clock
from moonkey_core._evidence import quoted
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._strict_json import load_object
from moonkey_core.errors import ProviderUnavailable

DEAD_SESSION = frozenset({"invalid_session"})
"""The codes that mean that a session is over, or never was: the one that the guides of MoonKey name."""

_DEAD_STATUSES = (400, 401, 403, 404, 410, 422)  # with any other, the code and the status contradict each other
_WAIT = (408, 425, 429)
_LONGEST_OWN_CODE = 20  # characters: a longer code that was sent, too, is a credential
_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_LONGEST_WAIT = 3600.0
_ERRORS = (
    *("error", "errors", "error_type", "error_code", "error_message", "error_description"),
    *("errorType", "errorCode", "errorMessage"),  # of gateways
)
_STATUSES = ("status", "statusCode", "code")
_FAILED = frozenset({"error", "fail", "failed", "failure"})
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


def require_reply(outcome: Outcome) -> Reply:
    """Return the reply in an outcome.

    Raises:
        ProviderUnavailable: There is none.
    """
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(reason=f"api_{outcome.kind}", address=outcome.address, cause=outcome.cause)
    return outcome


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
    denied = any(body.get(name) not in (None, True) for name in ("success", "ok"))
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
    if status is not None and (type(status) is not int or not _refuses(status)):
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


def not_understood(reply: Reply) -> ProviderUnavailable:
    """Make the error for a reply that proves nothing about the credential."""
    reason = "api_content" if reply.status < 300 else "api_rate_limited" if reply.status == 429 else "api_status"
    return ProviderUnavailable(
        reason=reason, retry_after=retry_after(reply), address=reply.address, cause=f"status {reply.status}"
    )


def is_reusable(fetch: Fetch, outcome: Outcome) -> bool:
    """Return whether an outcome is definite, so that it may be reused for a while. A failure never may."""
    if isinstance(outcome, TransportError):
        return False
    if outcome.status in (200, 201):
        try:
            body = load_success(outcome.body)
            if fetch.reader is not None:
                fetch.reader(body)
        except ValueError:
            return False
        return True
    if not fetch.reuse_refusals or not _refuses(outcome.status):
        return False
    return api_error(outcome) is not None or (outcome.status == 401 and not outcome.body)


def retry_after(reply: Reply) -> float | None:
    """Return the seconds of ``Retry-After``, a number or a date (RFC 9110 section 10.2.3), bounded."""
    value = reply.headers.get("retry-after", "").strip(" \t")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), _LONGEST_WAIT)
    then = http_date(value)
    if then is None:
        return None
    server_time = http_date(reply.headers.get("date", ""))  # by the clock of the server, if the reply names it
    return min(max(then - (_clock.wall() if server_time is None else server_time), 0.0), _LONGEST_WAIT)


def http_date(value: str) -> float | None:
    """Return the Unix seconds of a date in a header (RFC 9110 section 5.6.7); ``None`` for anything else."""
    try:
        seconds = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) else None


def _refuses(status: int) -> bool:
    return 400 <= status < 500 and status not in _WAIT


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
