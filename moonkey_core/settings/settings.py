"""The settings of a client: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from moonkey_core._spelling import KnownArguments
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.checks import (
    check_cookie_security,
    check_key_set_address,
    check_lifetime_bounds,
    check_local_verification,
    check_plain_http,
    check_sign_in_lifetimes,
    check_sliding_expiration,
    session_minutes,
    setting_error,
)
from moonkey_core.settings.cookie_settings import CookieSettings, cookie_settings
from moonkey_core.settings.fields import (
    Network,
    Secret,
    base_url,
    cache_secret,
    check_unquoted,
    choice,
    duration,
    flag,
    header_name,
    header_names,
    key_set,
    key_set_url,
    networks,
    quoted_text,
    redis_url,
    seconds,
    secret_key,
    whole_number,
    words,
)
from moonkey_core.settings.names import DJANGO_KEYS, check_arguments, from_variables
from moonkey_core.settings.options import Options
from moonkey_core.settings.sign_in_settings import SignInSettings, sign_in_settings

_REQUIRED = dataclasses.MISSING


def _setting(parse: Any, default: Any = _REQUIRED, *, help: str) -> Any:
    metadata = {"parse": parse, "help": help}
    if default is _REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings(KnownArguments):
    """All settings. Immutable; every instance has been validated.

    Build one with :meth:`load`. All durations are seconds unless the name contains ``minutes``.

    Raises:
        ConfigurationError: A setting is wrong or missing; the message names it and what to write instead.
    """

    secret_key: Secret = _setting(secret_key, help="The app's secret API key (`sk_test_…` or `sk_live_…`).")
    base_url: str = _setting(
        base_url,
        "https://api.moonkey.fun",
        help="Root of the API, without `/v1`. https, or plain http on loopback.",
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
        help="Request headers that may carry a credential. `authorization` is read as Bearer.",
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
    load_user: bool = _setting(
        flag, False, help="Complete `auth.user` through the API where the credential says only the id."
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
        help="Most revocations remembered singly; beyond, everything issued before is refused.",
    )
    redis_url: Secret | None = _setting(
        redis_url, None, help="Redis of the fleet, for its revocation feed and store (`redis://…`, `rediss://…`)."
    )
    cache_secret: Secret | None = _setting(
        cache_secret, None, help="Protects what lies in Redis; if not set, derived from `secret_key`."
    )
    max_revocation_lag: float = _setting(
        seconds(0.1, 60), 1.0, help="With a feed: how far behind it a process may be, in seconds."
    )
    on_feed_lost: Literal["remote", "local"] = _setting(
        choice("remote", "local"),
        "remote",
        help="When further behind: verify JWTs at the API, or go on locally.",
    )
    timeout: float = _setting(
        seconds(0.05, 60), 5.0, help="Total deadline of one verification with all its tries, in seconds."
    )
    max_connections: int = _setting(
        whole_number(1, 1000), 64, help="Connections to the API per process (per event loop when async)."
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
        sign_in_settings, SignInSettings(), help="The ready-made sign-in routes: a `SignInSettings` or a dict."
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        networks,
        (),
        help="Addresses or networks of your own proxies (or `unix`), whose `X-Forwarded-*` are believed.",
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

    def __post_init__(self) -> None:
        """Parse each setting, then check those that depend on each other."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not field.default:
                object.__setattr__(self, field.name, _parsed(field.name, field.metadata["parse"], value))
        # Called from here alone: the warning of the first one is attributed to the code that made the settings.
        check_plain_http(self.base_url, self.jwks_url, allow_http=self.allow_http)
        bounds = self.min_session_minutes, self.max_session_minutes
        check_lifetime_bounds(*bounds)
        check_local_verification(
            jwt_issuer=self.jwt_issuer, jwt_audience=self.jwt_audience, strict_subject=self.strict_subject
        )
        check_cookie_security(self.cookies, self.base_url)
        check_sliding_expiration(self.extend_on_activity, self.extend_every, *bounds)
        if self.cookies is not None:
            check_sign_in_lifetimes(self.sign_in, *bounds)
        sends_key = self.jwks_auth == "header"
        check_key_set_address(self.jwks_url, self.base_url, self.secret_key, sends_key=sends_key)

    @property
    def identity_headers(self) -> tuple[str, ...]:
        """The request headers that may hold a credential."""
        return self.credential_headers if self.cookies is None else (*self.credential_headers, "cookie")

    @property
    def needs_request_info(self) -> bool:
        """Whether more of a request is needed than its headers: method, scheme, peer address."""
        return self.cookies is not None or bool(self.trusted_proxies)

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
        given: dict[str, Any] = from_variables(set_variables, _NAMES, "environment variable")
        given.update((name, value) for name, value in options.items() if value is not None)
        if "secret_key" not in given:
            raise setting_error(
                "secret_key", "is missing. Set it to the secret key (sk_test_… or sk_live_…) of your app."
            )
        return cls(**given)

    def session_minutes(self, duration: timedelta | int) -> int:
        """Convert a session lifetime (``timedelta`` or minutes) to whole minutes.

        Raises:
            ValueError: The lifetime is of another type, or outside the configured bounds.
        """
        return session_minutes(duration, self.min_session_minutes, self.max_session_minutes)


_NAMES = frozenset(field.name for field in dataclasses.fields(Settings))


def check_names(given: Collection[str], beside: Collection[str] = ()) -> None:
    """Check that all names are settings.

    Args:
        given: The names.
        beside: Other arguments that are allowed in the same place, and may have been misspelt.

    Raises:
        ConfigurationError: A name is no setting.
    """
    check_arguments(given, _NAMES, beside)


def variables(found: Mapping[Any, Any], kind: str, *, in_django: bool = False) -> dict[str, Any]:
    """Return the settings among a framework's variables, such as ``MOONKEY_LEEWAY``, by the settings' names.

    Any other variable that begins with ``MOONKEY_`` is logged once, as it has no effect.

    Args:
        found: The variables.
        kind: What such a variable is called in messages.
        in_django: Whether they are Django's settings, whose ``MOONKEY`` dict has further keys.

    Raises:
        ConfigurationError: A name is nearly that of a setting, or belongs elsewhere.
    """
    if in_django:
        return from_variables(
            found, _NAMES.union(DJANGO_KEYS), kind, lambda name: f"MOONKEY = {{{name.upper()!r}: …}}"
        )
    return from_variables(found, _NAMES, kind)


def has_value(settings: Settings, name: str, value: object) -> bool:
    """Return whether a setting has the value that ``value`` is parsed to."""
    return _is_same(lambda: _as_stored(name, value) == getattr(settings, name))


def are_equivalent(name: str, one: object, other: object) -> bool:
    """Return whether two values of a setting are parsed to the same.

    ``None`` and an empty text count as its default.
    """
    return _is_same(lambda: _as_stored(name, one) == _as_stored(name, other))


def _is_same(compare: Callable[[], bool]) -> bool:
    try:
        return bool(compare())
    except (ValueError, ConfigurationError):
        return False


def _as_stored(name: str, value: object) -> object:
    field = next(field for field in dataclasses.fields(Settings) if field.name == name)
    return field.default if value is None or value == "" else field.metadata["parse"](value)


def _parsed(name: str, parse: Any, value: object) -> object:
    try:
        return parse(check_unquoted(value))
    except ValueError as error:
        problem = str(error)
    raise setting_error(name, problem)  # outside of the handler: the context of the exception would hold the value
