"""An app with pages and sign-in, for Django, under WSGI and ASGI."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import include, path

from moonkey_django import MoonKeyRequest, public, require_auth

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
    MOONKEY={"COOKIES": {}},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates"],
        }
    ],
)


@public
def home(request: MoonKeyRequest) -> HttpResponse:
    return render(request, "home.html", {"auth": request.moonkey})


@require_auth
def account(request: MoonKeyRequest) -> HttpResponse:
    return render(request, "account.html", {"user": request.moonkey.user})


@require_auth(factor_max_age=timedelta(minutes=1))
def vault(request: MoonKeyRequest) -> HttpResponse:
    return render(request, "vault.html")


urlpatterns = [
    path("", home),
    path("account", account),
    path("vault", vault),
    path("auth/", include("moonkey_django.urls")),
]
application = get_asgi_application()
wsgi_application = get_wsgi_application()
