"""From a JWT to what it proves: the user and session, as an entry for the cache. Makes no network call.

There are two ways, and one set of rules. :meth:`JwtVerifier.proven` is the strict way: it takes a JWT that
:func:`~moonkey_core._verify.jwt.parse` has read, and says why it refuses one. :meth:`JwtVerifier.at_first_sight`
is one function for the usual JWT: it only tests whether all that the strict way demands is there in the usual
form, and leaves each JWT that is different to the strict way. So it accepts nothing that this would refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from moonkey_core._provider import JwtClaims, Provider, SessionClaims, check_scope, is_for_audience
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._strict_json import load_object
from moonkey_core._verified import DEFAULT_SCOPE, CacheEntry, is_own, keep_claims, scoped_reader
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.jwks import SigningKey
from moonkey_core._verify.jwks_cache import JwksCache, KeySet
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import BEARER

_NEVER = -math.inf
_START = len(BEARER)  # of the JWT in a line


class JwtVerifier:
    """The verification of a provider's JWTs whose key is known."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        judge: _jwt.Judge,
        keys: JwksCache,
        acceptance: Acceptance,
        sliding_expiration: SlidingExpiration,
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._claims: JwtClaims = provider.jwt_claims
        self._judge = judge
        self._keys = keys
        self._acceptance = acceptance
        self._sliding_expiration = sliding_expiration
        self._notes_acceptance = bool(settings.grace_seconds)
        self._clock = clock
        # What need not be taken from the claims: MoonKey's scope, a user, and no actor.
        self._own = SessionClaims("", "", None, 0.0)[4:] if provider.name == DEFAULT_SCOPE else None
        self._scopes = frozenset(provider.scopes.values())
        self._keeps_claims = is_own(type(self._claims))  # another reader may change what it is given

    def at_first_sight(self, line: bytes, now: float) -> CacheEntry | None:
        """Return the entry for a usual JWT that is genuine and has not expired; ``None`` for any other line.

        Usual are: a header that a genuine JWT of the current key set has had before, and times in whole seconds.
        Each condition is one of :func:`~moonkey_core._verify.jwt.parse` and
        :func:`~moonkey_core._verify.jwt.proven_claims`, which decide about all others. The signature comes
        last, so that they do not have to verify it a second time.

        Args:
            line: The line of its header, which begins with ``BEARER`` and is within the bounds of a credential.
            now: The current time (Unix seconds).

        Raises:
            InvalidCredentials: Its signature is wrong; or as :meth:`proven` does, whose last steps are the same.
        """
        current, judge = self._keys.current, self._judge
        if current is None or not current.fetched_at <= now < current.revalidate_until:
            return None
        try:
            head, middle, tail = line.split(b".", 3)
            _, _, key, name, verifier = current.known_headers[head[_START:]]
            body = _jwt.decode_part(middle)
            payload, signature = load_object(body), _jwt.decode_part(tail)
        except (ValueError, KeyError):
            return None
        issued_at, expires_at = payload.get("iat"), payload.get("exp")
        starts_at, leeway, rules = payload.get("nbf", issued_at), judge.leeway, judge.rules
        if type(issued_at) is not int or type(expires_at) is not int or type(starts_at) is not int:
            return None
        if starts_at <= issued_at:  # mostly they are equal, and an entry keeps one object then
            starts_at = issued_at
        if (
            issued_at < 0
            or starts_at > now + leeway
            or expires_at >> 48  # a sum with a float must not overflow
            or expires_at - issued_at > judge.longest_life
            or type(payload.get("jti", "")) is not str
        ):
            return None
        stale_at, oldest_at = expires_at + leeway, issued_at + judge.max_age
        if stale_at > oldest_at:
            stale_at = oldest_at
        if now >= stale_at:
            return None
        issuer = payload.get("iss")
        if (
            issuer not in rules.issuers
            or (key.issuer is not None and key.issuer != issuer)
            or (rules.audience and not is_for_audience(payload.get(rules.audience_claim), rules.audience))
        ):
            return None
        if not verifier.verify(line[_START : -1 - len(tail)], key.public_key, signature):
            raise _jwt.wrong_signature()
        claims = self._claims.session_claims(payload, expires_at)
        return self._entry(body, payload, claims, issued_at, starts_at, stale_at, name, key, current)

    def proven(self, jwt: _jwt.ParsedJwt, key: SigningKey) -> CacheEntry:
        """Verify a JWT with its key, and return the entry for it.

        Raises:
            InvalidCredentials: It is not genuine.
            RevokedCredentials: Its session was revoked.
        """
        judge = self._judge
        claims = _jwt.proven_claims(jwt, key, judge, self._claims)
        name: str | None = jwt.kid
        current = found_in = self._keys.current
        if current is not None:
            if current.keys.get(jwt.kid) is not key:
                name, found_in = current.name_of(key), None  # a JWT that names no key, or a key without a name
            if name is not None and jwt.head not in current.known_headers:
                self._remember_header(current, jwt, key, name)
        times = jwt.issued_at, jwt.starts_at, jwt.stale_at(judge)
        return self._entry(jwt.body, jwt.payload, claims, *times, name, key, found_in)

    def _remember_header(self, current: KeySet, jwt: _jwt.ParsedJwt, key: SigningKey, name: str) -> None:
        """Keep the header of a genuine JWT, if it leads to this key of the current key set."""
        if self._keys.cached_key(jwt.kid, jwt.algorithm, self._clock()) is key and self._keys.current is current:
            current.remember_header(jwt.head, jwt.kid, jwt.algorithm, key, name)

    def scope_of(self, claims: SessionClaims, issuer: str) -> str:
        """Return what the ids of a JWT belong to. Ids without a scope are those of their issuer.

        So they never meet equal ones of MoonKey.

        Raises:
            ProviderRejectedKey: The provider does not name that scope.
        """
        scope = claims.scope
        if scope == DEFAULT_SCOPE and self._provider.name != DEFAULT_SCOPE:
            scope = self._judge.scopes.get(issuer, issuer)
        check_scope(scope, self._provider, self._scopes)
        return scope

    def _entry(
        self,
        body: bytes,
        payload: Mapping[str, Any],
        claims: SessionClaims,
        issued_at: float,
        starts_at: float,
        stale_at: float,
        kid: str | None,
        key: SigningKey,
        key_set: KeySet | None,
    ) -> CacheEntry:
        """Return the entry for what a genuine JWT says, and take the rest from what this process knows.

        Raises:
            RevokedCredentials: Its session has been revoked.
        """
        user_id, session_id, started_at, ends_at = claims[:4]
        ends_here = ends_at + self._judge.leeway
        entry = CacheEntry(
            body,
            self._claims,
            session_id,
            user_id,
            issued_at if started_at is None or started_at > issued_at else started_at,
            starts_at,
            stale_at if stale_at < ends_here else ends_here,
            issued_at,
            ends_at,
            self._clock() if self._notes_acceptance else issued_at,
            _NEVER,
            started_at,
            kid,
            key,
            key_set,
        )
        if claims[4:] != self._own:
            entry.scope = self.scope_of(claims, payload["iss"])
            entry.principal, entry.actor, entry.names_session = (
                claims.principal,
                claims.actor,
                claims.names_session,
            )
            entry.reader = scoped_reader(self._claims, entry.scope)
        if self._keeps_claims:
            keep_claims(entry, payload)
        if self._acceptance.is_revoked(entry):
            raise self._acceptance.refusal(entry)
        self._sliding_expiration.update_end(entry)
        return entry
