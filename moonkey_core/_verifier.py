"""From a request's headers to its ``Auth``: which way a credential goes, and nothing of how calls are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moonkey_core import _jwt
from moonkey_core._keys import KeyRing
from moonkey_core._plan import Plan
from moonkey_core.auth import Auth
from moonkey_core.credentials import Credentials, HeaderView, parse_credentials
from moonkey_core.errors import (
    AuthenticationError,
    ExpiredCredentials,
    InvalidCredentials,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
)
from moonkey_core.models import User, VerifiedSession, with_user_id
from moonkey_core.providers.moonkey import MoonKeyApi
from moonkey_core.settings import Settings


class Verifier:
    """Plans that verify credentials. The kind of a credential chooses the way, never its failure."""

    def __init__(self, settings: Settings, api: MoonKeyApi, keys: KeyRing, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._api = api
        self._keys = keys
        self._clock = clock

    def authenticate(self, headers: HeaderView) -> Plan[Auth]:
        """The identity of a request. Raises nothing that concerns the caller or the provider: ``Auth`` says it."""
        try:
            credentials = parse_credentials(headers, self._settings)
            if credentials is None:
                return Auth()
            verified = yield from self.verify(credentials)
            known = yield from self._completed(verified)
            # What a request carries may be copied and pickled; the credentials have done their work.
            return Auth(verified=replace(known, session_token=None, session_jwt=None))
        except (AuthenticationError, ProviderError) as error:
            return Auth(error=error)

    def verify(self, credentials: Credentials, minutes: int | None = None) -> Plan[VerifiedSession]:
        """Verify one credential; with ``minutes``, also extend its session. Raises where it is not good."""
        if credentials.kind == "session_token":
            return (yield from self._api.verify(credentials, minutes=minutes))
        jwt = _jwt.parse(credentials.value, self._clock(), self._settings)
        if not self._settings.jwt_issuer:
            stale = self._refreshable(jwt.is_stale(self._clock(), self._settings))
            session_id, users = _jwt.claimed_ids(jwt, self._settings)
            return (
                yield from self._api.verify(
                    credentials, minutes=minutes, session_id=session_id, users=users, refresh=stale
                )
            )
        key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
        claims = _jwt.prove(jwt, key, self._settings)
        now = self._clock()
        over = claims.session.expires_at.timestamp() + self._settings.leeway <= now
        stale = self._refreshable(over or jwt.is_stale(now, self._settings))
        if not stale and minutes is None:
            return VerifiedSession(User(id=claims.subject), claims.session)
        verified = yield from self._api.verify(
            credentials,
            minutes=minutes,
            session_id=claims.session.id,
            users=(claims.subject, claims.session.user_id),
            refresh=stale,
        )
        # One person, one id: the JWT's subject, before and after a refresh.
        return replace(verified, user=with_user_id(verified.user, claims.subject))

    def _refreshable(self, stale: bool) -> bool:
        """``stale`` itself; raises where that is the end of it."""
        if stale and not self._settings.refresh_jwt:
            raise ExpiredCredentials
        return stale

    def _completed(self, verified: VerifiedSession) -> Plan[VerifiedSession]:
        """With all the user's fields, where the ``load_user`` setting asks for them."""
        if not self._settings.load_user or verified.user.complete:
            return verified
        try:
            user = yield from self._api.get_user(verified.user.id, remember=True)
        except NotFound:
            raise InvalidCredentials(reason="user_unknown") from None
        except RequestRefused:
            raise ProviderUnavailable(reason="user_refused") from None
        return replace(verified, user=with_user_id(user, verified.user.id))
