"""The session routes: ``path("auth/", include("moonkey_django.urls"))``.

They are named ``moonkey:sign_in``, ``moonkey:sign_out``, ``moonkey:sessions`` and so on. Templates of the project
under ``moonkey/`` win over those that come along. Importing this raises
:class:`~moonkey_core.errors.ConfigurationError` where the settings have no cookies.
"""

from __future__ import annotations

from django.urls import path

from moonkey_core.flows import ROUTES
from moonkey_django.views import need_cookies, view_of

app_name = "moonkey"

need_cookies()

urlpatterns = [
    path(route.path.lstrip("/").replace("{", "<str:").replace("}", ">"), view_of(route), name=route.name)
    for route in ROUTES
]
