"""May a credential that was verified before be accepted now, without asking anybody? The warm path.

It takes no lock, does no I/O and never waits. Whatever it cannot answer, the verifier does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from moonkey_core._verify.cache import Known, KnownCredentials, verify_share
from moonkey_core._verify.jwks_cache import KeyRing
from moonkey_core.auth import Auth
from moonkey_core.errors import MalformedCredentials, RevokedCredentials
from moonkey_core.gate import Requirements
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import (
    CookiePair,
    Credentials,
    HeaderView,
    bare_token,
    is_token,
    unread_pair,
    well_formed_pair,
)
from moonkey_core.web.origin import RequestInfo, cross_site, may_use_cookies

_BEARER = "Bearer "


class Feed(Protocol):
    """What tells us of revocations elsewhere."""

    @property
    def is_live(self) -> bool:
        """Whether we have heard of all revocations but those of the last moment."""
        ...


@dataclass(slots=True, eq=False, repr=False)
class Presented:
    """The headers of a request whose identity is not known yet.

    ``value`` stands where the one credential has to stand, and ``digest`` is its digest, if there is but one and
    it may be looked at; nothing has been checked of it. ``pair`` is the credential where it stands in cookies;
    then ``value`` is its JWT, if it has one, and ``digest`` is that of both.
    """

    headers: HeaderView = field(repr=False)
    value: str | None = field(default=None, repr=False)
    digest: bytes | None = field(default=None, repr=False)
    info: RequestInfo | None = None
    pair: CookiePair | None = None

    def plain_token(self) -> Credentials | None:
        """A session token in its usual form, that stands where it should; whatever else it is not read here."""
        if self.value is None or "." in self.value or not is_token(self.value):
            return None
        return Credentials(self.value, "session_token", "header")

    @property
    def share(self) -> str | None:
        """The name of the call that would verify it, if it has to be made."""
        return None if self.digest is None else verify_share(self.digest)


class Recall:
    """Remembers what was verified, and judges whether it is still good."""

    def __init__(
        self,
        settings: Settings,
        keys: KeyRing,
        revocations: Revocations,
        feed: Feed | None,
        clock: Callable[[], float],
    ) -> None:
        self.credentials = KnownCredentials(settings)
        self._settings = settings
        self._headers = settings.credential_headers
        self._longest = settings.max_credential_length
        self._completes_users = settings.load_user
        self._leeway = settings.leeway
        self._grace = settings.grace_seconds
        self._lag = settings.max_revocation_lag
        self._feed = feed
        self._goes_on = settings.on_feed_lost == "local"
        self._keys = keys
        self._revocations = revocations
        self._clock = clock

    def start(
        self, headers: HeaderView, requirements: Requirements | None, info: RequestInfo | None = None
    ) -> Auth | Presented:
        """The identity of a request where it is known already; else what is known of its credential.

        A credential that is remembered has passed the grammar before; that is why it is not read once more.
        """
        value = None
        for name in self._headers:
            lines = headers(name)
            if not lines:
                continue
            if value is not None or len(lines) != 1:
                return Presented(headers, info=info)
            value = lines[0]
            if name == "authorization":
                if not value.startswith(_BEARER):
                    return Presented(headers, info=info)
                value = value[len(_BEARER) :]
        if value is None:
            return Auth() if self._settings.cookies is None else self.by_cookies(headers, requirements, info)
        if len(value) > self._longest or not value.isascii():
            return Presented(headers, info=info)
        digest = self.credentials.text_digest(bare_token(value))  # `digest()`, less one call
        try:
            known = None if self._completes_users else self.of(digest, requirements)
        except RevokedCredentials as error:
            return Auth(error=error)
        if known is None:
            return Presented(headers, value, digest, info)
        return Auth(known=known, source="cache", as_of=known.as_of)

    def by_cookies(
        self, headers: HeaderView, requirements: Requirements | None, info: RequestInfo | None, hint: str = ""
    ) -> Auth | Presented:
        """The same for a request's cookies, which count where no header presents a credential.

        ``hint`` is what a header holds instead of one.
        """
        settings = self._settings
        try:
            pair = unread_pair(headers, settings)
            if pair is None:
                return Auth(hint=hint)
            if not may_use_cookies(info, headers, settings):
                return Auth(error=cross_site(info, headers, settings), from_cookies=True)
            if not settings.jwt_issuer:
                pair.jwt = None  # nothing can be said of it here
            known = self._of_pair(pair, requirements)  # what is remembered has passed the grammar before
            if known is None:
                unread, pair = pair, well_formed_pair(pair, settings)
                known = None if pair is unread else self._of_pair(pair, requirements)
        except (MalformedCredentials, RevokedCredentials) as error:
            return Auth(error=error, from_cookies=True)
        if known is None:
            return Presented(headers, pair.jwt or pair.token, self.credentials.pair_digest(pair), info, pair)
        return Auth(known=known, source="cache", as_of=known.as_of, from_cookies=True)

    def _of_pair(self, pair: CookiePair, requirements: Requirements | None) -> Known | None:
        text = pair.text
        if self._completes_users or not text.isascii() or len(text) > 2 * self._longest:
            return None
        if pair.jwt is None and "." in text:
            return None  # it may be a JWT, which is remembered from a header, and is no token
        if self.credentials.is_pair_given_back(pair):
            return None
        try:
            return self.of(self.credentials.text_digest(text), requirements)
        except RevokedCredentials:
            if pair.jwt is None:
                raise
            return None  # the JWT's session is over; whether the token's is, the API knows

    def of(self, digest: bytes, requirements: Requirements | None) -> Known | None:
        """What a remembered credential proves now; ``None`` where nobody knows. Raises ``RevokedCredentials``."""
        known = self.credentials.get(digest)
        if known is None:
            return None
        now = self._clock()
        if not known.starts_at - self._leeway <= now < known.until:
            return None
        if known.checked != self._revocations.version and not self.passes(known):
            self.credentials.forget(digest)
            raise RevokedCredentials
        if known.doubted or not self._is_trusted(known, now):
            return None
        most = requirements.max_staleness if requirements is not None else None
        if most is not None and not _is_fresh(known, now, most):
            return None
        if self._grace:
            known.good_at = now
        return known

    def in_grace(self, digest: bytes, requirements: Requirements) -> Known | None:
        """What may be accepted while the API cannot be asked; a route may only lower the time.

        That is what was found good no longer ago, and has not been revoked, refused or expired since.
        """
        seconds = (
            self._grace if requirements.grace_seconds is None else min(self._grace, requirements.grace_seconds)
        )
        known = self.credentials.get(digest) if seconds > 0 else None
        if known is None:
            return None
        now, most = self._clock(), requirements.max_staleness
        if not 0 <= now - known.good_at <= seconds or now >= known.ends_at:
            return None
        if most is not None and not _is_fresh(known, now, most):
            return None
        if not self.passes(known) or known.doubted:
            return None
        return known if known.key is None or self._has_key(known, now) else None

    def is_up_to_date(self) -> bool:
        """Whether what is known here may be trusted: not while revocations may have been missed."""
        return self._feed is None or self._feed.is_live or self._goes_on  # asking is also what starts the feed

    def passes(self, known: Known) -> bool:
        """Whether it is not revoked; also notes whether it is doubted."""
        version = self._revocations.version
        if self._revocations.refuses(known.session_id, known.user_id, known.issued_at):
            return False
        known.doubted = self._revocations.doubts(known.session_id, known.user_id, known.issued_at)
        known.checked = version
        return True

    def _is_trusted(self, known: Known, now: float) -> bool:
        if known.key is not None and not self._has_key(known, now):
            return False
        return self.is_up_to_date() or 0 <= now - known.asked_at <= self._lag

    def _has_key(self, known: Known, now: float) -> bool:
        """Whether the key that a JWT was verified with still is in a usable key set."""
        current = self._keys.current
        if current is None or not self._keys.is_usable(current, now):
            return False
        if known.key_set is not current:
            if known.kid is None or current.keys.get(known.kid) is not known.key:
                return False
            known.key_set = current
        return True


def _is_fresh(known: Known, now: float, most: float) -> bool:
    """Whether the API has vouched for it recently enough; what is dated ahead has not been vouched for yet."""
    return most > 0 and 0 <= now - known.as_of <= most
