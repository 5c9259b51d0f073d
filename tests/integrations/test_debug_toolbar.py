"""Django with django-debug-toolbar, whose template panel looks at each value of each template's context."""

from __future__ import annotations

from typing import Any

import pytest
from integrations.django_visits import Configure, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator, SignedIn

pytest.importorskip("debug_toolbar", reason="django-debug-toolbar belongs to the extra 'test'")

VISITS = {"wsgi": visit_wsgi, "asgi": visit_asgi}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    settings.DEBUG = True
    settings.ROOT_URLCONF = "integrations.django_debug_site"
    settings.STATIC_URL = "static/"
    settings.DEBUG_TOOLBAR_PANELS = ["debug_toolbar.panels.templates.TemplatesPanel"]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.staticfiles", "debug_toolbar"]
    settings.MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware", *settings.MIDDLEWARE]
    settings.DEBUG_TOOLBAR_CONFIG = {
        "SHOW_TOOLBAR_CALLBACK": lambda request: not request.path.startswith("/__debug__/"),
        "RENDER_PANELS": True,
        "IS_RUNNING_TESTS": False,
    }
    pages = {
        "plain.html": "<html><body>hello</body></html>",
        "reading.html": "<html><body>{{ moonkey.user.id }}</body></html>",
    }
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": False,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "moonkey_django.context_processors.moonkey",
                ],
                "loaders": [
                    ("django.template.loaders.locmem.Loader", pages),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }
    ]
    configure(LAZY=True)


@pytest.mark.parametrize("kind", VISITS)
@pytest.mark.parametrize("route", ["/shown", "/ashown"])
def test_the_template_panel_verifies_nobody(ada: SignedIn, emulator: Emulator, kind: str, route: str) -> None:
    emulator.clear_requests()
    response = VISITS[kind](route, ada.session_token)
    page = response.content.decode()
    assert (response.status_code, "hello" in page) == (200, True)
    assert "LazyAuth()" in page  # the panel has looked at it
    assert "unhandled exception" not in page
    assert emulator.requests() == {}
    assert "Vary" not in response.headers


def test_it_shows_an_identity_that_the_template_has_read(ada: SignedIn, emulator: Emulator) -> None:
    page = visit_wsgi("/reading", ada.session_token).content.decode()
    assert ada.user_id in page
    assert "Auth(&#x27;authenticated&#x27;)" in page
    assert "LazyAuth()" not in page
    assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}
