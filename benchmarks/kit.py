"""What a test costs that signs a user in by the test kit, beyond one that uses the framework's own client alone.

Each test of the kit adopts the app, signs a user in, makes one request and gives the app back; the other one makes
the same request without a credential, to a route that is open. CPU time is measured, of all threads together. Run
it with the environment of the tests::

    .venv/bin/python benchmarks/kit.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from moonkey_core import AsyncMoonKey
from moonkey_core.testing import Emulators, Kit
from moonkey_flask import FlaskMoonKey
from moonkey_flask import require_auth as flask_gate
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette import require_auth as starlette_gate

SETTINGS: dict[str, Any] = {"secret_key": "sk_test_of_the_site", "jwt_issuer": "https://auth.example.com"}
ROUNDS = 200


def flask_app() -> Flask:
    app = Flask("site")
    FlaskMoonKey(app, **SETTINGS)
    app.get("/open", endpoint="open")(lambda: "open")
    app.get("/me", endpoint="me")(flask_gate(lambda: "me"))
    return app


def starlette_app() -> Starlette:
    async def shown(request: Request) -> PlainTextResponse:
        return PlainTextResponse("shown")

    return Starlette(
        routes=[Route("/open", shown), Route("/me", starlette_gate(shown))],
        middleware=[Middleware(MoonKeyMiddleware, client=AsyncMoonKey(**SETTINGS))],
    )


def milliseconds(one: Callable[[], None]) -> float:
    """The median of the CPU time over all rounds, after a few to warm up: the emulator's is part of it."""
    for _ in range(10):
        one()
    took = []
    for _ in range(ROUNDS):
        start = time.process_time()
        one()
        took.append(time.process_time() - start)
    return statistics.median(took) * 1000


def main() -> None:
    print("| framework | emulator | own client (ms) | by the kit (ms) | beyond it (ms) |\n|---|---|---|---|---|")
    apps: tuple[tuple[str, Any, Callable[[Any], Any]], ...] = (
        ("Flask", flask_app(), lambda app: app.test_client()),
        ("Starlette", starlette_app(), TestClient),
    )
    for offline in (False, True):
        emulators = Emulators(offline=offline)
        for name, app, plain in apps:

            def by_itself(app: Any = app, plain: Callable[[Any], Any] = plain) -> None:
                assert plain(app).get("/open").status_code == 200

            def by_the_kit(app: Any = app, emulators: Emulators = emulators) -> None:
                with Kit(app, emulators=emulators) as kit:
                    assert kit.signed_in().get("/me").status_code == 200

            own, kit = milliseconds(by_itself), milliseconds(by_the_kit)
            place = "in the process" if offline else "on a socket"
            print(f"| {name} | {place} | {own:.1f} | {kit:.1f} | {kit - own:.1f} |")
        emulators.close()


if __name__ == "__main__":
    main()
