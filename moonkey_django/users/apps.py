"""The configuration of the Django app that maps Django users to MoonKey users."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class MoonKeyUsersConfig(AppConfig):
    """The Django app. Its label is not ``users``, as many projects have an app of that name."""

    name = "moonkey_django.users"
    label = "moonkey_users"
    verbose_name: Any = "MoonKey users"
