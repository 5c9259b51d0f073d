"""System checks of browser sessions: ``MOONKEY["COOKIES"]`` beside Django's own settings, and trusted proxies.

A value that is wrong by itself (an insecure combination, an unknown key) is ``moonkey.E001``, as for any other
setting.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import CookieSettings, Settings
from moonkey_django.conf import configuration


def check_cookies(**_kwargs: Any) -> list[CheckMessage]:
    """Check the settings of cookies and trusted proxies.

    E020: one of Django's cookies and one of MoonKey's have the same name. W021: cookies are set up for
    development, and ``DEBUG`` is off. W022: every address is a trusted proxy. W023: Django's settings name a proxy
    that MoonKey's do not.
    """
    try:
        ours = configuration().settings
    except ConfigurationError:
        return []  # `checks` reports this error
    found = _check_proxies(ours)
    if ours.cookies is not None:
        found += [
            *_check_names(ours.cookies),
            *_check_development(ours.cookies),
            *_check_origin(ours, ours.cookies),
        ]
    return found


def _check_names(cookies: CookieSettings) -> list[CheckMessage]:
    djangos = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
    clashing = [name for name in djangos if getattr(settings, name) in cookies.all_names]
    if not clashing:
        return []
    return [
        Error(
            f"{' and '.join(clashing)} is the name of a cookie of MoonKey's: each would overwrite the other.",
            hint='Leave "SESSION_NAME" and "JWT_NAME" out of MOONKEY["COOKIES"], or choose other names.',
            id="moonkey.E020",
        )
    ]


def _check_development(cookies: CookieSettings) -> list[CheckMessage]:
    if settings.DEBUG or not cookies.insecure_development:
        return []
    return [
        Warning(
            'MOONKEY["COOKIES"] has INSECURE_DEVELOPMENT set, but DEBUG is off: sessions travel unprotected.',
            hint="Leave INSECURE_DEVELOPMENT out, and serve the site over https.",
            id="moonkey.W021",
        )
    ]


def _check_proxies(ours: Settings) -> list[CheckMessage]:
    if not any(not isinstance(network, str) and network.prefixlen == 0 for network in ours.trusted_proxies):
        return []
    return [
        Warning(
            'MOONKEY["TRUSTED_PROXIES"] holds all addresses: whoever reaches the server is believed.',
            hint="Name your own proxies, such as 10.0.0.7 or 10.0.0.0/24.",
            id="moonkey.W022",
        )
    ]


def _check_origin(ours: Settings, cookies: CookieSettings) -> list[CheckMessage]:
    has_proxy = settings.SECURE_PROXY_SSL_HEADER is not None or settings.USE_X_FORWARDED_HOST
    if not has_proxy or ours.trusted_proxies not in ((), ("none",)) or cookies.origin is not None:
        return []
    return [
        Warning(
            "Django believes the headers of a proxy, and MoonKey knows of none: a POST of a browser that says no "
            "more than its Origin will be refused.",
            hint='Set MOONKEY["TRUSTED_PROXIES"] = ["10.0.0.7"], or "ORIGIN" in MOONKEY["COOKIES"].',
            id="moonkey.W023",
        )
    ]
