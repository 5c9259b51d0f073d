"""System checks of ``MOONKEY["USERS"]``: the parts that it needs, and the place of the middleware."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from moonkey_core.errors import ConfigurationError
from moonkey_django.conf import UsersError, configuration
from moonkey_django.middleware import MoonKeyMiddleware
from moonkey_django.user import check_user_setup

_BACKEND = "moonkey_django.backend.MoonKeyBackend"
_OURS = "moonkey_django.MoonKeyMiddleware"
_LOGIN_REQUIRED = "moonkey_django.login_required.LoginRequiredMiddleware"


def check_users(**_kwargs: Any) -> list[CheckMessage]:
    """Check the project where ``MOONKEY["USERS"]`` is set.

    E010: the setting is wrong, or an app that it needs is missing. E011: the backend is missing. E012: Django's
    ``AuthenticationMiddleware`` stands after MoonKey's, and overwrites the user. W013: Django's
    ``LoginRequiredMiddleware`` is in use.
    """
    try:
        if configuration().users is None:
            return []
        check_user_setup()
    except UsersError as error:
        hint = 'MOONKEY["USERS"] decides whether, and how, a MoonKey user is a user of Django\'s.'
        return [Error(str(error), hint=hint, id="moonkey.E010")]
    except ConfigurationError:
        return []  # `checks` reports this error
    return [*_check_backend(), *_check_order(), *_check_login_required()]


def _check_backend() -> list[CheckMessage]:
    from moonkey_django.backend import MoonKeyBackend

    if _places(settings.AUTHENTICATION_BACKENDS, MoonKeyBackend):
        return []
    hint = f'Add "{_BACKEND}" to AUTHENTICATION_BACKENDS.'
    return [Error('MOONKEY["USERS"] is set without its backend.', hint=hint, id="moonkey.E011")]


def _check_order() -> list[CheckMessage]:
    from django.contrib.auth.middleware import AuthenticationMiddleware

    ours = _places(settings.MIDDLEWARE, MoonKeyMiddleware)
    djangos = _places(settings.MIDDLEWARE, AuthenticationMiddleware)
    if not ours or not djangos or max(djangos) < min(ours):
        return []
    return [
        Error(
            "Django's AuthenticationMiddleware stands after MoonKey's, and overwrites its request.user.",
            hint=f'Move "{_OURS}" below it.',
            id="moonkey.E012",
        )
    ]


def _check_login_required() -> list[CheckMessage]:
    from django.contrib.auth.middleware import LoginRequiredMiddleware

    from moonkey_django.login_required import LoginRequiredMiddleware as Ours

    djangos = _places(settings.MIDDLEWARE, LoginRequiredMiddleware)
    if djangos == _places(settings.MIDDLEWARE, Ours):
        return []
    return [
        Warning(
            "Django's LoginRequiredMiddleware asks who it is even where nobody needs to sign in: while that "
            "cannot be known, those pages are 503 too, and each is an error in the log.",
            hint=f'Put "{_LOGIN_REQUIRED}" in its place.',
            id="moonkey.W013",
        )
    ]


def _places(paths: list[str], kind: type) -> list[int]:
    """Return the positions of classes of this kind in a list of dotted paths."""
    return [place for place, path in enumerate(paths) if _is_a(path, kind)]


def _is_a(path: str, kind: type) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django itself reports this error
    return isinstance(found, type) and issubclass(found, kind)
