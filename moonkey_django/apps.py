"""The Django app: ``"moonkey_django"`` in ``INSTALLED_APPS`` adds the system checks, and nothing else."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import Tags, register


class MoonKeyConfig(AppConfig):
    """The Django app. It registers the system checks."""

    name = "moonkey_django"
    verbose_name: Any = "MoonKey"

    def ready(self) -> None:
        """Register the checks."""
        from moonkey_django.audit import check_routes
        from moonkey_django.checks import check_middleware, check_settings
        from moonkey_django.cookie_checks import check_cookies
        from moonkey_django.cors_checks import check_cors
        from moonkey_django.gates import check_gates, check_sign_in_of_django
        from moonkey_django.rest_checks import check_rest
        from moonkey_django.user_checks import check_users

        register(check_settings, Tags.security)
        register(check_middleware, Tags.security)
        register(check_users, Tags.security)
        register(check_cookies, Tags.security)
        register(check_cors, Tags.security)
        register(check_gates, Tags.urls)
        register(check_rest, Tags.urls)
        register(check_sign_in_of_django, Tags.urls, deploy=True)
        register(check_routes, "moonkey_routes", deploy=True)
