"""What the API says of a credential, and what follows from it for what is remembered here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from moonkey_core._plan import Plan
from moonkey_core._session_life.sliding import Extension
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.cache import Known
from moonkey_core._verify.recall import Recall
from moonkey_core._verify.verification import Proof
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RevokedCredentials
from moonkey_core.events import Extended, Hooks
from moonkey_core.providers.moonkey.client import Answer, MoonKeyApi, Question, same_user
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings

logger = logging.getLogger("moonkey")


class Inquiry:
    """Plans that ask the API about a credential."""

    def __init__(
        self,
        settings: Settings,
        api: MoonKeyApi,
        recall: Recall,
        revocations: Revocations,
        hooks: Hooks,
        extension: Extension,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._api = api
        self._recall = recall
        self._credentials = recall.credentials
        self._revocations = revocations
        self._hooks = hooks
        self._extension = extension
        self._clock = clock

    def ask(
        self,
        question: Question,
        jwt: Known | None = None,
        *,
        over_at: float = math.inf,
        user_id: str | None = None,
    ) -> Plan[Proof]:
        """What the API says of a credential.

        ``jwt`` is what a JWT proves by itself, if it is verified here. The answer is not remembered beyond
        ``over_at`` (Unix seconds). ``user_id`` is the spelling of the user's id by which this browser is known.
        """
        refusal = self._credentials.refusal(question.digest)
        if refusal is not None:
            raise self._told(question, refusal)
        question.known = self._credentials.is_acquainted(question.digest)
        if not self._recall.is_up_to_date():
            most = math.inf if question.max_staleness is None else question.max_staleness
            question.max_staleness = min(self._settings.max_revocation_lag, most)
        began, by_the_way = self._clock(), question.extend_by is not None
        try:
            answer = yield from self._fresh_enough(question, began)
        except InvalidCredentials as error:
            self._note_refusal(question, jwt, error)
            raise self._told(question, error) from None
        # One person, one id: the JWT's subject, before and after a refresh.
        known = self._confirmed(answer, (user_id or answer.user_id) if jwt is None else jwt.user_id)
        self.check_not_revoked(known if jwt is None else jwt)
        self._credentials.acquaint(question.digest)
        if answer.fresh_jwt is not None and self._credentials.is_replaced(question.digest):
            answer.fresh_jwt = None  # the browser has a newer one by now, or is about to
        if by_the_way:
            self.note_extension(known, question.unextended)
        if jwt is not None:
            jwt.as_of = jwt.asked_at = answer.asked_at
            self._credentials.put(question.digest, jwt)
        elif self._settings.session_cache_ttl or self._settings.grace_seconds:
            known.until = min(known.until, over_at)
            known.body = self._api.clean(answer.body)
            self._credentials.put(question.digest, known)
        return Proof("remote", answer.asked_at, known, answer, asked_for_it=answer.asked_at >= began)

    def check_not_given_back(self, question: Question) -> None:
        """Raises where the owner of a credential has signed out with it, whatever its JWT says by itself."""
        if self._credentials.is_given_back(question.digest):
            raise self._told(question, RevokedCredentials())

    def note_extension(self, known: Known, refusal: MoonKeyError | None = None) -> None:
        """The API was asked to extend a session, and this is what it said; ``refusal``: that it would not."""
        if refusal is not None:
            self._extension.refused(refusal)
            return
        self._extension.note(known.session_id, known.ends_at)
        self._hooks.emit(Extended(known.user_id, known.session_id))

    def _fresh_enough(self, question: Question, began: float) -> Plan[Answer]:
        answer = yield from self._api.verify(question)
        doubted = self._revocations.doubts(answer.session_id, answer.user_id, answer.started_at)
        most = 0.0 if doubted else question.max_staleness
        if most is not None and answer.asked_at < began - most:
            question.max_staleness = 0  # it was a shared one, and older than it may be: ask for ourselves
            answer = yield from self._api.verify(question)
        self._check_renewed(answer)
        return answer

    def _check_renewed(self, answer: Answer) -> None:
        """A new JWT has to be of the session that the answer speaks of; what cannot be read is of no use later."""
        if answer.fresh_jwt is None:
            return
        try:
            jwt = _jwt.parse(answer.fresh_jwt, self._clock(), self._settings)
        except InvalidCredentials:
            return
        session_id, users = _jwt.claimed_ids(jwt, self._settings)
        is_another = session_id is not None and session_id != answer.session_id
        if is_another or (users and not same_user(users[0], answer.user_id)):  # the subject, if it names one
            raise ProviderUnavailable(reason="api_mismatch")

    def _told(self, question: Question, error: InvalidCredentials) -> InvalidCredentials:
        if self._credentials.is_replaced(question.digest):
            return InvalidCredentials(reason="token_replaced")
        return error

    def _note_refusal(self, question: Question, jwt: Known | None, error: InvalidCredentials) -> None:
        if question.minutes is not None or not error.session_is_over:
            return
        self._credentials.refuse(question.digest, error)
        if jwt is not None and not question.refresh and not self._credentials.is_replaced(question.digest):
            # The JWT is genuine, its time is not over and it was not replaced: its session was ended elsewhere.
            self._revocations.add(session_id=jwt.session_id)

    def _confirmed(self, answer: Answer, user_id: str) -> Known:
        settings = self._settings
        return Known(
            body=answer.body,
            reader=self._api,
            session_id=answer.session_id,
            user_id=user_id,
            issued_at=answer.started_at,
            started_at=answer.started_at,
            starts_at=answer.asked_at + settings.leeway,  # not an instant earlier
            until=min(answer.asked_at + settings.session_cache_ttl, answer.ends_at + settings.leeway),
            as_of=answer.asked_at,
            ends_at=answer.ends_at,
            good_at=self._clock(),
            asked_at=answer.asked_at,
        )

    def check_not_revoked(self, known: Known) -> None:
        """Raises ``RevokedCredentials``."""
        if not self._recall.passes(known):
            raise RevokedCredentials
