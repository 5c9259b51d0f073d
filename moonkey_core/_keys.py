"""The key set as a state machine: when to fetch, what to use meanwhile, whom to refuse.

Pure but for a lock that is never held across I/O; the fetch itself is a yielded :class:`Fetch`. Good keys are only
ever replaced by good keys, and stay usable through a bounded time of trouble.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from moonkey_core._jwks import MAX_BYTES, body_holds_secret, holds_secret, parse_key_set, usable_keys
from moonkey_core._plan import Fetch, Outcome, Plan, Reply, TransportError
from moonkey_core._replies import api_error
from moonkey_core.errors import (
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    ProviderRejectedKey,
    ProviderUnavailable,
)
from moonkey_core.settings import Settings

logger = logging.getLogger("moonkey")

_BUCKET_SIZE = 3
_REFILL_SECONDS = 30.0
_FIRST_COOLDOWN, _LONGEST_COOLDOWN = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class _KeySet:
    """Keys and when they were fetched; never changed, only replaced."""

    keys: Mapping[str, RSAPublicKey] = field(repr=False)
    fetched_at: float


class KeyRing:
    """The keys that sign session JWTs, by ``kid``."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._url = settings.jwks_url or f"{settings.base_url}/v1/auth/jwks/default"
        self._set: _KeySet | None = None
        self._trouble: MoonKeyError | None = None
        self._attempts = 0  # finished fetches; names the next one
        self._failures = 0  # since the last good one
        self._ended_at = -_LONGEST_COOLDOWN  # when the last fetch ended
        self._bucket = float(_BUCKET_SIZE)
        self._bucket_at = 0.0
        self._drawn: tuple[int, float] = (-1, 0.0)  # which fetch the last draw was for, and when
        self.reset_lock()
        if settings.jwks is not None:
            try:
                self._set = _KeySet(usable_keys(settings.jwks), clock())
            except ValueError as error:
                raise ConfigurationError(f"MOONKEY_JWKS (jwks) is of no use: {error}.") from None
            if holds_secret(settings.jwks):
                _warn_of_secret()

    def reset_lock(self) -> None:
        """A new lock: the old one may have been held by another thread when the process forked."""
        self._lock = threading.Lock()

    def key_for(self, kid: str, issued_at: float) -> Plan[RSAPublicKey]:
        """The key that a JWT names. ``issued_at`` is the JWT's own (unproven) ``iat``.

        Raises ``InvalidCredentials`` where the provider has no such key, ``ProviderUnavailable`` or
        ``ProviderRejectedKey`` where that cannot be known.
        """
        seen = self._attempts
        key = self._fresh_key(kid)
        if key is not None:
            return key
        attempt = self._may_fetch(seen, kid)
        if attempt is not None:
            outcome = yield self._fetch(attempt)
            self._absorb(outcome, attempt)
        return self._usable_key(kid, issued_at)

    def _fetch(self, attempt: int) -> Fetch:
        return Fetch(
            "GET",
            self._url,
            send_key=self._settings.jwks_auth == "header",
            # Named by its number: whoever asked for this attempt shares it, however late they come.
            share=f"jwks:{attempt}",
            linger=1.0,
            linger_trouble=True,
            timeout=self._settings.jwks_timeout,
            max_bytes=MAX_BYTES,
        )

    def _fresh_key(self, kid: str) -> RSAPublicKey | None:
        current = self._set
        if current is None or not self._is_fresh(current):
            return None
        return current.keys.get(kid)

    def _is_fresh(self, current: _KeySet) -> bool:
        fixed = self._settings.jwks is not None
        return fixed or 0 <= self._clock() - current.fetched_at < self._settings.jwks_ttl

    def _is_usable(self, current: _KeySet) -> bool:
        longest = max(self._settings.jwks_max_stale, self._settings.jwks_ttl)
        return self._is_fresh(current) or 0 <= self._clock() - current.fetched_at < longest

    def _stale_key(self, kid: str) -> RSAPublicKey | None:
        current = self._set
        return current.keys.get(kid) if current is not None and self._is_usable(current) else None

    def _may_fetch(self, seen: int, kid: str) -> int | None:
        """The number of the fetch to take part in, or ``None`` where none may be made now.

        ``seen`` is how many had ended when the caller looked: one that has ended since is as good as another. Who
        has a usable key does not wait for a fetch that somebody else makes.
        """
        if self._settings.jwks is not None:
            return None
        now = self._clock()
        with self._lock:
            if self._attempts != seen:
                return None
            number, drawn_at = self._drawn
            if number == self._attempts and 0 <= now - drawn_at < self._settings.jwks_timeout:
                return None if self._stale_key(kid) else number  # somebody makes this one already
            if self._failures:
                pause = min(_FIRST_COOLDOWN * 2 ** (self._failures - 1), _LONGEST_COOLDOWN)
                if 0 <= now - self._ended_at < pause:
                    return None
            if self._set is not None and self._is_fresh(self._set) and not self._draw(now):
                return None
            self._drawn = (self._attempts, now)
            return self._attempts

    def _draw(self, now: float) -> bool:
        """Take one of the few fetches that unknown key ids may cause (called under the lock)."""
        refill = max(now - self._bucket_at, 0.0) / _REFILL_SECONDS
        self._bucket, self._bucket_at = min(self._bucket + refill, _BUCKET_SIZE), now
        if self._bucket < 1:
            return False
        self._bucket -= 1
        return True

    def _absorb(self, outcome: Outcome, attempt: int) -> None:
        """Take the outcome of a fetch in, once, whoever of its many waiters comes first."""
        with self._lock:
            if attempt != self._attempts:
                return
            now = self._clock()
            self._attempts, self._ended_at = attempt + 1, now
            try:
                self._set = _KeySet(_keys_of(outcome), now)
                self._failures, self._trouble = 0, None
            except MoonKeyError as error:
                self._failures, self._trouble = min(self._failures + 1, 16), error
            trouble = self._trouble
        _report(outcome, trouble)  # not under the lock: a log handler may block

    def _usable_key(self, kid: str, issued_at: float) -> RSAPublicKey:
        current, trouble = self._set, self._trouble
        if current is None:
            raise _cannot_know(trouble, _FIRST_COOLDOWN)
        fresh = self._is_fresh(current)
        if not self._is_usable(current):
            raise _cannot_know(trouble, _FIRST_COOLDOWN)
        key = current.keys.get(kid)
        if key is not None:
            return key
        fixed = self._settings.jwks is not None
        if fixed or (fresh and trouble is None and issued_at <= current.fetched_at + self._settings.leeway):
            # The provider's keys were read after this JWT was made, and its key is not among them.
            raise InvalidCredentials(reason="jwt_unknown_key")
        raise _cannot_know(trouble, _REFILL_SECONDS)


