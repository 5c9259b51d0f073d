"""The session routes: ``path("auth/", include("moonkey_django.urls"))``.

They are named ``moonkey:sign_in``, ``moonkey:sign_out``, ``moonkey:sessions`` and so on. The project's templates
under ``moonkey/`` take precedence over the package's. Importing this module raises
:class:`~moonkey_core.errors.ConfigurationError` where the settings have no cookies.
"""

from __future__ import annotations

from moonkey_django.routes import RoutePattern, session_routes

urlpatterns: list[RoutePattern]
app_name: str
urlpatterns, app_name = session_routes()
