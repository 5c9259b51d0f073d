"""What a reply of the API means, before anybody looks at its content.

The three-way reading lives here: understood and good, understood and refused, not understood. Only a JSON error of
a known shape is a refusal; everything else is trouble, and trouble never becomes a refusal.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from moonkey_core._json import load_object
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core.errors import ProviderUnavailable

_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class ApiError:
    """A JSON error of one of the two known shapes; ``code`` is ``None`` where it names none."""

    status: int
    code: str | None


def arrived(outcome: Outcome) -> Reply:
    """The reply, if there is one. Raises ``ProviderUnavailable``."""
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(reason=f"api_{outcome.kind}", address=outcome.address, cause=outcome.cause)
    return outcome


def content(reply: Reply) -> dict[str, Any]:
    """The JSON object of a good reply. Raises ``ProviderUnavailable`` where there is none."""
    try:
        return load_object(reply.body)
    except ValueError:
        raise not_understood(reply) from None


def api_error(reply: Reply) -> ApiError | None:
    """The error in a reply, flat (``error_type``) or nested (``error.code``); ``None`` in any other shape."""
    try:
        body = load_object(reply.body)
    except ValueError:
        return None
    nested = body.get("error")
    if isinstance(nested, Mapping) and (
        isinstance(nested.get("code"), str) or isinstance(nested.get("message"), str)
    ):
        return ApiError(reply.status, _code(nested.get("code")))
    if isinstance(body.get("error_type"), str):
        return ApiError(reply.status, _code(body["error_type"]))
    return None


def not_understood(reply: Reply) -> ProviderUnavailable:
    """The error for a reply that says nothing about the credential."""
    reason = "api_content" if reply.status < 300 else "api_rate_limited" if reply.status == 429 else "api_status"
    return ProviderUnavailable(
        reason=reason, retry_after=retry_after(reply), address=reply.address, cause=f"status {reply.status}"
    )


def is_settled(fetch: Fetch, outcome: Outcome) -> bool:
    """Whether an outcome says something definite and may be remembered for a while; trouble never may."""
    if isinstance(outcome, TransportError):
        return False
    if outcome.status in (200, 201):
        try:
            body = load_object(outcome.body)
            if fetch.reader is not None:
                fetch.reader(body)
        except ValueError:
            return False
        return True
    if not fetch.linger_refusals or not 400 <= outcome.status < 500 or outcome.status in (408, 429):
        return False
    return api_error(outcome) is not None or (outcome.status == 401 and not outcome.body)


def retry_after(reply: Reply) -> float | None:
    """Seconds to wait by ``Retry-After``, as seconds or as a date (RFC 9110 section 10.2.3), bounded."""
    value = reply.headers.get("retry-after", "").strip(" \t")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), _LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
