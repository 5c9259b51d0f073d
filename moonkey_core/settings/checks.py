"""Rules between settings: which values go together, and which do not.

Each function takes the values that it compares, already parsed. All raise
:class:`~moonkey_core.errors.ConfigurationError`, whose message names the setting and never repeats its value.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from urllib.parse import unquote_plus, urlsplit

from moonkey_core.errors import ConfigurationError, spoken
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import Secret, is_on_loopback, is_plain_http_off_loopback
from moonkey_core.settings.names import both_names
from moonkey_core.settings.provider_choice import ChosenProvider
from moonkey_core.settings.sign_in_settings import SignInSettings

MOONKEY_ONLY: Mapping[str, str] = {
    "base_url": "",
    "public_token": "",
    "oauth_start_url": "",
    "allow_http": "",
    "jwt_issuer": "",
    "jwt_audience": "",
    "jwt_session_claims": "",
    "jwt_max_age": "",
    "strict_subject": "",
    "jwks_url": "",
    "jwks_auth": "",
    "jwks": "",
    "call_budget": "introspect",
    "refresh_jwt": "refresh_jwt",
    "load_user": "get_user",
    "user_ttl": "get_user",
    "min_session_minutes": "extend",
    "max_session_minutes": "extend",
    "extend_on_activity": "extend",
    "extend_every": "extend",
    "session_max_lifetime": "extend",
}
"""Settings that another provider does not know, each with the capability that makes it know them, if any does."""


_OF_MFA = frozenset({"mfa_scope", "mfa_single_process", "mfa_header", "mfa_unenrolled", "mfa_enrol_url"})


def check_plain_http(base_url: str, jwks_url: str | None, *, allow_http: bool) -> None:
    """Refuse plain http off loopback; with ``allow_http`` warn about it instead."""
    for name, url in (("base_url", base_url), ("jwks_url", jwks_url)):
        if url is None or not is_plain_http_off_loopback(url):
            continue
        if not allow_http:
            raise setting_error(
                name, "uses plain http off loopback. Use https, or set allow_http=True for a test."
            )
        warnings.warn(
            f"{both_names(name)} uses plain http: the secret key and every credential travel unprotected.",
            RuntimeWarning,
            stacklevel=4,
        )


def check_lifetime_bounds(min_session_minutes: int, max_session_minutes: int) -> None:
    """Refuse a shortest session lifetime above the longest one. Both are in minutes."""
    if min_session_minutes > max_session_minutes:
        raise setting_error("min_session_minutes", "is greater than max_session_minutes. Swap or correct them.")


def check_call_budget(call_budget: float | None, timeout: float) -> None:
    """Refuse a budget with which the turn of a call may come after its deadline. ``timeout`` is in seconds."""
    if call_budget is not None and call_budget * timeout < 1:
        raise setting_error(
            "call_budget",
            "allows less than one call within timeout, so known sessions would get 503 too. Raise it, or timeout.",
        )


def check_local_verification(
    *, jwt_issuer: tuple[str, ...], jwt_audience: tuple[str, ...], strict_subject: bool
) -> None:
    """Refuse a rule for JWTs where no JWT is verified locally, as that rule would have no effect."""
    for name, is_set in (("jwt_audience", bool(jwt_audience)), ("strict_subject", strict_subject)):
        if is_set and not jwt_issuer:
            raise setting_error(name, "has no effect without jwt_issuer: no JWT is verified here then. Set both.")


def check_cookie_security(cookies: CookieSettings | None, urls: Iterable[str]) -> None:
    """Refuse cookies without Secure while the API, or an issuer, is a public https one."""
    public = [url for url in urls if url.startswith("https:") and not is_on_loopback(url)]
    if cookies is not None and cookies.insecure_development and public:
        raise setting_error(
            "cookies",
            "must not be insecure_development ones while base_url or an issuer is a public https address.",
        )


def check_moonkey_only(given: Iterable[str], chosen: Iterable[ChosenProvider]) -> None:
    """Refuse settings that none of the providers knows.

    Args:
        given: The names of the settings that are set.
        chosen: The providers.
    """
    others = [one for one in chosen if not isinstance(one, str)]
    if len(others) < len(tuple(chosen)):
        return  # MoonKey is among them, which knows them all
    able = frozenset[str]().union(*(one.capabilities for one in others))
    wrong = [name for name in given if MOONKEY_ONLY.get(name, "") not in able and name in MOONKEY_ONLY]
    if not wrong:
        return
    names = " and ".join(repr(one.name) for one in others)
    unknown = [both_names(name) for name in wrong if not MOONKEY_ONLY[name]]
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)}: only MoonKey knows this, and the provider is {names}. Leave it out, or pass "
            "what it stands for to the provider itself."
        )
    needed = MOONKEY_ONLY[wrong[0]]
    idle = [both_names(name) for name in wrong if MOONKEY_ONLY[name] == needed]
    who = "the provider" if len(others) == 1 else "the providers"
    raise ConfigurationError(f"{', '.join(idle)}: {who} {names} cannot {spoken(needed)}. Leave it out.")


def check_sign_in_usable(sign_in: SignInSettings, chosen: Iterable[ChosenProvider]) -> None:
    """Refuse what is about sign-in steps where no provider signs users in. What is about pages has its effect."""
    if any(isinstance(one, str) or "sign_in" in one.capabilities for one in chosen):
        return
    wrong = sign_in.about_sign_in_steps()
    if wrong:
        raise setting_error(
            "sign_in",
            f"has {', '.join(wrong)}, which is about signing in: the provider does not sign users in here. Leave "
            "that out. What is about pages has its effect, such as page, home, after_sign_out and language.",
        )


def check_records(
    given: Collection[str],
    *,
    lifetime: timedelta | None,
    by_user: bool,
    is_shared: bool,
    notes_starts: bool,
    limits: Iterable[timedelta | None],
    cookies: bool,
    handles: str | None,
    headers: Sequence[str],
) -> None:
    """Check the settings of what the app records of second factors and of starts of sessions.

    Args:
        given: The names of the settings that are set.
        lifetime: ``mfa_lifetime``.
        by_user: Whether a record counts for all clients of a user.
        is_shared: Whether all processes of the app, or the only one, see the same records.
        notes_starts: ``note_starts``.
        limits: For each provider, how long a session lasts at most whose start is noted.
        cookies: Whether there are cookies.
        handles: ``mfa_handles``.
        headers: The names of all headers that a request may hold credentials or handles in.
    """
    idle = [name for name in given if name in _OF_MFA] if lifetime is None else []
    if idle:
        raise setting_error(idle[0], "has no effect without mfa_lifetime. Set both.")
    if by_user and not is_shared:
        raise setting_error(
            "mfa_lifetime",
            "is set, and mfa_scope is 'user', here or by the provider: a second factor counts for all clients of "
            "its user, so all processes have to know of it. Set redis_url; or mfa_single_process=True, if one "
            "process serves the whole app; or mfa_scope='credential'.",
        )
    if notes_starts and not any(limits):
        raise setting_error("note_starts", "has no effect without longest_session. Set both.")
    if "longest_session" in given and not notes_starts:
        raise setting_error("longest_session", "has no effect without note_starts. Set both.")
    if handles == "cookie" and not cookies:
        raise setting_error("mfa_handles", "is 'cookie', and there are no cookies. Set cookies=CookieSettings().")
    if len({name.lower() for name in headers}) != len(headers):
        raise setting_error("mfa_header", "and start_header must name headers that hold nothing else.")


def check_feed(given: Collection[str], *, has_redis: bool, is_bounded: bool, bound: float, max_lag: float) -> None:
    """Check the settings of a lost feed against each other.

    Args:
        given: The names of the settings that are set.
        has_redis: Whether there is a feed.
        is_bounded: Whether ``on_feed_lost`` is ``bounded``.
        bound: ``feed_lost_bound``, in seconds.
        max_lag: ``max_revocation_lag``, in seconds.
    """
    idle = [name for name in given if name in ("on_feed_lost", "feed_lost_bound")]
    if idle and not has_redis:
        raise setting_error(idle[0], "has no effect without redis_url: there is no feed to lose. Set both.")
    if "feed_lost_bound" in given and not is_bounded:
        raise setting_error("feed_lost_bound", "has no effect without on_feed_lost='bounded'. Set both.")
    if is_bounded and bound < max_lag:
        raise setting_error("feed_lost_bound", "is shorter than max_revocation_lag. Raise it, or lower that.")


def check_sealing(cache_secret: Secret | None, *, cookies: bool, redis: bool, records: bool = False) -> None:
    """Refuse what has to be sealed where there is no secret to seal it with. There is no secret key.

    Args:
        cache_secret: The secret.
        cookies: Whether there are cookies.
        redis: Whether there is a Redis.
        records: Whether clients get handles.
    """
    needed_by = (
        "redis_url" if redis else "cookies" if cookies else "mfa_lifetime or note_starts" if records else ""
    )
    if needed_by and cache_secret is None:
        raise setting_error(
            "cache_secret",
            f"is missing: it protects what {needed_by} needs, and there is no secret_key to do so. Set it to a "
            "random text, the same in all processes.",
        )


def check_sliding_expiration(
    extend_on_activity: timedelta | None, extend_every: timedelta | None, min_minutes: int, max_minutes: int
) -> None:
    """Check the settings of sliding expiration against each other and against the bounds of a session lifetime."""
    if extend_on_activity is not None:
        _check_lifetime("extend_on_activity", extend_on_activity, min_minutes, max_minutes)
        if extend_every is not None and extend_every >= extend_on_activity:
            raise setting_error("extend_every", "must be shorter than extend_on_activity.")
    elif extend_every is not None:
        raise setting_error("extend_every", "has no effect without extend_on_activity. Set both.")


def check_sign_in_lifetimes(sign_in: SignInSettings, min_minutes: int, max_minutes: int) -> None:
    """Check the session lifetimes of the sign-in routes against the bounds of a session lifetime."""
    _check_lifetime("sign_in", sign_in.lifetime, min_minutes, max_minutes)
    _check_lifetime("sign_in", sign_in.remember_me, min_minutes, max_minutes)


def check_key_set_address(jwks_url: str | None, base_url: str, secret_key: Secret, *, sends_key: bool) -> None:
    """Refuse a key-set address that shows the secret key, in its query or to another origin than the API's."""
    if secret_key.reveal() in unquote_plus(urlsplit(jwks_url or "").query):
        raise setting_error(
            "jwks_url", "holds the secret key. It is sent in a header: leave it out of the address."
        )
    if sends_key and jwks_url is not None and _origin(jwks_url) != _origin(base_url):
        raise setting_error(
            "jwks_url",
            "is on another host than base_url, which must not see the secret key. Set jwks_auth='none'.",
        )


def session_minutes(duration: timedelta | int, min_minutes: int, max_minutes: int) -> int:
    """Convert a session lifetime to whole minutes.

    Args:
        duration: A ``timedelta``, or whole minutes.
        min_minutes: The shortest lifetime that is allowed.
        max_minutes: The longest one.

    Raises:
        ValueError: The duration is of another type, or outside these bounds.
    """
    minutes = duration.total_seconds() / 60 if isinstance(duration, timedelta) else duration
    if not isinstance(duration, timedelta) and type(duration) is not int:
        raise ValueError("A session lifetime is a timedelta or a whole number of minutes.")
    if not min_minutes <= minutes <= max_minutes:
        raise ValueError(f"A session lifetime must be {min_minutes} to {max_minutes} minutes, not {minutes:g}.")
    return int(minutes)


def setting_error(name: str, problem: str) -> ConfigurationError:
    """Return the error for one setting."""
    return ConfigurationError(f"{both_names(name)} {problem}")


def _check_lifetime(name: str, duration: timedelta, min_minutes: int, max_minutes: int) -> None:
    try:
        session_minutes(duration, min_minutes, max_minutes)
    except ValueError as error:
        raise setting_error(name, f"is no session lifetime. {error}") from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
