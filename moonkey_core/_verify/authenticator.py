"""From a request to its ``Auth``: the one decision, in numbered steps, independent of how calls are made.

The kind of a credential selects how it is verified, never its failure: a forged or foreign JWT is refused at once,
without a network call. Only a JWT that is genuine in every respect but its age has a second chance, at a provider
that can renew it. Where the provider cannot be asked about a credential, no call is ever made about one. A session
token and the JWT that is bound to it in cookies are one credential; the JWT is a cache of the token.

``begin`` takes steps 1 to 4 and never waits. ``finish`` takes steps 5 to 8: it continues where ``begin`` stopped,
and repeats nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import cast

from moonkey_core._dataclass import dataclass
from moonkey_core._plan import Plan
from moonkey_core._provider import (
    AuthorizationChecker,
    IntrospectionRequest,
    JwtRules,
    Provider,
    foreign_issuer,
    introspection_key,
    loader_of_users,
)
from moonkey_core._repeated_log import log_repeated
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._verified import CacheEntry, SessionIds, is_own, scoped_user
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.introspection import Introspector, Verification
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core._verify.jwt_verifier import JwtVerifier
from moonkey_core.auth import Auth, new_auth, remembered_auth
from moonkey_core.errors import (
    AuthenticationError,
    ConfigurationError,
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
    RevokedCredentials,
    failed_call,
)
from moonkey_core.events import GraceUsed, Hooks, Source
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE, Requirements
from moonkey_core.models import AuthorizationCheck, User, VerifiedSession, read_only_model, with_user_id
from moonkey_core.settings import Settings
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import (
    BEARER,
    PresentedCredentials,
    cookies_of_request,
    pair_text,
    read_credentials,
    unverified_issuer,
    usual_bearer,
    usual_names,
)
from moonkey_core.web.request import HeaderView, LineView, RequestInfo, sole_line
from moonkey_core.web.usual_pair import UsualPair

_Wishes = tuple[Mapping[str, object] | None, AuthorizationCheck | None]
_NO_REQUIREMENTS = Requirements()
_USER_PAUSE = 5.0  # seconds until a user is asked for again that could not be loaded
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
        info: The other facts of the request.
        jwt: The JWT that is to be verified here, parsed but not verified.
        entry: The user and session that the JWT proves, once it is verified.
        verification: The verification, where only the user's other fields are missing.
        started: When the verification began, in seconds of the performance counter.
    """

    presented: PresentedCredentials
    digest: bytes = field(repr=False)
    token_digest: bytes | None = field(repr=False)
    headers: HeaderView = _no_headers
    requirements: Requirements = _NO_REQUIREMENTS
    info: RequestInfo | None = None
    jwt: _jwt.ParsedJwt | None = None
    entry: CacheEntry | None = None
    verification: Verification | None = None
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
        judge: _jwt.Judge | None,
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
        # Without rules, each credential is opaque, whatever its form.
        self._judge = judge or _jwt.Judge(JwtRules(issuers=()), settings.leeway)
        self._longest_jwt = -1 if judge is None else settings.max_credential_length
        self._verifies_jwts = judge is not None and judge.verifies
        self._jwts = JwtVerifier(settings, provider, self._judge, keys, acceptance, sliding_expiration, clock)
        self._can_ask = "introspect" in provider.capabilities
        self.can_give_starts: bool = settings.note_starts or getattr(provider, "states_session_start", True)
        self._refreshes_jwts = settings.refresh_jwt and "refresh_jwt" in provider.capabilities
        self._names = usual_names(settings)
        self._pair = UsualPair(settings)
        self._longest_line = len(BEARER) + settings.max_credential_length
        self._token_prefix = settings.token_prefix
        # A line that begins so holds a token in its other spelling. Without a prefix, no line of a header does.
        self._prefixed = BEARER + (settings.token_prefix.encode() or b"\n")
        self._load_user = loader_of_users(provider, settings.user_ttl)
        self._roles: AuthorizationChecker | None = (
            cast("AuthorizationChecker", provider) if "authorization_check" in provider.capabilities else None
        )
        can_load = "get_user" in provider.capabilities
        self._loads_users = can_load and settings.load_user is True
        self._loads_any_user = (
            can_load and settings.load_user is not False and (self._loads_users or settings.cookies is not None)
        )

    def begin(
        self,
        headers: HeaderView,
        requirements: Requirements | None,
        info: RequestInfo | None,
        now: float,
        presented: PresentedCredentials | None = None,
    ) -> Auth | Pending:
        """Authenticate a request as far as that is possible without a network call.

        1. Read the one credential that the request presents.
        2. Look it up in the cache.
        3. Check its grammar, and in cookies that the JWT is bound to the token.
        4. Verify a JWT with a cached key.

        Args:
            headers: The request's headers.
            requirements: The requirements of the route, if any.
            info: The facts by which cookies are judged. Without them, cookies are judged as those of an unsafe
                request.
            now: The current time (Unix seconds).
            presented: The credential of the request, where it has been read.

        Returns:
            The identity where no call is needed, else the state from which :meth:`finish` continues.
        """
        text, digest = "", b""
        entry: CacheEntry | None = None
        proven: CacheEntry | None = None
        if presented is None:
            # 1. The one credential that the request presents. Mostly its line is all there is of it.
            line: bytes | None = None
            if (names := self._names) is not None:
                line = headers.sole_line(names) if isinstance(headers, LineView) else sole_line(headers, names)
            if line and line.startswith(BEARER) and len(line) <= self._longest_line:
                # 2. Mostly it was verified before, and is still valid. Anything else is decided below.
                digest, entry = self._cache.find(line)
                if entry is None:
                    found = self._first_seen(line, digest, requirements, now)
                    if found is not None and not isinstance(found, CacheEntry):
                        return found
                    proven = found
                elif not self._loads_users:
                    try:
                        if self._acceptance.accepts(entry, now, requirements):
                            return remembered_auth(entry)
                    except (RevokedCredentials, ProviderUnavailable):
                        pass  # raised again below
            elif line == b"" and (cookies := self._pair.line(headers, info)) is not None:
                known = self._by_cookies(cookies, requirements, now)
                if not isinstance(known, tuple):
                    return known
                text, digest, entry = known
            presented = self._read(line, headers, info)
            if line:
                text = presented.value
        if presented.error is not None:
            return new_auth(error=presented.error, from_cookies=presented.from_cookies)
        if not presented.source:
            return new_auth(hint=presented.hint)
        pending = Pending(presented, digest, None, headers, requirements or _NO_REQUIREMENTS, info, None, entry)
        return self._begin_strictly(pending, text, proven, now)

    def _by_cookies(
        self, line: str, requirements: Requirements | None, now: float
    ) -> Auth | tuple[str, bytes, CacheEntry | None]:
        """Decide about the pair in a usual line of cookies, where it was verified before.

        The line itself is looked up, as browsers send the same one many times: to take it apart takes as long as
        all the rest.

        Returns:
            The identity; or, where more is to be decided, the text of the pair with its digest and its cache
            entry, as far as they are known.
        """
        cache = self._cache
        cookies, digest, entry = cache.find_cookies(line)
        text = ""
        if not digest:
            found = self._pair.text(line)
            if found is None:
                return "", b"", None
            text, digest = found, cache.text_digest(found)
            entry = cache.get(digest)
        if entry is not None and self._accepts_pair(entry, now, requirements):
            if text:
                cache.note_pair(cookies, digest)
            return remembered_auth(entry, True)
        return (text, digest, entry) if text else ("", b"", None)

    def _first_seen(
        self, line: bytes, digest: bytes, requirements: Requirements | None, now: float
    ) -> Auth | CacheEntry | None:
        """Decide about a usual JWT at first sight, in the line of its header.

        Returns:
            The identity; or what the JWT proves, where more is to be decided; ``None`` for any other credential.
        """
        is_usual = requirements is None or requirements.max_staleness is None
        if not is_usual or not self._verifies_jwts or self._cache.denies_any or line.startswith(self._prefixed):
            return None
        try:
            proven = self._jwts.at_first_sight(line, now)
            if proven is None:
                return None
            source = self._remembered_now(digest, proven, requirements, now)
        except (AuthenticationError, ProviderError) as error:
            return new_auth(error=error)
        return proven if source is None or self._loads_users else remembered_auth(proven, source=source)

    def _read(self, line: bytes | None, headers: HeaderView, info: RequestInfo | None) -> PresentedCredentials:
        """Return the credential of a request, unchecked; ``line`` is the only one that may hold it, if known."""
        bearer = usual_bearer(line, self._settings.max_credential_length)
        if bearer:
            return PresentedCredentials(bearer, "authorization", token_prefix=self._token_prefix)
        if bearer is not None:
            return cookies_of_request(headers, info, self._settings)
        return read_credentials(headers, info, self._settings, check=False)

    def _begin_strictly(
        self, pending: Pending, known_text: str, proven: CacheEntry | None, now: float
    ) -> Auth | Pending:
        """Do what :meth:`begin` does, for what is not as usual.

        Args:
            pending: The credential; its digest and cache entry are those of ``known_text``.
            known_text: The text whose digest is known.
            proven: What the credential proves, where it is a JWT that was just verified.
            now: The current time (Unix seconds).
        """
        presented, settings, requirements = pending.presented, self._settings, pending.requirements
        digest, entry = pending.digest, pending.entry
        jwt: _jwt.ParsedJwt | InvalidCredentials | None = None
        try:
            # 2. Verified before, and still valid? A cached credential has passed the grammar.
            text = presented.cached_text(settings)
            if text != known_text:
                digest, entry = b"", None
            if text is not None:
                if not digest:
                    digest = self._cache.text_digest(text)
                    entry = self._cache.get(digest)
                entry = self._if_accepted(entry, presented, digest, requirements, now)
            if entry is None and not presented.is_checked:
                # 3. Its grammar, and the binding of a pair. A JWT in a header that can be parsed has the grammar
                # of a credential.
                if not presented.is_pair:
                    jwt = self._read_jwt(presented.value, now)
                if not isinstance(jwt, _jwt.ParsedJwt):
                    presented = presented.checked(settings)
                    if presented.text != text:
                        digest, jwt = self._cache.text_digest(presented.text), None
                        entry = self._if_accepted(self._cache.get(digest), presented, digest, requirements, now)
            if entry is not None and not (self._loads_any_user and self._lacks_user(presented, entry, now)):
                return remembered_auth(entry, presented.from_cookies)
            pending.presented, pending.digest, pending.entry = presented, digest, None
            pending.token_digest = None if presented.cached_jwt is not None else digest
            if entry is not None:
                pending.verification = Verification(entry, "cache", entry.vouched_at)
                return pending
            return self._begin_verification(pending, jwt, proven, now)
        except (AuthenticationError, ProviderError) as error:
            return new_auth(error=error, from_cookies=presented.from_cookies)

    def _begin_verification(
        self,
        pending: Pending,
        jwt: _jwt.ParsedJwt | InvalidCredentials | None,
        proven: CacheEntry | None,
        now: float,
    ) -> Auth | Pending:
        """Take step 4 of :meth:`begin`: a JWT that is verified here with a cached key.

        Raises:
            AuthenticationError: The credential is not valid.
            ProviderError: It cannot be determined whether it is valid.
        """
        presented = pending.presented
        if self._cache.denies_any:
            self._check_not_denied(pending)
        if jwt is None:
            jwt = self._read_jwt(presented.cached_jwt if presented.is_pair else presented.value, now)
        if isinstance(jwt, _jwt.ParsedJwt):
            pending.jwt, pending.entry = jwt, proven
        elif jwt is not None and presented.kind == "session_jwt":
            raise jwt
        verification = pending.verification = self._verified_here(pending, now)
        if verification is None:
            return pending
        entry = verification.entry
        if self._loads_any_user and self._lacks_user(presented, entry, now):
            return pending
        # No call, so no new JWT.
        return new_auth(entry, verification.source, entry.vouched_at, presented.from_cookies)

    def begin_checked(
        self,
        headers: HeaderView,
        requirements: Requirements | None,
        info: RequestInfo | None,
        now: float,
        presented: PresentedCredentials | None = None,
    ) -> Auth | Pending:
        """Do the same as :meth:`begin`, for a provider that cannot be asked.

        Raises:
            ConfigurationError: It cannot give what the route requires, see :meth:`check_requirements`.
        """
        if requirements is not None:
            self.check_requirements(requirements)
        return self.begin(headers, requirements, info, now, presented)

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

        Raises:
            ConfigurationError: The provider cannot give what the route requires.
        """
        if requirements is not None and requirements != pending.requirements:
            self.check_requirements(requirements)
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
            if not (
                self._loads_any_user and self._lacks_user(pending.presented, verification.entry, self._clock())
            ):
                return self._auth(pending, verification)
            if self._loads_users:
                verification, user = yield from self._with_user(pending, verification)
                return self._auth(pending, verification, user)
            yield from self._load_for_page(verification.entry)
            return self._auth(pending, verification)
        except (AuthenticationError, ProviderError) as error:
            return new_auth(error=error, from_cookies=pending.presented.from_cookies)

    def verify(
        self,
        credential: PresentedCredentials,
        minutes: int | None = None,
        requirements: Requirements = _NO_REQUIREMENTS,
        *,
        custom_claims: Mapping[str, object] | None = None,
        check: AuthorizationCheck | None = None,
    ) -> Plan[VerifiedSession]:
        """Verify one credential that was passed to a method of a client.

        Args:
            credential: The credential; its grammar has been checked.
            minutes: The new lifetime of its session in minutes from now, if it is to be extended.
            requirements: How recently the provider has to have vouched for it.
            custom_claims: Claims of the app's own that are set in the session, together with ``minutes``.
            check: What its user has to be allowed to do.

        Returns:
            Its user and session, with a JWT only if that would be accepted when it is presented.

        Raises:
            AuthenticationError: It is not valid.
            ProviderError: It cannot be determined whether it is valid.
            RequestRefused: It is valid, but its session could not be extended by that much.
            PermissionDenied: It is valid, but its user may not do that.
        """
        digest = self._cache.digest(credential.value)
        pending = Pending(credential, digest, digest, requirements=requirements)
        self._check_not_denied(pending)
        if credential.kind == "session_jwt" and self._longest_jwt >= 0:
            pending.jwt = self._parsed(credential.value, self._clock())
        wishes = None if custom_claims is None and check is None else (custom_claims, check)
        verification = yield from self._verified(pending, minutes, wishes)
        result = verification.result
        if result is None:
            found = verification.entry.verified_session()
            roles = None if check is None else self._roles
            if roles is not None and check is not None and not (yield from roles.allows(found.session, check)):
                raise PermissionDenied
            return found
        if result.extension_error is not None:
            raise result.extension_error
        verified = self._provider.verified_session(result, verification.entry.user_id)
        verified = verified.replace(user=scoped_user(verified.user, result.scope))
        jwt = verified.session_jwt
        if jwt is None or jwt == result.fresh_jwt:  # which has been checked
            return verified
        is_sound = yield from self._introspector.is_sound_jwt(jwt, result.session_id, result.user_id)
        return verified if is_sound else verified.replace(session_jwt=None)

    def ids_of(self, credential: PresentedCredentials) -> Plan[SessionIds | None]:
        """Return the ids of the session and user of a credential, expired or not; ``None`` if it is invalid."""
        try:
            if credential.kind == "session_token" or not self._verifies_jwts:
                verified = yield from self.verify(credential)
                return SessionIds(verified.session.id, verified.user.id, verified.user.scope)
            return (yield from self.proven_ids(credential.value))
        except InvalidCredentials:
            return None

    def proven_ids(self, value: str) -> Plan[SessionIds]:
        """Return the ids of the session and user of a JWT that is verified here, expired or not.

        Raises:
            InvalidCredentials: It is not genuine, or not valid yet.
            ProviderError: There is no key to verify it with.
        """
        self.check_own_jwt(value)
        jwt = self._parsed(value, self._clock())
        key = yield from self._keys.key_for(jwt.kid, jwt.issued_at, jwt.algorithm)
        claims = _jwt.proven_claims(jwt, key, self._judge, self._claims)
        scope = self._jwts.scope_of(claims, jwt.payload["iss"])
        return SessionIds(claims.session_id, claims.user_id, scope, claims.names_session)

    def check_own_jwt(self, value: str) -> None:
        """Check that a JWT may be shown to the provider: where JWTs are verified here, that it names its issuer.

        Raises:
            InvalidCredentials: It is of another one, or cannot be read.
        """
        if not self._verifies_jwts:
            return
        issuer = unverified_issuer(value)
        if issuer not in self._judge.rules.issuers:
            evidence = foreign_issuer(issuer, self._judge.rules.issuers)
            raise InvalidCredentials(reason="jwt_issuer", evidence=evidence)

    def _accepts_pair(self, entry: CacheEntry, now: float, requirements: Requirements | None) -> bool:
        """Return whether nothing more is to be decided about a usual cookie pair that was verified before."""
        if self._loads_users or self._cache.denies_any or (self._loads_any_user and entry.user_until <= now):
            return False
        try:
            return self._acceptance.accepts(entry, now, requirements)
        except (RevokedCredentials, ProviderUnavailable):
            return False  # raised again where it is decided

    def _if_accepted(
        self,
        entry: CacheEntry | None,
        presented: PresentedCredentials | None,
        digest: bytes,
        requirements: Requirements | None,
        now: float,
    ) -> CacheEntry | None:
        """Return the cache entry of a credential, where there is one and it is still valid.

        ``presented`` is ``None`` for one in a header.

        Raises:
            RevokedCredentials: The credential has been revoked. Not raised for a cookie pair, whose session token
                may still be valid where its JWT is not.
        """
        if entry is None:
            return None
        pair = None if presented is None or presented.cached_jwt is None else presented
        if pair is not None and self._cache.denies_any:
            token_digest = self._cache.digest(pair.value)
            if self._cache.is_denied(token_digest) or self._cache.is_dead(token_digest):
                return None
        try:
            return entry if self._acceptance.accepts(entry, now, requirements) else None
        except RevokedCredentials:
            self._cache.forget(digest)
            if pair is None:
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

    def _has_dead_token(self, pending: Pending) -> bool:
        """Return whether the token of a cookie pair is dead, so that the JWT beside it does not count."""
        if not self._cache.denies_any or pending.presented.cached_jwt is None:
            return False
        return self._cache.is_dead(self._token_digest(pending))

    def _token_digest(self, pending: Pending) -> bytes:
        if pending.token_digest is None:
            pending.token_digest = self._cache.digest(pending.presented.value)
        return pending.token_digest

    def _read_jwt(self, text: str | None, now: float) -> _jwt.ParsedJwt | InvalidCredentials | None:
        """Return the parsed JWT, or the error for a malformed one; ``None`` for a text that cannot be a JWT."""
        if text is None or "." not in text or len(text) > self._longest_jwt:
            return None
        try:
            return self._parsed(text, now)
        except InvalidCredentials as error:
            return error

    def _parsed(self, value: str, now: float) -> _jwt.ParsedJwt:
        current = self._keys.current
        return _jwt.parse(value, now, self._judge, current.known_headers if current is not None else None)

    def _verified_here(self, pending: Pending, now: float) -> Verification | None:
        """Return the verification of a JWT, where its key is cached and no call to the provider is required."""
        jwt = pending.jwt
        if jwt is None or not self._verifies_jwts:
            if not self._can_ask:
                raise self._not_asked(pending, now)
            return None
        if pending.entry is not None:  # `begin` has verified it
            return self._accepted(pending, pending.entry, now)
        key = self._keys.cached_key(jwt.kid, jwt.algorithm, now)
        if key is None:
            return None
        try:
            pending.entry = self._jwts.proven(jwt, key)
        except InvalidCredentials:
            if not pending.presented.is_pair:
                raise
            pending.jwt = None  # the session token decides
            return None
        return self._accepted(pending, pending.entry, now)

    def _remembered_now(
        self, digest: bytes, entry: CacheEntry, requirements: Requirements | None, now: float
    ) -> Source | None:
        """Remember a JWT that was just verified, where it is accepted without a call; return how it was verified.

        Raises:
            RevokedCredentials: It was revoked a moment ago.
            ProviderUnavailable: As :meth:`Acceptance.accepts` does.
        """
        if not self._acceptance.accepts(entry, now, requirements):
            return None
        self._cache.put(digest, entry)
        current = self._keys.current
        return "stale" if current is not None and now >= current.fresh_until else "local"

    def _verified(
        self, pending: Pending, minutes: int | None = None, wishes: _Wishes | None = None
    ) -> Plan[Verification]:
        """Verify a credential; ``wishes`` are what the provider is to set and to check on this occasion.

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
                verification = self._accepted(pending, pending.entry, self._clock())
                if verification is not None:
                    return verification
            # 6. A session token, or a JWT that is too old or has to be confirmed: the provider is called.
            if not self._can_ask:
                raise self._not_asked(pending, self._clock())
            request = self._introspection_request(pending, minutes)
            if wishes is not None:
                request = replace(request, custom_claims=wishes[0], authorization_check=wishes[1])
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
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at, jwt.algorithm)
            pending.entry = self._jwts.proven(jwt, key)
        except (InvalidCredentials, ProviderUnavailable):
            if not pending.presented.is_pair:
                raise
            pending.jwt = None  # the session token decides

    def _not_asked(self, pending: Pending, now: float) -> MoonKeyError:
        """Return the error for a credential that only the provider could accept, which cannot be asked."""
        jwt, entry = pending.jwt, pending.entry
        if jwt is None or entry is None:
            return InvalidCredentials(reason="opaque_credential", session_is_over=False)
        if now >= entry.reusable_until:
            return ExpiredCredentials(evidence=jwt.age(now), session_is_over=False)
        most = pending.requirements.max_staleness
        if most is not None and not entry.is_fresh(now, most):
            return ExpiredCredentials(evidence=jwt.age(now), session_is_over=False)
        return ProviderUnavailable(reason="jwks_limited")  # its key is not usable any more

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that the provider can give what a route requires, however old the credential is.

        Raises:
            ConfigurationError: The route requires a credential to be fresher than it has to be, and the provider
                cannot be asked about one; or something that the app does not record.
        """
        self._check_records(requirements)
        most = requirements.max_staleness
        if self._can_ask or most is None or most >= self._judge.oldest or requirements is AS_FRESH_AS_POSSIBLE:
            return
        raise ConfigurationError(
            f"A route has max_staleness={most:.15g}, but the provider {self._provider.name!r} cannot be asked "
            f"about a JWT, which is accepted up to {self._judge.oldest:.15g} s after it was issued. Leave "
            "max_staleness out, lower longest_life to it, or add introspection to the provider."
        )

    def _check_records(self, requirements: Requirements) -> None:
        if requirements.mfa_max_age is not None and self._settings.mfa_lifetime is None:
            raise ConfigurationError(
                "A route has mfa_max_age, but nothing is recorded of second factors. Set mfa_lifetime, and call "
                "client.mfa.record(auth) where a user has verified one."
            )
        if requirements.session_max_age is not None and not self.can_give_starts:
            raise ConfigurationError(
                f"A route has session_max_age, but no credential of the provider {self._provider.name!r} says "
                "when its session began. Leave session_max_age out; or call client.sessions.note_start(auth) at "
                "each sign-in, and set note_starts."
            )

    def _accepted(self, pending: Pending, entry: CacheEntry, now: float) -> Verification | None:
        """Return the verification for a verified JWT, where no call to the provider is required; and cache it."""
        if self._cache.denies_any and self._has_dead_token(pending):
            return None
        try:
            source = self._remembered_now(pending.digest, entry, pending.requirements, now)
        except RevokedCredentials:  # a moment ago, as a JWT is checked when it is verified
            if not pending.presented.is_pair:
                raise
            pending.jwt = pending.entry = None  # the session token decides
            return None
        if source is None:
            if not self._can_ask and not self._acceptance.is_starting:
                raise self._not_asked(pending, now)
            return None
        if pending.presented.cached_jwt is not None and not pending.presented.is_loose:
            self._introspector.note_session(pending.presented.value, entry.session_id, entry.scope)
        return Verification(entry, source, entry.vouched_at)

    def _is_still_accepted(self, pending: Pending, entry: CacheEntry) -> bool:
        """Return whether a credential that ``begin`` has accepted would be accepted now."""
        try:
            self._check_not_denied(pending)
            if self._has_dead_token(pending):
                return False
            return self._acceptance.accepts(entry, self._clock(), pending.requirements)
        except (InvalidCredentials, ProviderUnavailable):
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
        if presented.is_pair:
            if presented.is_loose:
                entry = None  # the JWT says nothing about the token
            return IntrospectionRequest(
                "session_token",
                presented.value,
                self._token_digest(pending),
                session_id=None if entry is None else entry.session_id,
                user_ids=() if entry is None else (entry.user_id,),
                extension=None if entry is None else self._sliding_expiration.minutes_due(entry),
                refresh=entry is not None and now >= entry.reusable_until,
                # Of no use where it is not verified, or not kept.
                wants_jwt=entry is None and self._verifies_jwts and not presented.is_loose,
                shared_for=_PAIR_SECONDS,
                was_good=self._was_good(pending),
                max_staleness=max_staleness,
            )
        was_good = self._was_good(pending)
        if jwt is None:
            return IntrospectionRequest(
                presented.kind,
                presented.value,
                pending.digest,
                minutes=minutes,
                was_good=was_good,
                max_staleness=max_staleness,
            )
        session_id, user_ids = self._claims.claimed_ids(jwt.payload)
        refresh = now >= (jwt.stale_at(self._judge) if entry is None else entry.reusable_until)
        if refresh and not self._refreshes_jwts:
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
            claims=None if entry is None else entry.body,
            refresh=refresh,
            was_good=was_good,
            max_staleness=max_staleness,
        )

    def _was_good(self, pending: Pending) -> bool:
        """Return whether the credential, or the session that a verified JWT names, was good here before."""
        presented = pending.presented
        jwt = None if presented.is_loose else pending.entry  # which says nothing about the token of such a pair
        if self._cache.knows(pending.digest, jwt):
            return True
        return presented.is_pair and self._cache.knows(self._token_digest(pending))

    def _introspected(self, pending: Pending, request: IntrospectionRequest) -> Plan[Verification]:
        entry = pending.entry
        if pending.presented.is_pair:
            return self._introspected_pair(pending, request)
        jwt = pending.jwt
        over_at = jwt.stale_at(self._judge) if jwt is not None and entry is None else math.inf
        return self._introspector.introspect(request, entry, over_at=over_at)

    def _introspected_pair(self, pending: Pending, request: IntrospectionRequest) -> Plan[Verification]:
        """Ask about the token of a cookie pair. The answer is about the session of the JWT beside it too."""
        jwt = None if pending.presented.is_loose else pending.entry
        user_id, session_id = (None, None) if jwt is None else (jwt.user_id, jwt.session_id)
        verification = yield from self._introspector.introspect(request, user_id=user_id, session_id=session_id)
        if jwt is not None and not request.refresh and verification.result is not None:
            self._introspector.confirm(pending.digest, jwt, verification.result)
        return verification

    def _in_grace(self, pending: Pending, error: ProviderUnavailable) -> Verification | None:
        """Return a recent verification of the same credential, where the settings accept it in an outage."""
        if self._has_dead_token(pending):
            return None
        for digest in (self._token_digest(pending), pending.digest):
            entry = self._cache.get(digest)
            if entry is None or not self._acceptance.accepts_in_grace(entry, pending.requirements):
                continue
            self._note_grace(self._clock() - entry.last_accepted_at, error)
            return Verification(entry, "grace", min(entry.vouched_at, entry.last_accepted_at))
        return None

    def _lacks_user(self, presented: PresentedCredentials, entry: CacheEntry, now: float) -> bool:
        """Return whether the fields of the user are to be loaded for this credential.

        Where the app has not set ``load_user``, they are loaded for pages, that is for credentials in cookies.
        """
        return self._loads_users or (presented.from_cookies and entry.user_until <= now)

    def _load_for_page(self, entry: CacheEntry) -> Plan[None]:
        """Load all fields of an entry's user, as far as the provider can be asked. The entry keeps them.

        Raises:
            InvalidCredentials: The user does not exist any more.
        """
        known = with_user_id(entry.reader.user(entry.body), entry.user_id, self._provider.same_user)
        try:
            entry.simple_user = yield from self.whole_user(known, entry.session_id)
        except ProviderError as error:
            log_repeated(
                logging.WARNING,
                "a page has only what is known of its user: %s",
                error.reason_and_evidence,
                extra={"reason": "user_incomplete", **failed_call(error)},
            )
            entry.user_until = self._clock() + _USER_PAUSE
        else:
            entry.user_until = self._clock() + self._settings.user_ttl

    def _note_grace(self, age: float, error: ProviderUnavailable) -> None:
        log_repeated(
            logging.WARNING,
            "accepted a session verified %.0f s ago, as the API cannot be asked: %s",
            age,
            error.reason_and_evidence,
            extra={"reason": "grace_used", **failed_call(error)},
        )
        self._hooks.emit(GraceUsed(age))

    def whole_user(self, user: User, session_id: str) -> Plan[User]:
        """Return a verified user with all fields. Where the user does not exist any more, the session is reported.

        Raises:
            InvalidCredentials: The user does not exist any more.
            ProviderUnavailable: The user could not be loaded.
        """
        if user.complete:
            return user
        try:
            whole = yield from self._load_user(user.id)
        except NotFound as error:
            if error.is_gone:
                self._introspector.note_user_gone(session_id, user.scope)
            raise InvalidCredentials(
                reason="user_unknown", evidence=error.evidence, session_is_over=error.is_gone
            ) from None
        except RequestRefused as error:
            raise ProviderUnavailable(reason="user_refused", evidence=error.evidence) from None
        whole = scoped_user(with_user_id(whole, user.id, self._provider.same_user), user.scope)
        return whole if is_own(type(self._provider)) else read_only_model(whole)

    def _with_user(self, pending: Pending, verification: Verification) -> Plan[tuple[Verification, User]]:
        """Return a verification with the whole user, or in an outage with the one that was loaded last.

        Raises:
            InvalidCredentials: The user does not exist any more.
            ProviderUnavailable: The user could not be loaded.
        """
        entry, now = verification.entry, self._clock()
        try:
            user = yield from self.whole_user(entry.user(), entry.session_id)
        except InvalidCredentials:
            entry.whole_user = None
            raise
        except ProviderUnavailable as error:
            if entry.whole_user is None:
                raise
            user, loaded_at = entry.whole_user
            if not self._acceptance.accepts_in_grace(entry, pending.requirements, verified_at=loaded_at):
                raise
            self._note_grace(self._clock() - loaded_at, error)
            return Verification(entry, "grace", min(verification.vouched_at, loaded_at)), user
        if self._settings.grace_seconds:
            entry.whole_user = user, now
        return verification, user

    def _auth(self, pending: Pending, verification: Verification, user: User | None = None) -> Auth:
        """Return the identity; ``user`` has all the user's fields, where they were loaded."""
        fresh, presented = verification.fresh_jwt, pending.presented
        binding: str | None = None
        if fresh is not None and presented.from_cookies:  # it goes into the cookie beside this very token
            binding = make_binding(pair_text(presented.value, fresh, self._settings), self._settings)
        # A call that a gate has demanded counts for that gate. One of the middleware still counts for one gate.
        asked_now = verification.asked_now and pending.requirements.max_staleness is None
        return new_auth(
            verification.entry,
            verification.source,
            verification.vouched_at,
            presented.from_cookies,
            fresh,
            asked_now,
            user,
            binding,
        )
