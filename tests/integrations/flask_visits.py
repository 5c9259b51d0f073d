"""A Flask app with cookies behind a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from flask import Flask, Response, stream_with_context

from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, current_auth, optional_auth, require_auth
from support import quick
from support.servers import serve_wsgi
from support.visitors import JWT


def make_app(emulator: Emulator, **options: Any) -> Flask:
    app = Flask("flask_visits", template_folder=None)
    usual = {"base_url": emulator.base_url, "jwt_issuer": emulator.issuer, "timeout": 30.0, "cookies": True}
    FlaskMoonKey(app, **{"secret_key": emulator.secret_key, **usual, **options})
    _views(app)
    return app


def _views(app: Flask) -> None:
    @app.route("/me", methods=["GET", "POST"])
    @require_auth
    def me() -> Any:
        assert current_auth.user is not None
        return {"user": current_auth.user.id, "source": current_auth.source}

    @app.get("/strict")
    @require_auth(max_staleness=0)
    def strict() -> str:
        return "strict"

    @app.get("/public")
    @optional_auth
    def public() -> Any:
        return current_auth.state, {"Cache-Control": "public, max-age=60"}

    @app.get("/unread")
    def unread() -> str:
        return "unread"

    @app.get("/forbidden")
    @optional_auth
    def forbidden() -> Any:
        return {"error": "of the app's own"}, 401

    @app.get("/own-cookie")
    @optional_auth
    def own_cookie() -> Any:
        return "", {"Set-Cookie": f"{JWT}=; Max-Age=0; Path=/; Secure"}

    @app.get("/lazy-stream")
    def lazy_stream() -> Any:
        def parts() -> Iterator[str]:
            yield current_auth.state

        return Response(stream_with_context(parts()))


@contextmanager
def visiting(app: Flask) -> Iterator[httpx.Client]:
    """A browser in front of the app: it follows no redirects and keeps no cookies."""
    with serve_wsgi(app, threads=12) as url, quick.Client(base_url=url) as browser:
        yield browser
