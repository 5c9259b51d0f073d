"""The session routes in Starlette and FastAPI: bodies, dependencies, hooks; the contract suite has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from integrations.starlette_cookie_site import app_of, me, visiting
from integrations.starlette_visits import drive, on_a_loop, options, scope
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from moonkey_core import AsyncMoonKey, CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, Refreshed, Revoked, SessionEvent, SignedIn, SignedOut
from moonkey_core.flows import MAX_BODY_BYTES
from moonkey_starlette import MoonKeyMiddleware, session_routes
from moonkey_starlette.fastapi import CurrentUser, RequireAuth
from moonkey_starlette.fastapi import session_routes as fastapi_routes
from support.visitors import (
    JWT,
    OURS,
    SESSION,
    Visitor,
    signed_in_long_ago,
)


def starlette_app(emulator: Emulator, **more: Any) -> ASGIApp:
    return app_of(emulator, session_routes(url_prefix="/auth"), **more)


def fastapi_app(emulator: Emulator, **more: Any) -> ASGIApp:
    app = FastAPI(dependencies=[Depends(RequireAuth())])
    app.add_middleware(MoonKeyMiddleware, **options(emulator, **{"cookies": CookieSettings(), **more}))
    app.include_router(fastapi_routes(url_prefix="/auth"))

    @app.get("/me")
    @app.post("/me")
    async def me(request: Request, user: CurrentUser) -> dict[str, str]:
        return {"user": user.id, "source": request.state.moonkey.source}

    return app


@pytest.fixture(params=[starlette_app, fastapi_app], ids=["starlette", "fastapi"])
def app(request: pytest.FixtureRequest, emulator: Emulator) -> ASGIApp:
    found: ASGIApp = request.param(emulator)
    return found


@pytest.fixture
def browser(app: ASGIApp) -> Iterator[httpx.Client]:
    with visiting(app) as browser:
        yield browser


@pytest.mark.long
def test_a_dependency_of_the_whole_app_is_none_of_the_routes(emulator: Emulator) -> None:
    with visiting(fastapi_app(emulator)) as browser:
        visitor = Visitor(browser)
        assert visitor.get("/auth/sign-in").status_code == 200
        assert visitor.sign_in(emulator, next="/me").headers["location"] == "/me"
        assert visitor.get("/me").json()["source"] in ("local", "cache")


def test_a_body_is_bounded_while_it_is_read(app: ASGIApp, emulator: Emulator) -> None:
    chunks = 100
    received = 0

    @on_a_loop
    async def visit() -> None:
        nonlocal received
        asgi_scope = scope(method="POST", path="/auth/sign-in/otp", headers=[(b"sec-fetch-site", b"same-origin")])
        events = [{"type": "http.request", "body": b"a" * 1000, "more_body": True}] * chunks
        sent = await drive(app, asgi_scope, events)
        received = sum(message["type"] == "received" for message in sent)
        assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [413]

    visit()
    assert received == MAX_BODY_BYTES // 1000 + 1


def test_a_body_of_the_utmost_length(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    for length, status in ((MAX_BODY_BYTES, 415), (MAX_BODY_BYTES + 1, 413)):
        response = browser.post("/auth/sign-in/otp", headers=OURS, content=b"a" * length)
        assert response.status_code == status
    assert emulator.requests() == {}


def test_hooks_are_told(emulator: Emulator) -> None:
    """There are no signals in Starlette: ``client.hooks.add`` is the way."""
    told: list[Event] = []
    client = AsyncMoonKey(**options(emulator, cookies=CookieSettings()))
    client.hooks.add(told.append)
    app = MoonKeyMiddleware(app_of_one_client(), client)
    with visiting(app) as browser:
        visitor = Visitor(browser)
        visitor.sign_in(emulator)
        visitor.post("/sessions/revoke-others")
        visitor.post("/sign-out")
        person = signed_in_long_ago(emulator, "grace@example.com")  # the other has revoked all until now
        visitor.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
        visitor.get("/me")
    kinds = [type(event) for event in told if isinstance(event, SessionEvent)]
    assert [kind for kind in kinds if kind is not Revoked] == [SignedIn, SignedOut, Refreshed]


def app_of_one_client() -> ASGIApp:
    from starlette.applications import Starlette

    return Starlette(routes=[session_routes(), Route("/me", me)])
