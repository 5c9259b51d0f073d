"""One call to the MoonKey API, and the kind of its reply: success, an understood refusal, or trouble."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from moonkey_core._evidence import strings_in
from moonkey_core._plan import Fetch, Plan, Reply
from moonkey_core._provider import FixedAuthorization
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import not_understood, refuses, require_reply
from moonkey_core.errors import NotFound, ProviderRejectedKey, RequestRefused
from moonkey_core.providers.moonkey.ids import TOKEN_PREFIX
from moonkey_core.providers.moonkey.replies import ApiError, api_error, content, judge
from moonkey_core.settings import Secret

REFUSALS = (400, 404, 410)
"""The statuses that refuse a credential or a proof, and not the call."""

REJECTED_KEY = (
    "The MoonKey API rejected the secret key. Check MOONKEY_SECRET_KEY: it must be a current sk_test_ or sk_live_ "
    "key of this app, and MOONKEY_BASE_URL must be the API it belongs to."
)

_API_MEMBERS = ("error", "errors", "error_type", "session", "user")
_NO_SUCH_USER = "user_not_found"  # the only code that means that a user does not exist any more
_PROBE_SECONDS = 5.0  # for which one reply about our own key is reused


class ApiClient:
    """A client of the API under one address.

    Args:
        root: The URL before the path of each call.
        secret_key: The secret key, which is sent with each call and must not occur in any error message.
        previous_secret_key: The secret key before it, for which the same holds.
    """

    def __init__(self, root: str, secret_key: Secret, previous_secret_key: Secret | None = None) -> None:
        self.root: str = root
        self._authorization = FixedAuthorization(Secret(f"Bearer {secret_key.reveal()}"))
        self._secret_keys = (secret_key,) if previous_secret_key is None else (secret_key, previous_secret_key)

    def endpoint(self, method: Literal["GET", "POST", "DELETE"], path: str, *, operation: str) -> partial[Fetch]:
        """Return what makes a call to an endpoint, with our secret key.

        Args:
            method: The HTTP method.
            path: The path below the root, with the query.
            operation: The name of the call in events.
        """
        url, key = f"{self.root}/{path}", self._authorization
        return partial(Fetch, method, url, operation=operation, authorization=key, judge=judge)

    def _sent(self, fetch: Fetch) -> tuple[str, ...]:
        keys = [key.reveal() for key in self._secret_keys]
        bare = [key.removeprefix("sk_test_").removeprefix("sk_live_") for key in keys]
        strings = tuple(strings_in(fetch.json))
        return (*strings, *(one.removeprefix(TOKEN_PREFIX) for one in strings), *keys, *bare)

    def get(self, fetch: Fetch) -> Plan[dict[str, Any]]:
        """Make a call whose refusal is a mistake of the caller, and return the content of the reply.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood, or refuses our secret key.
        """
        _, answer = yield from self.call(fetch)
        if isinstance(answer, ApiError):
            raise refused(answer)
        return answer

    def call(
        self, fetch: Fetch, *, is_done: Callable[[Reply], bool] | None = None
    ) -> Plan[tuple[Reply, dict[str, Any] | ApiError]]:
        """Make a call, and return the reply with its content, or with its error where it is a refusal.

        Args:
            fetch: The call.
            is_done: For calls whose reply has no content: returns whether a reply with a status of 200 to 299
                confirms the call.

        Raises:
            ProviderError: The API cannot be reached or understood, or refuses our secret key.
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
            yield from self.check_key()
            return reply, error or ApiError(401, None)
        if error is None or not refuses(reply.status):
            raise not_understood(reply)
        return reply, error

    def check_key(self) -> Plan[None]:
        """Check that the API accepts our secret key, after a 401 that may mean the session or the key.

        Requests a user that cannot exist. The reply "not found" proves that the key was accepted.

        Raises:
            ProviderRejectedKey: The API does not accept the key.
            ProviderUnavailable: The reply does not show whether it does.
        """
        unknown_id = f"user_{secrets.token_hex(16)}"
        new_probe = self.endpoint("GET", f"users/{unknown_id}", operation="key-probe")
        probe = new_probe(coalesce_key="key-probe", ttl=_PROBE_SECONDS, priority=True)
        reply = require_reply((yield probe))
        error = api_error(reply, self._sent(probe))
        if error is not None and error.status in (400, 404):
            return
        if reply.status in (401, 403) and (error is not None or not reply.body):
            raise rejected_key(error or ApiError(reply.status, None))
        raise not_understood(reply)


def _is_bare(reply: Reply) -> bool:
    """Return whether a 401 has no body, or a JSON object without any member that the API's replies have.

    The page of a proxy is no reply of the API. An error that cannot be read, or one beside content, is trouble.
    """
    if not reply.body:
        return True
    try:
        body = load_object(reply.body)
    except ValueError:
        return False
    return not any(name in body for name in _API_MEMBERS)


def refused(error: ApiError, *, reason: str | None = None) -> RequestRefused | ProviderRejectedKey:
    """Return the error for a refusal that is a mistake of the caller, with ``reason`` if one is given."""
    if reason is not None:
        return RequestRefused(code=error.code, reason=reason, evidence=evidence_of(error))
    if error.status == 403:
        return rejected_key(error)
    if error.status in (401, 402):
        return misconfigured(error)
    if error.status in (404, 410):
        return NotFound(code=error.code, evidence=evidence_of(error), is_gone=error.code == _NO_SUCH_USER)
    return RequestRefused(code=error.code, evidence=evidence_of(error))


def rejected_key(error: ApiError) -> ProviderRejectedKey:
    """Return the error for a refusal of our secret key."""
    return ProviderRejectedKey(REJECTED_KEY, evidence=evidence_of(error))


def misconfigured(error: ApiError) -> ProviderRejectedKey:
    """Return the error for a refusal of a correct request."""
    return ProviderRejectedKey(
        f"The MoonKey API answered {error.status} to a correct request. Check in its dashboard that this app may "
        "use sessions.",
        reason="provider_refused",
        evidence=evidence_of(error),
    )


def evidence_of(error: ApiError) -> str:
    """Return a sentence with the API's status and message, for the operator."""
    return f"It answered {error.status}{f', {error.detail!r}' if error.detail else ''}."
