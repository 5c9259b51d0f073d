"""The session routes: ``path("auth/", include("moonkey_django.urls"))``.

They are named ``moonkey:sign_in``, ``moonkey:sign_out``, ``moonkey:sessions`` and so on. The project's templates
under ``moonkey/`` take precedence over the package's. Importing this module raises
:class:`~moonkey_core.errors.ConfigurationError` where the settings have no cookies.
"""

from __future__ import annotations

from moonkey_core.flows import ROUTES
from moonkey_django.routes import RoutePattern, need_cookies, pattern_of

app_name = "moonkey"

need_cookies()

urlpatterns: list[RoutePattern] = [pattern_of(route) for route in ROUTES]
