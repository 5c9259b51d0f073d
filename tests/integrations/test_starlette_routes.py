"""The session routes in Starlette and FastAPI: the way of each request and response, from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import Depends, FastAPI
from integrations.starlette_cookie_site import app_of, me, visiting
from integrations.starlette_visits import drive, on_a_loop, options, scope
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from moonkey_core import AsyncMoonKey, CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, Refreshed, Revoked, SessionEvent, SignedIn, SignedOut
from moonkey_core.flows import MAX_BODY_BYTES, ROUTES
from moonkey_starlette import MoonKeyMiddleware, require_auth, session_routes
from moonkey_starlette.fastapi import CurrentUser, RequireAuth, session_router
from support.visitors import (
    FOREIGN,
    GONE,
    JWT,
    OURS,
    PAGE,
    SESSION,
    Visitor,
    set_by,
    signed_in_long_ago,
    verifications,
)


@require_auth(factors={"totp"})
async def payout(request: Request) -> Response:
    return PlainTextResponse("paid")


def starlette_app(emulator: Emulator, **more: Any) -> ASGIApp:
    return app_of(emulator, session_routes("/auth"), Route("/payout", payout), **more)


def fastapi_app(emulator: Emulator, **more: Any) -> ASGIApp:
    """The dependency of the whole app is none of the routes'."""
    app = FastAPI(dependencies=[Depends(RequireAuth())])
    app.add_middleware(MoonKeyMiddleware, **options(emulator, **{"cookies": CookieSettings(), **more}))
    app.include_router(session_router("/auth"))

    @app.get("/me")
    @app.post("/me")
    async def me(request: Request, user: CurrentUser) -> dict[str, str]:
        return {"user": user.id, "source": request.state.moonkey.source}

    @app.get("/payout", dependencies=[Depends(RequireAuth(factors={"totp"}))])
    async def payout() -> str:
        return "paid"

    return app


@pytest.fixture(params=[starlette_app, fastapi_app], ids=["starlette", "fastapi"])
def app(request: pytest.FixtureRequest, emulator: Emulator) -> ASGIApp:
    found: ASGIApp = request.param(emulator)
    return found


@pytest.fixture
def browser(app: ASGIApp) -> Iterator[httpx.Client]:
    with visiting(app) as browser:
        yield browser


