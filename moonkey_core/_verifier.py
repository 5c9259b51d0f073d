"""From a request's headers to its ``Auth``: which way a credential goes, and nothing of how calls are made."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from moonkey_core import _jwt
from moonkey_core._cache import Known
from moonkey_core._keys import KeyRing
from moonkey_core._plan import Plan
from moonkey_core._proof import Proof, completed
from moonkey_core._recall import Presented, Recall
from moonkey_core.auth import Auth
from moonkey_core.credentials import Credentials, parse_credentials
from moonkey_core.errors import (
    AuthenticationError,
    ExpiredCredentials,
    InvalidCredentials,
    ProviderError,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core.events import GraceUsed, Hooks, Source
from moonkey_core.gate import Requirements
from moonkey_core.models import VerifiedSession, with_user_id
from moonkey_core.providers.moonkey import Answer, MoonKeyApi, Question
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings

if TYPE_CHECKING:  # it takes 25 ms, which only those who verify JWTs here should pay
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger = logging.getLogger("moonkey")

_NO_REQUIREMENTS = Requirements()


class Verifier:
    """Plans that verify credentials. The kind of a credential chooses the way, never its failure."""

    def __init__(
        self,
        settings: Settings,
        api: MoonKeyApi,
        keys: KeyRing,
        recall: Recall,
        revocations: Revocations,
        hooks: Hooks,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._api = api
        self._keys = keys
        self._recall = recall
        self._credentials = recall.credentials
        self._revocations = revocations
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
            return Auth(error=error)
        now = self._clock()
        if now >= known.until or not self._recall.is_up_to_date():
            return None
        if requirements is not None and self._needs_asking(known, now, requirements):
            return None
        self._credentials.put(digest, known)
        return Auth(known=known, source=self._local_source(now), as_of=known.as_of)

    def authenticate(self, presented: Presented, requirements: Requirements | None = None) -> Plan[Auth]:
        """The identity of a request. Raises nothing that concerns the caller or the provider: ``Auth`` says it."""
        try:
            credentials = presented.plain_token() or parse_credentials(presented.headers, self._settings)
            if credentials is None:
                return Auth()
            question = Question(credentials, presented.digest or self._credentials.digest(credentials.value))
            return (yield from self._authenticated(question, requirements or _NO_REQUIREMENTS))
        except (AuthenticationError, ProviderError) as error:
            return Auth(error=error)

    def _parsed(self, value: str) -> _jwt.ParsedJwt:
        current = self._keys.current
        return _jwt.parse(value, self._clock(), self._settings, current.heads if current is not None else None)

    def verify(self, credentials: Credentials, minutes: int | None = None) -> Plan[VerifiedSession]:
        """Verify one credential now; with ``minutes``, also extend its session. Raises where it is not good."""
        question = Question(credentials, self._credentials.digest(credentials.value), minutes=minutes)
        proof = yield from self._proven(question)
        if proof.answer is None:
            return proof.known.read()
        verified = self._api.read_whole(proof.answer)
        return replace(verified, user=with_user_id(verified.user, proof.known.user_id))

    def session_id_of(self, credentials: Credentials) -> Plan[str | None]:
        """The session that a credential proves, be its time over or not; ``None`` where it is no good."""
        try:
            if credentials.kind == "session_token" or not self._settings.jwt_issuer:
                return (yield from self.verify(credentials)).session.id
            jwt = self._parsed(credentials.value)
            key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
            return _jwt.prove(jwt, key, self._settings).session_id
        except InvalidCredentials:
            return None

    def _authenticated(self, question: Question, requirements: Requirements) -> Plan[Auth]:
        digest, question.max_staleness = question.digest, requirements.max_staleness
        try:
            proof = self._recalled(digest, requirements) or (yield from self._proven(question, requirements))
        except ProviderUnavailable as error:
            known = self._recall.in_grace(digest, requirements)
            if known is None:
                raise
            self._tell_of_grace(known, error)
            proof = Proof("grace", min(known.as_of, known.good_at), known)
        except InvalidCredentials:
            self._credentials.forget(digest)
            raise
        # The answer to a gate's own question is spent; that to the middleware's is still good for one gate.
        fresh, asked = proof.fresh_jwt, proof.asked_for_it and requirements.max_staleness is None
        if not self._settings.load_user:
            return Auth(known=proof.known, source=proof.source, as_of=proof.as_of, fresh=fresh, asked_for_it=asked)
        verified = yield from completed(self._api, proof.known.read())
        return Auth(
            verified=replace(verified, fresh_jwt=fresh), source=proof.source, as_of=proof.as_of, asked_for_it=asked
        )

    def _recalled(self, digest: bytes, requirements: Requirements) -> Proof | None:
        known = self._recall.of(digest, requirements)
        return None if known is None else Proof("cache", known.as_of, known)

    def _proven(self, question: Question, requirements: Requirements = _NO_REQUIREMENTS) -> Plan[Proof]:
        settings = self._settings
        if question.credentials.kind == "session_token":
            return (yield from self._asked(question))
        jwt = self._parsed(question.credentials.value)
        if not settings.jwt_issuer:
            question.refresh = self._refreshable(self._clock() >= jwt.stale_at(settings))
            question.session_id, question.users = _jwt.claimed_ids(jwt, settings)
            return (yield from self._asked(question, over_at=jwt.stale_at(settings)))
        key = yield from self._keys.key_for(jwt.kid, jwt.issued_at)
        known = self._judged(jwt, key)
        now = self._clock()
        question.refresh = self._refreshable(now >= known.until)
        asks = question.refresh or question.minutes is not None or self._needs_asking(known, now, requirements)
        if not asks:
            self._credentials.put(question.digest, known)
            return Proof(self._local_source(now), known.as_of, known)
        question.session_id = known.session_id
        question.users = (known.user_id, *_jwt.claimed_ids(jwt, settings)[1])
        return (yield from self._asked(question, known))

    def _needs_asking(self, known: Known, now: float, requirements: Requirements) -> bool:
        """Whether a genuine JWT whose time is not over has to be sent to the API as well."""
        most = requirements.max_staleness
        return (most is not None and not 0 < now - known.as_of <= most) or not self._recall.is_up_to_date()

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
        self._check_not_revoked(known)
        return known

    def _asked(self, question: Question, jwt: Known | None = None, over_at: float = math.inf) -> Plan[Proof]:
        """What the API says of a credential; ``jwt`` is what a JWT proves by itself, if it is verified here."""
        settings = self._settings
        refusal = self._credentials.refusal(question.digest)
        if refusal is not None:
            raise refusal
        question.known = self._credentials.is_acquainted(question.digest)
        if not self._recall.is_up_to_date():
            most = math.inf if question.max_staleness is None else question.max_staleness
            question.max_staleness = min(settings.max_revocation_lag, most)
        try:
            began = self._clock()
            answer = yield from self._api.verify(question)
            if question.max_staleness is not None and answer.asked_at < began - question.max_staleness:
                question.max_staleness = 0  # it was a shared one, and older than it may be: ask for ourselves
                answer = yield from self._api.verify(question)
        except InvalidCredentials as error:
            self._note_refusal(question, jwt, error)
            raise
        # One person, one id: the JWT's subject, before and after a refresh.
        known = self._confirmed(answer, answer.user_id if jwt is None else jwt.user_id)
        self._check_not_revoked(known if jwt is None else jwt)
        self._credentials.acquaint(question.digest)
        proof = Proof("remote", answer.asked_at, known, answer, asked_for_it=answer.asked_at >= began)
        if jwt is not None:
            jwt.as_of = jwt.asked_at = answer.asked_at
            self._credentials.put(question.digest, jwt)
        elif settings.session_cache_ttl or settings.grace_seconds:
            known.until = min(known.until, over_at)
            known.body = self._api.clean(answer.body)
            self._credentials.put(question.digest, known)
        return proof

    def _note_refusal(self, question: Question, jwt: Known | None, error: InvalidCredentials) -> None:
        if question.minutes is not None:
            return  # it may have been the length that was refused
        self._credentials.refuse(question.digest, error)
        over = isinstance(error, RevokedCredentials | ExpiredCredentials)
        if jwt is not None and not question.refresh and (question.session_is_gone or over):
            # The JWT is genuine and its time is not over: its session was ended elsewhere.
            self._revocations.add(session_id=jwt.session_id)

    def _confirmed(self, answer: Answer, user_id: str) -> Known:
        settings = self._settings
        return Known(
            body=answer.body,
            reader=self._api,
            session_id=answer.session_id,
            user_id=user_id,
            issued_at=answer.started_at,
            starts_at=answer.asked_at + settings.leeway,  # not an instant earlier
            until=min(answer.asked_at + settings.session_cache_ttl, answer.ends_at + settings.leeway),
            as_of=answer.asked_at,
            ends_at=answer.ends_at,
            good_at=self._clock(),
            asked_at=answer.asked_at,
        )

    def _check_not_revoked(self, known: Known) -> None:
        version = self._revocations.version
        if self._revocations.refuses(known.session_id, known.user_id, known.issued_at):
            raise RevokedCredentials
        known.checked = version

    def _local_source(self, now: float) -> Source:
        current = self._keys.current
        return "stale" if current is not None and now >= current.fresh_until else "local"

    def _tell_of_grace(self, known: Known, error: ProviderUnavailable) -> None:
        age = self._clock() - known.good_at
        logger.warning(
            "accepted a session verified %.0f s ago, as the API cannot be asked: %s",
            age,
            error.reason,
            extra={"reason": "grace_used"},
        )
        self._hooks.emit(GraceUsed(age))

    def _refreshable(self, stale: bool) -> bool:
        """``stale`` itself; raises where that is the end of it."""
        if stale and not self._settings.refresh_jwt:
            raise ExpiredCredentials
        return stale
