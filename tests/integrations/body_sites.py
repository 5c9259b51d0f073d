"""The session routes alone, to be served by processes of their own. Settings come from the environment."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from moonkey_flask import FlaskMoonKey, session_routes


def flask_app() -> Flask:
    app = Flask(__name__)
    FlaskMoonKey(app)
    app.register_blueprint(session_routes())
    return app


def django_app() -> Any:
    os.environ["DJANGO_SETTINGS_MODULE"] = "integrations.django_settings"
    from django.conf import settings

    settings.ROOT_URLCONF, settings.DEBUG = "integrations.django_browsing_site", False
    settings.MOONKEY = {
        name: os.environ[f"MOONKEY_{name}"] for name in ("SECRET_KEY", "BASE_URL", "JWT_ISSUER", "COOKIES")
    }
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()
