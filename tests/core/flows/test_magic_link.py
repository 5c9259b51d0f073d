"""Signing in by a magic link: what opens links must not use them up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import ConfigurationError, _clock
from moonkey_core.emulator import Emulator
from moonkey_core.events import SignedIn
from support import quick
from support.clients import Both
from support.flow_visits import (
    JWT,
    SESSION,
    Visitor,
    code_of,
    cookies_of,
    events_of,
    flow_client,
    header,
    json_of,
    path_of,
    shown,
    who,
)

VERIFY = "POST /v1/auth/magic_links/verify"


@pytest.fixture
def token(emulator: Emulator) -> str:
    headers = {"authorization": f"Bearer {emulator.secret_key}"}
    url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
    quick.post(url, json={"email": "me@example.com"}, headers=headers).raise_for_status()
    emulator.clear_requests()
    return code_of(emulator)


@pytest.mark.rule("S49")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_it_asks_nobody(browser: Visitor, emulator: Emulator, token: str, method: str) -> None:
    for _ in range(3):
        answer = browser.send(method, "magic", query={"token": token})
        assert answer.status == 200
        assert shown(answer).fields()["token"] == token
        assert header(answer, "referrer-policy") == "same-origin"
        assert header(answer, "cache-control") == "no-store"
    assert not emulator.requests()
    assert browser.post("magic", {"token": token}).status == 303


def test_the_button_signs_in(browser: Visitor, emulator: Emulator, token: str) -> None:
    events = events_of(browser.call)
    page = shown(browser.get("magic", {"token": token, "next": "/account", "remember_me": "1"}))
    assert page.one("form").attributes["action"] == "/auth/sign-in/magic"
    answer = browser.post("magic", page.fields())
    assert path_of(answer) == "/account"
    assert token not in str(answer.headers)
    assert who(browser) == "me@example.com"
    assert "Max-Age" in cookies_of(answer)[SESSION]
    verified = browser.call("sessions.verify", session_token=browser.cookies[SESSION])
    assert abs(verified.session.expires_in - timedelta(days=30)) < timedelta(minutes=1)
    assert [event.method for event in events if isinstance(event, SignedIn)] == ["magic_link"]


def test_it_works_once(browser: Visitor, emulator: Emulator, token: str) -> None:
    assert browser.post("magic", {"token": token}).status == 303
    answer = Visitor(browser.call).post("magic", {"token": token})
    assert answer.status == 401
    assert shown(answer).one("h1").text == "This link no longer works"
    assert token not in shown(answer).html
    assert not cookies_of(answer)


@pytest.mark.parametrize("odd", ["", "a b", "ä", "<script>", "x" * 2049, "a\nb", "=", "a=b"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_no_token(browser: Visitor, emulator: Emulator, odd: str, method: str) -> None:
    emulator.clear_requests()
    answer = getattr(browser, method)("magic", {"token": odd})
    assert answer.status == 400
    assert shown(answer).one("h1").text == "This link is not complete"
    assert not emulator.requests()


@pytest.mark.rule("S49")
def test_a_query_is_no_way_to_sign_in(browser: Visitor, emulator: Emulator, token: str) -> None:
    """Of a POST, only the body counts."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.send("POST", "magic", kind, query={"token": token}).status == 400
    assert not emulator.requests()


@pytest.mark.rule("S47")
@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil"])
def test_no_way_out(browser: Visitor, token: str, target: str) -> None:
    assert shown(browser.get("magic", {"token": token, "next": target})).fields()["next"] == ""
    assert path_of(browser.post("magic", {"token": token, "next": target})) == "/"


@pytest.mark.rule("S43")
@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": None, "origin": "https://evil.example"}],
)
def test_another_site_cannot_press_the_button(
    browser: Visitor, emulator: Emulator, token: str, headers: dict[str, str | None]
) -> None:
    """Nobody is signed in to somebody else's account by visiting a page (login CSRF)."""
    answer = browser.post("magic", {"token": token}, **headers)
    assert answer.status == 403
    assert not cookies_of(answer)
    assert not emulator.requests()


@pytest.mark.rule("S21")
def test_it_is_never_sent_twice(browser: Visitor, emulator: Emulator, token: str, quick_retries: None) -> None:
    emulator.fault("/v1/auth/magic_links/verify", status=500)
    answer = browser.post("magic", {"token": token})
    assert answer.status == 503
    assert emulator.requests()[VERIFY] == 1
    emulator.clear_faults()
    assert browser.post("magic", {"token": token}).status == 303


