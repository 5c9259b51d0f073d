"""The cache of the provider's key set: when it is fetched, which keys are used meanwhile, which JWTs are refused.

A state machine without I/O: a fetch is a yielded :class:`Fetch`, and the lock is never held while it runs. A valid
key set is only replaced by another valid one, and stays usable for a bounded time while none can be fetched.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import Fetch, Outcome, Plan, Reply, StorePolicy, TransportError
from moonkey_core._transport.replies import api_error
from moonkey_core._verify.jwks import MAX_BYTES, body_holds_secret, holds_secret, parse_key_set, usable_keys
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

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that verify JWTs should spend
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger: logging.Logger = logging.getLogger("moonkey")

_BUCKET_SIZE = 3
_REFILL_SECONDS = 30.0
_FIRST_COOLDOWN, _MAX_COOLDOWN = 1.0, 30.0
_REFRESH_FRACTION = 0.8  # of the lifetime: then a new key set is fetched, beside the requests
_MIN_LIFETIME, _MAX_LIFETIME = 60.0, 3600.0  # seconds: bounds of the lifetime that a reply may give itself
_MAX_KNOWN_HEADERS = 64
_MAX_AGE = re.compile(r"(?:\A|[ ,])max-age=([0-9]{1,9})(?=[ ,]|\Z)")


class KeySet:
    """The keys of one fetch, and how long they are used. Nothing but ``known_headers`` ever changes.

    Attributes:
        keys: The public keys by ``kid``.
        fetched_at: When the key set was fetched. This and all other times are Unix seconds.
        refresh_at: When a new key set is to be fetched, beside the requests.
        fresh_until: The end of the freshness lifetime (RFC 9111 section 4.2).
        revalidate_until: Up to here the keys are used while a new key set is fetched beside the requests (as with
            ``stale-while-revalidate``, RFC 5861 section 3).
        usable_until: Up to here the keys are used while no new key set can be fetched (as with ``stale-if-error``,
            RFC 5861 section 4).
        known_headers: Encoded headers of JWTs that these keys have signed, each with the ``kid`` that it names.
    """

    __slots__ = (
        "fetched_at",
        "fresh_until",
        "keys",
        "known_headers",
        "refresh_at",
        "revalidate_until",
        "usable_until",
    )

    def __init__(
        self, keys: Mapping[str, RSAPublicKey], fetched_at: float, lifetime: float, max_stale: float
    ) -> None:
        self.keys: Mapping[str, RSAPublicKey] = keys
        self.fetched_at: float = fetched_at
        self.refresh_at: float = fetched_at + _REFRESH_FRACTION * lifetime
        self.fresh_until: float = fetched_at + lifetime
        self.usable_until: float = fetched_at + max(max_stale, lifetime)
        self.revalidate_until: float = min(fetched_at + 2 * lifetime, self.usable_until)
        self.known_headers: dict[bytes, str] = {}

    def remember_header(self, header: bytes, kid: str) -> None:
        """Keep the header of a genuine JWT, so that the next JWT with the same header need not be parsed."""
        if len(self.known_headers) < _MAX_KNOWN_HEADERS:
            self.known_headers[header] = kid

    def __repr__(self) -> str:
        return f"KeySet(keys={len(self.keys)})"


class JwksCache:
    """The keys that sign session JWTs, by ``kid``. Thread-safe.

    Attributes:
        current: The last valid key set.
        last_error: The error of the last fetch, if it failed.
        refresh_at: When the next fetch beside the requests is due (Unix seconds).
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        hooks: Hooks | None = None,
        store_name: str | None = None,
    ) -> None:
        self._settings = settings
        self._store_name = store_name  # of the key set in the shared store
        self._clock = clock
        self._hooks = hooks
        self._url = Address(settings.jwks_url or f"{settings.base_url}/v1/auth/jwks/default")
        self.current: KeySet | None = None
        self.last_error: MoonKeyError | None = None
        self.refresh_at: float = math.inf
        self._attempts = 0  # finished fetches; names the next one
        self._failures = 0  # since the last valid one
        self._ended_at = -_MAX_COOLDOWN  # when the last fetch ended
        self._tokens = float(_BUCKET_SIZE)
        self._refilled_at = 0.0
        self._last_started: tuple[int, float] = (-1, 0.0)  # the number of the last fetch that was begun, and when
        self.reset_lock()
        reset_after_fork(self.reset_lock)
        if settings.jwks is not None:
            try:
                self.current = KeySet(usable_keys(settings.jwks), 0.0, math.inf, math.inf)
            except ValueError as error:
                raise ConfigurationError(f"MOONKEY_JWKS (jwks) is of no use: {error}.") from None
            if holds_secret(settings.jwks):
                _warn_of_secret()

    def reset_lock(self) -> None:
        """Make a new lock. The old one may have been held by another thread when the process forked."""
        self._lock = threading.Lock()

    def key_for(self, kid: str, issued_at: float) -> Plan[RSAPublicKey]:
        """Return the key that a JWT names, after at most two fetches.

        Args:
            kid: The key id in the header of the JWT.
            issued_at: The ``iat`` of the JWT (Unix seconds). It is not verified yet.

        Raises:
            InvalidCredentials: The provider has no such key.
            ProviderUnavailable: It cannot be determined now whether the provider has it.
            ProviderRejectedKey: The same, as the provider does not accept our secret key.
        """
        for _ in range(2):
            seen = self._attempts
            key = self.cached_key(kid)
            if key is not None:
                return key
            attempt = self._join_or_start_fetch(seen, kid)
            if attempt is None:
                break
            current = self.current
            outcome = yield self._fetch(attempt, read_store=current is None or not self._is_fresh(current))
            self._store_result(outcome, attempt)
            if not (isinstance(outcome, Reply) and outcome.from_store):
                break  # a key set from the store may be older than the key: then the provider is called
        return self._usable_key(kid, issued_at)

    def due_refresh(self) -> Plan[None] | None:
        """Return a fetch that is due now, or ``None``. The caller must run it, beside the requests.

        After twice the lifetime of the keys there is none: then a request makes the next fetch, and waits for it.
        """
        now, current = self._clock(), self.current
        if now < self.refresh_at or current is None or now >= current.revalidate_until:
            return None
        with self._lock:
            if now < self.refresh_at or self._is_fetching(now) or self._is_cooling_down(now):
                return None
            self._last_started = (self._attempts, now)
            # Where this fetch never ends, as its thread or event loop has stopped, the next one is due then.
            self.refresh_at = now + self._settings.jwks_timeout
            return self._refresh(self._attempts)

    def is_usable(self, current: KeySet, now: float) -> bool:
        """Return whether these keys may be used at that time (Unix seconds)."""
        return current.fetched_at <= now < current.usable_until

    def _refresh(self, attempt: int) -> Plan[None]:
        outcome = yield self._fetch(attempt, read_store=True)
        self._store_result(outcome, attempt)

    def _fetch(self, attempt: int, *, read_store: bool) -> Fetch:
        # Half a lifetime: a key set from the store is never due to be fetched again at once.
        max_age = self._settings.jwks_ttl / 2
        policy = StorePolicy(self._store_name, max_age, bytes, read_store) if self._store_name else None
        return Fetch(
            "GET",
            self._url,
            operation="jwks",
            send_key=self._settings.jwks_auth == "header",
            # The key holds the number of the fetch: all requests that wait for this one share it, however late.
            coalesce_key=f"jwks:{attempt}",
            ttl=1.0,
            reuse_failures=True,
            timeout=self._settings.jwks_timeout,
            max_bytes=MAX_BYTES,
            priority=True,
            uses_breaker=False,
            store_policy=policy,
        )

    def cached_key(self, kid: str) -> RSAPublicKey | None:
        """Return the key with this id, if it can be used without a fetch."""
        current = self.current
        if current is None or not current.fetched_at <= self._clock() < current.revalidate_until:
            return None
        return current.keys.get(kid)

    def _is_fresh(self, current: KeySet) -> bool:
        return current.fetched_at <= self._clock() < current.fresh_until

    def _stale_key(self, kid: str) -> RSAPublicKey | None:
        current = self.current
        return current.keys.get(kid) if current is not None and self.is_usable(current, self._clock()) else None

    def _is_fetching(self, now: float) -> bool:
        number, started_at = self._last_started
        return number == self._attempts and 0 <= now - started_at < self._settings.jwks_timeout

    def _is_cooling_down(self, now: float) -> bool:
        if not self._failures:
            return False
        pause: float = min(_FIRST_COOLDOWN * 2 ** (self._failures - 1), _MAX_COOLDOWN)
        return 0 <= now - self._ended_at < pause

    def _join_or_start_fetch(self, seen: int, kid: str) -> int | None:
        """Return the number of the fetch to join or to begin, or ``None`` where none may be made now.

        A request that has a usable key does not wait for the fetch of another request.

        Args:
            seen: How many fetches had ended when the caller looked up its key. One that ended since is enough.
            kid: The key id that is needed.
        """
        if self._settings.jwks is not None:
            return None
        now = self._clock()
        with self._lock:
            if self._attempts != seen:
                return None
            if self._is_fetching(now):
                return None if self._stale_key(kid) else self._attempts
            if self._is_cooling_down(now):
                return None
            if self.current is not None and self._is_fresh(self.current) and not self._take_token(now):
                return None
            self._last_started = (self._attempts, now)
            return self._attempts

    def _take_token(self, now: float) -> bool:
        """Take a token of the bucket that limits fetches for unknown key ids (called under the lock)."""
        refill = max(now - self._refilled_at, 0.0) / _REFILL_SECONDS
        self._tokens, self._refilled_at = min(self._tokens + refill, _BUCKET_SIZE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _store_result(self, outcome: Outcome, attempt: int) -> None:
        """Store the outcome of a fetch. Of the many requests that wait for it, only the first one does this."""
        with self._lock:
            if attempt != self._attempts:
                return
            now = self._clock()
            self._attempts, self._ended_at = attempt + 1, now
            try:
                current = self._key_set_of(outcome, now)
                self.current, self.refresh_at = current, current.refresh_at
                self._failures, self.last_error = 0, None
            except MoonKeyError as error:
                self._failures, self.last_error = min(self._failures + 1, 16), error
                if self.current is not None:  # the longer pause after many failures is checked when it is due
                    self.refresh_at = max(self.current.refresh_at, now + _FIRST_COOLDOWN)
            last_error = self.last_error
        _report(outcome, last_error)  # not under the lock: a log handler may block
        if self._hooks:
            self._hooks.emit(KeySetFetched(last_error.reason if last_error else None))

    def _key_set_of(self, outcome: Outcome, now: float) -> KeySet:
        keys = _keys_of(outcome, self._url)
        old = self.current.keys if self.current is not None else {}
        for kid, key in keys.items():
            if kid in old and old[kid] == key:
                keys[kid] = old[kid]  # the same object: JWTs that it signed need not be verified again
        assert isinstance(outcome, Reply)
        fetched_at = min(outcome.asked_at, now) if outcome.from_store else now
        return KeySet(
            keys, fetched_at, freshness_lifetime(outcome, self._settings.jwks_ttl), self._settings.jwks_max_stale
        )

    def _usable_key(self, kid: str, issued_at: float) -> RSAPublicKey:
        current, last_error = self.current, self.last_error
        if current is None or not self.is_usable(current, self._clock()):
            raise _unavailable(last_error, _FIRST_COOLDOWN)
        key = current.keys.get(kid)
        if key is not None:
            return key
        fixed = self._settings.jwks is not None
        in_time = issued_at <= current.fetched_at + self._settings.leeway
        if fixed or (self._is_fresh(current) and last_error is None and in_time):
            # The provider's keys were read after this JWT was made, and its key is not among them.
            raise InvalidCredentials(reason="jwt_unknown_key")
        raise _unavailable(last_error, _REFILL_SECONDS)


def _report(outcome: Outcome, last_error: MoonKeyError | None) -> None:
    """Log the error of a fetch, and any private key in a fetched key set."""
    if last_error is not None:
        logger.warning(
            "key set: fetch failed: %s: %s",
            last_error.reason,
            last_error,
            extra={"reason": last_error.reason, **failed_call(last_error)},
        )
    if isinstance(outcome, Reply) and body_holds_secret(outcome.body):
        _warn_of_secret()


def _warn_of_secret() -> None:
    logger.error("key set: it holds a private or symmetric key", extra={"reason": "jwks_private_key"})


def _keys_of(outcome: Outcome, url: Address) -> dict[str, RSAPublicKey]:
    """Return the keys in an outcome. The message of an error names the reply and its address, for the operator."""
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


def _unavailable(last_error: MoonKeyError | None, retry_after: float) -> MoonKeyError:
    """Make a new error each time: exceptions collect tracebacks, and ``last_error`` is kept."""
    if isinstance(last_error, ProviderRejectedKey):
        return ProviderRejectedKey(str(last_error), reason=last_error.reason)
    if not isinstance(last_error, ProviderUnavailable):
        return ProviderUnavailable(reason="jwks_limited", retry_after=retry_after)
    return last_error.again(retry_after)


def freshness_lifetime(reply: Reply, default: float) -> float:
    """Return for how many seconds a key set is fresh (RFC 9111 sections 4.2.1 and 5.2.2.1).

    Args:
        reply: The reply to the fetch. Its own ``max-age`` applies within bounds.
        default: The lifetime of a reply without a ``max-age``, in seconds.
    """
    directives = reply.headers.get("cache-control", "").lower()
    found = _MAX_AGE.search(directives)
    if found is None:
        return default
    age = reply.headers.get("age", "")
    spent = int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0
    return min(max(float(int(found[1]) - spent), min(default, _MIN_LIFETIME)), max(default, _MAX_LIFETIME))
