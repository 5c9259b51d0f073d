"""The MoonKey API: how each call is built and how its reply is read (API reference, ``/v1/auth``)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core._crypto import Digest
from moonkey_core._evidence import seconds
from moonkey_core._plan import Fetch, Plan, StorePolicy
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult, JwtClaims
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import ApiError, load_success
from moonkey_core._verified import Body
from moonkey_core.errors import (
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core.models import (
    Login,
    OtpRequest,
    Session,
    User,
    VerifiedSession,
    same_user,
    with_user_id,
)
from moonkey_core.providers.moonkey.api import ApiClient, evidence_of, misconfigured, refused
from moonkey_core.providers.moonkey.claims import MoonKeyClaims
from moonkey_core.providers.moonkey.endings import check_ended, has_ended
from moonkey_core.providers.moonkey.wire import (
    check_session,
    check_user,
    is_deleted,
    is_ended_otherwise,
    parse_login,
    parse_otp_request,
    parse_session,
    parse_user,
    session_start,
    without_secrets,
)
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import same_token

_CREDENTIAL = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}={0,2}")
_REFUSALS = (400, 404, 410)
_LOGIN_REFUSALS = (*_REFUSALS, 401, 409, 422)
# The words of an error's code: about a login step, about the lifetime of a session, about neither.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PROOF = frozenset(
    {"otp", "otps", "totp", "code", "passcode", "magic", "link", "token", "oauth", "signature", "wallet", "method"}
    | {"nonce", "challenge", "recovery", "password", "factor", "credential", "credentials", "verification"}
    | {"expired", "attempts"}
)
_LENGTH = frozenset({"expires", "expiry", "expiration", "duration", "minutes", "lifetime", "ttl"})
_NOT_THE_LOGIN = frozenset(
    {"app", "application", "route", "path", "endpoint", "project", "plan", "quota"}
    | {"maintenance", "disabled", "enabled", "allowed", "supported", "unsupported", "unavailable"}
)


class MoonKeyApi:
    """Plans for every call to the API that this package makes."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float], store_name: Callable[[str], str] | None = None
    ) -> None:
        self._settings = settings
        self._store_name = store_name  # the name of a credential in the shared store
        self._clock = clock
        self._root = f"{settings.base_url}/v1/auth"
        self._api = ApiClient(self._root, settings.secret_key)
        self._digest = Digest()
        self._claims = MoonKeyClaims(settings)

    @property
    def jwt_claims(self) -> JwtClaims:
        """The reader of the claims of its session JWTs."""
        return self._claims

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
        try:
            result = self._checked_result(request, answer, reply.asked_at or self._clock())
        except MoonKeyError:
            if not reply.from_store:
                raise
            # Only valid results are stored, and the session may have been extended since.
            result = yield from self.introspect(replace(request, max_staleness=0))
        return result if refused_length is None else replace(result, extension_error=refused_length)

    def _introspection_call(self, request: IntrospectionRequest) -> Fetch:
        body: dict[str, Any] = {request.kind: request.value}
        if request.extends_by is not None:
            body["session_expires_in"] = request.extends_by
        url, name = f"{self._root}/sessions/verify", request.digest.hex()
        call = partial(Fetch, "POST", url, json=body, operation="sessions.verify", priority=request.was_good)
        oldest = math.inf if request.max_staleness is None else request.max_staleness
        if request.minutes is not None or oldest == 0:
            return call()
        if request.refresh:
            ttl = min(request.shared_for, oldest)
            coalesce_key = f"refresh:{ttl:g}:{request.extension or 0}:{name}"
            shared = partial(call, coalesce_key=coalesce_key, ttl=ttl, until_revoked=True)
            # A certain refusal is remembered elsewhere already, and an unusable reply must not be shared.
            return shared(reuse_refusals=False, reader=partial(self._check_valid, request))
        store_policy, ttl = None, self._settings.session_cache_ttl
        if request.extension is not None:
            return call()
        if self._store_name is not None and ttl > 0:
            store_name = self._store_name(request.value)
            store_policy = StorePolicy(store_name, min(ttl, oldest), partial(self._cleaned, request))
        return call(coalesce_key=request.coalesce_key, until_revoked=True, store_policy=store_policy)

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
            ends_at, is_over, user_id = self._readable(body, now)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        assert isinstance(wire, dict)  # checked
        if not same_user(user_id, wire["user_id"]):
            raise ProviderUnavailable(reason="api_mismatch")
        token, jwt = _sound_credential(body.get("session_token")), _sound_credential(body.get("session_jwt"))
        if request.kind == "session_token" and token is not None and not same_token(token, request.value):
            raise ProviderUnavailable(reason="api_mismatch")
        if request.session_id is not None and wire["id"] != request.session_id:
            raise ProviderUnavailable(reason="api_mismatch")
        named = [user for user in request.user_ids if user]
        if named and not any(same_user(user_id, user) for user in named):
            raise ProviderUnavailable(reason="api_mismatch")
        if is_over:
            raise RevokedCredentials
        if ends_at + self._settings.leeway <= now:
            raise ExpiredCredentials(
                evidence=f"It ended {seconds(now - ends_at)} ago, by the clock of this machine."
            )
        fresh = jwt if request.refresh or request.wants_jwt else None
        return IntrospectionResult(wire["id"], user_id, session_start(wire), ends_at, asked_at, body, fresh)

    def _readable(self, body: Mapping[str, Any], now: float | None = None) -> tuple[float, bool, str]:
        """Return the end of the session in a reply, whether it has been ended already, and the id of its user.

        Raises:
            ValueError: The reply cannot be read.
        """
        wire, user = body.get("session"), body.get("user")
        if body.get("deleted") or is_ended_otherwise(body):
            raise ValueError("a session beside the word that it has ended")
        ends_at = check_session(wire)
        assert isinstance(wire, dict)  # checked
        if ends_at < (session_start(wire) or 0.0):
            raise ValueError("a session that ends before it begins")
        is_over = is_deleted(wire, (self._clock() if now is None else now) + self._settings.leeway)
        return ends_at, is_over, wire["user_id"] if user is None else check_user(user)

    def without_credentials(self, body: Mapping[str, Any]) -> bytes:
        """Return the user and session in a reply as JSON, without any credential."""
        check_session(body.get("session"))
        kept = {name: without_secrets(body[name]) for name in ("session", "user") if name in body}
        return json.dumps(kept).encode()

    def _cleaned(self, request: IntrospectionRequest, body: bytes) -> bytes:
        """Return the same for a reply that other processes may use.

        Raises:
            ValueError: It is not the result of a valid credential.
        """
        answer = load_success(body)
        self._check_valid(request, answer)
        return self.without_credentials(answer)

    def _check_valid(self, request: IntrospectionRequest, answer: Mapping[str, Any]) -> None:
        """Check that a reply is the result of a valid credential.

        Raises:
            ValueError: It is not.
        """
        try:
            self._checked_result(request, answer, 0.0)
        except MoonKeyError:
            raise ValueError("not a good answer") from None

    def user(self, body: Body) -> User:
        """Return the user in a checked reply."""
        answer = _decoded(body)
        return parse_user(answer["user"]) if answer.get("user") else User(id=answer["session"]["user_id"])

    def session(self, body: Body) -> Session:
        """Return the session in a checked reply."""
        return parse_session(_decoded(body)["session"])

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the whole of a result, with its credentials, for the user under this id."""
        body = result.body
        token = _sound_credential(body.get("session_token"))
        jwt = _sound_credential(body.get("session_jwt"))
        user = with_user_id(self.user(body), user_id)
        return VerifiedSession(user, self.session(body), token, jwt, result.fresh_jwt)

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name the same user."""
        return same_user(one, other)

    def list_sessions(self, user_id: str) -> Plan[tuple[Session, ...]]:
        """Return the user's active sessions.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        url = f"{self._root}/sessions/list?user_id={quote(user_id, safe='')}"
        body = yield from self._api.get(Fetch("GET", url, operation="sessions.list"))
        found = body.get("sessions")
        if found is None and "sessions" in body:
            found = []  # null is how some languages write an empty list
        try:
            if not isinstance(found, list):
                raise ValueError
            sessions = tuple(parse_session(item) for item in found if not is_deleted(item))
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if not all(same_user(session.user_id, user_id) for session in sessions):
            raise ProviderUnavailable(reason="api_mismatch")
        return sessions

    def revoke(
        self, kind: Literal["session_id", "session_token", "session_jwt"], value: str, *, pause: float = 0.0
    ) -> Plan[None]:
        """End a session, after ``pause`` seconds. A session that does not exist any more counts as ended.

        Raises:
            MoonKeyError: It is not certain that the session has ended.
        """
        url = f"{self._root}/sessions/delete"
        # Each of many revocations has the full time for itself.
        fetch = Fetch(
            "DELETE",
            url,
            operation="sessions.revoke",
            json={kind: value},
            revokes=True,
            timeout=self._settings.timeout + pause,
            own_deadline=True,
            pause=pause,
        )
        _, answer = yield from self._api.call(fetch, is_done=has_ended)
        if isinstance(answer, ApiError):
            check_ended(answer)

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the result for the time of the ``user_ttl`` setting.

        Raises:
            NotFound: There is no such user.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = Fetch("GET", f"{self._root}/users/{quote(user_id, safe='')}", operation="users.get")
        if remember:
            coalesce_key = self._digest("user", user_id)
            fetch = replace(
                fetch,
                coalesce_key=coalesce_key,
                ttl=self._settings.user_ttl,
                reuse_refusals=False,
                reader=partial(_check_user_of, user_id),
            )
        body = yield from self._api.get(fetch)
        try:
            user = _user_of(body)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if not same_user(user.id, user_id):
            raise ProviderUnavailable(reason="api_mismatch")
        return user

    def send_otp(self, path: str, body: Mapping[str, Any]) -> Plan[OtpRequest]:
        """Send a one-time passcode.

        Args:
            path: The endpoint, such as ``otps/email/send``.
            body: The body of the call.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = Fetch("POST", f"{self._root}/{path}", json=body, idempotent=False, operation=path)
        answer = yield from self._api.get(fetch)
        try:
            return parse_otp_request(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None

    def login(self, path: str, body: Mapping[str, Any]) -> Plan[Login]:
        """Verify a login step. The call is never repeated, as the first one may have used the code up.

        Args:
            path: The endpoint, such as ``otps/verify``.
            body: The body of the call.

        Raises:
            InvalidCredentials: The code, link or signature is not valid.
            RequestRefused: The API refused the call for another reason.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = Fetch("POST", f"{self._root}/{path}", json=body, idempotent=False, operation=path)
        _, answer = yield from self._api.call(fetch)
        if isinstance(answer, ApiError):
            raise _login_refusal(answer, body)
        try:
            login = parse_login(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        named = (answer.get("user_id") or login.user.id, login.session.user_id if login.session else login.user.id)
        if not all(isinstance(user, str) and same_user(login.user.id, user) for user in named):
            raise ProviderUnavailable(reason="api_mismatch")
        _sound_credential(login.session_token)
        _sound_credential(login.session_jwt)
        return login


def _may_mean_length(error: ApiError, minutes: int | None) -> bool:
    """Return whether a refusal may concern the requested lifetime of the session, and not the session."""
    return minutes is not None and not error.is_dead_session and error.status != 401


def _refusal(error: ApiError) -> MoonKeyError:
    """Return the error for a refused credential. Only some codes mean that its session is certainly over."""
    if error.is_dead_session:
        return InvalidCredentials(reason="session_unknown")
    if error.status in (*_REFUSALS, 401):
        return InvalidCredentials(reason="session_refused", evidence=evidence_of(error))
    if error.status in (402, 409):
        return misconfigured(error)
    if error.status == 403:
        return refused(error)
    return ProviderUnavailable(reason="api_status", evidence=evidence_of(error))


def _login_refusal(error: ApiError, sent: Mapping[str, Any]) -> MoonKeyError:
    """Return the error for a refused login step.

    The code, link or signature counts as wrong only where the error's code does not name anything else. Where the
    call requested a session of some lifetime, that may be the cause, unless the error's code excludes it.
    """
    if error.is_dead_session and ("session_token" in sent or "session_jwt" in sent):
        return InvalidCredentials(reason="session_unknown")
    words = {word.lower() for word in _WORD.findall(error.code or "")}
    timed = "session_expires_in" in sent
    if timed and words & _LENGTH and (words.isdisjoint(_PROOF) or "session" in words):
        return refused(error, reason="login_unclear")
    if error.status in (402, 403):
        return refused(error)
    if words & _NOT_THE_LOGIN or error.status not in _LOGIN_REFUSALS:
        return refused(error, reason="login_unclear")
    is_unspecific = (timed and error.status == 400) or (error.status == 401 and error.code is None)
    if words.isdisjoint(_PROOF) and (is_unspecific or error.status not in (*_REFUSALS, 401)):
        return refused(error, reason="login_unclear")
    return InvalidCredentials(
        "The code, link or signature is wrong, used up or too old.",
        reason="login_refused",
        evidence=evidence_of(error),
    )


def _decoded(body: Body) -> Mapping[str, Any]:
    return load_object(body) if isinstance(body, bytes) else body


def _user_of(body: Mapping[str, Any]) -> User:
    inner = body.get("user")
    return parse_user(inner if isinstance(inner, Mapping) else body)


def _check_user_of(user_id: str, body: Mapping[str, Any]) -> None:
    """Check that a reply is about that user.

    Raises:
        ValueError: It is not.
    """
    if not same_user(_user_of(body).id, user_id):
        raise ValueError("another user")


def _sound_credential(value: object) -> str | None:
    """Return a credential from a reply, fit for a header; ``None`` where it is absent or the empty string.

    Raises:
        ProviderUnavailable: It is malformed.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
        raise ProviderUnavailable(reason="api_content")
    return value
