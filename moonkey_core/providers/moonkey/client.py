"""The provider MoonKey: its rules, and the calls of its API (API reference, ``/v1/auth``).

The calls that validate a credential are in :mod:`~moonkey_core.providers.moonkey.introspection`, the steps of a
sign-in in :mod:`~moonkey_core.providers.moonkey.sign_in`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core._crypto import Digest
from moonkey_core._plan import Fetch, Plan
from moonkey_core._provider import (
    Capability,
    IntrospectionRequest,
    IntrospectionResult,
    JwtClaims,
    JwtRules,
    KeySource,
)
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import ProviderUnavailable
from moonkey_core.models import Session, User, VerifiedSession, with_session_user, with_user_id
from moonkey_core.providers.moonkey.api import REJECTED_KEY, ApiClient
from moonkey_core.providers.moonkey.claims import MoonKeyClaims
from moonkey_core.providers.moonkey.endings import check_ended, has_ended
from moonkey_core.providers.moonkey.ids import bare_user_id, public_user_id, same_user
from moonkey_core.providers.moonkey.introspection import SessionVerification, without_credentials
from moonkey_core.providers.moonkey.replies import ApiError, judge, judge_keys, sound_credential
from moonkey_core.providers.moonkey.sign_in import MoonKeySignIn
from moonkey_core.providers.moonkey.wire import is_deleted, parse_session, parse_user
from moonkey_core.settings import Secret, Settings

_KEY_SET_PATH = "/v1/auth/jwks/default"


class MoonKeyApi(MoonKeySignIn):
    """The provider MoonKey, and plans for every call to its API that this package makes.

    Attributes:
        name: Its name.
        scopes: Its one scope, whatever issuer its JWTs name.
        capabilities: All of them that it has an endpoint for.
        jwt_rules: How its JWTs are judged, by the settings.
        keys: Where its keys come from, by the settings.
    """

    name: str = "moonkey"
    ends_sessions_by_id: bool = True
    capabilities: frozenset[Capability] = frozenset(
        {"introspect", "refresh_jwt", "extend", "list_sessions", "revoke_session", "get_user", "sign_in"}
    )
    scopes: Mapping[str, str] = MappingProxyType({"moonkey": "moonkey"})

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        api = ApiClient(f"{settings.base_url}/v1/auth", settings.api_key, settings.previous_secret_key)
        super().__init__(api, settings)
        self.jwt_rules: JwtRules | None = _rules_of(settings)
        self.keys: KeySource | None = _keys_of(settings)
        self._settings = settings
        self._verification = SessionVerification(api, settings, clock)
        self._digest = Digest()
        self._claims = MoonKeyClaims(settings)

    @property
    def jwt_claims(self) -> JwtClaims:
        """The reader of the claims of its session JWTs."""
        return self._claims

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the API to validate a credential.

        Raises:
            InvalidCredentials: The credential is not valid.
            ProviderError: The API cannot be reached or understood.
        """
        return self._verification.introspect(request)

    def check_key(self) -> Plan[None]:
        """Check that the API accepts our secret key, see :meth:`ApiClient.check_key`."""
        return self._api.check_key()

    def without_credentials(self, body: Mapping[str, Any]) -> bytes:
        """Return the user and session in a reply as JSON, without any credential."""
        return without_credentials(body)

    def user(self, body: Body) -> User:
        """Return the user in a checked reply."""
        answer = decoded(body)
        return parse_user(answer["user"]) if answer.get("user") else User(id=answer["session"]["user_id"])

    def session(self, body: Body) -> Session:
        """Return the session in a checked reply."""
        return parse_session(decoded(body)["session"])

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the whole of a result, with its credentials, for the user under this id."""
        body = result.body
        token = sound_credential(body.get("session_token"))
        jwt = sound_credential(body.get("session_jwt"))
        user = with_user_id(self.user(body), user_id, same_user)
        session = with_session_user(self.session(body), user_id, same_user)
        return VerifiedSession(user, session, token, None if result.withholds_jwt else jwt, result.fresh_jwt)

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name the same user."""
        return same_user(one, other)

    def key_of_user(self, user_id: str) -> str:
        """Return the id without its prefix, which both spellings have in common."""
        return bare_user_id(user_id)

    def public_user_id(self, user_id: str) -> str:
        """Return the id with its prefix, as the API documents and receives it."""
        return public_user_id(user_id)

    def list_sessions(self, user_id: str, *, pause: float | None = None) -> Plan[tuple[Session, ...]]:
        """Return the user's active sessions. ``pause`` is that of :meth:`revoke`.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        path = f"sessions/list?user_id={quote(user_id, safe='')}"
        new_call = self._api.endpoint("GET", path, operation="sessions.list")
        body = yield from self._api.get(_beside(new_call(), pause))
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
        self,
        kind: Literal["session_id", "session_token", "session_jwt"],
        value: str,
        *,
        pause: float | None = None,
    ) -> Plan[None]:
        """End a session. A session that does not exist any more counts as ended.

        Args:
            kind: What ``value`` is.
            value: An id, or a credential.
            pause: For a call that no request waits for, the seconds before it.

        Raises:
            MoonKeyError: It is not certain that the session has ended.
        """
        new_call = self._api.endpoint("DELETE", "sessions/delete", operation="sessions.revoke")
        # Each of many revocations has the full time for itself.
        fetch = new_call(
            json={kind: value},
            revokes=True,
            timeout=self._settings.timeout + (pause or 0.0),
            own_deadline=True,
        )
        _, answer = yield from self._api.call(_beside(fetch, pause), is_done=has_ended)
        if isinstance(answer, ApiError):
            check_ended(answer)

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the result for the time of the ``user_ttl`` setting.

        Raises:
            NotFound: There is no such user.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = self._api.endpoint("GET", f"users/{quote(user_id, safe='')}", operation="users.get")()
        if remember:
            coalesce_key = self._digest("user", user_id)
            fetch = replace(
                fetch,
                coalesce_key=coalesce_key,
                ttl=self._settings.user_ttl,
                reuse_refusals=False,
                judge=partial(judge, check=partial(_check_user_of, user_id)),
            )
        body = yield from self._api.get(fetch)
        try:
            user = _user_of(body)
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if not same_user(user.id, user_id):
            raise ProviderUnavailable(reason="api_mismatch")
        return user


def _rules_of(settings: Settings) -> JwtRules:
    """Return how session JWTs are judged. Their lives are as long as the session: it is their age that counts."""
    return JwtRules(
        issuers=settings.jwt_issuer,
        types=frozenset({"jwt", None}),
        audience=settings.jwt_audience,
        max_age=settings.jwt_max_age,
        longest_life=math.inf,
    )


def _keys_of(settings: Settings) -> KeySource:
    if settings.jwks is not None:
        return KeySource(jwks=settings.jwks)
    sent = Secret(f"Bearer {settings.api_key.reveal()}") if settings.jwks_auth == "header" else None
    url = settings.jwks_url or f"{settings.base_url}{_KEY_SET_PATH}"
    return KeySource(url=url, authorization=sent, judge=judge_keys, rejected_key=REJECTED_KEY)


def _beside(fetch: Fetch, pause: float | None) -> Fetch:
    """Return a call that is made beside the requests, after ``pause`` seconds; as it is, where that is ``None``.

    That it keeps failing must not hold back the calls that requests wait for.
    """
    return fetch if pause is None else replace(fetch, pause=pause, uses_breaker=False)


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
