"""The calls to an authorization server: token introspection (RFC 7662) and token revocation (RFC 7009)."""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

from moonkey_core import _clock
from moonkey_core._plan import CallAuthorization, Fetch, Plan, Reply
from moonkey_core._provider import Capability, IntrospectionRequest, IntrospectionResult
from moonkey_core._transport.replies import require_reply
from moonkey_core.errors import InvalidCredentials, MoonKeyError, NotSupported
from moonkey_core.providers.introspection.judge import Judge, cleaned
from moonkey_core.providers.introspection.replies import (
    active_claims,
    check_revoked,
    judge_introspection,
    judge_revocation,
)
from moonkey_core.providers.verification_calls import result_of, shared_call

_MAX_BYTES = 256 * 1024
_REVOCATION_SECONDS = 5.0  # of a call that no request waits for
_HINT = "access_token"


class TokenIntrospection:
    """Plans for the calls about one provider's tokens."""

    ends_sessions_by_id: bool = False

    def __init__(
        self, provider: str, url: str, revocation_url: str | None, authorization: CallAuthorization, judge: Judge
    ) -> None:
        self._provider = provider
        self._url = url
        self._revocation_url = revocation_url
        self._authorization = authorization
        self._judge = judge

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be done by these calls."""
        return frozenset({"introspect"} if self._revocation_url is None else {"introspect", "revoke_session"})

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the server about a token. Concurrent requests with the same token share one call.

        Raises:
            InvalidCredentials: The token is not active, or not good here.
            ProviderError: The server cannot be reached or understood, or does not accept our client.
            NotSupported: The session was to be extended.
        """
        if request.minutes is not None:
            raise NotSupported(provider=self._provider, operation="extend")
        reply = require_reply((yield self._call(request)))
        return (yield from result_of(reply, request, partial(self._read, request, reply), self.introspect))

    def _call(self, request: IntrospectionRequest) -> Fetch:
        call = Fetch(
            "POST",
            self._url,
            form={"token": request.value, "token_type_hint": _HINT},
            authorization=self._authorization,
            judge=judge_introspection,
            max_bytes=_MAX_BYTES,
            operation="tokens.introspect",
            priority=request.was_good,
        )
        return shared_call(call, request, partial(self._cleaned, request))

    def _read(self, request: IntrospectionRequest, reply: Reply) -> IntrospectionResult:
        found = active_claims(reply)
        if found is None:
            raise InvalidCredentials(reason="token_inactive")
        now = _clock.wall()
        return self._judge.result(found, request, reply.asked_at or now, now)

    def _cleaned(self, request: IntrospectionRequest, body: bytes) -> bytes:
        """Return a good reply as other processes may use it, without any credential.

        Raises:
            ValueError: It is no good reply.
        """
        reply = Reply(200, {}, body, from_store=True)
        try:
            self._read(request, reply)
            found = active_claims(reply)
        except MoonKeyError:
            found = None
        if found is None:
            raise ValueError("not a good reply")
        return json.dumps(cleaned(found, request.value)).encode()

    def revoke(
        self,
        kind: Literal["session_id", "session_token", "session_jwt"],
        value: str,
        *,
        pause: float | None = None,
    ) -> Plan[None]:
        """Revoke a token. A token that is not active any more counts as revoked.

        Args:
            kind: What ``value`` is.
            value: The token.
            pause: For a call that no request waits for, the seconds before it.

        Raises:
            NotSupported: There is no revocation endpoint, or ``value`` is the id of a session. Raised at once.
            ProviderError: The token may still be active.
        """
        why = ""
        if self._revocation_url is None:
            why = "Set revocation_url, the revocation endpoint (RFC 7009) of its authorization server."
        elif kind == "session_id":
            why = "A token can be revoked (RFC 7009), a session by its id cannot: pass the token."
        if self._revocation_url is None or why:
            raise NotSupported(provider=self._provider, operation="revoke_session", why=why)
        fetch = Fetch(
            "POST",
            self._revocation_url,
            form={"token": value, "token_type_hint": _HINT},
            authorization=self._authorization,
            judge=judge_revocation,
            max_bytes=_MAX_BYTES,
            operation="tokens.revoke",
            revokes=True,
            timeout=None if pause is None else _REVOCATION_SECONDS + pause,
            own_deadline=True,
            pause=pause or 0.0,
            uses_breaker=pause is None,
        )
        return self._revoked(fetch)

    def _revoked(self, fetch: Fetch) -> Plan[None]:
        check_revoked(require_reply((yield fetch)), self._provider)
