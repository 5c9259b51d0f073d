"""The session routes as Django views: the way of each request and response, from end to end."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory
from django.urls import include, path
from integrations.django_browsing_site import browsing, urlpatterns
from integrations.django_visits import Configure

from moonkey_core import ConfigurationError
from moonkey_core.emulator import Emulator
from moonkey_core.flows import MAX_BODY_BYTES, ROUTES
from moonkey_django.views import _body, need_cookies
from support.visitors import (
    FOREIGN,
    GONE,
    JWT,
    OURS,
    PAGE,
    SESSION,
    Visitor,
    pair,
    set_by,
    signed_in_long_ago,
    verifications,
)

pytestmark = pytest.mark.usefixtures("site")


@pytest.fixture(params=["wsgi", "asgi"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the site is served."""
    name: str = request.param
    return name


@pytest.fixture
def site(configure: Configure, settings: Any) -> Configure:
    """Django's settings for the site with cookies; further ones can be given."""
    settings.ROOT_URLCONF = "integrations.django_browsing_site"

    def set_(**options: object) -> None:
        configure(**{"COOKIES": {}, **options})

    set_()
    return set_


@pytest.fixture
def browser(kind: str, site: Configure) -> Iterator[httpx.Client]:
    with browsing(kind) as browser:
        yield browser


