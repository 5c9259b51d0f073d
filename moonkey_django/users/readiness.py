"""The check that the project has the apps and models that ``MOONKEY["USERS"]`` needs."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

from moonkey_django.conf import UsersError, UsersSetting


def check_users(how: UsersSetting) -> None:
    """Check that the project has all that a value of ``MOONKEY["USERS"]`` needs.

    Args:
        how: The value.

    Raises:
        UsersError: A part is missing; the message has the remedy.
    """
    if how is None:
        return
    by_id = how in ("match", "create")
    for app in ("django.contrib.auth", "moonkey_django.users") if by_id else ("django.contrib.auth",):
        if not apps.is_installed(app):
            raise UsersError(f'MOONKEY["USERS"] needs "{app}" in INSTALLED_APPS.')
    if how == "create":
        _check_user_model()
    elif isinstance(how, str) and not by_id:
        _check_path(how)


def _check_user_model() -> None:
    model: Any = get_user_model()
    email = model.get_email_field_name()
    if email == model.USERNAME_FIELD or set(model.REQUIRED_FIELDS) - {email}:
        raise UsersError(
            f'MOONKEY["USERS"] is "create", which knows an id of a new user, and no more. {model.__name__} asks '
            "for more: write a function that creates its users."
        )


def _check_path(path: str) -> None:
    try:
        found = import_string(path)
    except ImportError as error:
        raise UsersError(f'MOONKEY["USERS"] names {path!r}, which cannot be imported: {error}') from None
    if not callable(found) or iscoroutinefunction(found):
        raise UsersError(f'MOONKEY["USERS"] names {path!r}, which is no plain function.')
