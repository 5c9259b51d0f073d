"""Introspection: the call to the provider about a credential, and what its result changes in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from moonkey_core._plan import Plan
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult, Provider
from moonkey_core._verified import CacheEntry
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.cache import VerificationCache
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RevokedCredentials
from moonkey_core.events import Extended, Hooks, Source
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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

    def record_end(self, session_id: str, ends_at: float) -> None:
        """Record the new end of a session (Unix seconds)."""
        ...

    def on_refused(self, error: MoonKeyError) -> None:
        """Note that the provider refuses to extend a session so far."""
        ...


class Introspector:
    """Plans that call the provider about a credential."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        cache: VerificationCache,
        acceptance: Acceptance,
        revocations: Revocations,
        hooks: Hooks,
        extensions: ExtensionLog,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._cache = cache
        self._acceptance = acceptance
        self._revocations = revocations
        self._hooks = hooks
        self._extensions = extensions
        self._clock = clock

    def introspect(
        self,
        request: IntrospectionRequest,
        jwt: CacheEntry | None = None,
        *,
        over_at: float = math.inf,
        user_id: str | None = None,
    ) -> Plan[Verification]:
        """Call the provider to validate a credential, and remember the result.

        Args:
            request: The request to the provider.
            jwt: The entry of the credential, if it is a JWT that was verified here.
            over_at: The result is not remembered beyond this time (Unix seconds).
            user_id: The spelling of the user's id that this browser has had so far.

        Raises:
            InvalidCredentials: The credential is not valid.
            ProviderError: The provider cannot be reached or understood.
        """
        denial = self._cache.denial(request.digest)
        if denial is not None:
            raise self.as_seen_by_browser(request.digest, denial)
        if not self._acceptance.is_up_to_date():
            most = math.inf if request.max_staleness is None else request.max_staleness
            request = replace(request, max_staleness=min(self._settings.max_revocation_lag, most))
        began = self._clock()
        try:
            result = yield from self._fresh_enough(request, began)
        except InvalidCredentials as error:
            self._note_refusal(request, jwt, error)
            raise self.as_seen_by_browser(request.digest, error) from None
        # A user keeps one id: the JWT's subject, before and after a refresh.
        entry = self._entry_of(result, (user_id or result.user_id) if jwt is None else jwt.user_id)
        if self._acceptance.is_revoked(entry if jwt is None else jwt):
            raise RevokedCredentials
        self._cache.mark_seen(request.digest)
        if result.fresh_jwt is not None and self._cache.is_superseded(request.digest):
            result = replace(result, fresh_jwt=None)  # the browser has, or is about to get, a newer one
        if request.extension is not None:
            self.note_extension(entry, result.extension_error)
        if jwt is not None:
            jwt.vouched_at = jwt.asked_at = result.asked_at
            self._cache.put(request.digest, jwt)
        elif self._settings.session_cache_ttl or self._settings.grace_seconds:
            entry.reusable_until = min(entry.reusable_until, over_at)
            entry.body = self._provider.without_credentials(result.body)
            self._cache.put(request.digest, entry)
        return Verification(entry, "remote", result.asked_at, result, asked_now=result.asked_at >= began)

    def note_extension(self, entry: CacheEntry, refusal: MoonKeyError | None) -> None:
        """Note the outcome of a call that was to extend a session; ``refusal`` is the error if it was refused."""
        if refusal is not None:
            self._extensions.on_refused(refusal)
            return
        self._extensions.record_end(entry.session_id, entry.ends_at)
        self._hooks.emit(Extended(entry.user_id, entry.session_id))

    def as_seen_by_browser(self, digest: bytes, error: InvalidCredentials) -> InvalidCredentials:
        """Return the error for a credential that is not valid.

        Where the browser has another credential by now, the refusal of this one does not end its session.
        """
        return InvalidCredentials(reason="token_replaced") if self._cache.is_superseded(digest) else error

    def _fresh_enough(self, request: IntrospectionRequest, began: float) -> Plan[IntrospectionResult]:
        """Call the provider, and once more for this request alone where a shared result is too old."""
        result = yield from self._provider.introspect(request)
        needed = self._revocations.needs_introspection(result.session_id, result.user_id, result.started_at)
        most = 0.0 if needed else request.max_staleness
        if most is not None and result.asked_at < began - most:
            refused = result.extension_error
            if refused is not None:
                request = replace(request, minutes=None, extension=None)
            result = yield from self._provider.introspect(replace(request, max_staleness=0))
            if refused is not None:
                result = replace(result, extension_error=refused)
        self._check_fresh_jwt(result)
        return result

    def _check_fresh_jwt(self, result: IntrospectionResult) -> None:
        """Check that a new JWT belongs to the session of the result.

        A JWT that cannot be read passes: it will be refused when it is presented.

        Raises:
            ProviderUnavailable: It belongs to another session or user.
        """
        if result.fresh_jwt is None:
            return
        try:
            jwt = _jwt.parse(result.fresh_jwt, self._clock(), self._settings)
        except InvalidCredentials:
            return
        session_id, users = self._provider.jwt_claims.claimed_ids(jwt.payload)
        is_another = session_id is not None and session_id != result.session_id
        # The first one is the subject, if it names one.
        if is_another or (users and not self._provider.same_user(users[0], result.user_id)):
            raise ProviderUnavailable(reason="api_mismatch")

    def _note_refusal(
        self, request: IntrospectionRequest, jwt: CacheEntry | None, error: InvalidCredentials
    ) -> None:
        if error.session_is_over:
            self._note_end(request.digest, error, None if request.refresh else jwt)
        else:
            self._cache.forget(request.digest)

    def note_end_of(self, credential: str, error: InvalidCredentials) -> None:
        """Remember that the session of a credential is certainly over, by the result of another call."""
        digest = self._cache.digest(credential)
        entry = self._cache.get(digest)
        is_good_jwt = entry is not None and entry.key is not None and self._clock() < entry.reusable_until
        self._note_end(digest, error, entry if is_good_jwt else None)

    def _note_end(self, digest: bytes, error: InvalidCredentials, jwt: CacheEntry | None) -> None:
        """Remember the end of a session; ``jwt`` is the entry of a JWT that is genuine and has not expired."""
        self._cache.deny_briefly(digest, error)
        if jwt is not None and not self._cache.is_superseded(digest):
            self._revocations.add(session_id=jwt.session_id)  # the session was ended elsewhere

    def _entry_of(self, result: IntrospectionResult, user_id: str) -> CacheEntry:
        settings = self._settings
        return CacheEntry(
            body=result.body,
            reader=self._provider,
            session_id=result.session_id,
            user_id=user_id,
            issued_at=result.started_at,
            started_at=result.started_at,
            starts_at=result.asked_at + settings.leeway,  # `accepts` takes the leeway off again
            reusable_until=min(result.asked_at + settings.session_cache_ttl, result.ends_at + settings.leeway),
            vouched_at=result.asked_at,
            ends_at=result.ends_at,
            last_accepted_at=self._clock(),
            asked_at=result.asked_at,
        )
