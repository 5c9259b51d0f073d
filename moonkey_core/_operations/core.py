"""The parts of a client, apart from its connections: settings, keys, API, authenticator, revocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core._operations.session_extender import SessionExtender
from moonkey_core._operations.sliding_window import SlidingWindowCounter
from moonkey_core._plan import Plan
from moonkey_core._session_life.devices import DeviceMonitor
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._transport.circuit_breaker import CircuitBreaker
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.authenticator import Authenticator, Pending
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.introspection import Introspector
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core.auth import Auth, fresh_jwt, peek_identity, verified_event
from moonkey_core.events import Hooks, Refreshed
from moonkey_core.gate import Requirements
from moonkey_core.providers.moonkey.client import MoonKeyApi
from moonkey_core.revocations import Revocations, retention
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import bare_token
from moonkey_core.web.request import HeaderView, RequestInfo, mapped_headers

if TYPE_CHECKING:
    from moonkey_core.redis import RedisRevocations

Headers = HeaderView | Mapping[str, str]


class Core:
    """The part of a client that decides, the same for the blocking and the asynchronous one. It does no I/O."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = _clock.wall,
        run_later: Callable[[Plan[None]], object] = lambda _: None,
        *,
        revocations: Revocations | None = None,
        feed: RedisRevocations | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.run_later = run_later  # runs a plan beside the requests
        self.hooks: Hooks = Hooks()
        self.breaker: CircuitBreaker = CircuitBreaker(self.hooks)
        if revocations is None:  # an empty table is false
            revocations = Revocations(
                retention=retention(settings),
                maxsize=settings.max_revocations,
                leeway=settings.leeway,
                clock=clock,
            )
        self.revocations = revocations
        self.feed = feed
        self.closed = False
        store_name = _store_namer(settings)
        keys_url = settings.jwks_url or settings.base_url
        self.keys: JwksCache = JwksCache(
            settings, clock, self.hooks, store_name and store_name(f"keys {keys_url}")
        )
        self.api: MoonKeyApi = MoonKeyApi(
            settings, clock, store_name and (lambda token: store_name(f"token {bare_token(token)}"))
        )
        self.cache: VerificationCache = VerificationCache(settings)
        acceptance = Acceptance(settings, self.keys, self.revocations, self.feed, clock)
        self.sliding_expiration: SlidingExpiration = SlidingExpiration(settings, clock)
        self.devices: DeviceMonitor = DeviceMonitor(settings)
        self._extends = self.sliding_expiration.is_enabled
        self.attempts: SlidingWindowCounter = SlidingWindowCounter()
        self.introspector: Introspector = Introspector(
            settings,
            self.api,
            self.cache,
            acceptance,
            self.revocations,
            self.hooks,
            self.sliding_expiration,
            clock,
        )
        self.session_extender: SessionExtender = SessionExtender(
            settings, self.cache, self.introspector, self.sliding_expiration
        )
        self.authenticator: Authenticator = Authenticator(
            settings,
            self.api,
            self.keys,
            self.cache,
            acceptance,
            self.introspector,
            self.sliding_expiration,
            self.hooks,
            clock,
        )

    def begin(
        self, headers: Headers, requirements: Requirements | None, info: RequestInfo | None = None
    ) -> Auth | Pending:
        """Authenticate a request without a call where possible; else return the state for :meth:`finish`."""
        started = _clock.elapsed() if self.hooks.all else 0.0
        now = self._clock()
        if now >= self.keys.refresh_at:
            refresh = self.keys.due_refresh()
            if refresh is not None:
                self.run_later(refresh)
        view = headers if callable(headers) else mapped_headers(headers)
        found = self.authenticator.begin(view, requirements, info, now)
        if isinstance(found, Pending):
            found.started = started
        elif started or self._extends:
            self._after(found, started, view, info)
        return found

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Plan[Auth]:
        """Authenticate a request that :meth:`begin` could not decide.

        ``requirements`` are those of the route, where they are stricter than those passed to ``begin``.
        """
        auth = yield from self.authenticator.finish(pending, requirements)
        if self.hooks.all or self._extends:
            self._after(auth, pending.started, pending.headers, pending.info)
        return auth

    def _after(self, auth: Auth, started: float, headers: HeaderView, info: RequestInfo | None) -> None:
        """Pass a request's identity to the hooks, and extend its session. The request does not wait for it.

        ``started`` is in seconds of the performance counter.
        """
        if self.hooks.all:
            self.hooks.emit(verified_event(auth, _clock.elapsed() - started))
            if fresh_jwt(auth) is not None and (verified := peek_identity(auth)) is not None:
                self.hooks.emit(Refreshed(verified[0].id, verified[1].id))
            changed = self.devices.changed(auth, headers, info)
            if changed is not None:
                self.hooks.emit(changed)
        if self._extends:
            later = self.session_extender.extension_due(auth, headers, info)
            if later is not None:
                self.run_later(later)


def _store_namer(settings: Settings) -> Callable[[str], str] | None:
    """Return the function that makes the names of entries in the shared store, if there is one.

    The secret key is part of the names: the API's reply to one app about a credential is not valid for another.
    """
    if settings.redis_url is None:
        return None
    from moonkey_core._crypto import fleet_sealer

    sealer, key = fleet_sealer(settings, "place"), settings.secret_key.reveal()
    return lambda entry: sealer.digest(f"{key} {entry}")