def test_from_a_protected_page_through_sign_in_and_back(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    sent = visitor.get("/me?tab=1")
    where = urlsplit(sent.headers["location"])
    assert (sent.status_code, where.path) == (303, "/auth/sign-in")
    assert parse_qs(where.query) == {"next": ["/me?tab=1"]}
    form = visitor.get(sent.headers["location"])
    assert (form.status_code, form.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'value="/me?tab=1"' in form.text
    assert 'action="/auth/sign-in/otp"' in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert form.headers.get_list("cache-control") == ["no-store"]
    code_sent = visitor.post("/sign-in/otp", {"address": "ada@example.com", "next": "/me?tab=1"})
    assert (code_sent.status_code, code_sent.headers["location"]) == (303, "/auth/sign-in/otp/verify")
    assert "ada@example.com" in visitor.get(code_sent.headers["location"]).text
    done = visitor.post("/sign-in/otp/verify", {"code": emulator.outbox()[0].code})
    assert (done.status_code, done.headers["location"]) == (303, "/me?tab=1")
    assert set(visitor.cookies) == {SESSION, JWT}
    assert visitor.get("/me?tab=1").json()["source"] in ("local", "cache")


def test_a_program_signs_in_by_json(browser: httpx.Client, emulator: Emulator) -> None:
    sent = browser.post("/auth/sign-in/otp", json={"email": "ada@example.com"}, headers=OURS)
    assert sent.json() == {"sent": True}
    ((name, value),) = set_by(sent).items()
    code = {"code": emulator.outbox()[0].code}
    done = browser.post("/auth/sign-in/otp/verify", json=code, headers={**OURS, "Cookie": f"{name}={value}"})
    assert done.json()["authenticated"] is True
    found = set_by(done)
    session = browser.get("/auth/session", headers={"Cookie": f"{SESSION}={found[SESSION]}"}).json()
    assert (session["authenticated"], session["user"]["email"]) == (True, "ada@example.com")
    assert found[SESSION] not in str(session)


def test_who_is_here_where_nobody_is_and_where_it_cannot_be_known(
    browser: httpx.Client, emulator: Emulator
) -> None:
    assert browser.get("/auth/session").json() == {"authenticated": False}
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    over = browser.get("/auth/session", headers={"Cookie": f"{SESSION}={person.session_token}"})
    assert (over.status_code, over.json(), set_by(over)) == (200, {"authenticated": False}, GONE)
    emulator.stop()
    unknown = browser.get("/auth/session", headers={"Cookie": f"{SESSION}=another-token"})
    assert unknown.status_code == 503


def test_sign_out(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    token = visitor.cookies[SESSION]
    assert visitor.get("/auth/sign-out").status_code == 200
    assert visitor.get("/me").status_code == 200  # a GET signs nobody out
    assert visitor.post("/sign-out", {}, **FOREIGN).status_code == 403
    assert set(visitor.cookies) == {SESSION, JWT}
    out = visitor.post("/sign-out", {"next": "/public"})
    assert (out.status_code, out.headers["location"]) == (303, "/public")
    assert visitor.cookies == {}
    assert browser.get("/me", headers={"Cookie": f"{SESSION}={token}"}).status_code == 401


def test_signing_out_renews_nothing(browser: httpx.Client, emulator: Emulator) -> None:
    visitor, person = Visitor(browser), signed_in_long_ago(emulator)
    visitor.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    assert set_by(visitor.post("/sign-out")) == GONE


def test_the_user_s_sessions_and_their_ends(browser: httpx.Client, emulator: Emulator) -> None:
    here, there, third = (Visitor(browser, **{"User-Agent": f"browser {number}"}) for number in range(3))
    for visitor in (here, there, third):
        visitor.sign_in(emulator)
    stranger = Visitor(browser)
    stranger.sign_in(emulator, "ben@example.com")
    listed = here.get("/auth/sessions", Accept="application/json").json()["sessions"]
    assert [one["current"] for one in listed] == [True, False, False]
    assert here.get("/auth/sessions").text.count("<form") >= 3
    theirs = there.get("/auth/session", Accept="application/json").json()["session"]["id"]
    assert stranger.post(f"/sessions/{theirs}/revoke").status_code == 404
    assert here.post("/sessions/sess%20x%3F/revoke").status_code == 404
    revoked = here.post(f"/sessions/{theirs}/revoke")
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/auth/sessions")
    assert there.get("/me").headers["location"].startswith("/auth/sign-in?next=")
    assert here.post("/sessions/revoke-others").status_code == 303
    assert third.get("/me").status_code == 303
    assert (here.get("/me").status_code, stranger.get("/me").status_code) == (200, 200)


def test_a_stronger_proof_is_asked_for_by_the_step_up_page(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    asked = visitor.get("/payout")
    where = urlsplit(asked.headers["location"])
    assert (asked.status_code, where.path) == (303, "/auth/step-up")
    assert parse_qs(where.query)["next"] == ["/payout"]
    assert visitor.get(asked.headers["location"]).status_code == 200


def test_every_cross_site_post_is_refused(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    for route in ROUTES:
        if "POST" in route.methods:
            path = "/auth" + route.path.format(session_id="sess_1")
            refused = browser.post(path, headers=FOREIGN, data={"address": "ada@example.com"})
            assert (refused.status_code, refused.json()["error"]) == (403, "cross_site_request")
    assert emulator.requests() == {}


def test_methods(browser: httpx.Client) -> None:
    head = browser.head("/auth/sign-in", headers=PAGE)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 500
    for method, path in (("OPTIONS", "/auth/sign-out"), ("GET", "/auth/sign-in/otp"), ("DELETE", "/auth/session")):
        assert browser.request(method, path).status_code == 405
    assert set(browser.options("/auth/sign-out").headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("lazy", [False, True])
def test_the_style_sheet_is_the_same_for_all(emulator: Emulator, lazy: bool) -> None:
    person = signed_in_long_ago(emulator)
    with visiting(starlette_app(emulator, lazy=lazy)) as browser:
        assert browser.get("/auth/sign-in", headers=PAGE).text.count('href="/auth/style.css"') == 1
        unknown = browser.get("/auth/style.css")
        known = browser.get("/auth/style.css", headers={"Cookie": f"{SESSION}={person.session_token}"})
    for style in (unknown, known) if lazy else (unknown,):
        assert style.headers["content-type"] == "text/css; charset=utf-8"
        assert style.headers["cache-control"] == "public, max-age=3600"
        assert "cookie" not in style.headers.get("vary", "").lower()
    assert known.text == unknown.text
    assert verifications(emulator) == (0 if lazy else 1)


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
    for length, status in ((MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413)):
        response = browser.post("/auth/sign-in/otp", headers=OURS, content=b"a" * length)
        assert response.status_code == status
    assert emulator.requests() == {}


def test_the_provider_is_down(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.stop()
    assert visitor.get("/auth/sessions").status_code == 503
    assert visitor.post("/sign-in/otp", {"address": "ben@example.com"}).status_code == 503
    out = visitor.post("/sign-out")
    assert out.status_code == 200
    assert visitor.cookies == {}


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
        person = signed_in_long_ago(emulator)
        visitor.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
        visitor.get("/me")
    kinds = [type(event) for event in told if isinstance(event, SessionEvent)]
    assert [kind for kind in kinds if kind is not Revoked] == [SignedIn, SignedOut, Refreshed]


def app_of_one_client() -> ASGIApp:
    from starlette.applications import Starlette

    return Starlette(routes=[session_routes(), Route("/me", me)])
