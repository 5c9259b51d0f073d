"""Django settings of the test run. Tests set ``MOONKEY`` themselves."""

from __future__ import annotations

SECRET_KEY = "only-for-tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "integrations.django_site"
INSTALLED_APPS = ["moonkey_django"]
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]
USE_TZ = True
