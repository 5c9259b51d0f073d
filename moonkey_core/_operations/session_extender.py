"""The extension of sessions that are in use."""

from __future__ import annotations

import logging

from moonkey_core._plan import Plan
from moonkey_core._provider import IntrospectionRequest
from moonkey_core._repeated_log import log_repeated
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._verified import CacheEntry
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.introspection import Introspector
from moonkey_core.auth import Auth, cache_entry
from moonkey_core.errors import AuthenticationError, ProviderError
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import PresentedCredentials, read_credentials
from moonkey_core.web.request import HeaderView, RequestInfo


class SessionExtender:
    """The extension of sessions in use, by plans that run beside the requests."""

    def __init__(
        self,
        settings: Settings,
        cache: VerificationCache,
        introspector: Introspector,
        sliding_expiration: SlidingExpiration,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._introspector = introspector
        self._sliding_expiration = sliding_expiration

    def extension_due(self, auth: Auth, headers: HeaderView, info: RequestInfo | None) -> Plan[None] | None:
        """Return a plan that extends the session of a request, where that is due and no other request does it."""
        entry = cache_entry(auth)
        minutes = None if entry is None else self._sliding_expiration.claim(entry)
        if entry is None or minutes is None:
            return None
        presented = read_credentials(headers, info, self._settings)
        if presented.error is not None or not presented.source:
            return None
        return self._extended(presented, minutes, entry)

    def _extended(self, presented: PresentedCredentials, minutes: int, entry: CacheEntry) -> Plan[None]:
        digest = self._cache.digest(presented.value)
        request = IntrospectionRequest(
            presented.kind,
            presented.value,
            digest,
            minutes=minutes,
            session_id=entry.session_id,
            was_good=self._cache.knows(digest, entry),
        )
        try:
            verification = yield from self._introspector.introspect(request, session_id=entry.session_id)
            result = verification.result
            self._introspector.note_extension(
                verification.entry, None if result is None else result.extension_error
            )
        except (AuthenticationError, ProviderError) as error:
            log_repeated(
                logging.WARNING,
                "a session in use could not be extended: %s",
                error.reason,
                extra={"reason": "extension_failed"},
            )
