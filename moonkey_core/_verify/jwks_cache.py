"""The cache of the provider's key set: when it is fetched, which keys are used meanwhile, which JWTs are refused.

A state machine without I/O: a fetch is a yielded :class:`Fetch`, and the lock is never held while it runs. A valid
key set is only replaced by another valid one, and stays usable for a bounded time while none can be fetched. The
address of a key set may have to be discovered first; that is a part of the fetch, and follows the same rules.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Mapping

from moonkey_core._evidence import shown
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import Fetch, Outcome, Plan, Reply, ReplyJudge, StorePolicy, TransportError
from moonkey_core._provider import JwtRules, KeySource
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import judge, retry_after
from moonkey_core._verify.jwks import (
    MAX_BYTES,
    SigningKey,
    Verifier,
    body_holds_secret,
    holds_secret,
    keys_in_pem,
    parse_key_set,
    usable_keys,
)
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
from moonkey_core.settings.fields import Address, is_plain_http_off_loopback, key_set_url

logger: logging.Logger = logging.getLogger("moonkey")

_BUCKET_SIZE = 3
_REFILL_SECONDS = 30.0
_FIRST_COOLDOWN, _MAX_COOLDOWN = 1.0, 30.0
_REFRESH_FRACTION = 0.8  # of the lifetime: then a new key set is fetched, beside the requests
_MIN_LIFETIME, _MAX_LIFETIME = 60.0, 3600.0  # seconds: bounds of the lifetime that a reply may give itself
_MAX_KNOWN_HEADERS = 64
_WELL_KNOWN = "/.well-known/openid-configuration"
_MAX_DOCUMENT_BYTES = 256 * 1024
_DISCOVERY_SECONDS = 86_400.0  # for which a discovered address is used, as long as it leads to a key set
_MAX_AGE = re.compile(r"(?:\A|[ ,])max-age=([0-9]{1,9})(?=[ ,]|\Z)")


KnownHeader = tuple[str, str, SigningKey, str, Verifier]
"""What was found for the header of a genuine JWT: ``kid``, algorithm, key, the key's name, and its verifier."""


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
        known_headers: Encoded headers of JWTs that these keys have signed.
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
        self, keys: Mapping[str, SigningKey], fetched_at: float, lifetime: float, max_stale: float
    ) -> None:
        self.keys: Mapping[str, SigningKey] = keys
        self.fetched_at: float = fetched_at
        self.refresh_at: float = fetched_at + _REFRESH_FRACTION * lifetime
        self.fresh_until: float = fetched_at + lifetime
        self.usable_until: float = fetched_at + max(max_stale, lifetime)
        self.revalidate_until: float = min(fetched_at + 2 * lifetime, self.usable_until)
        self.known_headers: dict[bytes, KnownHeader] = {}

    def only_key(self, algorithm: str) -> SigningKey | None:
        """Return the key for a JWT that names none: the only one that fits the algorithm, if it is one."""
        fitting = [key for key in self.keys.values() if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def name_of(self, key: SigningKey) -> str | None:
        """Return the name under which the key set has a key, if it has it."""
        return next((name for name, one in self.keys.items() if one is key), None)

    def remember_header(self, header: bytes, kid: str, algorithm: str, key: SigningKey, name: str) -> None:
        """Keep the header of a genuine JWT, so that the next JWT with the same header need not be parsed."""
        if len(self.known_headers) < _MAX_KNOWN_HEADERS:
            self.known_headers[header] = kid, algorithm, key, name, key.verifiers[algorithm]

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
        source: KeySource | None,
        rules: JwtRules | None,
        clock: Callable[[], float],
        hooks: Hooks | None = None,
        store_name: Callable[[str], str] | None = None,
        former_store_name: Callable[[str], str] | None = None,
        stored_as: str | None = None,
    ) -> None:
        """Make a cache.

        Args:
            settings: The settings of the client; they have the lifetimes and the deadline.
            source: Where the keys come from; ``None`` where no JWT is verified here.
            rules: How JWTs are judged: of them the algorithms count, and whether a JWT names its key.
            clock: Returns Unix seconds.
            hooks: Receive the outcome of each fetch.
            store_name: Makes the names of entries in the shared store, if there is one.
            former_store_name: The same with the previous secrets, if there are any.
            stored_as: What the key set is called there, if not by its address.

        Raises:
            ConfigurationError: The source is incomplete, or its fixed keys are of no use.
        """
        is_used = rules is not None and source is not None
        source = source or KeySource(jwks={"keys": []})
        self._settings = settings
        self._source = source
        self._algorithms: tuple[str, ...] = rules.algorithms if rules is not None else ()
        self._needs_kid = rules is None or rules.needs_kid
        self._has_one_pem = isinstance(source.pem, str)
        self._clock = clock
        self._hooks = hooks
        self._url: Address | None = None if source.url is None else Address(source.url)
        self._discovered_at = -math.inf
        self._store_name = store_name
        self._former_store_name = former_store_name
        self._stored_as = stored_as
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
        if not is_used:
            return
        _check_source(source, allow_http=settings.allow_http)
        if source.is_fixed:
            self.current = KeySet(self._fixed_keys(source), 0.0, math.inf, math.inf)

    def _fixed_keys(self, source: KeySource) -> Mapping[str, SigningKey]:
        try:
            if source.pem is not None:
                return keys_in_pem(source.pem, self._algorithms)
            keys = usable_keys(source.jwks or {}, self._algorithms, needs_kid=self._needs_kid)
        except ValueError as error:
            is_setting = source.jwks is not None and source.jwks is self._settings.jwks
            setting = "MOONKEY_JWKS (jwks)" if is_setting else "The provider's key"
            raise ConfigurationError(f"{setting} is of no use: {error}.") from None
        if holds_secret(source.jwks or {}):
            _warn_of_secret()
        return keys

    def reset_lock(self) -> None:
        """Make a new lock. The old one may have been held by another thread when the process forked."""
        self._lock = threading.Lock()

    def key_for(self, kid: str, issued_at: float, algorithm: str = "") -> Plan[SigningKey]:
        """Return the key that a JWT names, after at most two fetches.

        Args:
            kid: The key id in the header of the JWT; empty where it is absent.
            issued_at: The ``iat`` of the JWT (Unix seconds). It is not verified yet.
            algorithm: The algorithm in the header, for a JWT that names no key.

        Raises:
            InvalidCredentials: The provider has no such key.
            ProviderUnavailable: It cannot be determined now whether the provider has it.
            ProviderRejectedKey: The same, as the provider does not accept our own key, or its discovery
                document is that of another issuer.
        """
        for _ in range(2):
            seen = self._attempts
            key = self.cached_key(kid, algorithm, self._clock())
            if key is not None:
                return key
            attempt = self._join_or_start_fetch(seen, kid, algorithm)
            if attempt is None:
                break
            outcome = yield from self._load(attempt, self._acceptance(kid, algorithm))
            self._store_result(outcome, attempt)
            if not (isinstance(outcome, Reply) and outcome.from_store):
                break  # a key set from the store may be older than the key: then the provider is called
        return self._usable_key(kid, issued_at, algorithm)

    def fetched_anew(self) -> Plan[tuple[Reply | None, Mapping[str, SigningKey]]]:
        """Fetch the key set for a report, and return the reply with the usable keys in it. Nothing is kept.

        The reply is ``None`` where the keys are fixed.

        Raises:
            ProviderUnavailable: It cannot be fetched, or is of no use.
            ProviderRejectedKey: The provider does not accept our key, or its discovery document is that of another
                issuer.
        """
        if self._source.is_fixed:
            return None, self.current.keys if self.current is not None else {}
        outcome = yield from self._load(-1)
        if isinstance(outcome, MoonKeyError):
            raise outcome
        assert self._url is not None  # it was fetched
        keys = _keys_of(outcome, self._url, self._source, self._algorithms, needs_kid=self._needs_kid)
        assert isinstance(outcome, Reply)
        return outcome, keys

    @property
    def address(self) -> str:
        """Where the key set comes from, without a query; empty where it is fixed, or not discovered yet."""
        return "" if self._url is None else self._url.shown

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
        outcome = yield from self._load(attempt)
        self._store_result(outcome, attempt)

    def _acceptance(self, kid: str, algorithm: str) -> Callable[[Reply], bool] | None:
        """Return the test of a key set from the store: ``None``, so any is of use, where that in use is not fresh.

        Else it must have the key that is missing here, and be younger than that in use: an older one may have a
        key that the provider has withdrawn since. That a key is not in the store proves nothing.
        """
        current = self.current
        if current is None or not self._is_fresh(current):
            return None

        def accepts(reply: Reply) -> bool:
            if reply.asked_at <= current.fetched_at:
                return False
            try:
                keys = parse_key_set(reply.body, self._algorithms, needs_kid=self._needs_kid)
            except ValueError:
                return False
            found = KeySet(keys, reply.asked_at, 0.0, 0.0)
            return (keys.get(kid) or self._unnamed_key(found, kid, algorithm)) is not None

        return accepts

    def _load(self, attempt: int, accepts: Callable[[Reply], bool] | None = None) -> Plan[Outcome | MoonKeyError]:
        """Fetch the key set, after its address where that has to be discovered; return what came of it.

        Args:
            attempt: The number of the fetch.
            accepts: Whether a key set from the store is of use; ``None``: any is.
        """
        issuer = self._source.discovery
        if issuer is not None and (self._url is None or not self._has_recent_address()):
            document = yield self._fetch(Address(discovery_address(issuer)), f"discovery:{attempt}")
            try:
                self._url = _discovered(document, self._source, allow_http=self._settings.allow_http)
            except MoonKeyError as error:
                return error
            self._discovered_at = self._clock()
        assert self._url is not None  # checked at construction, or discovered
        return (yield self._fetch(self._url, f"jwks:{attempt}", accepts))

    def _has_recent_address(self) -> bool:
        return self.last_error is None and 0 <= self._clock() - self._discovered_at < _DISCOVERY_SECONDS

    def _fetch(self, url: Address, coalesce_key: str, accepts: Callable[[Reply], bool] | None = None) -> Fetch:
        is_discovery = coalesce_key.startswith("discovery:")
        # Half a lifetime: a key set from the store is never due to be fetched again at once.
        max_age = self._settings.jwks_ttl / 2
        name, former, entry = self._store_name, self._former_store_name, f"keys {self._stored_as or url}"
        policy = None
        if name is not None:
            former_name = None if former is None else former(entry)
            life = self._settings.jwks_timeout
            policy = StorePolicy(
                name(entry), max_age, bytes, former_name=former_name, accepts=accepts, claim_seconds=life
            )
        authorization = self._source.authorization
        return Fetch(
            "GET",
            url,
            operation="discovery" if is_discovery else "jwks",
            headers=None if authorization is None else {"authorization": authorization.reveal()},
            # The key holds the number of the fetch: all requests that wait for this one share it, however late.
            coalesce_key=coalesce_key,
            ttl=1.0,
            reuse_failures=True,
            timeout=self._settings.jwks_timeout,
            max_bytes=_MAX_DOCUMENT_BYTES if is_discovery else MAX_BYTES,
            priority=True,
            uses_breaker=False,
            store_policy=policy,
        )

    def cached_key(self, kid: str, algorithm: str, now: float) -> SigningKey | None:
        """Return the key with this id, if it can be used without a fetch; for no id, that for the algorithm."""
        current = self.current
        if current is None or not current.fetched_at <= now < current.revalidate_until:
            return None
        return current.keys.get(kid) or self._unnamed_key(current, kid, algorithm)

    def _unnamed_key(self, current: KeySet, kid: str, algorithm: str) -> SigningKey | None:
        """Return the key for a JWT that names none, or where the only key has no name."""
        if self._has_one_pem:
            return current.keys.get("")
        return None if kid else current.only_key(algorithm)

    def _is_fresh(self, current: KeySet) -> bool:
        return current.fetched_at <= self._clock() < current.fresh_until

    def _stale_key(self, kid: str, algorithm: str) -> SigningKey | None:
        current = self.current
        if current is None or not self.is_usable(current, self._clock()):
            return None
        return current.keys.get(kid) or self._unnamed_key(current, kid, algorithm)

    def _is_fetching(self, now: float) -> bool:
        number, started_at = self._last_started
        return number == self._attempts and 0 <= now - started_at < self._settings.jwks_timeout

    def _is_cooling_down(self, now: float) -> bool:
        if not self._failures:
            return False
        asked = _retry_after_of(self.last_error) or 0.0
        pause: float = min(max(_FIRST_COOLDOWN * 2 ** (self._failures - 1), asked), _MAX_COOLDOWN)
        return 0 <= now - self._ended_at < pause

    def _join_or_start_fetch(self, seen: int, kid: str, algorithm: str = "") -> int | None:
        """Return the number of the fetch to join or to begin, or ``None`` where none may be made now.

        A request that has a usable key does not wait for the fetch of another request.

        Args:
            seen: How many fetches had ended when the caller looked up its key. One that ended since is enough.
            kid: The key id that is needed.
            algorithm: The algorithm, where there is no key id.
        """
        if self._source.is_fixed:
            return None
        now = self._clock()
        with self._lock:
            if self._attempts != seen:
                return None
            if self._is_fetching(now):
                return None if self._stale_key(kid, algorithm) else self._attempts
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

    def _store_result(self, outcome: Outcome | MoonKeyError, attempt: int) -> None:
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

    def _key_set_of(self, outcome: Outcome | MoonKeyError, now: float) -> KeySet:
        if isinstance(outcome, MoonKeyError):
            raise outcome
        assert self._url is not None  # as it was fetched
        keys = _keys_of(outcome, self._url, self._source, self._algorithms, needs_kid=self._needs_kid)
        old = self.current.keys if self.current is not None else {}
        for kid, key in keys.items():
            if kid in old and old[kid] == key:
                keys[kid] = old[kid]  # the same object: JWTs that it signed need not be verified again
        assert isinstance(outcome, Reply)
        fetched_at = min(outcome.asked_at, now) if outcome.from_store else now
        return KeySet(
            keys, fetched_at, freshness_lifetime(outcome, self._settings.jwks_ttl), self._settings.jwks_max_stale
        )

    def _usable_key(self, kid: str, issued_at: float, algorithm: str = "") -> SigningKey:
        current, last_error = self.current, self.last_error
        if current is None or not self.is_usable(current, self._clock()):
            raise _unavailable(last_error, self._wait(_FIRST_COOLDOWN))
        key = current.keys.get(kid) or self._unnamed_key(current, kid, algorithm)
        if key is not None:
            return key
        fixed = self._source.is_fixed
        in_time = issued_at <= current.fetched_at + self._settings.leeway
        if fixed or (self._is_fresh(current) and last_error is None and in_time):
            # The provider's keys were read after this JWT was made, and its key is not among them.
            raise InvalidCredentials(reason="jwt_unknown_key")
        raise _unavailable(last_error, self._wait(_REFILL_SECONDS))

    def _wait(self, least: float) -> float:
        """Return after how many seconds a client may try again: when the server is ready, if it has said when."""
        asked = _retry_after_of(self.last_error)
        return least if asked is None else max(self._ended_at + asked - self._clock(), least)