def test_a_program(call: Both, token: str) -> None:
    program = Visitor(call, html=False)
    shown_to_it = program.get("magic", {"token": token})
    assert token.encode() not in shown_to_it.body
    assert json_of(shown_to_it)["steps"]["magic"]["path"] == "/auth/sign-in/magic"
    assert json_of(program.post_json("magic", {"token": token, "next": "/x"}))["next"] == "/x"
    refused = program.post_json("magic", {"token": token})
    assert (refused.status, json_of(refused)["error"]) == (401, "invalid_token")


class TestALinkThatWasAskedForHere:
    def asked(self, browser: Visitor, **more: Any) -> str:
        start = browser.call.client.flows.magic_link_state(email="me@example.com", **more)
        browser.keep([start.set_cookie])
        for shown_text in (repr(start), start.set_cookie, start.state):
            assert "me@example" not in shown_text
        state: str = start.state
        return state

    def test_it_says_whose_account_it_opens(self, browser: Visitor, emulator: Emulator, token: str) -> None:
        state = self.asked(browser, next="/account", remember_me=True)
        emulator.clear_requests()
        page = shown(browser.get("magic", {"token": token, "state": state, "next": "/other"}))
        assert "It signs you in as me@example.com." in page.one("main").text
        assert not emulator.requests()
        answer = browser.post("magic", page.fields())
        assert path_of(answer) == "/account"
        assert "Max-Age" in cookies_of(answer)[SESSION]
        assert set(browser.cookies) >= {SESSION, JWT}
        assert "__Host-moonkey_magic" not in browser.cookies
        assert who(browser) == "me@example.com"

    @pytest.mark.rule("S49")
    @pytest.mark.parametrize("how", ["none", "another request", "changed"])
    def test_it_works_in_that_browser_only(
        self, browser: Visitor, emulator: Emulator, token: str, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "moonkey")
        state, other = self.asked(browser), Visitor(browser.call)
        if how == "another request":
            self.asked(other)
        elif how == "changed":
            other, state = browser, state[:-6] + ("AAAAAA" if state[-6:] != "AAAAAA" else "BBBBBB")
        fields = {"token": token, "state": state}
        for answer in (other.get("magic", fields), other.post("magic", fields)):
            assert answer.status == 400
            assert caplog.records[-1].reason == "link_state"  # type: ignore[attr-defined]
            assert shown(answer).one("h1").text == "Open this link in the other browser"
            assert token not in shown(answer).html
        assert not emulator.requests()

    def test_not_for_ever(self, browser: Visitor, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        state, now = self.asked(browser), _clock.wall()
        monkeypatch.setattr(_clock, "wall", lambda: now + 3599)
        assert browser.get("magic", {"token": token, "state": state}).status == 200
        monkeypatch.setattr(_clock, "wall", lambda: now + 3601)
        assert browser.get("magic", {"token": token, "state": state}).status == 400

    def test_a_cookie_is_no_state(self, browser: Visitor, token: str) -> None:
        self.asked(browser)
        sealed = browser.cookies["__Host-moonkey_magic"]
        assert browser.get("magic", {"token": token, "state": sealed}).status == 400


def test_a_link_of_no_browser_says_that_it_names_nobody(browser: Visitor, token: str) -> None:
    assert "does not say which account" in shown(browser.get("magic", {"token": token})).one("main").text


def test_an_app_can_take_bound_links_only(emulator: Emulator, kind: str, token: str) -> None:
    with flow_client(kind, emulator, sign_in={"bound_links": True}) as call:
        browser = Visitor(call)
        for answer in (browser.get("magic", {"token": token}), browser.post("magic", {"token": token})):
            assert answer.status == 400
        assert not emulator.requests()
        state = TestALinkThatWasAskedForHere().asked(browser)
        assert browser.post("magic", {"token": token, "state": state}).status == 303


def test_without_cookies_no_browser_can_be_bound(emulator: Emulator, kind: str) -> None:
    with flow_client(kind, emulator, cookies=None) as call, pytest.raises(ConfigurationError, match="cookies"):
        call.client.flows.magic_link_state(email="me@example.com")
