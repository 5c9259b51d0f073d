"""The settings of a client: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from moonkey_core._dataclass import dataclass
from moonkey_core._provider import Provider
from moonkey_core._spelling import KnownArguments
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.checks import (
    MOONKEY_ONLY,
    check_call_budget,
    check_cookie_security,
    check_feed,
    check_key_set_address,
    check_lifetime_bounds,
    check_local_verification,
    check_moonkey_only,
    check_plain_http,
    check_records,
    check_sealing,
    check_sign_in_lifetimes,
    check_sign_in_usable,
    check_sliding_expiration,
    session_minutes,
    setting_error,
)
from moonkey_core.settings.client_choice import without_clients
from moonkey_core.settings.cookie_settings import CookieSettings, cookie_settings
from moonkey_core.settings.effects import check_effects
from moonkey_core.settings.fields import (
    Network,
    Secret,
    base_url,
    cache_secret,
    check_unquoted,
    choice,
    directory,
    duration,
    flag,
    handle_header,
    header_name,
    header_names,
    key_set,
    key_set_url,
    networks,
    oauth_start_url,
    optional_choice,
    optional_number,
    optional_secret_key,
    page_address,
    previous_cache_secret,
    previous_secret_key,
    public_token,
    quoted_text,
    redis_url,
    seconds,
    whole_number,
    words,
)
from moonkey_core.settings.names import DJANGO_KEYS, check_arguments, from_variables, likely_key_variable
from moonkey_core.settings.provider_choice import (
    MOONKEY,
    PRESETS,
    ChosenProvider,
    argument_names,
    check_used,
    preset_of,
    providers,
    single_provider,
    token_prefix,
    without_words,
)
from moonkey_core.settings.routes import (
    Routed,
    check_header_names,
    cookies_of,
    own_cookies,
    own_headers,
    set_routes,
)
from moonkey_core.settings.sign_in_settings import SignInSettings, sign_in_settings

if TYPE_CHECKING:
    from moonkey_core.settings.options import Options

_MISSING_KEY = "is missing. Set it to the secret key (sk_test_… or sk_live_…) of your app."


def _setting(parse: Any, default: Any, *, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings(Routed, KnownArguments):
    """All settings. Immutable; every instance has been validated.

    Build one with :meth:`load`. All durations are seconds unless the name contains ``minutes``.

    Raises:
        ConfigurationError: A setting is wrong or missing; the message names it and what to write instead.
    """

    secret_key: Secret | None = _setting(
        optional_secret_key,
        None,
        help="The app's secret API key (`sk_test_…` or `sk_live_…`). MoonKey needs it; other providers do not.",
    )
    previous_secret_key: Secret | None = _setting(
        previous_secret_key, None, help="The secret key before it, while it is being changed. It is not sent."
    )
    base_url: str = _setting(
        base_url,
        "https://api.moonkey.fun",
        help="Root of the API, without `/v1`. https, or plain http on loopback.",
    )
    provider: Provider | None = _setting(
        single_provider,
        None,
        help="The identity provider, if it is not MoonKey: an `OIDC`, one of the presets, your own, or a word "
        "such as `auth0`.",
    )
    providers: tuple[ChosenProvider, ...] = _setting(
        providers,
        (),
        help="Several identity providers at once, each with a name of its own; `moonkey` among them is MoonKey.",
    )
    public_token: str | None = _setting(
        public_token, None, help="The app's public token (`pk_…`), which `oauth.start_url` needs."
    )
    oauth_start_url: str | None = _setting(
        oauth_start_url,
        None,
        help="Where OAuth begins, if not at `<base_url>/v1/auth/oauth/{provider}/begin`; with `{provider}` in it.",
    )
    allow_http: bool = _setting(
        flag, False, help="Allow a plain http `base_url` off loopback. Warns; the key travels unprotected."
    )
    jwt_issuer: tuple[str, ...] = _setting(
        words,
        (),
        help="Exact `iss` of your app's JWTs (one or several). Turns local JWT verification on.",
    )
    jwt_audience: tuple[str, ...] = _setting(words, (), help="If set, a JWT's `aud` must contain one of these.")
    jwt_session_claims: tuple[str, ...] = _setting(
        words,
        ("https://streambird.io/jwt/session", "session"),
        help="Names under which the session claim is looked for, first match wins.",
    )
    jwt_max_age: float = _setting(
        seconds(1, 86_400), 300.0, help="Oldest `iat` accepted locally, in seconds, whatever `exp` says."
    )
    leeway: float = _setting(
        seconds(0, 60), 5.0, help="Clock difference allowed on `exp`, `nbf` and a future `iat`, in seconds."
    )
    strict_subject: bool = _setting(
        flag, False, help="Also require `sub` to equal the `user_id` inside the session claim."
    )
    refresh_jwt: bool = _setting(
        flag, True, help="Send a JWT that is genuine in all but age to the API for a new one."
    )
    jwks_url: str | None = _setting(
        key_set_url,
        None,
        help="Key-set address, if not `<base_url>/v1/auth/jwks/default`; a query is never shown.",
    )
    jwks_auth: Literal["header", "none"] = _setting(
        choice("header", "none"), "header", help="Send the secret key with the key-set request, or not."
    )
    jwks: Mapping[str, object] | None = _setting(
        key_set, None, help="A fixed key set (JSON); nothing is fetched then."
    )
    jwks_ttl: float = _setting(
        seconds(1, 86_400), 600.0, help="Age at which the key set is fetched again, in seconds."
    )
    jwks_max_stale: float = _setting(
        seconds(0, 86_400),
        3600.0,
        help="How long after the last good fetch the keys stay usable while fetching fails, in seconds.",
    )
    jwks_timeout: float = _setting(
        seconds(0.05, 30), 3.0, help="Deadline of one key-set fetch with its retry, in seconds."
    )
    credential_headers: tuple[str, ...] = _setting(
        header_names,
        ("authorization", "session-token"),
        help="Request headers that may carry a credential. `authorization` is read as Bearer, and is the only "
        "one of other providers than MoonKey, if this is not set.",
    )
    max_credential_length: int = _setting(
        whole_number(64, 16_384), 8192, help="Longest credential that is accepted, in characters (up to 16384)."
    )
    min_session_minutes: int = _setting(
        whole_number(1, 527_040), 5, help="Shortest session lifetime that may be requested, in minutes."
    )
    max_session_minutes: int = _setting(
        whole_number(1, 527_040), 527_040, help="Longest session lifetime that may be requested, in minutes."
    )
    load_user: bool | None = _setting(
        flag,
        None,
        help="Complete `auth.user` through the API where the credential says only the id. Not set: for cookies, "
        "as far as the API can be asked.",
    )
    user_ttl: float = _setting(
        seconds(0, 60), 60.0, help="How long a loaded user is remembered, in seconds (at most 60)."
    )
    realm: str = _setting(quoted_text, "moonkey", help="The realm named in `WWW-Authenticate`.")
    fresh_jwt_header: str | None = _setting(
        header_name, None, help="Response header in which a refreshed JWT is handed out, if any."
    )
    session_cache_ttl: float = _setting(
        seconds(0, 60),
        0.0,
        help="How long an answer of the API about a credential is reused, in seconds (at most 60). 0: never.",
    )
    grace_seconds: float = _setting(
        seconds(0, 300),
        0.0,
        help="While the API cannot be reached, accept sessions verified at most so many seconds ago. 0: never.",
    )
    max_cached_sessions: int = _setting(
        whole_number(1, 10_000_000), 100_000, help="Most verified credentials remembered at a time."
    )
    max_revocations: int = _setting(
        whole_number(1, 10_000_000),
        100_000,
        help="Most ended sessions remembered singly; beyond, the API is asked, or `add` raises.",
    )
    max_untold_revocations: int = _setting(
        whole_number(1, 10_000_000),
        100_000,
        help="Most revocations that the API was not told of; beyond, everything issued before is refused.",
    )
    redis_url: Secret | None = _setting(
        redis_url,
        None,
        help="Redis of the fleet, for its revocation feed and store (`redis://…`, `rediss://…`, `unix://…`, "
        "`redis+sentinel://…/service`, `redis+cluster://…`).",
    )
    cache_secret: Secret | None = _setting(
        cache_secret, None, help="Protects cookies and what lies in Redis; if not set, `secret_key` does."
    )
    previous_cache_secret: Secret | None = _setting(
        previous_cache_secret, None, help="What protected them before, while that is being changed."
    )
    max_revocation_lag: float = _setting(
        seconds(0.1, 60), 1.0, help="With a feed: how far behind it a process may be, in seconds."
    )
    on_feed_lost: Literal["remote", "bounded", "local", "refuse"] = _setting(
        choice("remote", "bounded", "local", "refuse"),
        "remote",
        help="When further behind: verify JWTs at the API, the same once in `feed_lost_bound`, go on locally, or "
        "refuse them with 503.",
    )
    feed_lost_bound: float = _setting(
        seconds(0.1, 300),
        10.0,
        help="With `on_feed_lost=bounded`: how long what was known last counts meanwhile, in seconds.",
    )
    redis_replicas: int = _setting(
        whole_number(0, 10),
        0,
        help="How many replicas of Redis must have a revocation before it counts as published (`WAIT`).",
    )
    feed_directory: str | None = _setting(
        directory,
        None,
        help="A folder for the app's user alone (mode 700), in which the processes of a machine share a reader of "
        "the feed.",
    )
    publish_timeout: float = _setting(
        seconds(0, 10),
        0.1,
        help="With a feed: how long ending a session waits for Redis to have the revocation, in seconds.",
    )
    timeout: float = _setting(
        seconds(0.05, 60), 5.0, help="Total deadline of one verification with all its tries, in seconds."
    )
    max_connections: int = _setting(
        whole_number(1, 1000), 64, help="Connections to the API per process (per event loop when async)."
    )
    call_budget: float | None = _setting(
        optional_number(0.1, 1_000_000),
        None,
        help="Most verifications that a process asks of the API per second; known sessions first, others get 503.",
    )
    transport: Literal["auto", "httpx", "aiohttp"] = _setting(
        choice("auto", "httpx", "aiohttp"),
        "auto",
        help="What carries asynchronous calls: `aiohttp` where it is installed (extra `fast`), else `httpx`.",
    )
    trust_env: bool = _setting(
        flag, False, help="Let proxy and certificate variables of the environment apply to API calls."
    )
    cookies: CookieSettings | None = _setting(
        cookie_settings,
        None,
        help="Browser sessions in cookies: a `CookieSettings`, a dict of its arguments, or `true`.",
    )
    sign_in: SignInSettings = _setting(
        sign_in_settings,
        SignInSettings(),
        help="The ready-made sign-in routes: a `SignInSettings`, a dict, or the app's own sign-in page alone.",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        networks,
        (),
        help="Addresses or networks of your own proxies (or `unix`), whose `X-Forwarded-*` are believed; "
        "`none`: no proxy, the peer is the client.",
    )
    extend_on_activity: timedelta | None = _setting(
        duration(300, 34_560_000),
        None,
        help="Keep a session in use alive: its end moves to that time from now. Seconds or a `timedelta`.",
    )
    extend_every: timedelta | None = _setting(
        duration(60, 34_560_000),
        None,
        help="How often an active session is extended; a twentieth of `extend_on_activity` if not set.",
    )
    session_max_lifetime: timedelta = _setting(
        duration(300, 34_560_000),
        timedelta(days=90),
        help="How long after its start activity may keep a session alive. Seconds or a `timedelta`.",
    )
    expires_in_header: bool = _setting(
        flag, False, help="Tell a front end in `Session-Expires-In` how many seconds its session has left."
    )
    longest_session: timedelta | None = _setting(
        duration(300, 34_560_000),
        None,
        help="How long a session of the provider lasts at most, where its tokens do not say so. Seconds or a "
        "`timedelta`.",
    )
    note_starts: bool = _setting(
        flag, False, help="The app notes each sign-in with `client.sessions.note_start`, as the tokens do not."
    )
    start_header: str = _setting(
        handle_header, "session-start", help="Header of the handle for a noted start, in requests and responses."
    )
    mfa_lifetime: timedelta | None = _setting(
        duration(60, 34_560_000),
        None,
        help="How long a second factor that was recorded with `client.mfa` counts. Seconds or a `timedelta`.",
    )
    mfa_scope: Literal["credential", "user"] | None = _setting(
        optional_choice("credential", "user"),
        None,
        help="For whom it counts: the client with its handle, or all of the user's. Not set: as the provider has "
        "it, mostly `user`.",
    )
    mfa_single_process: bool = _setting(
        flag,
        False,
        help="One process serves the whole app: records of users may stay in its memory, without Redis.",
    )
    mfa_handles: Literal["header", "cookie"] | None = _setting(
        optional_choice("header", "cookie"),
        None,
        help="Where clients keep handles. Not set: where the credential of the request stands.",
    )
    mfa_header: str = _setting(
        handle_header, "mfa-handle", help="Header of the handle for a second factor, in requests and responses."
    )
    mfa_unenrolled: Literal["refuse", "allow"] = _setting(
        choice("refuse", "allow"),
        "refuse",
        help="What `mfa_max_age` does with a user who is known to have enrolled no second factor.",
    )
    mfa_enrol_url: str | None = _setting(
        page_address,
        None,
        help="Where such a user enrols one: a path of the app, or a URL; named in the refusal.",
    )

    def __post_init__(self) -> None:
        """Parse each setting, then check those that depend on each other."""
        given = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not field.default:
                object.__setattr__(self, field.name, _parsed(field.name, field.metadata["parse"], value))
                given.append(field.name)
        self._choose(given)
        # Called from here alone: the warning of the first one is attributed to the code that made the settings.
        check_plain_http(self.base_url, self.jwks_url, allow_http=self.allow_http)
        bounds = self.min_session_minutes, self.max_session_minutes
        check_lifetime_bounds(*bounds)
        check_call_budget(self.call_budget, self.timeout)
        check_local_verification(
            jwt_issuer=self.jwt_issuer, jwt_audience=self.jwt_audience, strict_subject=self.strict_subject
        )
        check_cookie_security(self.cookies, self._public_urls)
        check_sliding_expiration(self.extend_on_activity, self.extend_every, *bounds)
        if self.cookies is not None:
            check_sign_in_lifetimes(self.sign_in, *bounds)
        if self.uses_moonkey and self.secret_key is None:
            raise setting_error("secret_key", _MISSING_KEY)
        self._check_given(given)
        check_feed(
            given,
            has_redis=self.redis_url is not None,
            is_bounded=self.on_feed_lost == "bounded",
            bound=self.feed_lost_bound,
            max_lag=self.max_revocation_lag,
        )
        if self.secret_key is None:
            check_sealing(
                self.cache_secret,
                cookies=self.uses_cookies,
                redis=self.redis_url is not None,
                records=self.mfa_lifetime is not None or self.note_starts,
            )
        sends_key = self.jwks_auth == "header"
        for key in (self.secret_key, self.previous_secret_key):
            if key is not None:
                check_key_set_address(self.jwks_url, self.base_url, key, sends_key=sends_key)

    def __copy__(self) -> Settings:
        """Return the settings themselves, which never change."""
        return self

    def _choose(self, given: Sequence[str]) -> None:
        """Settle which providers there are and where their credentials stand. ``given``: the names that are set.

        Raises:
            ConfigurationError: The settings contradict each other.
        """
        object.__setattr__(self, "routes", None)
        object.__setattr__(self, "own_name", None)
        if self.provider is not None and self.providers:
            raise setting_error("providers", "has no effect beside provider. Give one of the two.")
        if len(self.providers) == 1:
            only = self.providers[0]
            object.__setattr__(self, "provider", None if isinstance(only, str) else only)
            object.__setattr__(self, "providers", ())
        only_one: ChosenProvider = self.provider or MOONKEY
        chosen = self.providers or (only_one,)
        check_moonkey_only(given, chosen)  # before anything is made of the provider
        check_sign_in_usable(self.sign_in, chosen)
        if self.providers:
            set_routes(self, MOONKEY_ONLY)
        elif self.provider is not None:
            self._take_places(self.provider, given)
        self.derive()

    def derive(self) -> None:
        """Work out what follows from other settings and from the provider, and each request asks for."""
        longest = self.longest_session or getattr(self.provider, "longest_session", None)
        limit = longest if self.note_starts else None  # of no use to an app that notes nothing
        scope = self.mfa_scope or getattr(self.provider, "mfa_scope", "user")
        is_any = self.mfa_lifetime is not None or limit is not None
        others = any(one.adds_to_responses for one in self.members.values())
        object.__setattr__(self, "token_prefix", token_prefix(self.provider))
        object.__setattr__(self, "session_limit", limit)
        object.__setattr__(self, "records_by_user", self.mfa_lifetime is not None and scope == "user")
        object.__setattr__(self, "adds_to_responses", self.expires_in_header or is_any or others)
        cookie = () if self.cookies is None else ("cookie",)
        object.__setattr__(self, "identity_headers", (*self.credential_headers, *cookie))
        object.__setattr__(self, "needs_request_info", self.cookies is not None or bool(self.trusted_proxies))

    def _check_given(self, given: Sequence[str]) -> None:
        """Check that each of these settings has an effect. Once more for those with the value of the default."""
        every = tuple(self.members.values()) or (self,)
        check_moonkey_only(given, self.providers or (self.provider or MOONKEY,))
        check_records(
            given,
            lifetime=self.mfa_lifetime,
            by_user=any(one.records_by_user for one in every),
            is_shared=self.redis_url is not None or self.mfa_single_process,
            notes_starts=self.note_starts,
            limits=[one.session_limit for one in every],
            cookies=self.uses_cookies,
            handles=self.mfa_handles,
            headers=(*self.credential_headers, *self.handle_headers),
        )
        check_effects(given, every)

    def _take_places(self, provider: Provider, given: Sequence[str]) -> None:
        """Take over where the only provider, which is not MoonKey, says that its credentials stand."""
        headers, cookies = own_headers(provider), own_cookies(provider)
        for name, own in (("credential_headers", headers), ("cookies", cookies)):
            if own and name in given:
                raise setting_error(name, f"is set here and at the provider {provider.name!r}. Set it once.")
        if "credential_headers" not in given:
            object.__setattr__(self, "credential_headers", headers or ("authorization",))
        cookies = self.cookies if cookies is None else cookies
        if cookies is not None:
            object.__setattr__(self, "cookies", cookies_of(provider, cookies))
        check_header_names(self.credential_headers, provider)

    @property
    def members(self) -> Mapping[str, Settings]:
        """With several providers: the settings of each, by its name. Empty in these and in those of one."""
        return self.routes.members if self.routes is not None and self.own_name is None else {}

    def of_provider(self, name: str) -> Settings:
        """Return the settings of one provider of several; these settings where there is no such provider."""
        return self if self.routes is None else self.routes.members.get(name, self)

    @property
    def uses_moonkey(self) -> bool:
        """Whether MoonKey is the provider, or one of them."""
        return MOONKEY in self.providers if self.providers else self.provider is None

    @property
    def api_key(self) -> Secret:
        """The secret key of MoonKey's API.

        Raises:
            ConfigurationError: There is none, as the provider is another one.
        """
        if self.secret_key is None:
            raise setting_error("secret_key", _MISSING_KEY)
        return self.secret_key

    @property
    def sealed_for(self) -> str:
        """What keeps data apart that is sealed with one secret: the address of the API, or the provider."""
        return self.base_url if self.provider is None else f"provider {self.provider.name}"

    @property
    def uses_cookies(self) -> bool:
        """Whether any provider has cookies."""
        return bool(self.all_cookies)

    @property
    def all_cookies(self) -> tuple[CookieSettings, ...]:
        """The cookies of each provider that has some."""
        every = self.members.values() or (self,)
        return tuple(one.cookies for one in every if one.cookies is not None)

    @property
    def _public_urls(self) -> tuple[str, ...]:
        """The addresses by which one can tell whether this is a test: of the API, or else the issuers."""
        chosen = self.providers or (self.provider,)
        others = [one for one in chosen if one is not None and not isinstance(one, str)]
        issuers = [issuer for one in others if one.jwt_rules is not None for issuer in one.jwt_rules.issuers]
        return (*((self.base_url,) if self.uses_moonkey else ()), *issuers)

    @property
    def varied_headers(self) -> tuple[str, ...]:
        """The request headers that may hold a credential, or a handle beside one."""
        return (*self.identity_headers, *self.handle_headers)

    @property
    def handle_headers(self) -> tuple[str, ...]:
        """The headers in which handles stand, in requests and responses."""
        if not self.adds_to_responses or self.mfa_handles == "cookie":
            return ()
        every = self.members.values() or (self,)
        mfa = (self.mfa_header,) if any(one.uses_mfa_handles for one in every) else ()
        start = (self.start_header,) if any(one.session_limit is not None for one in every) else ()
        return (*mfa, *start)

    @property
    def handle_cookies(self) -> tuple[str, ...]:
        """The names of the cookies in which handles stand."""
        if self.cookies is None or self.mfa_handles == "header":
            return ()
        mfa = (self.cookies.mfa_name,) if self.uses_mfa_handles else ()
        return mfa if self.session_limit is None else (*mfa, self.cookies.start_name)

    @property
    def has_lasting_secret(self) -> bool:
        """Whether there is a secret that outlives this process, and that other processes have."""
        return self.secret_key is not None or self.cache_secret is not None

    @property
    def uses_mfa_handles(self) -> bool:
        """Whether a client keeps a handle for a second factor."""
        return self.mfa_lifetime is not None and not self.records_by_user

    @property
    def lost_feed_seconds(self) -> float:
        """For how long what the provider said last counts while the feed is lost, in seconds."""
        return self.feed_lost_bound if self.on_feed_lost == "bounded" else self.max_revocation_lag

    @classmethod
    def load(
        cls, options: Options | Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Load the settings: each from ``options``, else from its ``MOONKEY_*`` variable, else its default.

        Args:
            options: Settings by name; one that is ``None`` counts as missing.
            environ: The variables, if not those of the process; an empty one counts as missing.

        Raises:
            ConfigurationError: A setting is wrong, missing or unknown.
        """
        environ = os.environ if environ is None else environ
        options = dict(options or {})
        check_names(options)
        set_variables = {name: value for name, value in environ.items() if value}
        found: dict[str, Any] = from_variables(set_variables, _names(), "environment variable", more=_names_of)
        options = {name: value for name, value in options.items() if value is not None}
        if "provider" in options or "providers" in options:
            found = {name: value for name, value in found.items() if name not in ("provider", "providers")}
        given, unused = without_words(without_clients({**found, **options}, has_value))
        check_used(unused, options)
        if not given.keys() & {"secret_key", "provider", "providers"}:
            also = f" {unused[0].upper()} has no effect without MOONKEY_PROVIDER." if unused else ""
            raise setting_error("secret_key", f"{_MISSING_KEY}{also}{likely_key_variable(set_variables)}")
        made = cls(**given)
        made._check_given(tuple(given))  # those with the value of the default, too
        return made

    def session_minutes(self, duration: timedelta | int) -> int:
        """Convert a session lifetime (``timedelta`` or minutes) to whole minutes.

        Raises:
            ValueError: The lifetime is of another type, or outside the configured bounds.
        """
        return session_minutes(duration, self.min_session_minutes, self.max_session_minutes)


