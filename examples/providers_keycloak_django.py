"""Keycloak: the access tokens of a realm. Django; in a project, ``MOONKEY`` stands in its ``settings.py``.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc --preset keycloak
    uvicorn --lifespan=off providers_keycloak_django:application

The access token that the emulator prints opens ``/me`` and ``/reports``.
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

from moonkey_django import AuthenticatedRequest, require_auth

settings.configure(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
    MOONKEY={
        "PROVIDER": "keycloak",
        "KEYCLOAK_URL": os.environ.get("KEYCLOAK_URL", "http://127.0.0.1:8765"),
        "KEYCLOAK_REALM": "demo",
        "KEYCLOAK_AUDIENCE": "orders-api",  # by an audience mapper of the client scope
    },
)


@require_auth
def me(request: AuthenticatedRequest) -> HttpResponse:
    return JsonResponse({"user_id": request.moonkey.user.id})


@require_auth(roles={"user"})  # of the realm
def reports(request: AuthenticatedRequest) -> HttpResponse:
    return JsonResponse([], safe=False)


urlpatterns = [path("me", me), path("reports", reports)]
application = get_asgi_application()
