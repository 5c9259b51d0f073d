"""One call to the MoonKey API, and what kind of answer it got: good, an understood refusal, or trouble."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from moonkey_core._evidence import strings_in
from moonkey_core._plan import Fetch, Plan, Reply
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import ApiError, api_error, content, not_understood, require_reply
from moonkey_core.errors import NotFound, ProviderRejectedKey, RequestRefused
from moonkey_core.settings import Secret

_SPEAKING = ("error", "errors", "error_type", "session", "user")
_PROBE_SECONDS = 5.0  # how long one answer about our own key is trusted


class ApiClient:
    """Calls the API under one address. No error repeats ``secret_key``."""

    def __init__(self, root: str, secret_key: Secret) -> None:
        self._root = root
        self._secret_key = secret_key

    def _sent(self, fetch: Fetch) -> tuple[str, ...]:
        key = self._secret_key.reveal()
        return (*strings_in(fetch.json), key, key.removeprefix("sk_test_").removeprefix("sk_live_"))

    def get(self, fetch: Fetch) -> Plan[dict[str, Any]]:
        """The content of a reply, where a refusal is the caller's own mistake."""
        _, answer = yield from self.ask(fetch)
        if isinstance(answer, ApiError):
            raise refused(answer)
        return answer

    def ask(
        self, fetch: Fetch, *, is_done: Callable[[Reply], bool] | None = None
    ) -> Plan[tuple[Reply, dict[str, Any] | ApiError]]:
        """A reply with its content, or with its error where it is an understood refusal; else raises.

        ``is_done`` is for calls whose reply has no content of interest: whether one with a good status will do.
        """
        reply = require_reply((yield fetch))
        if is_done is not None and 200 <= reply.status < 300:
            if not is_done(reply):
                raise not_understood(reply)
            return reply, {}
        if reply.status in (200, 201):
            return reply, content(reply)
        error = api_error(reply, self._sent(fetch))
        if error is not None and error.is_dead_session:
            return reply, error
        if reply.status == 401 and (error is not None or _is_bare(reply)):
            yield from self._check_key()
            return reply, error or ApiError(401, None)
        if error is None or not 400 <= reply.status < 500 or reply.status in (408, 425, 429):
            raise not_understood(reply)
        return reply, error

    def _check_key(self) -> Plan[None]:
        """Tell "this session is dead" from "our key is wrong": both may be a bare 401.

        Asks for a user that cannot exist. Not found: the key was accepted. Raises ``ProviderRejectedKey``, or
        ``ProviderUnavailable`` where that cannot be told either.
        """
        absent = f"user_{secrets.token_hex(16)}"
        probe = Fetch("GET", f"{self._root}/users/{absent}", coalesce_key="key-probe", ttl=_PROBE_SECONDS)
        probe = replace(probe, operation="key-probe", priority=True)
        reply = require_reply((yield probe))
        error = api_error(reply, self._sent(probe))
        if error is not None and error.status in (400, 404):
            return
        if reply.status in (401, 403) and (error is not None or not reply.body):
            raise ProviderRejectedKey(evidence=told(error or ApiError(reply.status, None)))
        raise not_understood(reply)


def _is_bare(reply: Reply) -> bool:
    """Whether a 401 says nothing more, or says it in JSON of no known shape.

    A page of a proxy's is not the API speaking; an error that cannot be read, or one beside an answer, is trouble.
    """
    if not reply.body:
        return True
    try:
        body = load_object(reply.body)
    except ValueError:
        return False
    return not any(name in body for name in _SPEAKING)


def refused(error: ApiError, *, reason: str | None = None) -> RequestRefused | ProviderRejectedKey:
    """The error for a refusal that is the caller's own mistake; a ``reason`` says which."""
    if reason is not None:
        return RequestRefused(code=error.code, reason=reason, evidence=told(error))
    if error.status == 403:
        return ProviderRejectedKey(evidence=told(error))
    if error.status in (401, 402):
        return misconfigured(error)
    kind = NotFound if error.status in (404, 410) else RequestRefused
    return kind(code=error.code, evidence=told(error))


def misconfigured(error: ApiError) -> ProviderRejectedKey:
    """The error for a refusal of a correct request."""
    return ProviderRejectedKey(
        f"The MoonKey API answered {error.status} to a correct request. Check in its dashboard that this app may "
        "use sessions.",
        reason="provider_refused",
        evidence=told(error),
    )


def told(error: ApiError) -> str:
    """What the API has said, for the operator."""
    return f"It answered {error.status}{f', {error.detail!r}' if error.detail else ''}."