def discovery_address(issuer: str) -> str:
    """Return the address of an issuer's configuration (OpenID Connect Discovery 1.0 section 4.1)."""
    return f"{issuer.removesuffix('/')}{_WELL_KNOWN}"


def _check_source(source: KeySource, *, allow_http: bool) -> None:
    """Check the source of keys.

    Raises:
        ConfigurationError: It does not name exactly one place, or an address that is malformed or not https.
    """
    given = [one for one in (source.jwks, source.pem, source.url, source.discovery) if one is not None]
    if len(given) != 1:
        raise ConfigurationError(
            "The keys of the provider come from one place. Give exactly one of jwks, pem, url and discovery."
        )
    if source.authorization is not None and source.url is None:
        raise ConfigurationError("The authorization for the provider's keys has no effect without their url.")
    address = source.url or source.discovery
    if address is None:
        return
    try:
        if key_set_url(address) is None or (source.discovery is not None and "?" in address):
            raise ValueError("must hold no query.")
    except ValueError as error:
        raise ConfigurationError(f"The address of the provider's keys {error}") from None
    if is_plain_http_off_loopback(address) and not allow_http:
        raise ConfigurationError(
            "The address of the provider's keys uses plain http off loopback. Use https: whoever changes the "
            "keys on the way can sign in as anybody."
        )


