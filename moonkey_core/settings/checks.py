"""Which settings go together, and which do not."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.fields import is_on_loopback, is_plain_http_off_loopback
from moonkey_core.settings.names import both_names

if TYPE_CHECKING:
    from moonkey_core.settings import Settings


def check_together(settings: Settings) -> None:
    """Raises :class:`~moonkey_core.errors.ConfigurationError` for single values that contradict each other."""
    for name, url in (("base_url", settings.base_url), ("jwks_url", settings.jwks_url)):
        if url is None or not is_plain_http_off_loopback(url):
            continue
        if not settings.allow_http:
            raise wrong(name, "uses plain http off loopback. Use https, or set allow_http=True for a test.")
        warnings.warn(
            f"{both_names(name)} uses plain http: the secret key and every credential travel unprotected.",
            RuntimeWarning,
            stacklevel=4,
        )
    if settings.min_session_minutes > settings.max_session_minutes:
        raise wrong("min_session_minutes", "is greater than max_session_minutes. Swap or correct them.")
    for name, is_set in (
        ("jwt_audience", bool(settings.jwt_audience)),
        ("strict_subject", settings.strict_subject),
    ):
        if is_set and not settings.jwt_issuer:
            raise wrong(name, "has no effect without jwt_issuer: no JWT is verified here then. Set both.")
    _check_browser_settings(settings)
    if settings.secret_key.reveal() in unquote_plus(urlsplit(settings.jwks_url or "").query):
        raise wrong("jwks_url", "holds the secret key. It is sent in a header: leave it out of the address.")
    foreign = settings.jwks_url is not None and _origin(settings.jwks_url) != _origin(settings.base_url)
    if foreign and settings.jwks_auth == "header":
        raise wrong(
            "jwks_url",
            "is on another host than base_url, which must not see the secret key. Set jwks_auth='none'.",
        )


def _check_browser_settings(settings: Settings) -> None:
    is_public = settings.base_url.startswith("https:") and not is_on_loopback(settings.base_url)
    if settings.cookies is not None and settings.cookies.insecure_development and is_public:
        raise wrong("cookies", "must not be insecure_development ones while base_url is a public https API.")
    if settings.extend_on_activity is not None:
        _check_minutes(settings, "extend_on_activity", settings.extend_on_activity)
        if settings.extend_every is not None and settings.extend_every >= settings.extend_on_activity:
            raise wrong("extend_every", "must be shorter than extend_on_activity.")
    elif settings.extend_every is not None:
        raise wrong("extend_every", "has no effect without extend_on_activity. Set both.")
    if settings.cookies is not None:
        _check_minutes(settings, "sign_in", settings.sign_in.lifetime)
        _check_minutes(settings, "sign_in", settings.sign_in.remember_me)


def _check_minutes(settings: Settings, name: str, duration: timedelta) -> None:
    try:
        settings.session_minutes(duration)
    except ValueError as error:
        raise wrong(name, f"is no session lifetime. {error}") from None


def wrong(name: str, problem: str) -> ConfigurationError:
    """The error for one setting."""
    return ConfigurationError(f"{both_names(name)} {problem}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
