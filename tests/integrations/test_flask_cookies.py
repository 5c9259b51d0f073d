"""What Flask does with cookies in its own way; the contract suite has what is the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from flask import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from integrations.flask_visits import make_app, visiting
from werkzeug.test import create_environ

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import current_user, require_auth
from moonkey_flask.responses import path_of
from support.visitors import GONE, JWT, OURS, PAGE, pair, set_by, signed_in_long_ago, vary, verifications


@pytest.fixture
def browser(emulator: Emulator) -> Iterator[httpx.Client]:
    with visiting(make_app(emulator)) as browser:
        yield browser


def test_an_old_jwt_is_refreshed_beside_a_refusal_of_the_apps_own(
    browser: httpx.Client, emulator: Emulator
) -> None:
    person = signed_in_long_ago(emulator)
    response = browser.get("/forbidden", headers=pair(person))
    assert (response.status_code, set(set_by(response))) == (401, {JWT})
    assert "cookie" in vary(response)
    again = browser.get("/forbidden", headers=pair(person, jwt=set_by(response)[JWT]))
    assert (again.status_code, set_by(again)) == (401, {})
    assert verifications(emulator) == 1


@pytest.mark.rule("S43", "connection")
def test_the_handshake_of_a_websocket(emulator: Emulator, ada: SignedIn) -> None:
    """An extension answers such a route through the server's socket. Flask itself sees a GET."""
    app = make_app(emulator)
    view = require_auth(lambda: current_user.id)
    app.add_url_rule("/live", view_func=view, websocket=True, endpoint="live")
    visitor = app.test_client(use_cookies=False)  # else it drops the header

    def status(**headers: str) -> int:
        lines = {"Upgrade": "websocket", "Connection": "Upgrade", **pair(ada), **headers}
        response = visitor.get("/live", base_url="ws://localhost", headers=lines)
        assert (response.text == ada.user_id) is (response.status_code == 200)
        return response.status_code

    assert status(Origin="http://localhost") == 200
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, OURS):
        assert status(**headers) == 403
    assert status(Origin="https://evil.example", Authorization=f"Bearer {ada.session_token}") == 200


def test_a_stream_may_look_later(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    assert browser.get("/lazy-stream", headers=pair(ada)).text == "authenticated"
    assert browser.get("/lazy-stream").text == "anonymous"
    by_header = browser.get("/lazy-stream", headers={"session-token": ada.session_token})
    assert (by_header.text, by_header.headers["cache-control"]) == ("authenticated", "private")


def test_who_does_not_look_pays_nothing(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/unread", headers=pair(signed_in_long_ago(emulator)))
    assert set_by(response) == {}
    assert emulator.requests() == {}


def test_where_neither_routes_nor_a_page_are_named_nobody_is_sent_anywhere(
    browser: httpx.Client, emulator: Emulator
) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    page = browser.get("/me", headers={**pair(person), **PAGE})
    assert (page.status_code, set_by(page)) == (401, GONE)


def test_the_views_own_word_on_our_cookies_stands(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/own-cookie", headers=pair(signed_in_long_ago(emulator)))
    assert response.headers.get_list("set-cookie") == [f"{JWT}=; Max-Age=0; Path=/; Secure"]
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.long
@given(st.binary(max_size=30), st.binary(max_size=30))
@settings(deadline=None, max_examples=200)
def test_the_way_back_is_the_way_that_was_asked_for(script: bytes, path: bytes) -> None:
    names = {"SCRIPT_NAME": "/" + script.decode("latin-1"), "PATH_INFO": "/" + path.decode("latin-1")}
    found = path_of(Request({**create_environ(), **names}))
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(' "<>?#\\^`{|}')
    mount = script.strip(b"/")  # two slashes in front would name another host
    assert unquote_to_bytes(found) == (b"/" + mount if mount else b"") + b"/" + path