def _discovered(document: Outcome, source: KeySource, *, allow_http: bool) -> Address:
    """Return the address of the key set in an issuer's configuration (OpenID Connect Discovery 1.0 section 4.3).

    Raises:
        ProviderUnavailable: The document cannot be had, or names no address that may be used.
        ProviderRejectedKey: It is that of another issuer: the configuration of this app is wrong.
    """
    issuer = source.discovery or ""
    found = _body_of(document, f"The discovery document of {issuer}", None)  # our key is not sent to it
    try:
        members = load_object(found.body)
        stated, address = members.get("issuer"), members.get("jwks_uri")
        if not isinstance(stated, str) or not isinstance(address, str):
            raise ValueError("no issuer or no jwks_uri")
        url = key_set_url(address)
        is_plain = url is None or (url.startswith("http:") and issuer.startswith("https:"))
        if url is None or is_plain or (is_plain_http_off_loopback(url) and not allow_http):
            raise ValueError("a jwks_uri without https")
    except ValueError:
        raise ProviderUnavailable(
            f"The discovery document of {issuer} is of no use: no issuer, or no jwks_uri with https.",
            reason="discovery_content",
            address=found.address,
            cause="status 200, but no discovery document",
            evidence="",
        ) from None
    wanted = issuer if source.discovered_issuer is None else source.discovered_issuer
    if stated != wanted:
        raise ProviderRejectedKey(
            f"The discovery document of {issuer} states the issuer {shown(stated)}, not {shown(wanted)}. "
            "Configure the issuer byte for byte as the provider writes it, with or without the slash at its end.",
            reason="discovery_issuer",
        )
    return url


