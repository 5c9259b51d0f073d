"""The Django app that holds which Django user is which MoonKey user."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class MoonKeyUsersConfig(AppConfig):
    """Its label is not ``users``: many projects have an app of that name."""

    name = "moonkey_django.users"
    label = "moonkey_users"
    verbose_name: Any = "MoonKey users"
