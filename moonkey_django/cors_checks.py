"""System checks of ``django-cors-headers``: do its lists have MoonKey's headers?"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from moonkey_core.errors import ConfigurationError
from moonkey_core.web.cors import unlisted_headers
from moonkey_django.conf import configuration

CORS = "corsheaders.middleware.CorsMiddleware"
"""The middleware of ``django-cors-headers``."""


def check_cors(**_kwargs: Any) -> list[CheckMessage]:
    """Check the lists of ``django-cors-headers``, where it allows any origin.

    W007: ``CORS_ALLOW_HEADERS`` lacks a header that may carry a credential; its default lacks ``session-token``.
    W008: ``CORS_EXPOSE_HEADERS`` lacks a header that front ends read; it is empty by default.
    """
    if CORS not in settings.MIDDLEWARE:
        return []
    try:
        ours = configuration().settings
        from corsheaders.defaults import default_headers
        from corsheaders.signals import check_request_enabled
    except (ConfigurationError, ImportError):
        return []  # `checks`, or Django itself, reports this error
    if not (_allows_any_origin() or check_request_enabled.has_listeners()):
        return []
    missing = unlisted_headers(
        ours,
        getattr(settings, "CORS_ALLOW_HEADERS", default_headers),
        getattr(settings, "CORS_EXPOSE_HEADERS", ()),
        with_cookies=bool(getattr(settings, "CORS_ALLOW_CREDENTIALS", False)),
    )
    found: list[CheckMessage] = []
    if missing.allow:
        found.append(
            Warning(
                f"CORS_ALLOW_HEADERS lacks {_named(missing.allow)}: a browser does not let a page of another "
                "origin send it.",
                hint=f"CORS_ALLOW_HEADERS = (*corsheaders.defaults.default_headers, {_listed(missing.allow)}). "
                'What no client of yours sends, leave out of MOONKEY["CREDENTIAL_HEADERS"].',
                id="moonkey.W007",
            )
        )
    if missing.expose:
        found.append(
            Warning(
                f"CORS_EXPOSE_HEADERS lacks {_named(missing.expose)}: a page of another origin cannot read it.",
                hint=f"Add to CORS_EXPOSE_HEADERS: {_listed(missing.expose)}.",
                id="moonkey.W008",
            )
        )
    return found


def _allows_any_origin() -> bool:
    names = (
        "CORS_ALLOWED_ORIGINS", "CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ALLOW_ALL_ORIGINS",
        "CORS_ORIGIN_WHITELIST", "CORS_ORIGIN_REGEX_WHITELIST", "CORS_ORIGIN_ALLOW_ALL",
    )  # fmt: skip
    return any(getattr(settings, name, None) for name in names)


def _named(names: tuple[str, ...]) -> str:
    return " and ".join(names)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
