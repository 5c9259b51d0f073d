"""The meaning of a reply, before its content is read: a success, a refusal, or trouble.

Which it is, the judge of the call says: a provider knows the forms of its own service. Trouble never becomes a
refusal.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from functools import lru_cache

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome, Reply, ReplyClass, TransportError
from moonkey_core._strict_json import load_object
from moonkey_core.errors import ProviderUnavailable

_WAIT = (408, 425, 429)
_LONGEST_WAIT = 3600.0
_LONGEST_DATE = 64  # characters


def require_reply(outcome: Outcome) -> Reply:
    """Return the reply in an outcome.

    Raises:
        ProviderUnavailable: There is none.
    """
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(
            reason=f"api_{outcome.kind}",
            retry_after=outcome.retry_after,
            address=outcome.address,
            cause=outcome.cause,
        )
    return outcome


def not_understood(reply: Reply) -> ProviderUnavailable:
    """Make the error for a reply that proves nothing about the credential."""
    reason = "api_content" if reply.status < 300 else "api_rate_limited" if reply.status == 429 else "api_status"
    cause = f"status {reply.status}"
    if reply.status == 404:
        cause += ", as there is no such path: check the address in the settings"
    return ProviderUnavailable(reason=reason, retry_after=retry_after(reply), address=reply.address, cause=cause)


def judge(reply: Reply) -> ReplyClass:
    """Return what a reply is by its form alone: the judge of calls that have none of their own.

    A refusal without JSON may be the page of a proxy, and proves nothing; but a 401 needs no body (RFC 9110
    section 15.5.2).
    """
    if 200 <= reply.status < 300:
        return "success" if _is_object(reply.body) else "trouble"
    if not refuses(reply.status):
        return "trouble"
    is_bare = reply.status == 401 and not reply.body
    return "refusal" if is_bare or _is_object(reply.body) else "trouble"


def refuses(status: int) -> bool:
    """Return whether a status refuses a call for good: trying again later would not help."""
    return 400 <= status < 500 and status not in _WAIT


def is_reusable(fetch: Fetch, outcome: Outcome) -> bool:
    """Return whether an outcome is definite, so that it may be reused for a while. A failure never may."""
    if isinstance(outcome, TransportError):
        return False
    found = (fetch.judge or judge)(outcome)
    if found == "refusal":
        return fetch.reuse_refusals
    return found == "success"


def comes_from_service(fetch: Fetch, reply: Reply) -> bool:
    """Return whether the service itself has replied, rather than a proxy in front of it."""
    if 200 <= reply.status < 300 and _is_object(reply.body):
        return True
    return (fetch.judge or judge)(reply) != "trouble"


def _is_object(data: bytes) -> bool:
    try:
        load_object(data)
    except ValueError:
        return False
    return True


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
    return _parsed_date(value) if len(value) <= _LONGEST_DATE else None


@lru_cache(16)  # replies of the same second have the same date
def _parsed_date(value: str) -> float | None:
    try:
        seconds = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) else None