@cache
def _names() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Settings))


def _names_of(name: str) -> tuple[str, ...]:
    """Return the arguments of the provider whose word the name of a setting begins with; else of all of them.

    The latter are for a suggestion: the name of a setting is no argument of a provider, but may be meant as one.
    """
    word = preset_of(name)
    own = () if word is None else argument_names(word)
    return own if name in own else tuple(one for word in PRESETS for one in argument_names(word))


def check_names(given: Collection[str], beside: Collection[str] = ()) -> None:
    """Check that all names are settings.

    Args:
        given: The names.
        beside: Other arguments that are allowed in the same place, and may have been misspelt.

    Raises:
        ConfigurationError: A name is no setting.
    """
    check_arguments(given, _names(), beside, _names_of)


def variables(
    found: Mapping[Any, Any], kind: str, *, in_django: bool = False, beside: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings among a framework's variables, such as ``MOONKEY_LEEWAY``, by the settings' names.

    Any other variable that begins with ``MOONKEY_`` is logged once, as it has no effect.

    Args:
        found: The variables.
        kind: What such a variable is called in messages.
        in_django: Whether they are Django's settings, whose ``MOONKEY`` dict has further keys.
        beside: Further names that belong there, and are returned with the settings.

    Raises:
        ConfigurationError: A name is nearly that of a setting, or belongs elsewhere.
    """
    if in_django:
        return from_variables(
            found,
            _names().union(DJANGO_KEYS),
            kind,
            lambda name: f"MOONKEY = {{{name.upper()!r}: …}}",
            more=_names_of,
        )
    return from_variables(found, _names().union(beside), kind, more=_names_of)


def has_value(settings: Settings, name: str, value: object) -> bool:
    """Return whether a setting has the value that ``value`` is parsed to."""
    return name in _names() and _is_same(lambda: _in_use(settings, name, value) == getattr(settings, name))


def are_equivalent(name: str, one: object, other: object) -> bool:
    """Return whether two values of a setting are parsed to the same.

    ``None`` and an empty text count as its default.
    """
    return _is_same(lambda: _as_stored(name, one) == _as_stored(name, other))


def _in_use(settings: Settings, name: str, value: object) -> object:
    stored = _as_stored(name, value)
    return cookies_of(settings.provider, stored) if isinstance(stored, CookieSettings) else stored


def _is_same(compare: Callable[[], bool]) -> bool:
    try:
        return bool(compare())
    except (ValueError, ConfigurationError):
        return False


def _as_stored(name: str, value: object) -> object:
    field = next((field for field in dataclasses.fields(Settings) if field.name == name), None)
    if field is None:  # an argument of a provider
        return value
    return field.default if value is None or value == "" else field.metadata["parse"](value)


def _parsed(name: str, parse: Any, value: object) -> object:
    try:
        return parse(check_unquoted(value))
    except ValueError as error:
        problem = str(error)
    raise setting_error(name, problem)  # outside of the handler: the context of the exception would hold the value
