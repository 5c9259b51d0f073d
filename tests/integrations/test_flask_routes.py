"""The session routes as a Flask blueprint: the way of each request and response, from end to end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask import Blueprint, Flask, request
from integrations.flask_visits import FOREIGN, JWT, OURS, PAGE, SESSION, Visitor, make_app, set_by, visiting
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from moonkey_core import ConfigurationError
from moonkey_core.emulator import Emulator
from moonkey_core.flows import MAX_BODY_BYTES
from moonkey_core.flows import ROUTES as ALL_ROUTES
from moonkey_flask import FlaskMoonKey, require_auth, session_routes
from support.servers import serve_wsgi


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    app = make_app(emulator)
    app.register_blueprint(session_routes())
    return app


@pytest.fixture
def browser(app: Flask) -> Iterator[httpx.Client]:
    with visiting(app) as browser:
        yield browser


def test_from_a_protected_page_through_sign_in_and_back(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    sent = visitor.get("/me?tab=1")
    where = urlsplit(sent.headers["location"])
    assert (sent.status_code, where.path) == (303, "/auth/sign-in")
    assert parse_qs(where.query) == {"next": ["/me?tab=1"]}
    form = visitor.get(sent.headers["location"])
    assert form.status_code == 200
    assert 'value="/me?tab=1"' in form.text
    assert 'action="/auth/sign-in/otp"' in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
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
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.revoke(visitor.get("/auth/session", Accept="application/json").json()["session"]["id"])
    token_only = {"Cookie": f"{SESSION}={visitor.cookies[SESSION]}"}
    over = browser.get("/auth/session", headers=token_only)
    assert (over.status_code, over.json()) == (200, {"authenticated": False})
    assert set_by(over) == {SESSION: "", JWT: ""}
    emulator.stop()
    unknown = browser.get("/auth/session", headers={"Cookie": f"{SESSION}=another-token"})
    assert unknown.status_code == 503


def test_sign_out(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    token = visitor.cookies[SESSION]
    assert visitor.get("/auth/sign-out").status_code == 200
    assert visitor.get("/me").status_code == 200  # a GET signs nobody out
    refused = visitor.post("/sign-out", None, **FOREIGN)
    assert refused.status_code == 403
    assert set(visitor.cookies) == {SESSION, JWT}
    out = visitor.post("/sign-out", {"next": "/public"})
    assert (out.status_code, out.headers["location"]) == (303, "/public")
    assert visitor.cookies == {}
    assert browser.get("/me", headers={"Cookie": f"{SESSION}={token}"}).status_code == 401


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
    assert here.post("/sessions/sess%2F..%2Fx/revoke").status_code == 404
    assert here.post("/sessions/sess%20x%3F/revoke").status_code == 404
    revoked = here.post(f"/sessions/{theirs}/revoke")
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/auth/sessions")
    assert there.get("/me").headers["location"].startswith("/auth/sign-in?next=")
    assert here.post("/sessions/revoke-others").status_code == 303
    assert third.get("/me").status_code == 303
    assert (here.get("/me").status_code, stranger.get("/me").status_code) == (200, 200)


def test_step_up_and_back(app: Flask, emulator: Emulator) -> None:
    @app.get("/payout")
    @require_auth(factors={"sms", "email"}, factor_count=2)
    def payout() -> str:
        return "paid"

    with visiting(app) as browser:
        visitor = Visitor(browser)
        visitor.sign_in(emulator)
        asked = visitor.get("/payout")
        where = urlsplit(asked.headers["location"])
        assert (asked.status_code, where.path) == (303, "/auth/step-up")
        assert parse_qs(where.query)["next"] == ["/payout"]
        assert visitor.get(asked.headers["location"]).status_code == 200


def test_every_cross_site_post_is_refused(browser: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    for route in ALL_ROUTES:
        if "POST" in route.methods:
            path = "/auth" + route.path.format(session_id="sess_1")
            refused = browser.post(path, headers=FOREIGN, data={"address": "ada@example.com"})
            assert (refused.status_code, refused.json()["error"]) == (403, "cross_site_request")
    assert emulator.requests() == {}


def test_methods(browser: httpx.Client) -> None:
    head = browser.head("/auth/sign-in", headers=PAGE)
    assert (head.status_code, head.content) == (200, b"")
    assert set(browser.options("/auth/sign-out").headers["allow"].split(", ")) == {
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
    }
    assert browser.get("/auth/sign-in/otp").status_code == 405
    assert browser.delete("/auth/session").status_code == 405


def test_the_style_sheet_is_the_same_for_all(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.clear_requests()
    style = visitor.get("/auth/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["cache-control"] == "public, max-age=3600"
    assert "cookie" not in style.headers.get("vary", "").lower()
    assert emulator.requests() == {}
    assert visitor.get("/auth/sign-in").text.count('href="/auth/style.css"') == 1


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
    with serve_wsgi(site) as url, httpx.Client(base_url=url) as browser:
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


def test_the_provider_is_down(browser: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(browser)
    visitor.sign_in(emulator)
    emulator.stop()
    assert visitor.get("/auth/sessions").status_code == 503
    assert visitor.post("/sign-in/otp", {"address": "ben@example.com"}).status_code == 503
    out = visitor.post("/sign-out")
    assert out.status_code == 200
    assert visitor.cookies == {}


def test_routes_without_cookies_stop_the_start(emulator: Emulator) -> None:
    app = make_app(emulator, cookies=False)
    with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"):
        app.register_blueprint(session_routes())
    later = Flask("later")
    later.register_blueprint(session_routes())
    with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"):
        FlaskMoonKey(later, secret_key=emulator.secret_key, base_url=emulator.base_url)