def _report(outcome: Outcome, trouble: MoonKeyError | None) -> None:
    """Tell the operator what is wrong with a fetched key set, if anything."""
    if trouble is not None:
        logger.warning("key set: fetch failed: %s", trouble.reason, extra={"reason": trouble.reason})
    if isinstance(outcome, Reply) and body_holds_secret(outcome.body):
        _warn_of_secret()


def _warn_of_secret() -> None:
    logger.error("key set: it holds a private or symmetric key", extra={"reason": "jwks_private_key"})


def _keys_of(outcome: Outcome) -> dict[str, RSAPublicKey]:
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(reason=f"jwks_{outcome.kind}")
    if outcome.status in (401, 403) and (api_error(outcome) is not None or not outcome.body):
        raise ProviderRejectedKey(reason="jwks_rejected_key")
    if outcome.status != 200:
        raise ProviderUnavailable(reason="jwks_status")
    try:
        return parse_key_set(outcome.body)
    except ValueError:
        raise ProviderUnavailable(reason="jwks_content") from None


def _cannot_know(trouble: MoonKeyError | None, retry_after: float) -> MoonKeyError:
    """A new error each time: exceptions collect tracebacks, and this one is remembered."""
    if isinstance(trouble, ProviderRejectedKey):
        return ProviderRejectedKey(reason=trouble.reason)
    return ProviderUnavailable(reason=trouble.reason if trouble else "jwks_limited", retry_after=retry_after)
