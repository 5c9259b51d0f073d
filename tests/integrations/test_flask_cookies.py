"""Flask with cookies: which credential counts, which cookies go out, what a browser gets that is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import httpx
import pytest
from flask import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from integrations.flask_visits import (
    FOREIGN,
    JWT,
    OURS,
    PAGE,
    SESSION,
    cookies,
    make_app,
    set_by,
    signed_in_long_ago,
    vary,
    verifications,
    visiting,
)
from werkzeug.test import create_environ

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask.refusals import path_of
from support.secrets import assert_no_secret
from support.together import together


@pytest.fixture
def browser(emulator: Emulator) -> Iterator[httpx.Client]:
    with visiting(make_app(emulator)) as browser:
        yield browser


def test_a_pair_is_verified_here(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    for _ in range(2):
        response = browser.get("/me", headers=cookies(ada))
        assert response.json()["user"] == ada.user_id
        assert set_by(response) == {}
        assert {"cookie", "authorization", "session-token"} <= vary(response)
        assert response.headers["cache-control"] == "private"
    assert verifications(emulator) == 0
    assert browser.get("/me", headers={"Cookie": f"{JWT}={ada.session_jwt}"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/me", 200),
        ("/public", 200),
        ("/redirect", 302),
        ("/no-such-thing", 404),
        ("/forbidden", 401),
        ("/broken", 500),
        ("/stream", 200),
        ("/lazy-stream", 200),
    ],
)
def test_an_old_jwt_is_refreshed(browser: httpx.Client, emulator: Emulator, path: str, status: int) -> None:
    person = signed_in_long_ago(emulator)
    response = browser.get(path, headers=cookies(person))
    assert response.status_code == status
    fresh = set_by(response)
    assert set(fresh) == {JWT}
    assert fresh[JWT] not in ("", person.session_jwt)
    assert "cookie" in vary(response)
    again = browser.get(path, headers=cookies(person, jwt=fresh[JWT]))
    assert again.status_code == status
    assert set_by(again) == {}
    assert verifications(emulator) == 1


def test_a_stream_may_look_later(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    assert browser.get("/lazy-stream", headers=cookies(ada)).text == "authenticated"
    assert browser.get("/lazy-stream").text == "anonymous"
    by_header = browser.get("/lazy-stream", headers={"session-token": ada.session_token})
    assert (by_header.text, by_header.headers["cache-control"]) == ("authenticated", "private")


def test_who_does_not_look_pays_nothing(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/unread", headers=cookies(signed_in_long_ago(emulator)))
    assert set_by(response) == {}
    assert emulator.requests() == {}


def test_parallel_requests_share_one_refresh(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.3)
    responses = together(10, lambda _: browser.get("/me", headers=cookies(person)))
    assert {response.status_code for response in responses} == {200}
    assert len({set_by(response)[JWT] for response in responses}) == 1
    assert verifications(emulator) == 1


def test_a_session_that_is_over_takes_its_cookies_along(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    refused = browser.get("/me", headers=cookies(person))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
    assert set_by(refused) == {SESSION: "", JWT: ""}
    public = browser.get("/public", headers=cookies(person))
    assert (public.status_code, public.text) == (200, "rejected")
    assert set_by(public) == {SESSION: "", JWT: ""}
    page = browser.get("/me", headers={**cookies(person), **PAGE})
    assert page.status_code == 401  # nowhere to go: neither routes nor a page are named
    assert set_by(page) == {SESSION: "", JWT: ""}


def test_a_response_on_its_way_does_not_bring_the_jwt_back(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/ends", headers=cookies(signed_in_long_ago(emulator)))
    assert response.text == "over"
    assert set_by(response) == {SESSION: "", JWT: ""}


def test_the_views_own_word_on_our_cookies_stands(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/own-cookie", headers=cookies(signed_in_long_ago(emulator)))
    assert response.headers.get_list("set-cookie") == [f"{JWT}=; Max-Age=0; Path=/; Secure"]
    assert response.headers["cache-control"] == "no-store"


def test_another_sites_page_may_not_use_the_cookies(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    own = {"Origin": str(browser.base_url).rstrip("/")}
    for headers in (FOREIGN, {"Origin": "null"}, {}, {"Origin": "https://evil.example"}):
        refused = browser.post("/me", headers={**cookies(person), **headers})
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["error"] == "cross_site_request"
        assert set_by(refused) == {}
    assert emulator.requests() == {}
    for headers in (OURS, own):
        assert browser.post("/me", headers={**cookies(person), **headers}).status_code == 200
    assert browser.get("/me", headers={**cookies(person), **FOREIGN}).status_code == 200
    bearer = {"Authorization": f"Bearer {person.session_token}"}
    assert browser.post("/me", headers={**bearer, **cookies(person), **FOREIGN}).status_code == 200


def test_a_header_wins_and_a_bad_one_is_the_end_of_it(
    browser: httpx.Client, ada: SignedIn, emulator: Emulator
) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    both = browser.get("/me", headers={**cookies(ada), "Authorization": f"Bearer {ben.session_jwt}"})
    assert both.json()["user"] == ben.user_id
    for value, status in (("Bearer", 400), ("Bearer no-such-token", 401)):
        refused = browser.get("/me", headers={**cookies(ada), **PAGE, "Authorization": value})
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert set_by(refused) == {}


def test_one_name_with_two_values_is_malformed(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    planted = {"Cookie": f"{SESSION}={ben.session_token}; {SESSION}={ada.session_token}"}
    refused = browser.get("/me", headers=planted)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert browser.get("/public", headers=planted).text == "rejected"


def test_a_browser_is_sent_to_sign_in_and_a_program_is_not(emulator: Emulator) -> None:
    with visiting(make_app(emulator, sign_in={"page": "/welcome"})) as browser:
        sent = browser.get("/me?tab=a%26b&x=1", headers=PAGE)
        assert sent.status_code == 303
        where = urlsplit(sent.headers["location"])
        assert where.path == "/welcome"
        assert parse_qs(where.query) == {"next": ["/me?tab=a%26b&x=1"]}
        assert sent.headers["cache-control"] == "no-store"
        assert {"accept", "cookie"} <= vary(sent)
        assert browser.head("/me", headers=PAGE).status_code == 303
        program = browser.get("/me", headers={"Accept": "application/json"})
        assert program.status_code == 401
        assert program.headers["www-authenticate"] == 'Bearer realm="moonkey"'
        posted = browser.post("/me", headers=PAGE)
        assert posted.status_code == 401
        assert posted.headers["content-type"] == "text/html; charset=utf-8"
        assert "/welcome" in posted.text


def test_nobody_is_sent_to_sign_in_when_it_cannot_be_known(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.stop()
    page = browser.get("/me", headers={**cookies(person), **PAGE})
    assert page.status_code == 503
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "not available" in page.text
    assert int(page.headers["retry-after"]) > 0
    assert "location" not in page.headers
    assert set_by(page) == {}
    program = browser.get("/me", headers=cookies(person))
    assert (program.status_code, program.headers["content-type"]) == (503, "application/problem+json")


def test_how_long_the_session_lasts_is_told_where_wanted(emulator: Emulator) -> None:
    with visiting(make_app(emulator, expires_in_header=True)) as browser:
        person = emulator.sign_in(minutes=60)
        seconds = int(browser.get("/me", headers=cookies(person)).headers["session-expires-in"])
        assert 3500 < seconds <= 3600
        assert "session-expires-in" not in browser.get("/public").headers


def test_without_cookie_mode_cookies_are_nothing(emulator: Emulator, ada: SignedIn) -> None:
    with visiting(make_app(emulator, cookies=False)) as browser:
        refused = browser.get("/me", headers={**cookies(ada), **PAGE})
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert "cookie" not in vary(refused)


def test_nothing_of_the_cookies_is_logged(
    browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    person = signed_in_long_ago(emulator)
    with caplog.at_level(logging.DEBUG):
        fresh = set_by(browser.get("/me", headers=cookies(person)))[JWT]
        browser.get("/broken", headers=cookies(person))
        browser.post("/me", headers={**cookies(person), **FOREIGN, **PAGE})
        emulator.revoke(person.session_id)
        browser.get("/strict", headers=cookies(person))
        emulator.stop()
        browser.get("/strict", headers={"Cookie": f"{SESSION}={person.session_token}x", **PAGE})
    records = [record for record in caplog.records if record.name in ("moonkey", "flask_visits")]
    assert assert_no_secret(records, [person.session_token, person.session_jwt, fresh]) >= 4


@given(st.binary(max_size=30), st.binary(max_size=30))
@settings(deadline=None, max_examples=200)
def test_the_way_back_is_the_way_that_was_asked_for(script: bytes, path: bytes) -> None:
    names = {"SCRIPT_NAME": "/" + script.decode("latin-1"), "PATH_INFO": "/" + path.decode("latin-1")}
    found = path_of(Request({**create_environ(), **names}))
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(' "<>?#\\^`{|}')
    assert unquote_to_bytes(found) == (b"/" + script).rstrip(b"/") + b"/" + path
