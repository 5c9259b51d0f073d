"""Rules between settings: which values go together, and which do not.

Each function takes the values that it compares, already parsed. All raise
:class:`~moonkey_core.errors.ConfigurationError`, whose message names the setting and never repeats its value.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from urllib.parse import unquote_plus, urlsplit

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import Secret, is_on_loopback, is_plain_http_off_loopback
from moonkey_core.settings.names import both_names
from moonkey_core.settings.sign_in_settings import SignInSettings


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


def check_local_verification(
    *, jwt_issuer: tuple[str, ...], jwt_audience: tuple[str, ...], strict_subject: bool
) -> None:
    """Refuse a rule for JWTs where no JWT is verified locally, as that rule would have no effect."""
    for name, is_set in (("jwt_audience", bool(jwt_audience)), ("strict_subject", strict_subject)):
        if is_set and not jwt_issuer:
            raise setting_error(name, "has no effect without jwt_issuer: no JWT is verified here then. Set both.")


def check_cookie_security(cookies: CookieSettings | None, base_url: str) -> None:
    """Refuse cookies without Secure while ``base_url`` is a public https API."""
    is_public = base_url.startswith("https:") and not is_on_loopback(base_url)
    if cookies is not None and cookies.insecure_development and is_public:
        raise setting_error(
            "cookies", "must not be insecure_development ones while base_url is a public https API."
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
