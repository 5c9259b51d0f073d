"""Introspection: the call to the provider about a credential, and what its result changes in the cache."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from moonkey_core import _clock
from moonkey_core._crypto import fleet_sealers
from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import seconds
from moonkey_core._plan import Done, Plan, step
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult, Provider, check_scope, own_scope
from moonkey_core._reasons import TOKEN_OVER_REASONS
from moonkey_core._repeated_log import log_repeated
from moonkey_core._stagger import API_SHARE, shortened
from moonkey_core._verified import DEFAULT_SCOPE, CacheEntry, scoped_reader
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core.errors import (
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    ProviderError,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core.events import Extended, Hooks, Source
from moonkey_core.revocations import RevocationHandle, Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import bare_token, is_jwt

_DIGEST_LENGTH = 32  # hexadecimal digits: 128 bits
_A_MOMENT = 1.0


@dataclass(slots=True, eq=False, repr=False)
class Verification:
    """The verification of a valid credential.

    Attributes:
        entry: The user and session that it proved.
        source: Where the verification comes from.
        vouched_at: When the provider vouched for it (Unix seconds).
        result: The provider's reply, if it was called.
        asked_now: Whether the provider was called for this very request, and not for an earlier one.
    """

    entry: CacheEntry
    source: Source
    vouched_at: float
    result: IntrospectionResult | None = None
    asked_now: bool = False

    @property
    def fresh_jwt(self) -> str | None:
        """The new session JWT, where the provider has issued one."""
        return self.result.fresh_jwt if self.result is not None else None


class ExtensionLog(Protocol):
    """The outcomes of calls that were to extend a session."""

    def record_end(self, session_id: str, ends_at: float, scope: str = DEFAULT_SCOPE) -> None:
        """Record the new end of a session (Unix seconds)."""
        ...

    def on_refused(self, error: MoonKeyError, entry: CacheEntry) -> None:
        """Note that the provider refuses to extend a session so far."""
        ...


def _counted(plan: Plan[IntrospectionResult], is_known: bool) -> Plan[IntrospectionResult]:
    """Run a plan of any provider, whose calls take from the budget of calls.

    Args:
        plan: The plan.
        is_known: Whether the credential was valid before, so that its calls go first.
    """
    current = step(plan, None)
    try:
        while not isinstance(current, Done):
            current.verifies, current.priority = True, current.priority or is_known
            current = step(plan, (yield current))
    finally:
        plan.close()
    return current.value


class Introspector:
    """Plans that call the provider about a credential."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        judge: _jwt.Judge | None,
        keys: JwksCache,
        cache: VerificationCache,
        acceptance: Acceptance,
        revocations: Revocations,
        hooks: Hooks,
        extensions: ExtensionLog,
        clock: Callable[[], float],
        store_name: Callable[[str], str] | None = None,
        former_store_name: Callable[[str], str] | None = None,
    ) -> None:
        self._settings = settings
        self._leeway = acceptance.leeway
        self._provider = provider
        self._judge = judge
        self._own_scope = own_scope(provider)  # of a result without one
        self._scopes = frozenset((self._own_scope, *provider.scopes.values()))
        self._store_name = store_name if settings.session_cache_ttl else None  # of an entry in the shared store
        self._former_store_name = former_store_name
        self._keys = keys
        self._cache = cache
        self._acceptance = acceptance
        self._revocations = revocations
        self._hooks = hooks
        self._extensions = extensions
        self._clock = clock
        self._has_feed = settings.redis_url is not None
        self._is_moonkey = settings.provider is None
        self._token_prefix = settings.token_prefix

    def introspect(
        self,
        request: IntrospectionRequest,
        jwt: CacheEntry | None = None,
        *,
        over_at: float = math.inf,
        user_id: str | None = None,
        session_id: str | None = None,
    ) -> Plan[Verification]:
        """Call the provider to validate a credential, and remember the result.

        Args:
            request: The request to the provider.
            jwt: The entry of the credential, if it is a JWT that was verified here.
            over_at: The result is not remembered beyond this time (Unix seconds).
            user_id: The spelling of the user's id that this browser has had so far.
            session_id: The session, where that was proven by a JWT beside the credential.

        Raises:
            InvalidCredentials: The credential is not valid.
            ProviderError: The provider cannot be reached or understood.
        """
        denial = self._cache.denial(request.digest, request.max_staleness)
        if denial is not None:
            if session_id is not None:
                self._report_session(session_id, request.digest)
            raise self.as_seen_by_browser(request.digest, denial)
        self._check_not_revoked(request.value)
        if not self._acceptance.is_up_to_date():
            most = math.inf if request.max_staleness is None else request.max_staleness
            request = replace(request, max_staleness=min(self._acceptance.lost_seconds, most))
        if self._store_name is not None:
            request = self._with_store_name(request, self._store_name)
        began, since = self._clock(), _clock.monotonic()
        try:
            result = yield from self._fresh_enough(request, began)
        except InvalidCredentials as refusal:
            error = self._with_age(refusal, request.digest)
            self._note_refusal(request, jwt, error, session_id)
            raise self.as_seen_by_browser(request.digest, error) from None
        self._check_not_revoked(request.value)  # it may have been during the call
        # A user keeps one id: the JWT's subject, before and after a refresh.
        entry = self._entry_of(result, (user_id or result.user_id) if jwt is None else jwt.user_id)
        if jwt is not None:
            jwt.vouched_at = jwt.asked_at = result.asked_at
        if self._acceptance.is_revoked(entry if jwt is None else jwt):
            raise self._acceptance.refusal(entry if jwt is None else jwt)
        if self._has_feed and self._cache.seen_session(request.digest) != result.session_id:
            self.note_session(request.value, result.session_id, result.scope)
        self._cache.mark_seen(request.digest, result.session_id, result.scope)
        if not self._is_moonkey:
            self._cache.note_end(request.digest, result.ends_at)
        if result.asked_at >= began:
            self._cache.note_accepted(request.digest, since)
        if result.fresh_jwt is not None and self._cache.is_superseded(request.digest):
            result = replace(result, fresh_jwt=None)  # the browser has, or is about to get, a newer one
        if request.extension is not None:
            self.note_extension(entry, result.extension_error)
        elif request.minutes is not None and result.extension_error is None:
            self._extensions.record_end(entry.session_id, entry.ends_at, entry.scope)
        if jwt is not None:
            self.confirm(request.digest, jwt, result)
        elif self._settings.session_cache_ttl or self._settings.grace_seconds:
            entry.reusable_until = min(entry.reusable_until, over_at)
            entry.body, entry.claims = self._provider.without_credentials(result.body), ()
            self._cache.put(request.digest, entry)
        return Verification(entry, "remote", result.asked_at, result, asked_now=result.asked_at >= began)

    def _with_store_name(self, request: IntrospectionRequest, name: Callable[[str], str]) -> IntrospectionRequest:
        """Return the request with the names of its result in the store that the processes of the app share."""
        entry, former = f"token {bare_token(request.value, self._token_prefix)}", self._former_store_name
        return replace(
            request,
            store_name=name(entry),
            former_store_name=None if former is None else former(entry),
            store_ttl=self._settings.session_cache_ttl,
        )

    def confirm(self, digest: bytes, jwt: CacheEntry, result: IntrospectionResult) -> None:
        """Note that the provider has just vouched for the session of a JWT, and remember that under a digest."""
        jwt.vouched_at = jwt.asked_at = result.asked_at
        jwt.move_end(result.ends_at)
        if result.replaces_claims:  # another object: requests read the old one meanwhile
            jwt = copy.copy(jwt)
            jwt.body, jwt.claims = self._provider.without_credentials(result.body), ()
            jwt.reader, jwt.actor = scoped_reader(self._provider, result.scope), result.actor
            jwt.simple_user = jwt.built_session = None
            jwt.has_moved = False
        if not self._acceptance.is_revoked(jwt):  # also notes that it need not be confirmed any more
            self._cache.put(digest, jwt)

    def note_extension(self, entry: CacheEntry, refusal: MoonKeyError | None) -> None:
        """Note the outcome of a call that was to extend a session; ``refusal`` is the error if it was refused."""
        if refusal is not None:
            self._extensions.on_refused(refusal, entry)
            return
        self._extensions.record_end(entry.session_id, entry.ends_at, entry.scope)
        self._hooks.emit(Extended(entry.user_id, entry.session_id, scope=entry.scope))

    def as_seen_by_browser(self, digest: bytes, error: InvalidCredentials) -> InvalidCredentials:
        """Return the error for a credential that is not valid.

        Where the browser has another credential by now, the refusal of this one does not end its session.
        """
        return InvalidCredentials(reason="token_replaced") if self._cache.is_superseded(digest) else error

    def _fresh_enough(self, request: IntrospectionRequest, began: float) -> Plan[IntrospectionResult]:
        """Call the provider, and once more for this request alone where a shared result is too old."""
        result = yield from self._asked(request)
        needed = self._revocations.needs_introspection(
            result.session_id, result.user_id, result.counts_from, result.asked_at, result.scope
        )
        most = 0.0 if needed else request.max_staleness
        if most is not None and result.asked_at < began - most:
            refused = result.extension_error
            if refused is not None:
                request = replace(request, minutes=None, extension=None)
            result = yield from self._asked(replace(request, max_staleness=0))
            if refused is not None:
                result = replace(result, extension_error=refused)
        return result if result.fresh_jwt is None else (yield from self._with_sound_jwt(result))

    def _asked(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the provider. Ids without a scope belong to it, so they never meet equal ones of MoonKey."""
        plan = self._provider.introspect(request)
        result = yield from (_counted(plan, request.was_good) if self._settings.call_budget is not None else plan)
        if result.scope == DEFAULT_SCOPE != self._own_scope:
            result = replace(result, scope=self._own_scope)
        check_scope(result.scope, self._provider, self._scopes)
        return result

    def _with_sound_jwt(self, result: IntrospectionResult) -> Plan[IntrospectionResult]:
        """Return a result with its new JWT only if that would be accepted when it is presented."""
        fresh = result.fresh_jwt
        if fresh is None or (yield from self.is_sound_jwt(fresh, result.session_id, result.user_id)):
            return result
        return replace(result, fresh_jwt=None, withholds_jwt=True)

    def is_sound_jwt(self, text: str, session_id: str, user_id: str) -> Plan[bool]:
        """Return whether a JWT that the provider has issued may be handed on: it would be accepted.

        Else it is held back: what it comes with is good in any case. Where JWTs are not verified here, the form,
        the times and the ids are checked.

        Args:
            text: The JWT.
            session_id: The session that the provider has named beside it.
            user_id: The user of that session.

        Raises:
            ProviderUnavailable: The JWT belongs to another session or user.
        """
        try:
            yield from self._check_issued_jwt(text, session_id, user_id)
        except (InvalidCredentials, ProviderError) as error:
            if error.reason == "api_mismatch":
                raise
            log_repeated(
                logging.WARNING,
                "a new JWT from the API was not handed on: %s",
                error.reason_and_evidence,
                extra={"reason": "fresh_jwt_held_back"},
            )
            return False
        return True

    def _check_issued_jwt(self, text: str, session_id: str, user_id: str) -> Plan[None]:
        """Check a JWT that the provider has issued for a session.

        Raises:
            InvalidCredentials: It would not be accepted.
            ProviderError: It belongs to another session or user, or its key cannot be had now.
        """
        judge, claims, now = self._judge, self._provider.jwt_claims, self._clock()
        if judge is None:
            raise InvalidCredentials(reason="jwt_form")  # this provider's JWTs are not known here
        jwt = _jwt.parse(text, now, judge)
        session, users = claims.claimed_ids(jwt.payload)
        is_another = session is not None and session != session_id
        # The first one is the subject, if it names one.
        if is_another or (users and not self._provider.same_user(users[0], user_id)):
            raise ProviderUnavailable(reason="api_mismatch")
        if now >= (jwt.stale_at(judge) if judge.verifies else jwt.expires_at + judge.leeway):
            raise ExpiredCredentials(evidence=jwt.age(now))
        if not judge.verifies:
            claims.session_claims(jwt.payload, jwt.expires_at)
            return
        key = yield from self._keys.key_for(jwt.kid, jwt.issued_at, jwt.algorithm)
        _jwt.proven_claims(jwt, key, judge, claims)

    def _with_age(self, error: InvalidCredentials, digest: bytes) -> InvalidCredentials:
        """Return the error for a refused credential, which says that it has expired, as far as that is known.

        A provider may only say that a token is not active. A client has to know whether to renew it.
        """
        if error.reason not in TOKEN_OVER_REASONS:
            return error
        ended = self._clock() - self._cache.known_end(digest)
        if ended < -self._leeway:
            return error
        return ExpiredCredentials(reason=error.reason, evidence=f"Its end was {seconds(max(ended, 0.0))} ago.")

    def _note_refusal(
        self,
        request: IntrospectionRequest,
        jwt: CacheEntry | None,
        error: InvalidCredentials,
        session_id: str | None,
    ) -> None:
        """Remember a refusal.

        Raises:
            ProviderUnavailable: It is about another session than that of the credential.
        """
        known = self._cache.seen_session(request.digest) or session_id
        if jwt is None and error.session_id is not None and known not in (None, error.session_id):
            raise ProviderUnavailable(reason="api_mismatch")
        if not error.session_is_over:
            self._cache.forget(request.digest)
        elif jwt is not None and not request.refresh and error.reason not in TOKEN_OVER_REASONS:
            self._note_end(request.value, error, good_jwt=jwt)
        else:
            self._note_end(request.value, error, session_id=session_id if jwt is None else jwt.session_id)

    def note_end_of(
        self,
        credential: str,
        error: InvalidCredentials | None = None,
        session_id: str | None = None,
        *,
        is_ended_here: bool = False,
    ) -> None:
        """Remember that the session of a credential is certainly over, by the result of another call.

        Args:
            credential: The session token or JWT.
            error: The error to refuse it with for a moment; by default that it was revoked.
            session_id: The session, where the credential has been verified.
            is_ended_here: Whether this app has ended the session itself.
        """
        entry = self._cache.get(self._cache.digest(credential))
        is_good_jwt = entry is not None and entry.key is not None and self._clock() < entry.reusable_until
        known = session_id if entry is None else entry.session_id
        error = RevokedCredentials() if error is None else error
        good_jwt = entry if is_good_jwt else None
        self._note_end(credential, error, good_jwt=good_jwt, session_id=known, is_ended_here=is_ended_here)

    def _note_end(
        self,
        credential: str,
        error: InvalidCredentials,
        *,
        good_jwt: CacheEntry | None = None,
        session_id: str | None = None,
        is_ended_here: bool = False,
    ) -> None:
        """Remember the end of a session.

        A genuine JWT that has not expired is refused for one reason only: its session was ended elsewhere. Where
        a provider can also end a token alone, that comes without ``good_jwt``. A session token may have been
        replaced by another process, and an old JWT be too old to be renewed. So what else belongs to their session
        has to be confirmed.

        Args:
            credential: The session token or JWT that was refused.
            error: The refusal.
            good_jwt: The entry of a JWT that is genuine and has not expired.
            session_id: The session of another credential, where it is known.
            is_ended_here: Whether this app has ended the session itself.
        """
        digest = self._cache.digest(credential)
        is_known, seen = self._cache.is_seen(digest), self._cache.seen_session(digest)
        self._cache.deny_briefly(digest, error)
        if self._cache.is_superseded(digest) and not is_ended_here:
            return
        if not is_jwt(credential):
            self._cache.mark_dead(digest)
        if good_jwt is not None:
            self._revocations.add_session(
                good_jwt.session_id, good_jwt.user_id, scope=good_jwt.scope, is_ended=not is_ended_here
            )
            return
        is_published = self._revocations.add_report(
            session_id=session_id or seen or error.session_id,
            credentials=self.credential_digests(credential),
            is_known=is_known,
        )
        if not is_published:
            log_repeated(
                logging.WARNING,
                "too many dead credentials that were never valid here: the other processes of the app are not "
                "told of more, so a connection with one of them may last until the known end of its session",
                extra={"reason": "reports_limited"},
            )

    def note_session(self, credential: str, session_id: str, scope: str) -> None:
        """Remember the session of a good credential, as another process may find that dead and know no more."""
        self._revocations.note_session(self.credential_digests(credential), session_id, scope)

    def refuse_everywhere(self, credential: str) -> RevocationHandle:
        """Refuse a credential in all processes of the app, where it is not known which session it is of.

        Raises:
            RevocationsFull: There is no room for one more revocation.
        """
        added = self._revocations.add_credential(self.credential_digests(credential))
        if added is None:
            log_repeated(
                logging.WARNING,
                "signed out, and too many were whose session is unknown: refused in this process only",
                extra={"reason": "sign_out_limited"},
            )
        return added or RevocationHandle()

    def _check_not_revoked(self, credential: str) -> None:
        """Check that a credential was not revoked by itself, in whichever process.

        Raises:
            RevokedCredentials: It was.
        """
        known = self._revocations
        if known.revokes_credentials and known.refuses_credential(self.credential_digests(credential)):
            raise RevokedCredentials

    def _report_session(self, session_id: str, digest: bytes) -> None:
        """Report the session of a dead credential where only the JWT that has come now names it."""
        if not self._cache.is_superseded(digest) and not self._is_reported(session_id):
            self._revocations.add_report(session_id=session_id, is_known=False)

    def note_user_gone(self, session_id: str, scope: str) -> None:
        """Report a session to all processes of the app, as its user does not exist any more."""
        if not self._is_reported(session_id, scope):
            self._revocations.add_report(session_id=session_id, scope=scope)

    def _is_reported(self, session_id: str, scope: str | None = None) -> bool:
        """Return whether a session was reported a moment ago, so that many requests need not do it again."""
        return self._revocations.reported_until(session_id, scope) >= self._clock() - _A_MOMENT

    def credential_digests(self, credential: str) -> tuple[str, ...]:
        """Return the keyed digests of a credential, the same in all processes of the app; one for each secret."""
        text = bare_token(credential, self._token_prefix)
        sealers = fleet_sealers(self._settings, "credential")  # when it is needed, as that loads cryptography
        return tuple(sealer.digest(text)[:_DIGEST_LENGTH] for sealer in sealers)

    def _entry_of(self, result: IntrospectionResult, user_id: str) -> CacheEntry:
        cached = shortened(self._settings.session_cache_ttl, API_SHARE, result.session_id, result.asked_at)
        return CacheEntry(
            result.body,
            scoped_reader(self._provider, result.scope),
            result.session_id,
            user_id,
            result.counts_from,
            result.asked_at + self._leeway,  # `accepts` takes the leeway off again
            min(result.asked_at + cached, result.ends_at + self._leeway),
            result.asked_at,
            result.ends_at,
            self._clock(),
            result.asked_at,
            result.started_at,
            scope=result.scope,
            principal=result.principal,
            actor=result.actor,
            names_session=result.names_session,
        )
