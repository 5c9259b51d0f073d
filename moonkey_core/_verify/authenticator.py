"""From a request to its ``Auth``: the one decision, in numbered steps, independent of how calls are made.

The kind of a credential selects how it is verified, never its failure: a forged or foreign JWT is refused at once,
without a network call. Only a JWT that is genuine in every respect but its age has a second chance, at the
provider. A session token and the JWT beside it in cookies are one credential; the JWT is a cache of the token.

``begin`` takes steps 1 to 4 and never waits. ``finish`` takes steps 5 to 8: it continues where ``begin`` stopped,
and repeats nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moonkey_core._plan import Plan
from moonkey_core._provider import IntrospectionRequest, Provider, SessionClaims, introspection_key
from moonkey_core._repeated_log import log_repeated
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._verified import CacheEntry
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.introspection import Introspector, Verification
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core.auth import Auth, new_auth
from moonkey_core.errors import (
    AuthenticationError,
    ExpiredCredentials,
    InvalidCredentials,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
    RevokedCredentials,
    failed_call,
)
from moonkey_core.events import GraceUsed, Hooks
from moonkey_core.gate import Requirements
from moonkey_core.models import VerifiedSession, with_user_id
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import PresentedCredentials, read_credentials
from moonkey_core.web.request import HeaderView, RequestInfo

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that verify JWTs should spend
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

NO_SUCH_USER = "user_not_found"
_NO_REQUIREMENTS = Requirements()
_PAIR_SECONDS = 2.0  # the requests of a page come together; later ones carry the new JWT


def _no_headers(_: str) -> Sequence[str]:
    return ()


@dataclass(slots=True, eq=False, repr=False)
class Pending:
    """A verification that has begun and has to wait for a network call.

    Attributes:
        presented: The credential; its grammar has been checked.
        digest: The digest of the whole credential.
        token_digest: The digest of the session token alone, once it is needed; for any other credential that of
            the whole.
        headers: The request's headers.
        requirements: The requirements of the route.
        jwt: The JWT that is to be verified here, parsed but not verified.
        entry: The user and session that the JWT proves, once it is verified.
        verification: The verification, where only the user's other fields are missing.
        info: The other facts of the request.
        started: When the verification began, in seconds of the performance counter.
    """

    presented: PresentedCredentials
    digest: bytes = field(repr=False)
    token_digest: bytes | None = field(repr=False)
    headers: HeaderView = _no_headers
    requirements: Requirements = _NO_REQUIREMENTS
    jwt: _jwt.ParsedJwt | None = None
    entry: CacheEntry | None = None
    verification: Verification | None = None
    info: RequestInfo | None = None
    started: float = 0.0

    @property
    def coalesce_key(self) -> str:
        """The name under which requests with the same credential share one call."""
        return introspection_key(self.digest)


class Authenticator:
    """The verification of the credentials of requests, and of those passed to methods of a client."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        keys: JwksCache,
        cache: VerificationCache,
        acceptance: Acceptance,
        introspector: Introspector,
        sliding_expiration: SlidingExpiration,
        hooks: Hooks,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._claims = provider.jwt_claims
        self._keys = keys
        self._cache = cache
        self._acceptance = acceptance
        self._introspector = introspector
        self._sliding_expiration = sliding_expiration
        self._hooks = hooks
        self._clock = clock
        self._verifies_jwts = bool(settings.jwt_issuer)
        self._loads_users = settings.load_user

    def begin(
        self, headers: HeaderView, requirements: Requirements | None, info: RequestInfo | None, now: float
    ) -> Auth | Pending:
        """Authenticate a request as far as that is possible without a network call.

        1. Read the one credential that the request presents.
        2. Look it up in the cache.
        3. Check its grammar.
        4. Verify a JWT with a cached key.

        Args:
            headers: The request's headers.
            requirements: The requirements of the route, if any.
            info: The facts by which cookies are judged. Without them, cookies are judged as those of an unsafe
                request.
            now: The current time (Unix seconds).

        Returns:
            The identity where no call is needed, else the state from which :meth:`finish` continues.
        """
        settings = self._settings
        # 1. The one credential that the request presents.
        presented = read_credentials(headers, info, settings, check=False)
        if presented.error is not None:
            return new_auth(error=presented.error, from_cookies=presented.from_cookies)
        if not presented.source:
            return new_auth(hint=presented.hint)
        try:
            # 2. Verified before, and still valid? A cached credential has passed the grammar.
            digest, entry = b"", None
            text = presented.cached_text(settings)
            if text is not None:
                digest = self._cache.text_digest(text)
                entry = self._remembered(presented, digest, requirements, now)
            jwt: _jwt.ParsedJwt | InvalidCredentials | None = None
            if entry is None and not presented.is_checked:
                # 3. Its grammar. A JWT in a header that can be parsed has the grammar of a credential.
                jwt = None if presented.from_cookies else self._read_jwt(presented.value)
                if not isinstance(jwt, _jwt.ParsedJwt):
                    presented = presented.checked(settings)
                if presented.text != text:
                    digest, jwt = self._cache.text_digest(presented.text), None
                    entry = self._remembered(presented, digest, requirements, now)
            if entry is not None and not self._loads_users:
                return new_auth(
                    entry=entry,
                    source="cache",
                    as_of=entry.vouched_at,
                    from_cookies=presented.source == "cookie",
                )
            token_digest = None if presented.cached_jwt is not None else digest
            pending = Pending(
                presented, digest, token_digest, headers, requirements or _NO_REQUIREMENTS, info=info
            )
            if entry is not None:
                pending.verification = Verification(entry, "cache", entry.vouched_at)
                return pending
            # 4. A JWT that is verified here with a cached key.
            self._check_not_denied(pending)
            if jwt is None:
                jwt = self._read_jwt(presented.cached_jwt if presented.from_cookies else presented.value)
            if isinstance(jwt, _jwt.ParsedJwt):
                pending.jwt = jwt
            elif jwt is not None and presented.kind == "session_jwt":
                raise jwt
            pending.verification = self._verified_here(pending)
        except AuthenticationError as error:
            return new_auth(error=error, from_cookies=presented.from_cookies)
        if pending.verification is None or self._loads_users:
            return pending
        return self._auth(pending, pending.verification)

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Plan[Auth]:
        """Authenticate a request that :meth:`begin` could not decide.

        5. Verify a JWT whose key has to be fetched first.
        6. Call the provider about a session token, or about a JWT that is too old or has to be confirmed.
        7. Accept a recent verification while the provider cannot be reached.
        8. Load all fields of the user, where the settings demand it.

        Args:
            pending: The result of :meth:`begin`.
            requirements: The requirements of the route, where they are stricter than those passed to ``begin``.

        Returns:
            The identity. Whatever is wrong with the request or the provider is its ``error``, and is not raised.
        """
        if requirements is not None and requirements != pending.requirements:
            pending = replace(pending, requirements=requirements)
        if pending.verification is not None and not self._is_still_accepted(pending, pending.verification.entry):
            # Revoked, too old or denied since `begin`, or accepted for weaker requirements: it is judged anew.
            begun = self.begin(pending.headers, pending.requirements, pending.info, self._clock())
            if not isinstance(begun, Pending):
                return begun
            pending = begun
        try:
            verification = pending.verification
            if verification is None:
                try:
                    verification = yield from self._verified(pending)
                except ProviderUnavailable as error:
                    # 7. The provider cannot be reached: a recent verification may be enough.
                    verification = self._in_grace(pending, error)
                    if verification is None:
                        raise
            # 8. All the fields of the user, where the settings demand them.
            if not self._loads_users:
                return self._auth(pending, verification)
            verified = yield from self.with_whole_user(verification.entry.verified_session())
            return self._auth(pending, verification, verified)
        except (AuthenticationError, ProviderError) as error:
            return new_auth(error=error, from_cookies=pending.presented.from_cookies)

    def verify(self, credential: PresentedCredentials, minutes: int | None = None) -> Plan[VerifiedSession]:
        """Verify one credential that was passed to a method of a client.

        Args:
            credential: The credential; its grammar has been checked.
            minutes: The new lifetime of its session in minutes from now, if it is to be extended.

        Returns:
            Its user and session.

        Raises:
            AuthenticationError: It is not valid.
            ProviderError: It cannot be determined whether it is valid.
            RequestRefused: It is valid, but its session could not be extended by that much.
        """
        digest = self._cache.digest(credential.value)
        pending = Pending(credential, digest, digest)
        self._check_not_denied(pending)
        if credential.kind == "session_jwt":
            pending.jwt = self._parsed(credential.value)
        verification = yield from self._verified(pending, minutes)
        result = verification.result
        if result is None:
            return verification.entry.verified_session()
        if result.extension_error is not None:
            raise result.extension_error
        return self._provider.verified_session(result, verification.entry.user_id)

    def ids_of(self, credential: PresentedCredentials) -> Plan[tuple[str, str] | None]:
        """Return the ids of the session and user of a credential, expired or not; ``None`` if it is invalid."""
        try:
            if credential.kind == "session_token" or not self._verifies_jwts:
                verified = yield from self.verify(credential)
                return verified.session.id, verified.user.id
            jwt = self._parsed(credential.value)
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
            claims = self._proven_claims(jwt, key)
            return claims.session_id, claims.user_id
        except InvalidCredentials:
            return None

    def _remembered(
        self, presented: PresentedCredentials, digest: bytes, requirements: Requirements | None, now: float
    ) -> CacheEntry | None:
        """Return the cache entry of a credential, where it is still valid.

        Raises:
            RevokedCredentials: The credential has been revoked. Not raised for a cookie pair, whose session token
                may still be valid where its JWT is not.
        """
        entry = self._cache.get(digest)
        if entry is None:
            return None
        is_pair = self._cache.denies_any and presented.cached_jwt is not None
        if is_pair and self._cache.is_denied(self._cache.digest(presented.value)):
            return None
        try:
            return entry if self._acceptance.accepts(entry, now, requirements) else None
        except RevokedCredentials:
            self._cache.forget(digest)
            if presented.cached_jwt is None:
                raise
            return None

    def _check_not_denied(self, pending: Pending) -> None:
        """Check that the user has not signed out with this session token or JWT.

        Raises:
            InvalidCredentials: The user has. The JWT may not have expired yet.
        """
        if not self._cache.denies_any:
            return
        digest = self._token_digest(pending)
        if self._cache.is_denied(digest):
            raise self._introspector.as_seen_by_browser(digest, RevokedCredentials())

    def _token_digest(self, pending: Pending) -> bytes:
        if pending.token_digest is None:
            pending.token_digest = self._cache.digest(pending.presented.value)
        return pending.token_digest

    def _read_jwt(self, text: str | None) -> _jwt.ParsedJwt | InvalidCredentials | None:
        """Return the parsed JWT, or the error for a malformed one; ``None`` for a text that cannot be a JWT."""
        if text is None or "." not in text or len(text) > self._settings.max_credential_length:
            return None
        try:
            return self._parsed(text)
        except InvalidCredentials as error:
            return error

    def _parsed(self, value: str) -> _jwt.ParsedJwt:
        current = self._keys.current
        return _jwt.parse(
            value, self._clock(), self._settings, current.known_headers if current is not None else None
        )

    def _verified_here(self, pending: Pending) -> Verification | None:
        """Return the verification of a JWT, where its key is cached and no call to the provider is required."""
        jwt = pending.jwt
        if jwt is None or not self._verifies_jwts:
            return None
        key = self._keys.cached_key(jwt.kid)
        if key is None:
            return None
        try:
            pending.entry = self._proven(jwt, key)
        except InvalidCredentials:
            if not pending.presented.from_cookies:
                raise
            pending.jwt = None  # the session token decides
            return None
        return self._accepted(pending, pending.entry)

    def _verified(self, pending: Pending, minutes: int | None = None) -> Plan[Verification]:
        """Verify a credential.

        Raises:
            InvalidCredentials: It is not valid. It is removed from the cache.
            ProviderError: It cannot be determined whether it is valid.
        """
        try:
            # 5. A JWT whose key has to be fetched first. The user may sign out before, and during that call.
            self._check_not_denied(pending)
            if pending.jwt is not None and pending.entry is None and self._verifies_jwts:
                yield from self._prove(pending, pending.jwt)
                self._check_not_denied(pending)
            if pending.entry is not None and minutes is None:
                verification = self._accepted(pending, pending.entry)
                if verification is not None:
                    return verification
            # 6. A session token, or a JWT that is too old or has to be confirmed: the provider is called.
            request = self._introspection_request(pending, minutes)
            if pending.digest != request.digest and not request.refresh:
                entry = self._remembered_token(pending)
                if entry is not None:
                    return Verification(entry, "cache", entry.vouched_at)
            return (yield from self._introspected(pending, request))
        except InvalidCredentials:
            self._cache.forget(pending.digest)
            if self._token_digest(pending) != pending.digest:
                self._cache.forget(self._token_digest(pending))
            raise

    def _prove(self, pending: Pending, jwt: _jwt.ParsedJwt) -> Plan[None]:
        try:
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
            pending.entry = self._proven(jwt, key)
        except (InvalidCredentials, ProviderUnavailable):
            if not pending.presented.from_cookies:
                raise
            pending.jwt = None  # the session token decides

    def _proven(self, jwt: _jwt.ParsedJwt, key: RSAPublicKey) -> CacheEntry:
        """Verify a JWT with its key, and return the entry for it.

        Raises:
            InvalidCredentials: It is not genuine.
            RevokedCredentials: Its session was revoked.
        """
        settings = self._settings
        claims = self._proven_claims(jwt, key)
        entry = CacheEntry(
            body=jwt.body,
            reader=self._claims,
            session_id=claims.session_id,
            user_id=claims.user_id,
            issued_at=jwt.issued_at if claims.started_at is None else min(jwt.issued_at, claims.started_at),
            started_at=claims.started_at,
            starts_at=jwt.starts_at,
            reusable_until=min(jwt.stale_at(settings), claims.ends_at + settings.leeway),
            vouched_at=jwt.issued_at,
            ends_at=claims.ends_at,
            last_accepted_at=self._clock() if settings.grace_seconds else jwt.issued_at,
            kid=jwt.kid,
            key=key,
        )
        current = self._keys.current
        if current is not None and jwt.head not in current.known_headers:
            current.remember_header(jwt.head, jwt.kid)
        if self._acceptance.is_revoked(entry):
            raise RevokedCredentials
        return entry

    def _proven_claims(self, jwt: _jwt.ParsedJwt, key: RSAPublicKey) -> SessionClaims:
        _jwt.verify_signature(jwt, key)
        _jwt.check_issuer_and_audience(jwt.payload, self._settings)
        return self._claims.session_claims(jwt.payload, jwt.expires_at)

    def _accepted(self, pending: Pending, entry: CacheEntry) -> Verification | None:
        """Return the verification for a verified JWT, where no call to the provider is required; and cache it."""
        now = self._clock()
        try:
            if not self._acceptance.accepts(entry, now, pending.requirements):
                return None
        except RevokedCredentials:  # a moment ago, as a JWT is checked when it is verified
            if not pending.presented.from_cookies:
                raise
            pending.jwt = pending.entry = None  # the session token decides
            return None
        self._cache.put(pending.digest, entry)
        current = self._keys.current
        is_stale = current is not None and now >= current.fresh_until
        return Verification(entry, "stale" if is_stale else "local", entry.vouched_at)

    def _is_still_accepted(self, pending: Pending, entry: CacheEntry) -> bool:
        """Return whether a credential that ``begin`` has accepted would be accepted now."""
        try:
            self._check_not_denied(pending)
            return self._acceptance.accepts(entry, self._clock(), pending.requirements)
        except InvalidCredentials:
            return False

    def _remembered_token(self, pending: Pending) -> CacheEntry | None:
        """Return the cache entry of the session token of a cookie pair, where it is still valid."""
        entry = self._cache.get(self._token_digest(pending))
        if entry is None:
            return None
        return entry if self._acceptance.accepts(entry, self._clock(), pending.requirements) else None

    def _introspection_request(self, pending: Pending, minutes: int | None) -> IntrospectionRequest:
        """Return the request to the provider.

        Raises:
            ExpiredCredentials: A JWT has expired, and the settings do not refresh it. Its session may continue.
        """
        presented, jwt, entry = pending.presented, pending.jwt, pending.entry
        now, max_staleness = self._clock(), pending.requirements.max_staleness
        if presented.from_cookies:
            return IntrospectionRequest(
                "session_token",
                presented.value,
                self._token_digest(pending),
                session_id=None if entry is None else entry.session_id,
                user_ids=() if entry is None else (entry.user_id,),
                extension=None if entry is None else self._sliding_expiration.minutes_due(entry),
                refresh=entry is not None and now >= entry.reusable_until,
                wants_jwt=entry is None and self._verifies_jwts,  # of no use where it is not verified
                shared_for=_PAIR_SECONDS,
                was_good=self._cache.is_seen(self._token_digest(pending)),
                max_staleness=max_staleness,
            )
        was_good = self._cache.is_seen(pending.digest)
        if jwt is None:
            return IntrospectionRequest(
                "session_token",
                presented.value,
                pending.digest,
                minutes=minutes,
                was_good=was_good,
                max_staleness=max_staleness,
            )
        session_id, user_ids = self._claims.claimed_ids(jwt.payload)
        refresh = now >= (jwt.stale_at(self._settings) if entry is None else entry.reusable_until)
        if refresh and not self._settings.refresh_jwt:
            raise ExpiredCredentials(evidence=jwt.age(now), session_is_over=False)
        return IntrospectionRequest(
            "session_jwt",
            presented.value,
            pending.digest,
            minutes=minutes,
            extension=self._sliding_expiration.minutes_due(entry)
            if entry and refresh and minutes is None
            else None,
            session_id=session_id if entry is None else entry.session_id,
            user_ids=user_ids if entry is None else (entry.user_id, *user_ids),
            refresh=refresh,
            was_good=was_good,
            max_staleness=max_staleness,
        )

    def _introspected(self, pending: Pending, request: IntrospectionRequest) -> Plan[Verification]:
        entry = pending.entry
        if pending.presented.from_cookies:
            return self._introspector.introspect(request, user_id=None if entry is None else entry.user_id)
        is_unproven = pending.jwt is not None and entry is None
        over_at = pending.jwt.stale_at(self._settings) if pending.jwt is not None and is_unproven else math.inf
        return self._introspector.introspect(request, entry, over_at=over_at)

    def _in_grace(self, pending: Pending, error: ProviderUnavailable) -> Verification | None:
        """Return a recent verification of the same credential, where the settings accept it in an outage."""
        for digest in (self._token_digest(pending), pending.digest):
            entry = self._cache.get(digest)
            if entry is None or not self._acceptance.accepts_in_grace(entry, pending.requirements):
                continue
            age = self._clock() - entry.last_accepted_at
            log_repeated(
                logging.WARNING,
                "accepted a session verified %.0f s ago, as the API cannot be asked: %s",
                age,
                error.reason_and_evidence,
                extra={"reason": "grace_used", **failed_call(error)},
            )
            self._hooks.emit(GraceUsed(age))
            return Verification(entry, "grace", min(entry.vouched_at, entry.last_accepted_at))
        return None

    def with_whole_user(self, verified: VerifiedSession) -> Plan[VerifiedSession]:
        """Return a user and session with all the user's fields, for the ``load_user`` setting.

        Raises:
            InvalidCredentials: The user does not exist any more.
            ProviderUnavailable: The user could not be loaded.
        """
        if verified.user.complete:
            return verified
        try:
            user = yield from self._provider.get_user(verified.user.id, remember=True)
        except NotFound as error:
            # Only this error code means that the user does not exist any more.
            raise InvalidCredentials(
                reason="user_unknown", evidence=error.evidence, session_is_over=error.code == NO_SUCH_USER
            ) from None
        except RequestRefused as error:
            raise ProviderUnavailable(reason="user_refused", evidence=error.evidence) from None
        return verified.replace(user=with_user_id(user, verified.user.id))

    def _auth(self, pending: Pending, verification: Verification, verified: VerifiedSession | None = None) -> Auth:
        """Return the identity; ``verified`` has all the user's fields, where they were loaded."""
        fresh = verification.fresh_jwt
        # A call that a gate has demanded counts for that gate. One of the middleware still counts for one gate.
        asked_now = verification.asked_now and pending.requirements.max_staleness is None
        return new_auth(
            entry=verification.entry if verified is None else None,
            verified=None if verified is None else verified.replace(fresh_jwt=fresh),
            fresh=fresh,
            source=verification.source,
            as_of=verification.vouched_at,
            asked_for_it=asked_now,
            from_cookies=pending.presented.from_cookies,
        )
