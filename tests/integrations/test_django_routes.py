"""The session routes as Django views: bodies, mounting points, middleware; the contract suite has the rest."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory
from django.urls import include, path
from django.utils import timezone
from integrations.django_browsing_site import browsing, urlpatterns
from integrations.django_visits import Configure

from moonkey_core import ConfigurationError, Stytch
from moonkey_core._repeated_log import reset
from moonkey_core.emulator import Emulator
from moonkey_core.flows import MAX_BODY_BYTES
from moonkey_django.routes import _body, _reader_zone, need_cookies, session_routes
from support.visitors import (
    OURS,
    PAGE,
    Visitor,
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


def test_step_up_and_back(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    for view in ("/payout", "/apayout"):
        asked = visitor.get(view)
        where = urlsplit(asked.headers["location"])
        assert (asked.status_code, where.path) == (303, "/auth/step-up")
        assert parse_qs(where.query)["next"] == [view]
        assert visitor.get(asked.headers["location"]).status_code == 200


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
        is_read = not length.isdigit() or expected  # whatever it is, its type is none that is read
        assert started[0][:3] == ("413" if not is_read else "415" if expected else "400")
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


def test_pages_that_cannot_sign_in_stop_the_start(settings: Any) -> None:
    """The provider's own script sets the cookies, and no page is named where it does."""
    provider = Stytch("project-test-1", "secret-test-1", cookies_by="browser")
    settings.MOONKEY = {"PROVIDER": provider, "COOKIES": {}, "CACHE_SECRET": "c" * 32}
    with pytest.raises(ConfigurationError, match=r"\(sign_in\) has no page"):
        session_routes()
    session_routes(mode="header")
    settings.MOONKEY = {**settings.MOONKEY, "SIGN_IN": {"page": "/login"}}
    session_routes()


@pytest.mark.parametrize("mode", ["cookies", "header"])
def test_a_warning_at_the_start(
    configure: Configure, caplog: pytest.LogCaptureFixture, mode: Literal["cookies", "header"]
) -> None:
    """Where the addresses of clients are not known, no limit counts by them."""
    for proxies, warns in ((None, True), ("none", False), (["10.0.0.7"], False)):
        reset()
        caplog.clear()
        configure(COOKIES={}, TRUSTED_PROXIES=proxies)
        session_routes(mode=mode)
        assert ["clients_unknown" in record.__dict__.values() for record in caplog.records] == [True] * warns


def test_times_are_in_the_zone_that_the_project_shows(
    browser: httpx.Client, emulator: Emulator, settings: Any
) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    assert " UTC</time>" in visitor.get("/auth/sessions").text
    settings.TIME_ZONE = "Asia/Tokyo"
    assert " JST</time>" in visitor.get("/auth/sessions").text


def test_an_activated_zone_is_that_of_the_reader(settings: Any) -> None:
    assert _reader_zone() is None  # Django's own default is nobody's
    with timezone.override("Asia/Tokyo"):
        assert str(_reader_zone()) == "Asia/Tokyo"
        settings.USE_TZ = False
        assert _reader_zone() is None


def test_the_modes_of_the_routes(configure: Configure) -> None:
    configure(COOKIES=None)
    patterns, name = session_routes(mode="header")
    assert (name, patterns[0].name) == ("moonkey_header", "sign_in")
    with pytest.raises(ConfigurationError, match=r"session_routes\(mode=\"header\"\)"):
        session_routes()
    configure(COOKIES={})
    assert session_routes(mode="cookies")[1] == session_routes()[1] == "moonkey"
    wrong: Any = "both"
    with pytest.raises(ConfigurationError, match='"header"'):
        session_routes(mode=wrong)
