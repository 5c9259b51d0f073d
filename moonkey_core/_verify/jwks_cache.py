"""The key set as a state machine: when to fetch, what to use meanwhile, whom to refuse.

Pure but for a lock that is never held across I/O; the fetch itself is a yielded :class:`Fetch`. Good keys are only
ever replaced by good keys, and stay usable through a bounded time of trouble.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from moonkey_core._plan import Fetch, Outcome, Plan, Reply, Stored, TransportError
from moonkey_core._transport.replies import api_error
from moonkey_core._verify.jwks import MAX_BYTES, body_holds_secret, holds_secret, parse_key_set, usable_keys
from moonkey_core._verify.key_set import KeySet, life_of
from moonkey_core.errors import (
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    ProviderRejectedKey,
    ProviderUnavailable,
    failed_call,
)
from moonkey_core.events import Hooks, KeySetFetched
from moonkey_core.settings import Settings
from moonkey_core.settings.fields import Address

if TYPE_CHECKING:  # it takes 25 ms, which only those who verify JWTs here should pay
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger = logging.getLogger("moonkey")

_BUCKET_SIZE = 3
_REFILL_SECONDS = 30.0
_FIRST_COOLDOWN, _LONGEST_COOLDOWN = 1.0, 30.0


class KeyRing:
    """The keys that sign session JWTs, by ``kid``. ``current`` is the last good set."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        hooks: Hooks | None = None,
        place: str | None = None,
    ) -> None:
        self._settings = settings
        self._place = place  # in the fleet's store
        self._clock = clock
        self._hooks = hooks
        self._url = Address(settings.jwks_url or f"{settings.base_url}/v1/auth/jwks/default")
        self.current: KeySet | None = None
        self.trouble: MoonKeyError | None = None
        self.ahead_at = math.inf  # when a fetch off the request path is due
        self._attempts = 0  # finished fetches; names the next one
        self._failures = 0  # since the last good one
        self._ended_at = -_LONGEST_COOLDOWN  # when the last fetch ended
        self._bucket = float(_BUCKET_SIZE)
        self._bucket_at = 0.0
        self._drawn: tuple[int, float] = (-1, 0.0)  # which fetch the last draw was for, and when
        self.reset_lock()
        if settings.jwks is not None:
            try:
                self.current = KeySet(usable_keys(settings.jwks), 0.0, math.inf, math.inf)
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
        for _ in range(2):
            seen = self._attempts
            key = self.calm_key(kid)
            if key is not None:
                return key
            attempt = self._may_fetch(seen, kid)
            if attempt is None:
                break
            current = self.current
            outcome = yield self._fetch(attempt, look=current is None or not self._is_fresh(current))
            self._absorb(outcome, attempt)
            if not (isinstance(outcome, Reply) and outcome.stored):
                break  # else the store's set may be older than the key: ask the provider itself
        return self._usable_key(kid, issued_at)

    def due(self) -> Plan[None] | None:
        """A fetch that is to be made now, off the path of any request; whoever gets it has to run it.

        After twice the life of the keys there is none: so many came to nothing that a request has to make it.
        """
        now, current = self._clock(), self.current
        if now < self.ahead_at or current is None or now >= current.calm_until:
            return None
        with self._lock:
            if now < self.ahead_at or self._is_under_way(now) or self._is_cooling_down(now):
                return None
            self._drawn = (self._attempts, now)
            # Should it never end (its thread or loop is gone), the next one is due then.
            self.ahead_at = now + self._settings.jwks_timeout
            return self._refreshed(self._attempts)

    def is_usable(self, current: KeySet, now: float) -> bool:
        """Whether these keys may be used at that time."""
        return current.fetched_at <= now < current.usable_until

    def _refreshed(self, attempt: int) -> Plan[None]:
        outcome = yield self._fetch(attempt, look=True)
        self._absorb(outcome, attempt)

    def _fetch(self, attempt: int, *, look: bool) -> Fetch:
        return Fetch(
            "GET",
            self._url,
            operation="jwks",
            send_key=self._settings.jwks_auth == "header",
            # Named by its number: whoever asked for this attempt shares it, however late they come.
            share=f"jwks:{attempt}",
            linger=1.0,
            linger_trouble=True,
            timeout=self._settings.jwks_timeout,
            max_bytes=MAX_BYTES,
            known=True,
            trips=False,
            # Half a life: a set from the store is never due to be fetched again at once.
            stored=Stored(self._place, self._settings.jwks_ttl / 2, bytes, look) if self._place else None,
        )

    def calm_key(self, kid: str) -> RSAPublicKey | None:
        """The key of this name, where nobody has to be asked first."""
        current = self.current
        if current is None or not current.fetched_at <= self._clock() < current.calm_until:
            return None
        return current.keys.get(kid)

    def _is_fresh(self, current: KeySet) -> bool:
        return current.fetched_at <= self._clock() < current.fresh_until

    def _stale_key(self, kid: str) -> RSAPublicKey | None:
        current = self.current
        return current.keys.get(kid) if current is not None and self.is_usable(current, self._clock()) else None

    def _is_under_way(self, now: float) -> bool:
        number, drawn_at = self._drawn
        return number == self._attempts and 0 <= now - drawn_at < self._settings.jwks_timeout

    def _is_cooling_down(self, now: float) -> bool:
        if not self._failures:
            return False
        pause: float = min(_FIRST_COOLDOWN * 2 ** (self._failures - 1), _LONGEST_COOLDOWN)
        return 0 <= now - self._ended_at < pause

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
            if self._is_under_way(now):
                return None if self._stale_key(kid) else self._attempts  # somebody makes this one already
            if self._is_cooling_down(now):
                return None
            if self.current is not None and self._is_fresh(self.current) and not self._draw(now):
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
                current = self._set_from(outcome, now)
                self.current, self.ahead_at = current, current.ahead_at
                self._failures, self.trouble = 0, None
            except MoonKeyError as error:
                self._failures, self.trouble = min(self._failures + 1, 16), error
                if self.current is not None:  # the longer pause after many failures is looked at when it is due
                    self.ahead_at = max(self.current.ahead_at, now + _FIRST_COOLDOWN)
            trouble = self.trouble
        _report(outcome, trouble)  # not under the lock: a log handler may block
        if self._hooks:
            self._hooks.emit(KeySetFetched(trouble.reason if trouble else None))

    def _set_from(self, outcome: Outcome, now: float) -> KeySet:
        keys = _keys_of(outcome, self._url)
        old = self.current.keys if self.current is not None else {}
        for kid, key in keys.items():
            if kid in old and old[kid] == key:
                keys[kid] = old[kid]  # the same object: JWTs that it has signed need not be verified again
        assert isinstance(outcome, Reply)
        fetched_at = min(outcome.asked_at, now) if outcome.stored else now
        return KeySet(keys, fetched_at, life_of(outcome, self._settings.jwks_ttl), self._settings.jwks_max_stale)

    def _usable_key(self, kid: str, issued_at: float) -> RSAPublicKey:
        current, trouble = self.current, self.trouble
        if current is None or not self.is_usable(current, self._clock()):
            raise _cannot_know(trouble, _FIRST_COOLDOWN)
        key = current.keys.get(kid)
        if key is not None:
            return key
        fixed = self._settings.jwks is not None
        in_time = issued_at <= current.fetched_at + self._settings.leeway
        if fixed or (self._is_fresh(current) and trouble is None and in_time):
            # The provider's keys were read after this JWT was made, and its key is not among them.
            raise InvalidCredentials(reason="jwt_unknown_key")
        raise _cannot_know(trouble, _REFILL_SECONDS)


