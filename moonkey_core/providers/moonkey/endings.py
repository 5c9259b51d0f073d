"""Whether a session has ended at the API, by the reply to the call that was to end it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moonkey_core._plan import Reply
from moonkey_core._strict_json import load_object
from moonkey_core.errors import MoonKeyError, ProviderUnavailable
from moonkey_core.providers.moonkey.api import refused
from moonkey_core.providers.moonkey.replies import ApiError

_WORDS = frozenset({b"ok", b"okay", b"accepted", b"deleted", b"done", b"success"})
_ERROR_MEMBERS = ("error", "errors", "error_type", "error_code", "error_message")
_NO_SUCH = frozenset(
    {"bad_request", "gone", "not_found", "unauthorized"}
)  # of the service itself, on a dead session
_DEAD = re.compile(
    r"(?=.*session).*(?:invalid|not_?found|unknown|expired|revoked|deleted|ended|missing|inactive)",
    re.IGNORECASE,
)


def has_ended(reply: Reply) -> bool:
    """Return whether a reply with a status of 200 to 299 confirms the end of a session.

    It does with an empty body, with JSON, or with a word such as ``OK``. The service's guides check the status
    alone. But the page of a proxy, or JSON that breaks off, proves nothing about the session, and JSON with an
    error contradicts its status.
    """
    body = reply.body.strip()
    if not body or body.lower().rstrip(b".!") in _WORDS:
        return True
    try:
        found = load_object(b'{"value":%s}' % body)
    except ValueError:
        return False
    value = found.get("value")
    return len(found) == 1 and value is not False and not (isinstance(value, Mapping) and _is_error(value))


def _is_error(body: Mapping[str, Any]) -> bool:
    status = body.get("status_code")
    return (
        any(body.get(name) for name in _ERROR_MEMBERS)
        or any(body.get(name) is False for name in ("success", "ok", "deleted", "revoked"))
        or (isinstance(status, int) and status >= 400)
    )


def check_ended(error: ApiError) -> None:
    """Check that a refusal means that there is no such session any more.

    Raises:
        MoonKeyError: It means anything else.
    """
    code = error.code
    if error.is_dead_session:
        return
    if error.status in (400, 404, 410) and code is None:
        return
    if error.status in (400, 401, 404, 410) and code is not None and (code in _NO_SUCH or _DEAD.match(code)):
        return
    raise _trouble(error)


def _trouble(error: ApiError) -> MoonKeyError:
    # Here "not found" means something else, such as our address or the app.
    return ProviderUnavailable(reason="api_status") if error.status in (401, 404, 410) else refused(error)