def test_from_a_protected_page_through_sign_in_and_back(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    sent = visitor.get("/me?tab=1")
    assert (sent.status_code, sent.headers["location"]) == (303, "/auth/sign-in?next=%2Fme%3Ftab%3D1")
    form = visitor.get(sent.headers["location"])
    assert form.status_code == 200
    assert form.headers["content-type"] == "text/html; charset=utf-8"
    assert 'value="/me?tab=1"' in form.text
    assert 'action="/auth/sign-in/otp"' in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert form.headers["cache-control"] == "no-store"
    code_sent = visitor.post("/sign-in/otp", {"address": "ada@example.com", "next": "/me?tab=1"})
    assert (code_sent.status_code, code_sent.headers["location"]) == (303, "/auth/sign-in/otp/verify")
    assert "ada@example.com" in visitor.get(code_sent.headers["location"]).text
    wrong = visitor.post("/sign-in/otp/verify", {"code": "000000"})
    assert 400 <= wrong.status_code < 500
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
    fresh = browser.get("/auth/session", headers=pair(person))
    assert (fresh.json()["authenticated"], set(set_by(fresh))) == (True, {JWT})
    emulator.revoke(person.session_id)
    over = browser.get("/auth/session", headers={"Cookie": f"{SESSION}={person.session_token}"})
    assert (over.status_code, over.json()) == (200, {"authenticated": False})
    assert set_by(over) == GONE
    emulator.stop()
    assert browser.get("/auth/session", headers={"Cookie": f"{SESSION}=another-token"}).status_code == 503


def test_sign_out(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    token = visitor.cookies[SESSION]
    assert visitor.get("/auth/sign-out").status_code == 200
    assert visitor.get("/me").status_code == 200  # a GET signs nobody out
    assert visitor.post("/sign-out", None, **FOREIGN).status_code == 403
    assert set(visitor.cookies) == {SESSION, JWT}
    out = visitor.post("/sign-out", {"next": "/public"})
    assert (out.status_code, out.headers["location"]) == (303, "/public")
    assert visitor.cookies == {}
    assert browser.get("/me", headers={"Cookie": f"{SESSION}={token}"}).status_code == 401


def test_signing_out_with_an_old_jwt_clears_both_cookies(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    out = browser.post("/auth/sign-out", headers={**pair(person), **OURS})
    assert out.json() == {"signed_out": True, "complete": True}
    assert set_by(out) == GONE  # and not the JWT that this very request has refreshed


def test_the_users_sessions_and_their_ends(browser: httpx.Client, emulator: Emulator) -> None:
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
    assert here.post("/sessions/sess%2Fx/revoke").status_code == 404
    revoked = here.post(f"/sessions/{theirs}/revoke")
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/auth/sessions")
    assert there.get("/me").headers["location"].startswith("/auth/sign-in?next=")
    assert here.post("/sessions/revoke-others").status_code == 303
    assert third.get("/me").status_code == 303
    assert (here.get("/me").status_code, stranger.get("/me").status_code) == (200, 200)


def test_step_up_and_back(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    for view in ("/payout", "/apayout"):
        asked = visitor.get(view)
        where = urlsplit(asked.headers["location"])
        assert (asked.status_code, where.path) == (303, "/auth/step-up")
        assert parse_qs(where.query)["next"] == [view]
        assert visitor.get(asked.headers["location"]).status_code == 200


def test_every_cross_site_post_is_refused(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    for route in ROUTES:
        if "POST" in route.methods:
            url = "/auth" + route.path.format(session_id="sess_1")
            refused = browser.post(url, headers=FOREIGN, data={"address": "ada@example.com"})
            assert (refused.status_code, refused.json()["error"]) == (403, "cross_site_request")
    assert emulator.requests() == {}


def test_an_oauth_callback_without_its_state_is_not_followed(browser: httpx.Client, emulator: Emulator) -> None:
    token = emulator.oauth_token()
    emulator.clear_requests()
    refused = browser.get(f"/auth/callback/oauth?state=x&token={token}", headers=PAGE)
    assert (refused.status_code, set(set_by(refused)) & {SESSION, JWT}) == (400, set())
    assert token not in refused.text
    assert emulator.requests() == {}


def test_methods(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    head = browser.head("/auth/sign-in", headers=PAGE)
    assert (head.status_code, head.content) == (200, b"")
    allowed = browser.options("/auth/sign-out").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    for method, url in (("GET", "/auth/sign-in/otp"), ("HEAD", "/auth/step-up/totp"), ("DELETE", "/auth/session")):
        response = browser.request(method, url)
        assert response.status_code == 405
        assert "OPTIONS" in response.headers["allow"]


def test_the_style_sheet_is_the_same_for_all(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.clear_requests()
    style = visitor.get("/auth/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["cache-control"] == "public, max-age=3600"
    assert "cookie" not in style.headers.get("vary", "").lower()
    assert verifications(emulator) == 0
    assert visitor.get("/auth/sign-in").text.count('href="/auth/style.css"') == 1


def posted(browser: httpx.Client, headers: str, body: bytes) -> bytes:
    """The first line of the answer to a POST, byte by byte."""
    with socket.create_connection((browser.base_url.host, browser.base_url.port or 0), 10) as connection:
        connection.sendall(f"POST /auth/sign-in/otp HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body)
        return connection.recv(100).split(b"\r\n")[0]


def test_a_body_that_is_too_long(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    too_long = b"a" * (MAX_BODY_BYTES + 1)
    assert b" 413 " in posted(browser, f"Content-Length: {len(too_long)}", too_long)
    chunk = f"{len(too_long):x}\r\n".encode() + too_long + b"\r\n0\r\n\r\n"
    assert b" 413 " in posted(browser, "Transfer-Encoding: chunked", chunk)
    longest = {"address": "a" * 4000, "next": "b" * 4000, "pad": "c" * 4000}
    assert browser.post("/auth/sign-in/otp", headers=OURS, data=longest).status_code == 400
    assert emulator.requests() == {}


def test_a_body_is_read_no_further_than_it_has_to_be(rf: RequestFactory) -> None:
    read: list[int] = []

    class Endless(io.BytesIO):
        """What a server hands on of a body that never ends, in small pieces."""

        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 < size <= MAX_BODY_BYTES + 1
            read.append(min(size, 1000))
            return b"a" * read[-1]

    said = {str(MAX_BODY_BYTES): MAX_BODY_BYTES, str(MAX_BODY_BYTES + 1): 0, "9" * 40: 0, "7 7": 0, "": 0}
    for length, expected in said.items():
        read.clear()
        environ = {**rf.post("/auth/sign-in/otp", headers=OURS).environ, "wsgi.input": Endless()}
        started: list[str] = []
        WSGIHandler()({**environ, "CONTENT_LENGTH": length}, lambda status, _, to=started: to.append(status))
        assert started[0][:3] == ("413" if length.isdigit() and not expected else "400")
        assert sum(read) == expected
    request = ASGIRequest({"type": "http", "method": "POST", "path": "/", "headers": []}, Endless())
    read.clear()
    assert _body(request) is None
    assert sum(read) == MAX_BODY_BYTES + 1


@pytest.mark.parametrize("below", ["reads_body", "reads_post"])
def test_a_body_that_was_read_before(kind: str, settings: Any, emulator: Emulator, below: str) -> None:
    settings.MIDDLEWARE = [f"integrations.django_browsing_site.{below}", *settings.MIDDLEWARE]
    with browsing(kind) as browser:
        assert Visitor(browser).sign_in(emulator).status_code == 303
        long = browser.post("/auth/sign-in/otp", headers=OURS, data={"a": "b" * MAX_BODY_BYTES})
        assert long.status_code == 413


def test_mounted_below_a_script_name(kind: str, emulator: Emulator) -> None:
    with browsing(kind, "/shop") as browser:
        prefix = "" if kind == "asgi" else "/shop"  # what has to be sent, as uvicorn adds it itself
        sent = browser.get(f"{prefix}/me?x=%20", headers=PAGE)
        target = urlsplit(sent.headers["location"])
        assert target.path == "/shop/auth/sign-in"
        assert parse_qs(target.query) == {"next": ["/shop/me?x=%20"]}
        form = browser.get(f"{prefix}/auth/sign-in", headers=PAGE)
        assert 'href="/shop/auth/style.css"' in form.text
        visitor = Visitor(browser, f"{prefix}/auth")
        assert visitor.sign_in(emulator, next="/shop/me").headers["location"] == "/shop/me"
        sessions = visitor.get(f"{prefix}/auth/sessions").text
        assert 'action="/shop/auth/sessions/' in sessions


class Elsewhere:
    """A URL configuration with the routes in other places."""

    urlpatterns = [
        *urlpatterns[:-1],
        path("<tenant>/séssion s/", include("moonkey_django.urls")),
    ]


class Nested:
    """A URL configuration with the routes in an app's."""

    urlpatterns = [
        *urlpatterns[:-1],
        path("accounts/", include(([path("in/", include("moonkey_django.urls"))], "accounts"))),
    ]


@pytest.mark.parametrize(
    ("urls", "prefix"),
    [(Elsewhere, "/blue/s%C3%A9ssion%20s"), (Nested, "/accounts/in")],
    ids=["elsewhere", "nested"],
)
def test_mounted_where_no_name_leads(
    kind: str, settings: Any, emulator: Emulator, urls: type, prefix: str
) -> None:
    settings.ROOT_URLCONF = urls
    with browsing(kind) as browser:
        visitor = Visitor(browser, prefix)
        assert f'action="{prefix}/sign-in/otp"' in visitor.get(f"{prefix}/sign-in").text
        assert visitor.sign_in(emulator, next="/me").headers["location"] == "/me"
        session_id = visitor.get(f"{prefix}/session", Accept="application/json").json()["session"]["id"]
        assert visitor.post(f"/sessions/{session_id}/revoke").status_code == 303
        assert browser.get("/me", headers=PAGE).status_code == 401  # nobody says where to sign in


STRICT = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "moonkey_django.MoonKeyMiddleware",
    "integrations.django_browsing_site.sync_only",
]


@pytest.mark.django_db(transaction=True)
def test_among_the_middleware_of_a_strict_project(kind: str, settings: Any, emulator: Emulator) -> None:
    settings.MIDDLEWARE = STRICT
    with pytest.MonkeyPatch.context() as patch, browsing(kind) as browser:
        patch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        visitor = Visitor(browser)
        assert visitor.get("/auth/sign-in").status_code == 200
        assert visitor.sign_in(emulator).status_code == 303
        assert visitor.get("/auth/sessions").status_code == 200
        assert visitor.post("/sign-out").status_code == 303


def test_the_provider_is_down(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.stop()
    assert visitor.get("/auth/sessions").status_code == 503
    assert visitor.post("/sign-in/otp", {"address": "ben@example.com"}).status_code == 503
    out = visitor.post("/sign-out")
    assert out.status_code == 200
    assert visitor.cookies == {}


def test_routes_without_cookies_stop_the_start(
    kind: str, configure: Configure, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    configure(COOKIES=None)
    with pytest.raises(ConfigurationError, match=r'Set MOONKEY\["COOKIES"\] = {}'):
        need_cookies()
    with browsing(kind) as browser:  # where they were mounted before
        assert browser.get("/auth/sign-in").status_code == 500
    assert "The session routes need cookies." in caplog.text
    settings.MOONKEY = {"LEEWAI": 3}
    need_cookies()  # `moonkey.E001` is the better place for that one