def _report(outcome: Outcome | MoonKeyError, last_error: MoonKeyError | None) -> None:
    """Log the error of a fetch, and any private key in a fetched key set."""
    if last_error is not None:
        logger.log(
            logging.ERROR if last_error.reason == "discovery_issuer" else logging.WARNING,
            "key set: fetch failed: %s: %s",
            last_error.reason,
            last_error,
            extra={"reason": last_error.reason, **failed_call(last_error)},
        )
    if isinstance(outcome, Reply) and body_holds_secret(outcome.body):
        _warn_of_secret()


def _warn_of_secret() -> None:
    logger.error("key set: it holds a private or symmetric key", extra={"reason": "jwks_private_key"})


def _keys_of(
    outcome: Outcome, url: Address, source: KeySource, algorithms: tuple[str, ...], *, needs_kid: bool
) -> dict[str, SigningKey]:
    """Return the keys in an outcome. The message of an error names the reply and its address, for the operator."""
    where = f"The key set at {url.shown}"
    key_judge = source.judge or (None if source.authorization is None else judge)
    reply = _body_of(outcome, where, key_judge, source.rejected_key)
    try:
        return parse_key_set(reply.body, algorithms, needs_kid=needs_kid)
    except ValueError as error:
        problem = f"{error}, in {len(reply.body)} bytes with status {reply.status}"
    raise ProviderUnavailable(
        f"{where} is of no use: {problem}.",
        reason="jwks_content",
        address=reply.address,
        cause="status 200, but no key set",
        evidence="",
    )


