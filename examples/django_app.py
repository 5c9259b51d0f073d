"""MoonKey in a whole Django project, in one file. Settings come from MOONKEY_* variables.

Run it with `waitress-serve django_app:application` (WSGI) or `uvicorn django_app:asgi` (ASGI).
"""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from moonkey_django import MoonKeyRequest, require_auth

settings.configure(ROOT_URLCONF=__name__, MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"])


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Everybody may read this.\n")


@require_auth
def me(request: MoonKeyRequest) -> HttpResponse:
    user = request.moonkey.user
    assert user is not None  # the gate saw to it
    return JsonResponse({"user_id": user.id})


urlpatterns = [path("", home), path("me", me)]
application = get_wsgi_application()
asgi = get_asgi_application()
