"""System checks of the settings and the middleware, for ``"moonkey_django"`` in ``INSTALLED_APPS``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from moonkey_core.errors import ConfigurationError
from moonkey_django.conf import UsersError, configuration, is_mapping
from moonkey_django.cors_checks import CORS
from moonkey_django.middleware import MoonKeyMiddleware

_LINE = '"moonkey_django.MoonKeyMiddleware"'


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Check the ``MOONKEY`` setting.

    E001: a setting is wrong, missing or unknown. E002: ``MOONKEY`` is not a dict.
    """
    if not is_mapping():
        hint = 'Write MOONKEY = {"SECRET_KEY": …}, or leave it out and set MOONKEY_* environment variables.'
        return [Error("MOONKEY is not a dict.", hint=hint, id="moonkey.E002")]
    try:
        configuration()
    except ConfigurationError as error:
        if isinstance(error, UsersError):
            return []  # `user_checks` reports this error
        hint = 'Settings are keys of the MOONKEY dict, such as "SECRET_KEY", or MOONKEY_* environment variables.'
        return [Error(str(error), hint=hint, id="moonkey.E001")]
    return []


def check_middleware(**_kwargs: Any) -> list[CheckMessage]:
    """Check ``MIDDLEWARE``.

    W003: MoonKey's middleware is missing. W004: the CORS middleware stands after it. W005: it is listed more than
    once.
    """
    places = [place for place, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not places:
        return [
            Warning(
                "MoonKey's middleware is not in MIDDLEWARE: no request has a `moonkey`, and gates fail.",
                hint=f"Add {_LINE} to MIDDLEWARE.",
                id="moonkey.W003",
            )
        ]
    found: list[CheckMessage] = []
    if CORS in settings.MIDDLEWARE[places[0] :]:
        found.append(
            Warning(
                "The CORS middleware stands after MoonKey's, but belongs before all that can answer: "
                "a response made outside of it has no CORS headers, and a page in a browser cannot read it.",
                hint=f'Move "{CORS}" above {_LINE}.',
                id="moonkey.W004",
            )
        )
    if len(places) > 1:
        found.append(
            Warning(
                "MoonKey's middleware is in MIDDLEWARE more than once: credentials may be verified twice.",
                hint=f"Keep one {_LINE}.",
                id="moonkey.W005",
            )
        )
    return found


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:
        return False  # Django itself reports this error
    return isinstance(middleware, type) and issubclass(middleware, MoonKeyMiddleware)
