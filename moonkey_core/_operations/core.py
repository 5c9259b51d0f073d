"""The parts of a client, apart from its connections: settings, keys, API, authenticator, revocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from moonkey_core import _clock
from moonkey_core._crypto import Secrets, sealer_of, secrets_of
from moonkey_core._operations.arguments import Lifetime, id_argument
from moonkey_core._operations.ending_queue import EndingQueue
from moonkey_core._operations.session_extender import SessionExtender
from moonkey_core._operations.shared_logins import SharedLogins
from moonkey_core._operations.sliding_window import AttemptCounter, SlidingWindowCounter
from moonkey_core._plan import Plan
from moonkey_core._provider import (
    AuthorizationChecker,
    Capability,
    CustomClaimsKeeper,
    Provider,
    SessionLister,
    SessionRevoker,
    UserRevoker,
    speller_of,
)
from moonkey_core._session_life.devices import DeviceMonitor
from moonkey_core._session_life.mfa import Records
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._transport.circuit_breaker import CircuitBreaker
from moonkey_core._verified import DEFAULT_SCOPE
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.authenticator import Authenticator, Pending
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.introspection import Introspector
from moonkey_core._verify.jwks_cache import JwksCache
from moonkey_core._verify.jwt import Judge
from moonkey_core._verify.permissions import PermissionLoader
from moonkey_core._verify.provider_checks import check_provider
from moonkey_core.auth import (
    Auth,
    actor_of,
    cache_entry,
    credential_facts,
    follow_end,
    fresh_jwt,
    peek_identity,
    set_provider,
    verified_event,
)
from moonkey_core.errors import NotSupported
from moonkey_core.events import MOONKEY, Delegated, Hooks, Refreshed
from moonkey_core.gate import Requirements
from moonkey_core.revocations import Revocations, new_table
from moonkey_core.settings import Settings
from moonkey_core.settings.checks import session_minutes
from moonkey_core.web.credentials import PresentedCredentials, read_credentials
from moonkey_core.web.request import HeaderView, RequestInfo, mapped_headers

if TYPE_CHECKING:
    from moonkey_core._sign_in_steps import SignInSteps
    from moonkey_core.redis import RedisRevocations

_INSTEAD: Mapping[str, str] = {
    "revoke_session": "Its tokens can be refused here: client.revocations.add(session_id=…) or (user_id=…). "
    "To end them there as well, it needs Introspection(…, revocation_url=…).",
    "sign_in": "Users sign in at the provider itself.",
    "extend": "It decides by itself how long its sessions last.",
    "hydrate": "A front end gets the user and the session from the route session. Its SDK gets the credentials "
    'only where the provider is made with hydrate="tokens".',
    "authorization_check": "Roles and permissions of its own are in session.roles and session.permissions.",
}
"""What to do about a capability that a provider lacks."""

Headers = HeaderView | Mapping[str, str]
_Namer = Callable[[str], str]


def as_view(headers: Headers) -> HeaderView:
    """Return headers as a view of them."""
    return headers if callable(headers) else mapped_headers(headers)


class Core:
    """The part of a client that decides, the same for the blocking and the asynchronous one. It does no I/O."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = _clock.wall,
        run_later: Callable[[Plan[None]], object] = lambda _: None,
        *,
        provider: Provider | None = None,
        revocations: Revocations | None = None,
        feed: RedisRevocations | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.run_later = run_later  # runs a plan beside the requests
        self.run_lasting = run_later  # runs one that lasts; its calls are limited in time, one by one
        self.provider: Provider = provider_of(settings, clock) if provider is None else provider
        self._name: str = self.provider.name
        self._public_user_id = speller_of(self.provider)
        self.hooks: Hooks = Hooks(self._name)
        self.breaker: CircuitBreaker = CircuitBreaker(self.hooks)
        # An empty table is false.
        self.revocations: Revocations = (
            new_table(settings, self.provider, clock) if revocations is None else revocations
        )
        self.feed = feed
        self.closed = False
        store_name, former_name = _store_namers(settings, self.provider)
        rules, can_ask = self.provider.jwt_rules, "introspect" in self.provider.capabilities
        judge = None if rules is None else Judge(rules, settings.leeway, self.provider.scopes)
        check_provider(self.provider, settings, judge)
        self.keys: JwksCache = JwksCache(
            settings,
            self.provider.keys,
            rules,
            clock,
            self.hooks,
            store_name,
            former_name,
            settings.jwks_url or settings.base_url if self.provider.name == DEFAULT_SCOPE else None,
        )
        self.cache: VerificationCache = VerificationCache(settings)
        leeway = None if judge is None else judge.leeway
        acceptance = Acceptance(
            settings, self.keys, self.revocations, self.feed, clock, can_ask=can_ask, leeway=leeway
        )
        self._acceptance = acceptance
        self.sliding_expiration: SlidingExpiration = SlidingExpiration(settings, clock)
        self.devices: DeviceMonitor = DeviceMonitor(settings)
        self._session_minutes = _bounds_of_sessions(settings, self.provider)
        self._extends = self.sliding_expiration.is_enabled
        self._follows_ends = self._extends or settings.expires_in_header
        has_records = settings.mfa_lifetime is not None or settings.session_limit is not None
        self.records: Records | None = Records(settings, self.provider, self.revocations) if has_records else None
        self.siblings: Mapping[str, Core] = {}  # with several providers, the core of each
        self._follows_all = self._follows_ends or has_records or self._name != MOONKEY
        self.attempts: SlidingWindowCounter = SlidingWindowCounter()
        self.count_attempt: AttemptCounter = AttemptCounter(self.attempts)
        self.shared_logins: SharedLogins = SharedLogins()
        self.endings: EndingQueue = EndingQueue()
        self.introspector: Introspector = Introspector(
            settings,
            self.provider,
            judge,
            self.keys,
            self.cache,
            acceptance,
            self.revocations,
            self.hooks,
            self.sliding_expiration,
            clock,
            store_name,
            former_name,
        )
        self.session_extender: SessionExtender = SessionExtender(
            settings, self.cache, self.introspector, self.sliding_expiration
        )
        self.authenticator: Authenticator = Authenticator(
            settings,
            self.provider,
            judge,
            self.keys,
            self.cache,
            acceptance,
            self.introspector,
            self.sliding_expiration,
            self.hooks,
            clock,
        )
        is_able = can_ask and self.authenticator.can_give_starts
        self._begin = self.authenticator.begin if is_able else self.authenticator.begin_checked
        self._finish = self.authenticator.finish
        if "authorization_check" in self.provider.capabilities:
            loader = PermissionLoader(self.authenticator, self.able_to("authorization_check"), settings, clock)
            self._begin, self._finish = loader.begin, loader.finish

    @overload
    def able_to(self, capability: Literal["list_sessions"]) -> SessionLister: ...
    @overload
    def able_to(self, capability: Literal["revoke_session"]) -> SessionRevoker: ...
    @overload
    def able_to(self, capability: Literal["revoke_user"]) -> UserRevoker: ...
    @overload
    def able_to(self, capability: Literal["sign_in"]) -> SignInSteps: ...
    @overload
    def able_to(self, capability: Literal["get_user"]) -> Provider: ...
    @overload
    def able_to(self, capability: Literal["authorization_check"]) -> AuthorizationChecker: ...
    @overload
    def able_to(self, capability: Literal["custom_claims"]) -> CustomClaimsKeeper: ...
    def able_to(self, capability: Capability) -> Any:
        """Return the provider, for calls that not every provider can answer.

        Raises:
            NotSupported: It cannot do this.
        """
        self.check_able_to(capability)
        return self.provider

    def check_able_to(self, capability: Capability) -> None:
        """Check that the provider can do something.

        Raises:
            NotSupported: It cannot.
        """
        if capability not in self.provider.capabilities:
            why = self.instead_of(capability)
            raise NotSupported(provider=self.provider.name, operation=capability, why=why)

    def instead_of(self, capability: Capability) -> str:
        """Return what to do about a capability that the provider lacks; empty if there is nothing to say."""
        own: Mapping[Capability, str] = getattr(self.provider, "instead", {})
        return own.get(capability) or _INSTEAD.get(capability, "")

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that the provider can give what a route requires.

        Raises:
            ConfigurationError: It cannot.
        """
        self.authenticator.check_requirements(requirements)

    def user_id(self, value: object) -> str:
        """Return the id of a user that was passed to a method in any spelling, in that of the provider's calls.

        Raises:
            ValueError: It is malformed.
        """
        id_argument(self.provider.key_of_user(value) if isinstance(value, str) else value, "user_id")
        return self._public_user_id(str(value))

    def session_minutes(self, lifetime: Lifetime) -> int:
        """Return the lifetime of a session in whole minutes.

        Raises:
            ValueError: It is of another type, or outside the bounds of the settings and of the provider.
        """
        return session_minutes(lifetime, *self._session_minutes)

    @property
    def session_bounds(self) -> tuple[int, int]:
        """The shortest and the longest life of a session that may be requested, in minutes."""
        return self._session_minutes

    @property
    def verifies_jwts(self) -> bool:
        """Whether JWTs are verified here, and not only sent to the provider."""
        rules = self.provider.jwt_rules
        return rules is not None and bool(rules.issuers)

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self._name

    def check_provider(self, name: str | None) -> None:
        """Check that a call of the client is about this provider.

        Raises:
            ValueError: It names another one.
        """
        if name is not None and name != self._name:
            raise ValueError(f"There is no provider {name!r} here. There is {self._name!r}.")

    @property
    def is_starting(self) -> bool:
        """Whether :meth:`finish` has to wait a moment, until it is known here what has been revoked."""
        return self._acceptance.is_starting

    def credential_digests(self, headers: Headers, info: RequestInfo | None) -> tuple[str, ...]:
        """Return the keyed digests of a request's credential, the same in all processes; one for each secret.

        Of a cookie pair, they are those of the session token. None where there is no usable credential.
        """
        view = as_view(headers)
        presented = read_credentials(view, info, self.settings)
        if presented.error is not None or not presented.source:
            return ()
        return self.introspector.credential_digests(presented.value)

    def begin(
        self,
        headers: Headers,
        requirements: Requirements | None,
        info: RequestInfo | None = None,
        presented: PresentedCredentials | None = None,
    ) -> Auth | Pending:
        """Authenticate a request without a call where possible; else return the state for :meth:`finish`.

        ``presented`` is the credential of the request, where it has been read.

        Raises:
            ConfigurationError: The provider cannot give what the route requires.
        """
        started = _clock.elapsed() if self.hooks.all else 0.0
        now = self._clock()
        if now >= self.keys.refresh_at:
            refresh = self.keys.due_refresh()
            if refresh is not None:
                self.run_later(refresh)
        view = headers if callable(headers) else mapped_headers(headers)
        found = self._begin(view, requirements, info, now, presented)
        if isinstance(found, Pending):
            found.started = started
        elif started or self._follows_all:
            self._after(found, started, view, info)
        return found

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Plan[Auth]:
        """Authenticate a request that :meth:`begin` could not decide.

        ``requirements`` are those of the route, where they are stricter than those passed to ``begin``.
        """
        auth = yield from self._finish(pending, requirements)
        if self.hooks.all or self._follows_all:
            self._after(auth, pending.started, pending.headers, pending.info)
        return auth

    def _after(self, auth: Auth, started: float, headers: HeaderView, info: RequestInfo | None) -> None:
        """Pass a request's identity to the hooks, and extend its session. The request does not wait for it.

        ``started`` is in seconds of the performance counter.
        """
        later: Plan[None] | None = None
        if self._name != MOONKEY:
            set_provider(auth, self._name)
        if self._extends:
            later = self.session_extender.extension_due(auth, headers, info)
        elif self._follows_ends and (entry := cache_entry(auth)) is not None:
            self.sliding_expiration.update_end(entry)
        if self._follows_ends:
            follow_end(auth)
        if self.records is not None:  # what it notes of the session is noted of the one with this end
            self.records.attach(auth, headers)
        if self.hooks.all:
            self.hooks.emit(verified_event(auth, _clock.elapsed() - started))
            if fresh_jwt(auth) is not None and (verified := peek_identity(auth)) is not None:
                self.hooks.emit(Refreshed(verified[0].id, verified[1].id, scope=verified[0].scope))
            if (actor := actor_of(auth)) is not None and (facts := credential_facts(auth)) is not None:
                self.hooks.emit(Delegated(facts.user_id, facts.session_id, actor, scope=facts.scope))
            changed = self.devices.changed(auth, headers, info)
            if changed is not None:
                self.hooks.emit(changed)
        if later is not None:
            self.run_later(later)


def _bounds_of_sessions(settings: Settings, provider: Provider) -> tuple[int, int]:
    """Return the shortest and the longest life of a session, in minutes: a provider's own, within the settings."""
    low, high = settings.min_session_minutes, settings.max_session_minutes
    own: range | None = getattr(provider, "session_minutes", None)
    if own is None:
        return low, high
    usual = Settings.__dataclass_fields__["max_session_minutes"].default
    return max(low, own.start), own.stop - 1 if high == usual else min(high, own.stop - 1)


def provider_of(settings: Settings, clock: Callable[[], float] = _clock.wall) -> Provider:
    """Return the provider of the settings: MoonKey unless they name another one."""
    if settings.provider is not None:
        return settings.provider
    from moonkey_core.providers.moonkey.client import MoonKeyApi  # for those who use it only

    return MoonKeyApi(settings, clock)


def _store_namers(settings: Settings, provider: Provider) -> tuple[_Namer | None, _Namer | None]:
    """Return the functions that make the names of entries in the shared store, if there is one.

    The second one makes the names that were in use with the previous secrets, if there are any. The secret key is
    part of the names: the API's reply to one app about a credential is not valid for another. So are the issuers
    of any other provider than MoonKey.
    """
    if settings.redis_url is None:
        return None, None
    current, *former = (_store_namer(settings, secrets, provider) for secrets in secrets_of(settings))
    return current, former[0] if former else None


def _store_namer(settings: Settings, secrets: Secrets, provider: Provider) -> _Namer:
    sealer, key = sealer_of(secrets.fleet, settings, "place"), secrets.api.reveal()
    if settings.provider is not None:
        key = " ".join((key, provider.name, *sorted(provider.scopes)))
    return lambda entry: sealer.digest(f"{key} {entry}")
