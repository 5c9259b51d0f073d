"""The settings of the desk: as in production, the key is read where this is imported."""

import os

SECRET_KEY = "only-for-tests"
ALLOWED_HOSTS = ["desk.example.com"]
ROOT_URLCONF = "desk"
INSTALLED_APPS = [
    "moonkey_django",
    "moonkey_django.users",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
]
AUTHENTICATION_BACKENDS = ["moonkey_django.backend.MoonKeyBackend"]
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]
MOONKEY = {
    "SECRET_KEY": os.environ["MOONKEY_SECRET_KEY"],
    "JWT_ISSUER": "https://auth.example.com",
    "COOKIES": True,
    "USERS": "create",
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["moonkey_django.rest_framework.MoonKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
