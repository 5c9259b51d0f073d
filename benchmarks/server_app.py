"""The apps of the server part: ``server_app:flask_with`` and so on; the mock's address is in the environment.

Each has a second route, ``/raw``: the CPU microseconds of one raw RSA-2048 verification in this very process.
"""

from __future__ import annotations

import os
import time
from typing import Any

import contenders_local as local
import ours
from tokens import mint

OPTIONS = ours.options(os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:9"))


def raw() -> float:
    """The best of forty slices of fifty."""
    one = local.raw_rsa()
    argument, found = one.wrap(mint(1)), []
    for _ in range(40):
        start = time.thread_time_ns()
        for _ in range(50):
            one.call(argument)
        found.append((time.thread_time_ns() - start) / 50e3)
    return min(found)


def _flask(protected: bool) -> Any:
    from flask import Flask

    app = Flask("bench")
    app.get("/raw", endpoint="raw")(lambda: {"raw": raw()})
    if not protected:
        app.get("/me", endpoint="me")(lambda: {"user_id": "user_1", "session_id": "sess_1"})
        return app
    from moonkey_flask import FlaskMoonKey, current_session, current_user, require_auth

    FlaskMoonKey(app, **OPTIONS)

    @app.get("/me")
    @require_auth
    def me() -> dict[str, str]:
        return {"user_id": current_user.id, "session_id": current_session.id}

    return app


def _fastapi(protected: bool) -> Any:
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)

    async def measured() -> dict[str, float]:
        return {"raw": raw()}

    app.get("/raw")(measured)
    if not protected:

        async def nobody() -> dict[str, str]:
            return {"user_id": "user_1", "session_id": "sess_1"}

        app.get("/me")(nobody)
        return app
    from moonkey_starlette import MoonKeyMiddleware
    from moonkey_starlette.fastapi import CurrentSession, CurrentUser

    app.add_middleware(MoonKeyMiddleware, **OPTIONS)

    async def me(user: Any, session: Any) -> dict[str, str]:
        return {"user_id": user.id, "session_id": session.id}

    me.__annotations__.update(user=CurrentUser, session=CurrentSession)
    app.get("/me")(me)
    return app


def __getattr__(name: str) -> Any:
    """Make the app that a server asks for."""
    framework, _, protected = name.partition("_")
    makers = {"flask": _flask, "fastapi": _fastapi}
    if framework not in makers or protected not in ("with", "without"):
        raise AttributeError(name)
    return makers[framework](protected == "with")
