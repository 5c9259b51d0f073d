"""Django settings of the test run. Tests set ``MOONKEY`` themselves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SECRET_KEY = "only-for-tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "integrations.django_site"
INSTALLED_APPS = [
    "moonkey_django",
    "moonkey_django.users",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
]
# A file, as threads of a test's server share it; in memory where there is a place for that, as each commit is
# written through to it. Made only where a test asks for a database.
_MEMORY = Path("/dev/shm")
_FOLDER = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
_FILE = str(_FOLDER / f"moonkey-tests-{os.getpid()}.sqlite3")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _FILE, "TEST": {"NAME": _FILE}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]
USE_TZ = True
