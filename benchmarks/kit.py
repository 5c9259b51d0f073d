"""What a test costs that signs a user in by the test kit, beyond one that uses the framework's own client alone.

Each test of the kit adopts the app, signs a user in, makes one request and gives the app back; the other one makes
the same request without a credential, to a route that is open. CPU time of all threads together: the emulator's is
part of it. The two take turns, and the fastest of each counts.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from typing import Any

from results import Figure, Section, Table, number
from timing import Series, settle

from moonkey_core import AsyncMoonKey
from moonkey_core.testing import Emulators, Kit

SETTINGS: dict[str, Any] = {"secret_key": "sk_test_of_the_site", "jwt_issuer": "https://auth.example.com"}
ROUNDS, QUICK_ROUNDS, WARM_UP = 60, 8, 5
TITLE = "A test that signs in by the test kit, beyond the framework's own client"
Test = Callable[[], None]
urlpatterns: list[Any] = []  # of the Django project, which is made below


def flask() -> tuple[Any, Callable[[], Any]]:
    """An app of Flask, and what makes the framework's own client for it."""
    from flask import Flask

    from moonkey_flask import FlaskMoonKey, require_auth

    app = Flask("site")
    FlaskMoonKey(app, **SETTINGS)
    app.get("/open", endpoint="open")(lambda: "open")
    app.get("/me", endpoint="me")(require_auth(lambda: "me"))
    return app, app.test_client


def django() -> tuple[Any, Callable[[], Any]]:
    """The Django project of this process."""
    from django import setup
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import Client
    from django.urls import path

    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["testserver"],
        SECRET_KEY="x",
        MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
        MOONKEY={name.upper(): value for name, value in SETTINGS.items()},
    )
    setup()
    from moonkey_django import require_auth

    def shown(_: Any) -> HttpResponse:
        return HttpResponse("shown")

    urlpatterns[:] = [path("open", shown), path("me", require_auth(shown))]
    return None, Client


def starlette() -> tuple[Any, Callable[[], Any]]:
    """An app of Starlette."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from moonkey_starlette import MoonKeyMiddleware, require_auth

    async def shown(request: Request) -> PlainTextResponse:
        return PlainTextResponse("shown")

    app = Starlette(
        routes=[Route("/open", shown), Route("/me", require_auth(shown))],
        middleware=[Middleware(MoonKeyMiddleware, client=AsyncMoonKey(**SETTINGS))],
    )
    return app, lambda: TestClient(app)


def fastapi() -> tuple[Any, Callable[[], Any]]:
    """An app of FastAPI."""
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from moonkey_starlette import MoonKeyMiddleware
    from moonkey_starlette.fastapi import CurrentUser

    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, client=AsyncMoonKey(**SETTINGS))

    async def me(user: Any) -> str:
        return "me"

    async def anyone() -> str:
        return "open"

    me.__annotations__["user"] = CurrentUser
    app.get("/me")(me)
    app.get("/open")(anyone)
    return app, lambda: TestClient(app)


SITES: dict[str, Callable[[], tuple[Any, Callable[[], Any]]]] = {
    "Flask": flask,
    "Django": django,
    "Starlette": starlette,
    "FastAPI": fastapi,
}


def measure(quick: bool) -> Section:
    """Run the section. The goal is for an emulator on a socket, as it is by default."""
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    section, rounds = Section(TITLE), QUICK_ROUNDS if quick else ROUNDS
    columns = ["framework", "emulator", "own client, ms", "by the kit, ms", "beyond it, ms", "median", "slices"]
    table = Table("A test, with the emulator on a socket or in the process", columns)
    for name, make in SITES.items():
        try:
            site = make()
        except ImportError as error:
            section.failed.append(f"{name}: not timed: {error}")
            continue
        for offline in (False, True):
            own, kit = times(*site, offline=offline, rounds=rounds)
            more, median = kit.added(own), kit.median - own.median
            where = "in the process" if offline else "on a socket"
            cells = [number(one) for one in (own.best, kit.best, more, median)]
            table.rows.append([name, where, *cells, str(rounds)])
            if not offline:
                section.figures.append(Figure(f"kit-{name.lower()}", more, median, rounds))
    section.tables.append(table)
    return section


def times(app: Any, plain: Callable[[], Any], *, offline: bool, rounds: int) -> tuple[Series, Series]:
    """The CPU milliseconds of the two tests: by the framework's own client, and by the kit."""
    emulators = Emulators(offline=offline)

    def by_itself() -> None:
        assert plain().get("/open").status_code == 200

    def by_the_kit() -> None:
        with Kit(app, emulators=emulators) as kit:
            assert kit.signed_in().get("/me").status_code == 200

    found = Series([]), Series([])
    try:
        for _ in range(WARM_UP):
            by_itself()
            by_the_kit()
        settle()
        for _ in range(rounds):
            for one, series in zip((by_itself, by_the_kit), found, strict=True):
                series.rounds.append(milliseconds(one))
    finally:
        emulators.close()
        gc.unfreeze()
    return found


def milliseconds(test: Test) -> float:
    """The CPU time of one test."""
    start = time.process_time_ns()
    test()
    return (time.process_time_ns() - start) / 1e6
