"""The MoonKey API: how each call is built and what its reply means (API reference, ``/v1/auth``)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core._cache import Body, verify_share
from moonkey_core._digest import Digest
from moonkey_core._json import load_object
from moonkey_core._plan import Fetch, Plan, Stored
from moonkey_core._replies import ApiError
from moonkey_core._wire import (
    check_session,
    check_user,
    is_deleted,
    parse_login,
    parse_otp_request,
    parse_session,
    parse_user,
    session_start,
    without_secrets,
)
from moonkey_core.credentials import same_token
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
)
from moonkey_core.providers._asker import DEAD_SESSION, Asker, misconfigured, refused
from moonkey_core.providers._ending import check_gone, has_ended
from moonkey_core.providers._questions import Answer, Question
from moonkey_core.settings import Settings

_CREDENTIAL = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}={0,2}")
_REFUSALS = (400, 404, 410)


class MoonKeyApi:
    """Plans for every call to the API that this package makes."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float], store_name: Callable[[str], str] | None = None
    ) -> None:
        self._settings = settings
        self._store_name = store_name  # what a credential is called in the fleet's store
        self._clock = clock
        self._root = f"{settings.base_url}/v1/auth"
        self._asker = Asker(self._root)
        self._digest = Digest()

    def verify(self, question: Question) -> Plan[Answer]:
        """Ask whether a credential is good; callers with the same question at the same time share one call.

        An answer about anybody but whom the credential itself names is a mix-up and counts as trouble.
        """
        credentials = question.credentials
        body: dict[str, Any] = {credentials.kind: credentials.value}
        minutes = question.minutes if question.minutes is not None else question.extend_by
        if minutes is not None:
            body["session_expires_in"] = minutes
        reply, answer = yield from self._asker.ask(self._verify_call(question, body))
        if isinstance(answer, ApiError):
            if answer.code in DEAD_SESSION or answer.status in (*_REFUSALS, 401):
                question.session_is_gone = answer.code in DEAD_SESSION or answer.status in (404, 410)
                raise InvalidCredentials(reason="session_unknown")
            if answer.status in (402, 409):
                raise misconfigured(answer)
            raise ProviderUnavailable(reason="api_status")
        verified = self._judged(question, answer)
        verified.asked_at, verified.body = reply.asked_at or self._clock(), answer
        return verified

    def _verify_call(self, question: Question, body: dict[str, Any]) -> Fetch:
        url, name = f"{self._root}/sessions/verify", question.digest.hex()
        call = partial(Fetch, "POST", url, json=body, operation="sessions.verify", known=question.known)
        oldest = math.inf if question.max_staleness is None else question.max_staleness
        if question.minutes is not None or oldest == 0:
            return call()
        if question.refresh:
            linger = min(question.linger, oldest)
            share = f"refresh:{linger:g}:{question.extend_by or 0}:{name}"
            return call(share=share, linger=linger, reader=_check_session_of, until_revoked=True)
        stored, ttl = None, self._settings.session_cache_ttl
        if question.extend_by is not None:
            return call()
        if self._store_name is not None and ttl > 0:
            place = self._store_name(question.credentials.value)
            stored = Stored(place, min(ttl, oldest), partial(self._cleaned, question))
        return call(share=verify_share(question.digest), until_revoked=True, stored=stored)

    def _judged(self, question: Question, body: Mapping[str, Any]) -> Answer:
        """What a good answer says. Raises where it is none, or about somebody else."""
        wire, user = body.get("session"), body.get("user")
        try:
            if is_deleted(wire):
                raise RevokedCredentials
            ends_at = check_session(wire)
            assert isinstance(wire, dict)  # checked
            user_id = check_user(user) if user else wire["user_id"]
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if not same_user(user_id, wire["user_id"]):
            raise ProviderUnavailable(reason="api_mismatch")
        if ends_at + self._settings.leeway <= self._clock():
            raise ExpiredCredentials
        token, jwt = _sound_credential(body.get("session_token")), _sound_credential(body.get("session_jwt"))
        credentials = question.credentials
        if credentials.kind == "session_token" and token is not None and not same_token(token, credentials.value):
            raise ProviderUnavailable(reason="api_mismatch")
        if question.session_id is not None and wire["id"] != question.session_id:
            raise ProviderUnavailable(reason="api_mismatch")
        named = [user for user in question.users if user]
        if named and not any(same_user(user_id, user) for user in named):
            raise ProviderUnavailable(reason="api_mismatch")
        fresh = jwt if question.refresh or question.wants_jwt else None
        return Answer(wire["id"], user_id, session_start(wire), ends_at, fresh)

    def clean(self, answer: Mapping[str, Any]) -> bytes:
        """What a good answer about a credential says of its user and session, and no credential."""
        check_session(answer.get("session"))
        said = {name: without_secrets(answer[name]) for name in ("session", "user") if name in answer}
        return json.dumps(said).encode()

    def _cleaned(self, question: Question, body: bytes) -> bytes:
        """The same, for others to believe. Raises ``ValueError`` where it is no good answer to this question."""
        answer = load_object(body)
        try:
            self._judged(question, answer)
        except MoonKeyError:
            raise ValueError("not a good answer") from None
        return self.clean(answer)

    def user(self, body: Body) -> User:
        """The user in an answer that was good."""
        answer = _decoded(body)
        return parse_user(answer["user"]) if answer.get("user") else User(id=answer["session"]["user_id"])

    def session(self, body: Body) -> Session:
        """The session in an answer that was good."""
        return parse_session(_decoded(body)["session"])

    def read_whole(self, answer: Answer) -> VerifiedSession:
        """All of an answer, with its credentials."""
        token, jwt = (
            _sound_credential(answer.body.get("session_token")),
            _sound_credential(answer.body.get("session_jwt")),
        )
        return VerifiedSession(self.user(answer.body), self.session(answer.body), token, jwt, answer.fresh_jwt)

    def list_sessions(self, user_id: str) -> Plan[tuple[Session, ...]]:
        """The user's active sessions."""
        url = f"{self._root}/sessions/list?user_id={quote(user_id, safe='')}"
        body = yield from self._asker.get(Fetch("GET", url, operation="sessions.list"))
        found = body.get("sessions")
        if found is None and "sessions" in body:
            found = []  # how some languages write an empty list
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
        """End a session, after ``pause`` seconds. One that is gone already counts as ended.

        Raises where it is not certain that it has ended.
        """
        url = f"{self._root}/sessions/delete"
        # Each of many revocations gets the full time of its own.
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
        _, answer = yield from self._asker.ask(fetch, is_done=has_ended)
        if isinstance(answer, ApiError):
            check_gone(answer)

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """One user. ``remember`` shares and keeps the answer for the ``user_ttl`` setting."""
        fetch = Fetch("GET", f"{self._root}/users/{quote(user_id, safe='')}", operation="users.get")
        if remember:
            share = self._digest("user", user_id)
            fetch = replace(
                fetch, share=share, linger=self._settings.user_ttl, linger_refusals=False, reader=_user_of
            )
        body = yield from self._asker.get(fetch)
        try:
            user = _user_of(body)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if not same_user(user.id, user_id):
            raise ProviderUnavailable(reason="api_mismatch")
        return user

    def send_otp(self, path: str, body: Mapping[str, Any]) -> Plan[OtpRequest]:
        """Send a one-time passcode; ``path`` is such as ``otps/email/send``."""
        fetch = Fetch("POST", f"{self._root}/{path}", json=body, repeatable=False, operation=path)
        answer = yield from self._asker.get(fetch)
        try:
            return parse_otp_request(answer)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None

    def login(self, path: str, body: Mapping[str, Any]) -> Plan[Login]:
        """Verify a login step; never sent twice, since the first may have used the code up."""
        fetch = Fetch("POST", f"{self._root}/{path}", json=body, repeatable=False, operation=path)
        _, answer = yield from self._asker.ask(fetch)
        if isinstance(answer, ApiError):
            if answer.status in (*_REFUSALS, 401):
                raise InvalidCredentials(
                    "The code, link or signature is wrong, used up or too old.", reason="login_refused"
                )
            raise refused(answer)
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


def _decoded(body: Body) -> Mapping[str, Any]:
    return load_object(body) if isinstance(body, bytes) else body


def _check_session_of(body: Mapping[str, Any]) -> object:
    return check_session(body.get("session"))


def _user_of(body: Mapping[str, Any]) -> User:
    inner = body.get("user")
    return parse_user(inner if isinstance(inner, Mapping) else body)


def _sound_credential(value: object) -> str | None:
    """A credential from a reply, fit for a header; ``None`` for the empty string that means "none"."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
        raise ProviderUnavailable(reason="api_content")
    return value


__all__ = ["Answer", "MoonKeyApi", "Question", "same_user"]
