"""From a request's headers to its ``Auth``: which way a credential goes, and nothing of how calls are made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core._session_life.sliding import Extension
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.cache import Known
from moonkey_core._verify.introspection import Inquiry
from moonkey_core._verify.jwks_cache import KeyRing
from moonkey_core._verify.recall import Presented, Recall
from moonkey_core._verify.verification import Proof, completed
from moonkey_core.auth import Auth
from moonkey_core.errors import (
    AuthenticationError,
    ExpiredCredentials,
    InvalidCredentials,
    ProviderError,
    ProviderUnavailable,
    failed_call,
)
from moonkey_core.events import GraceUsed, Hooks, Source
from moonkey_core.gate import Requirements
from moonkey_core.models import VerifiedSession, with_user_id
from moonkey_core.providers.moonkey.client import MoonKeyApi, Question
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import Credentials, other_scheme, parse_credentials

if TYPE_CHECKING:  # it takes 25 ms, which only those who verify JWTs here should pay
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


_NO_REQUIREMENTS = Requirements()
_PAIR_SECONDS = 2.0  # a page's requests come together; those that follow bring the new JWT


class Verifier:
    """Plans that verify credentials. The kind of a credential chooses the way, never its failure."""

    def __init__(
        self,
        settings: Settings,
        api: MoonKeyApi,
        keys: KeyRing,
        recall: Recall,
        inquiry: Inquiry,
        extension: Extension,
        hooks: Hooks,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._api = api
        self._keys = keys
        self._recall = recall
        self._credentials = recall.credentials
        self._inquiry = inquiry
        self._extension = extension
        self._hooks = hooks
        self._clock = clock
        self._jwts = _jwt.JwtReader(settings)
        # No issuer is named, or the users come from elsewhere: a JWT by itself never is the whole answer.
        self._asks_always = not settings.jwt_issuer or settings.load_user

    def at_once(self, presented: Presented, requirements: Requirements | None = None) -> Auth | None:
        """The identity that a JWT proves, where its key is at hand and nobody has to be asked; else ``None``.

        A JWT that can be read is well-formed as a credential, too: its grammar need not be checked once more. What
        cannot be read is not decided here.
        """
        value, digest = presented.value, presented.digest
        if value is None or digest is None or self._asks_always or "." not in value:
            return None
        if self._is_given_back(presented, digest):
            return None
        try:
            jwt = self._parsed(value)
        except InvalidCredentials:
            return None
        key = self._keys.calm_key(jwt.kid)
        if key is None:
            return None
        try:
            known = self._judged(jwt, key)
        except InvalidCredentials as error:
            return Auth(error=error) if presented.pair is None else None
        now = self._clock()
        if now >= known.until or known.doubted or not self._recall.is_up_to_date():
            return None
        if requirements is not None and self._needs_asking(known, now, requirements):
            return None
        self._credentials.put(digest, known)
        is_pair = presented.pair is not None
        return Auth(known=known, source=self._local_source(now), as_of=known.as_of, from_cookies=is_pair)

    def _is_given_back(self, presented: Presented, digest: bytes) -> bool:
        if presented.pair is not None:
            return self._credentials.is_pair_given_back(presented.pair)
        return self._credentials.is_given_back(digest)

    def authenticate(self, presented: Presented, requirements: Requirements | None = None) -> Plan[Auth]:
        """The identity of a request. Raises nothing that concerns the caller or the provider: ``Auth`` says it."""
        required = requirements or _NO_REQUIREMENTS
        try:
            if presented.pair is None:
                credentials = presented.plain_token() or parse_credentials(presented.headers, self._settings)
                if credentials is not None:
                    digest = presented.digest or self._credentials.digest(credentials.value)
                    return (yield from self._authenticated(Question(credentials, digest), required))
                hint = other_scheme(presented.headers, self._settings)
                found = self._recall.by_cookies(presented.headers, requirements, presented.info, hint)
                if isinstance(found, Auth):
                    return found
                presented = found
            return (yield from self._by_cookies(presented, required))
        except (AuthenticationError, ProviderError) as error:
            return Auth(error=error, from_cookies=presented.pair is not None)

    def _by_cookies(self, presented: Presented, requirements: Requirements) -> Plan[Auth]:
        """The identity that a pair of cookies proves.

        The JWT is only a cache of the token: it is tried first, and whatever is wrong with it, the token is asked
        about. Where it is genuine and merely old, this is its refresh, and the answer must be of the same session.
        """
        pair, digest = presented.pair, presented.digest
        assert pair is not None
        assert digest is not None
        token = Credentials(pair.token, "session_token", "cookie")
        question = Question(token, self._credentials.digest(pair.token), linger=_PAIR_SECONDS)
        self._inquiry.check_not_given_back(question)
        jwt = None if pair.jwt is None else (yield from self._cached(pair.jwt))
        question.wants_jwt = jwt is None and bool(self._settings.jwt_issuer)  # else nobody here could read it
        if jwt is not None:
            now = self._clock()
            if now < jwt.until and not self._needs_asking(jwt, now, requirements):
                self._credentials.put(digest, jwt)
                proof = Proof(self._local_source(now), jwt.as_of, jwt)
                return (yield from self._identity(proof, requirements, from_cookies=True))
            question.refresh = now >= jwt.until
            question.session_id, question.users = jwt.session_id, (jwt.user_id,)
            question.extend_by = self._extension.minutes(jwt)
        return (yield from self._authenticated(question, requirements, jwt, digest))

    def _cached(self, value: str) -> Plan[Known | None]:
        """What the JWT of a pair proves, be its time over or not; ``None`` where it is of no use."""
        try:
            jwt = self._parsed(value)
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
            return self._judged(jwt, key)
        except (InvalidCredentials, ProviderUnavailable):
            return None

    def _parsed(self, value: str) -> _jwt.ParsedJwt:
        current = self._keys.current
        return _jwt.parse(value, self._clock(), self._settings, current.heads if current is not None else None)

    def verify(self, credentials: Credentials, minutes: int | None = None) -> Plan[VerifiedSession]:
        """Verify one credential now; with ``minutes``, also extend its session. Raises where it is not good."""
        question = Question(credentials, self._credentials.digest(credentials.value), minutes=minutes)
        proof = yield from self._proven(question)
        if question.unextended is not None:
            raise question.unextended
        if proof.answer is None:
            return proof.known.read()
        verified = self._api.read_whole(proof.answer)
        return replace(verified, user=with_user_id(verified.user, proof.known.user_id))

    def ids_of(self, credentials: Credentials) -> Plan[tuple[str, str] | None]:
        """The session and user that a credential proves, be its time over or not; ``None`` where it is no good."""
        try:
            if credentials.kind == "session_token" or not self._settings.jwt_issuer:
                verified = yield from self.verify(credentials)
                return verified.session.id, verified.user.id
            jwt = self._parsed(credentials.value)
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
            claims = _jwt.prove(jwt, key, self._settings)
            return claims.session_id, claims.subject
        except InvalidCredentials:
            return None

    def _authenticated(
        self,
        question: Question,
        requirements: Requirements,
        jwt: Known | None = None,
        pair: bytes | None = None,
    ) -> Plan[Auth]:
        """The identity that a credential proves.

        Of a pair of cookies, ``question`` is about the token, ``jwt`` is what its JWT proves and ``pair`` is the
        digest of both.
        """
        digest, question.max_staleness = question.digest, requirements.max_staleness
        try:
            # An old JWT is to be renewed, whatever is remembered of its token.
            proof = None if question.refresh else self._recalled(digest, requirements)
            if proof is None and pair is None:
                proof = yield from self._proven(question, requirements)
            elif proof is None:
                proof = yield from self._inquiry.ask(question, user_id=jwt.user_id if jwt else None)
        except ProviderUnavailable as error:
            known = self._recall.in_grace(digest, requirements)
            if known is None and pair is not None:
                known = self._recall.in_grace(pair, requirements)
            if known is None:
                raise
            self._tell_of_grace(known, error)
            proof = Proof("grace", min(known.as_of, known.good_at), known)
        except InvalidCredentials:
            self._credentials.forget(digest)
            if pair is not None:
                self._credentials.forget(pair)
            raise
        return (yield from self._identity(proof, requirements, from_cookies=pair is not None))

    def _identity(self, proof: Proof, requirements: Requirements, *, from_cookies: bool) -> Plan[Auth]:
        # The answer to a gate's own question is spent; that to the middleware's is still good for one gate.
        fresh, asked = proof.fresh_jwt, proof.asked_for_it and requirements.max_staleness is None
        identity = partial(
            Auth, source=proof.source, as_of=proof.as_of, asked_for_it=asked, from_cookies=from_cookies
        )
        if not self._settings.load_user:
            return identity(known=proof.known, fresh=fresh)
        verified = yield from completed(self._api, proof.known.read())
        return identity(verified=replace(verified, fresh_jwt=fresh))

    def _recalled(self, digest: bytes, requirements: Requirements) -> Proof | None:
        known = self._recall.of(digest, requirements)
        return None if known is None else Proof("cache", known.as_of, known)

    def _proven(self, question: Question, requirements: Requirements = _NO_REQUIREMENTS) -> Plan[Proof]:
        settings = self._settings
        self._inquiry.check_not_given_back(question)
        if question.credentials.kind == "session_token":
            return (yield from self._inquiry.ask(question))
        jwt = self._parsed(question.credentials.value)
        if not settings.jwt_issuer:
            question.refresh = self._refreshable(jwt, self._clock() >= jwt.stale_at(settings))
            question.session_id, question.users = _jwt.claimed_ids(jwt, settings)
            return (yield from self._inquiry.ask(question, over_at=jwt.stale_at(settings)))
        key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
        known = self._judged(jwt, key)
        now = self._clock()
        question.refresh = self._refreshable(jwt, now >= known.until)
        asks = question.refresh or question.minutes is not None or self._needs_asking(known, now, requirements)
        if not asks:
            self._credentials.put(question.digest, known)
            return Proof(self._local_source(now), known.as_of, known)
        question.session_id = known.session_id
        if question.refresh and question.minutes is None:
            question.extend_by = self._extension.minutes(known)
        question.users = (known.user_id, *_jwt.claimed_ids(jwt, settings)[1])
        return (yield from self._inquiry.ask(question, known))

    def _needs_asking(self, known: Known, now: float, requirements: Requirements) -> bool:
        """Whether a genuine JWT whose time is not over has to be sent to the API as well."""
        most = requirements.max_staleness
        is_old = most is not None and not 0 < now - known.as_of <= most
        return is_old or known.doubted or not self._recall.is_up_to_date()

    def _judged(self, jwt: _jwt.ParsedJwt, key: RSAPublicKey) -> Known:
        """What a JWT proves, and until when. Raises where it is not genuine, or revoked."""
        settings = self._settings
        claims = _jwt.prove(jwt, key, settings)
        known = Known(
            body=jwt.body,
            reader=self._jwts,
            session_id=claims.session_id,
            user_id=claims.subject,
            issued_at=jwt.issued_at if claims.started_at is None else min(jwt.issued_at, claims.started_at),
            started_at=claims.started_at,
            starts_at=jwt.starts_at,
            until=min(jwt.stale_at(settings), claims.ends_at + settings.leeway),
            as_of=jwt.issued_at,
            ends_at=claims.ends_at,
            good_at=self._clock() if settings.grace_seconds else jwt.issued_at,
            kid=jwt.kid,
            key=key,
        )
        current = self._keys.current
        if current is not None and jwt.head not in current.heads:
            current.remember(jwt.head, jwt.kid)
        self._inquiry.check_not_revoked(known)
        return known

    def _local_source(self, now: float) -> Source:
        current = self._keys.current
        return "stale" if current is not None and now >= current.fresh_until else "local"

    def _tell_of_grace(self, known: Known, error: ProviderUnavailable) -> None:
        age = self._clock() - known.good_at
        log_repeated(
            logging.WARNING,
            "accepted a session verified %.0f s ago, as the API cannot be asked: %s",
            age,
            error.reason_and_evidence,
            extra={"reason": "grace_used", **failed_call(error)},
        )
        self._hooks.emit(GraceUsed(age))

    def _refreshable(self, jwt: _jwt.ParsedJwt, stale: bool) -> bool:
        """``stale`` itself; raises where that is the end of the JWT (its session may go on)."""
        if stale and not self._settings.refresh_jwt:
            raise ExpiredCredentials(evidence=jwt.age(self._clock()), session_is_over=False)
        return stale
