"""The contract site in Flask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import flask_cors
from contract.behaviour import ALLOWED, EXPOSED, HELD, ORIGIN, STREAM_PAUSE, TEN_MINUTES, Runs
from contract.kinds import FILE, KINDS
from flask import Flask, Response, abort, redirect, request, send_file, stream_with_context

from moonkey_core import ProviderUnavailable
from moonkey_flask import FlaskMoonKey, current_auth, optional_auth, require_auth, session_routes
from moonkey_flask import public as opened


def make_app(runs: Runs, options: Any) -> Flask:
    app = Flask(__name__)
    FlaskMoonKey(app, **options)
    if options.get("cookies"):
        app.register_blueprint(session_routes())
    app.register_blueprint(session_routes(url_prefix="/header", mode="header"))
    flask_cors.CORS(app, origins=[ORIGIN], allow_headers=ALLOWED, expose_headers=EXPOSED)

    def who() -> dict[str, Any]:
        runs.append(request.method)
        assert current_auth.user is not None
        assert current_auth.session is not None
        return {"user": current_auth.user.id, "session": current_auth.session.id}

    @app.get("/public")
    def public() -> str:
        return "public"

    @app.get("/opened")
    @opened
    def marked() -> str:
        return "opened"

    @app.get("/opened/to-state")
    @optional_auth
    async def state() -> str:
        return str(current_auth.state)

    @app.route("/protected", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    @require_auth
    def protected() -> Any:
        return who()

    @app.get("/other-colour")
    @require_auth()
    async def other_colour() -> Any:
        return who()

    @app.get("/strict")
    @require_auth(max_staleness=0)
    def strict() -> Any:
        return {**who(), "source": current_auth.source}

    @app.get("/other-strict")
    @require_auth(max_staleness=0)
    async def other_strict() -> Any:
        return {**who(), "source": current_auth.source}

    @app.get("/without-grace")
    @require_auth(grace_seconds=0)
    def without_grace() -> Any:
        return who()

    @app.route("/totp", methods=["GET", "POST"])
    @require_auth(factors={"totp"})
    def totp() -> Any:
        return who()

    @app.get("/fresh-factor")
    @require_auth(factor_max_age=TEN_MINUTES)
    async def fresh_factor() -> Any:
        return who()

    @app.get("/two-factors")
    @require_auth(factors={"totp", "webauthn"}, factor_count=2, factor_max_age=TEN_MINUTES)
    def two_factors() -> Any:
        return who()

    @app.get("/young-session")
    @require_auth(session_max_age=TEN_MINUTES)
    def young_session() -> Any:
        return who()

    @app.get("/paying")
    @require_auth(claims={"plan": "pro"})
    def paying() -> Any:
        return who()

    @app.get("/writer")
    @require_auth(scopes={"write"}, factors={"totp"})
    def writer() -> Any:
        return who()

    @app.get("/optional")
    @optional_auth
    def optional() -> Any:
        auth = current_auth
        return {
            "state": auth.state,
            "reason": auth.error.reason if auth.error else None,
            "user": auth.user.id if auth.user else None,
        }

    @app.get("/models")
    @require_auth
    def models() -> Any:
        auth = current_auth
        assert auth.user is not None
        assert auth.session is not None
        return {"user": auth.user.to_dict(), "session": auth.session.to_dict()}

    @app.get("/cached")
    @require_auth
    def cached() -> Any:
        return who(), {"Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}

    @app.get("/raises")
    @require_auth
    def raises() -> Any:
        raise ProviderUnavailable(retry_after=7)

    @app.get("/foreign")
    def foreign() -> Any:
        user = request.user  # type: ignore[attr-defined]
        return {"user": user.id} if user is not None else ("no", 403)

    @app.get("/stream")
    @require_auth
    def stream() -> Any:
        auth = current_auth._get_current_object()  # type: ignore[union-attr]

        def parts() -> Iterator[str]:
            for _ in range(3):
                time.sleep(STREAM_PAUSE)
                yield auth.user.id + "\n"

        return Response(parts(), mimetype="text/plain")

    @app.get("/late-stream")
    def late_stream() -> Any:
        def parts() -> Iterator[str]:
            yield current_auth.state

        return Response(stream_with_context(parts()), mimetype="text/plain")

    @app.get("/kinds/<name>")
    def kinds(name: str) -> Any:
        if "read" in request.args:
            _ = current_auth.state
        kind = KINDS[name]
        if kind.body == "file":
            response = send_file(FILE)
            del response.headers["Cache-Control"]
        elif kind.body == "generated file":
            response = Response((one.encode() for one in kind.text), direct_passthrough=True)
        else:
            response = Response(kind.text if kind.body == "whole" else iter(kind.text), kind.status)
        response.headers.extend([*kind.headers, *(("Set-Cookie", cookie) for cookie in kind.cookies)])
        return response

    @app.get("/missing")
    @optional_auth
    def missing() -> Any:
        abort(404)

    @app.get("/moved")
    @optional_auth
    def moved() -> Any:
        return redirect("/elsewhere")

    @app.get("/failed")
    @optional_auth
    def failed() -> Any:
        return "failed", 500

    @app.get("/broken")
    @require_auth
    def broken() -> Any:
        raise RuntimeError("a bug of the app")

    @app.get("/held")
    @require_auth
    def held() -> Any:
        HELD.wait()
        return who()

    @app.post("/upload")
    @require_auth
    def upload() -> Any:
        first = who()
        content = request.files["file"].read()
        time.sleep(len(content) % 7 / 1000)
        return {**first, "again": current_auth.user.id if current_auth.user else None}

    return app
