"""The call that validates a credential, and how its reply is read (API reference, Verify Session)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from moonkey_core._evidence import seconds
from moonkey_core._plan import Fetch, Plan
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from moonkey_core.errors import (
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core.providers.moonkey.api import REFUSALS, ApiClient, evidence_of, misconfigured, refused
from moonkey_core.providers.moonkey.ids import TOKEN_PREFIX, same_user
from moonkey_core.providers.moonkey.replies import ApiError, judge, load_success, sound_credential
from moonkey_core.providers.moonkey.wire import (
    check_session,
    check_user,
    is_ended_otherwise,
    session_span,
    without_secrets,
)
from moonkey_core.providers.verification_calls import result_of, shared_call
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import same_token


class SessionVerification:
    """Plans for the call that validates a credential."""

    def __init__(self, api: ApiClient, settings: Settings, clock: Callable[[], float]) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._new_call = api.endpoint("POST", "sessions/verify", operation="sessions.verify")

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the API to validate a credential. Concurrent requests with the same credential share one call.

        A reply about another user than the credential itself names counts as trouble. A refusal of a call that was
        to extend the session may concern its lifetime: the call is made again without it, and the refusal becomes
        ``extension_error``. Source: API reference, Verify Session.

        Raises:
            InvalidCredentials: The credential is not valid.
            ProviderError: The API cannot be reached or understood.
        """
        refused_length: MoonKeyError | None = None
        reply, answer = yield from self._api.call(self._introspection_call(request))
        if isinstance(answer, ApiError) and _may_mean_length(answer, request.extends_by):
            refused_length = refused(answer, reason="duration_refused")
            request = replace(request, minutes=None, extension=None)
            reply, answer = yield from self._api.call(self._introspection_call(request))
        if isinstance(answer, ApiError):
            raise _refusal(answer)
        asked_at = reply.asked_at or self._clock()
        result = yield from result_of(
            reply, request, partial(self._checked_result, request, answer, asked_at), self.introspect
        )
        return result if refused_length is None else replace(result, extension_error=refused_length)

    def _introspection_call(self, request: IntrospectionRequest) -> Fetch:
        body: dict[str, Any] = {request.kind: request.value}
        minutes = request.extends_by
        if minutes is not None:
            body["session_expires_in"] = minutes
        return shared_call(
            self._new_call(json=body, priority=request.was_good),
            request,
            partial(self._cleaned, request),
            partial(judge, check=partial(self._check_valid, request)),
        )

    def _checked_result(
        self, request: IntrospectionRequest, body: Mapping[str, Any], asked_at: float
    ) -> IntrospectionResult:
        """Return the result in a reply.

        Raises:
            ExpiredCredentials: The session has expired.
            RevokedCredentials: The session has been ended.
            ProviderUnavailable: The reply cannot be read, or is about another session or user.
        """
        now, wire = self._clock(), body.get("session")
        try:
            started_at, ends_at, is_over, user_id = self._readable(body, now)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        assert isinstance(wire, dict)  # checked
        if not same_user(user_id, wire["user_id"]):
            raise ProviderUnavailable(reason="api_mismatch")
        token, jwt = sound_credential(body.get("session_token")), sound_credential(body.get("session_jwt"))
        names_token = request.kind == "session_token" and token is not None
        if names_token and not same_token(token or "", request.value, TOKEN_PREFIX):
            raise ProviderUnavailable(reason="api_mismatch")
        if request.session_id is not None and wire["id"] != request.session_id:
            raise ProviderUnavailable(reason="api_mismatch")
        named = request.user_ids and [user for user in request.user_ids if user]
        if named and not any(same_user(user_id, user) for user in named):
            raise ProviderUnavailable(reason="api_mismatch")
        is_past = ends_at + self._settings.leeway <= now
        if is_over or is_past:
            ended = f"It ended {seconds(now - ends_at)} ago, by the clock of this machine."
            error = RevokedCredentials() if is_over else ExpiredCredentials(evidence=ended)
            error.session_id = wire["id"]
            raise error
        fresh = jwt if request.refresh or request.wants_jwt else None
        return IntrospectionResult(wire["id"], user_id, started_at, ends_at, asked_at, body, fresh)

    def _readable(self, body: Mapping[str, Any], now: float) -> tuple[float | None, float, bool, str]:
        """Return start and end of the session in a reply, whether it has been ended, and the id of its user.

        Raises:
            ValueError: The reply cannot be read.
        """
        wire, user = body.get("session"), body.get("user")
        if body.get("deleted") or is_ended_otherwise(body):
            raise ValueError("a session beside the word that it has ended")
        started_at, ends_at, is_over = session_span(wire, now + self._settings.leeway)
        assert isinstance(wire, dict)  # checked
        if ends_at < (started_at or 0.0):
            raise ValueError("a session that ends before it begins")
        return started_at, ends_at, is_over, wire["user_id"] if user is None else check_user(user)

    def _cleaned(self, request: IntrospectionRequest, body: bytes) -> bytes:
        """Return the same for a reply that other processes may use.

        Raises:
            ValueError: It is not the result of a valid credential.
        """
        answer = load_success(body)
        self._check_valid(request, answer)
        return without_credentials(answer)

    def _check_valid(self, request: IntrospectionRequest, answer: Mapping[str, Any]) -> None:
        """Check that a reply is the result of a valid credential.

        Raises:
            ValueError: It is not.
        """
        try:
            self._checked_result(request, answer, 0.0)
        except MoonKeyError:
            raise ValueError("not a good answer") from None


def without_credentials(body: Mapping[str, Any]) -> bytes:
    """Return the user and session in a reply as JSON, without any credential."""
    check_session(body.get("session"))
    kept = {name: without_secrets(body[name]) for name in ("session", "user") if name in body}
    return json.dumps(kept).encode()


def _may_mean_length(error: ApiError, minutes: int | None) -> bool:
    """Return whether a refusal may concern the requested lifetime of the session, and not the session."""
    return minutes is not None and not error.is_dead_session and error.status != 401


def _refusal(error: ApiError) -> MoonKeyError:
    """Return the error for a refused credential. Only some codes mean that its session is certainly over."""
    if error.is_dead_session:
        return InvalidCredentials(reason="session_unknown")
    if error.status in (*REFUSALS, 401):
        return InvalidCredentials(reason="session_refused", evidence=evidence_of(error))
    if error.status in (402, 409):
        return misconfigured(error)
    if error.status == 403:
        return refused(error)
    return ProviderUnavailable(reason="api_status", evidence=evidence_of(error))