def _body_of(outcome: Outcome, where: str, judge_refusal: ReplyJudge | None, rejected_key: str = "") -> Reply:
    """Return a reply with the status 200.

    Args:
        outcome: The outcome of the fetch.
        where: What was fetched, for the message.
        judge_refusal: Whether a status of 401 or 403 is a refusal of our key, which was sent; ``None``: none was.
        rejected_key: The message for such a refusal.

    Raises:
        ProviderUnavailable: There is none.
        ProviderRejectedKey: Our key was refused.
    """
    if isinstance(outcome, TransportError):
        raise ProviderUnavailable(
            f"{where} could not be fetched: {outcome.kind}.",
            reason=f"jwks_{outcome.kind}",
            address=outcome.address,
            cause=outcome.cause,
        )
    if outcome.status in (401, 403) and judge_refusal is not None and judge_refusal(outcome) == "refusal":
        refused = f"{where} was refused with status {outcome.status}."
        raise ProviderRejectedKey(f"{rejected_key} {refused}", reason="jwks_rejected_key")
    if outcome.status != 200:
        status = f"status {outcome.status}"
        raise ProviderUnavailable(
            f"{where} came with {status}.",
            reason="jwks_status",
            retry_after=retry_after(outcome),
            address=outcome.address,
            cause=status,
            evidence="",
        )
    return outcome


def _retry_after_of(error: MoonKeyError | None) -> float | None:
    return error.retry_after if isinstance(error, ProviderUnavailable) else None


def _unavailable(last_error: MoonKeyError | None, wait: float) -> MoonKeyError:
    """Make a new error each time: exceptions collect tracebacks, and ``last_error`` is kept."""
    if isinstance(last_error, ProviderRejectedKey):
        return ProviderRejectedKey(str(last_error), reason=last_error.reason)
    if not isinstance(last_error, ProviderUnavailable):
        return ProviderUnavailable(reason="jwks_limited", retry_after=wait)
    return last_error.again(wait)


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
