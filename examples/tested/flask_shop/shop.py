"""A small shop: a blueprint for its API, pages for browsers, the app factory pattern, settings from variables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, Flask, render_template_string

from moonkey_flask import FlaskMoonKey, current_user, optional_auth, require_auth, session_routes

moonkey = FlaskMoonKey(cookies=True)
api = Blueprint("api", __name__, url_prefix="/api")
pages = Blueprint("pages", __name__)


@api.get("/orders")
@require_auth
def orders() -> Any:
    return {"of": current_user.id, "orders": [1, 2]}


@api.post("/orders")
@require_auth(scopes={"orders:write"})
def order() -> Any:
    return {"order": 3}, 201


@api.delete("/account")
@require_auth(factors={"totp"}, factor_max_age=timedelta(minutes=10))
def close_account() -> Any:
    return "", 204


@api.get("/reports")
@require_auth(roles={"editor"}, session_max_age=timedelta(days=1))
def reports() -> Any:
    return {"reports": []}


@pages.get("/")
@optional_auth
def home() -> str:
    return render_template_string("{% if request.user %}Hello{% else %}Please sign in{% endif %}")


def create_app() -> Flask:
    app = Flask(__name__)
    moonkey.init_app(app)
    app.register_blueprint(api)
    app.register_blueprint(pages)
    app.register_blueprint(session_routes(), url_prefix="/auth")
    return app