def _report(outcome: Outcome, trouble: MoonKeyError | None) -> None:
    """Tell the operator what is wrong with a fetched key set, if anything."""
    if trouble is not None:
        logger.warning(
            "key set: fetch failed: %s: %s",
            trouble.reason,
            trouble,
            extra={"reason": trouble.reason, **failed_call(trouble)},
        )
    if isinstance(outcome, Reply) and body_holds_secret(outcome.body):
        _warn_of_secret()


def _warn_of_secret() -> None:
    logger.error("key set: it holds a private or symmetric key", extra={"reason": "jwks_private_key"})


def _keys_of(outcome: Outcome, url: Address) -> dict[str, RSAPublicKey]:
    """The keys in an outcome. The message of what is raised says what came from where, for the operator."""
    where = f"The key set at {url.shown}"
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(
            f"{where} could not be fetched: {outcome.kind}.",
            reason=f"jwks_{outcome.kind}",
            address=outcome.address,
            cause=outcome.cause,
        )
    if outcome.status in (401, 403) and (api_error(outcome) is not None or not outcome.body):
        refused = f"{where} was refused with status {outcome.status}."
        raise ProviderRejectedKey(f"{ProviderRejectedKey.default_message} {refused}", reason="jwks_rejected_key")
    if outcome.status != 200:
        status = f"status {outcome.status}"
        raise ProviderUnavailable(
            f"{where} came with {status}.",
            reason="jwks_status",
            address=outcome.address,
            cause=status,
            evidence="",
        )
    try:
        return parse_key_set(outcome.body)
    except ValueError as error:
        problem = f"{error}, in {len(outcome.body)} bytes with status {outcome.status}"
    raise ProviderUnavailable(
        f"{where} is of no use: {problem}.",
        reason="jwks_content",
        address=outcome.address,
        cause="status 200, but no key set",
        evidence="",
    )


def _cannot_know(trouble: MoonKeyError | None, retry_after: float) -> MoonKeyError:
    """A new error each time: exceptions collect tracebacks, and this one is remembered."""
    if isinstance(trouble, ProviderRejectedKey):
        return ProviderRejectedKey(str(trouble), reason=trouble.reason)
    if not isinstance(trouble, ProviderUnavailable):
        return ProviderUnavailable(reason="jwks_limited", retry_after=retry_after)
    return trouble.again(retry_after)
