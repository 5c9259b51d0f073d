"""The contract site in Django for browsers: with the session routes, which need cookies from their import on."""

from __future__ import annotations

from contract import django_site
from django.urls import include, path

urlpatterns = [*django_site.urlpatterns, path("auth/", include("moonkey_django.urls"))]
