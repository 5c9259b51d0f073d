from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

from moonkey_django import AuthenticatedRequest, require_auth

settings.configure(ROOT_URLCONF=__name__, MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"])


@require_auth
def me(request: AuthenticatedRequest) -> HttpResponse:
    return JsonResponse({"user_id": request.moonkey.user.id})


urlpatterns = [path("me", me)]
application = get_asgi_application()
