"""The session routes as a Flask blueprint: the way of each request and response, from end to end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask import Blueprint, Flask, request, url_for
from integrations.flask_visits import make_app, visiting
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from moonkey_core import ConfigurationError, Stytch
from moonkey_core.emulator import Emulator
from moonkey_core.flows import MAX_BODY_BYTES
from moonkey_flask import FlaskMoonKey, session_routes
from support import quick
from support.servers import serve_wsgi
from support.visitors import OURS, PAGE, Visitor


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    app = make_app(emulator)
    app.register_blueprint(session_routes())
    return app


@pytest.fixture
def browser(app: Flask) -> Iterator[httpx.Client]:
    with visiting(app) as browser:
        yield browser


def test_a_body_is_bounded_while_it_is_read(app: Flask) -> None:
    read: list[int] = []

    class Endless:
        """What a server hands on of a body without a length that never ends."""

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= MAX_BODY_BYTES + 1
            read.append(size)
            return b"a" * min(size, 1000)

    environ = {"wsgi.input": Endless(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    response = app.test_client(use_cookies=False).post(
        "/auth/sign-in/otp", headers=OURS, environ_overrides=environ
    )
    assert response.status_code == 413
    assert len(read) <= MAX_BODY_BYTES // 1000 + 1


def test_a_body_that_announces_its_length_is_not_read_at_all(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    with socket.create_connection((browser.base_url.host, browser.base_url.port or 0), 10) as connection:
        head = f"POST /auth/sign-in/otp HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode() + b"a" * (MAX_BODY_BYTES + 1))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    longest = {"address": "a" * 4000, "next": "b" * 4000, "pad": "c" * 4000}
    assert browser.post("/auth/sign-in/otp", headers=OURS, data=longest).status_code == 400
    assert emulator.requests() == {}


def test_a_body_that_was_read_before(app: Flask, emulator: Emulator) -> None:
    @app.before_request
    def keep() -> None:
        request.get_data()

    with visiting(app) as browser:
        assert Visitor(browser).sign_in(emulator).status_code == 303
        long = browser.post("/auth/sign-in/otp", headers=OURS, content=b"a" * (MAX_BODY_BYTES + 1))
        assert long.status_code == 413


@pytest.mark.parametrize("where", ["script name", "nested blueprint"])
def test_mounted_somewhere_else(emulator: Emulator, where: str) -> None:
    app = make_app(emulator)
    site: Any = app
    if where == "script name":
        app.register_blueprint(session_routes(url_prefix="/session s"))
        site = DispatcherMiddleware(app, {"/shop": app})
    else:
        outer = Blueprint("outer", __name__, url_prefix="/shop")
        outer.register_blueprint(session_routes(url_prefix="/session s"))
        app.register_blueprint(outer)
    prefix = "/shop/session%20s"
    with serve_wsgi(site) as url, quick.Client(base_url=url) as browser:
        visitor = Visitor(browser, prefix)
        start = "/shop/me?x=%20" if where == "script name" else "/me?x=%20"
        sent = visitor.get(start)
        target = urlsplit(sent.headers["location"])
        assert target.path == f"{prefix}/sign-in"
        assert parse_qs(target.query) == {"next": [start]}
        page = visitor.get(sent.headers["location"])
        assert f'href="{prefix}/style.css"' in page.text
        assert browser.get(f"{prefix}/style.css").status_code == 200
        assert visitor.sign_in(emulator, next=start).headers["location"] == start
        assert visitor.get("/shop/me" if where == "script name" else "/me").status_code == 200
        sessions = visitor.get(f"{prefix}/sessions").text
        assert f'action="{prefix}/sessions/' in sessions
        session_id = visitor.get(f"{prefix}/session", Accept="application/json").json()["session"]["id"]
        assert visitor.post(f"/sessions/{session_id}/revoke").status_code == 303


def test_a_mounting_point_that_differs_from_request_to_request(emulator: Emulator) -> None:
    app = make_app(emulator)
    app.register_blueprint(session_routes(url_prefix="/<tenant>/auth"))
    with visiting(app) as browser:
        assert Visitor(browser, "/blue/auth").sign_in(emulator).status_code == 303
        page = browser.get("/red/auth/sign-in", headers=PAGE)
        assert 'action="/red/auth/sign-in/otp"' in page.text
        assert browser.get("/me", headers=PAGE).status_code == 401  # which tenant's page it would be, nobody says


@pytest.mark.parametrize("first", ["client", "routes"])
def test_pages_that_cannot_sign_in_stop_the_start(first: str) -> None:
    """The provider's own script sets the cookies, and no page is named where it does."""

    def start(**sign_in: Any) -> None:
        app = Flask("shop")
        provider = Stytch("project-test-1", "secret-test-1", cookies_by="browser")
        made = FlaskMoonKey(provider=provider, cookies={}, cache_secret="c" * 32, sign_in=sign_in)
        if first == "client":
            made.init_app(app)
        app.register_blueprint(session_routes())
        if first == "routes":
            made.init_app(app)

    with pytest.raises(ConfigurationError, match=r"MOONKEY_SIGN_IN \(sign_in\) has no page.*'stytch'"):
        start()
    start(page="/login")


def test_routes_without_cookies_stop_the_start(emulator: Emulator) -> None:
    app = make_app(emulator, cookies=False)
    with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"):
        app.register_blueprint(session_routes())
    later = Flask("later")
    later.register_blueprint(session_routes())
    with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"):
        FlaskMoonKey(later, secret_key=emulator.secret_key, base_url=emulator.base_url)


@pytest.mark.parametrize("mode", ["cookies", "header"])
@pytest.mark.parametrize(("proxies", "warns"), [(None, True), ("none", False), ("10.0.0.7", False)])
def test_a_warning_at_the_start(
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    proxies: str | None,
    warns: bool,
    mode: Literal["cookies", "header"],
) -> None:
    """Where the addresses of clients are not known, no limit counts by them."""
    app = make_app(emulator, trusted_proxies=proxies)
    assert not caplog.records  # an app without the routes has no use for them
    app.register_blueprint(session_routes(mode=mode))
    assert ["clients_unknown" in record.__dict__.values() for record in caplog.records] == [True] * warns


@pytest.mark.parametrize("cookies", [True, False])
def test_the_routes_without_cookies(emulator: Emulator, cookies: bool) -> None:
    """Alone or beside the others, under a name of their own; no browser is sent to them."""
    app = make_app(emulator, cookies=cookies)
    app.register_blueprint(session_routes(mode="header", url_prefix="/api"))
    if cookies:
        app.register_blueprint(session_routes())
    with app.test_request_context():
        assert url_for("moonkey_header.session") == "/api/session"
    with visiting(app) as browser:
        assert browser.get("/api/session").json() == {"authenticated": False}
        refused = browser.get("/me", headers=PAGE)
        assert refused.status_code == (303 if cookies else 401)
        assert "/api" not in refused.headers.get("location", "")
    wrong: Any = "both"
    with pytest.raises(ConfigurationError, match='"header"'):
        session_routes(mode=wrong)
