"""Coming back from another provider: bound to the browser that began it, and used once."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from moonkey_core import ConfigurationError, CookieSettings, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.events import SignedIn
from moonkey_core.flows import OAuthStart
from support.clients import Both
from support.flow_visits import (
    SESSION,
    Visitor,
    cookies_of,
    events_of,
    flow_client,
    header,
    json_of,
    path_of,
    shown,
    who,
)

OAUTH = "__Host-moonkey_oauth"
VERIFY = "POST /v1/auth/oauth/verify"
# The provider's redirect is another site's link.
BACK: dict[str, str | None] = {"sec-fetch-site": "cross-site", "referer": "https://provider.example/"}


def begin(browser: Visitor, **wishes: object) -> str:
    """What the app does before it sends the browser to the provider; returns the state."""
    start: OAuthStart = browser.call.client.flows.oauth_state(**wishes)
    browser.keep([start.set_cookie])
    return start.state


@pytest.mark.parametrize("proof", ["token", "code"])
def test_there_and_back(browser: Visitor, emulator: Emulator, proof: str) -> None:
    events = events_of(browser.call)
    state = begin(browser, next="/account", remember_me=True)
    token = emulator.oauth_token("me@example.com")
    answer = browser.get("oauth", {"state": state, proof: token}, **BACK)
    assert path_of(answer) == "/account"
    assert token not in header(answer, "location")
    assert header(answer, "cache-control") == "no-store"
    assert who(browser) == "me@example.com"
    assert OAUTH not in browser.cookies
    assert "Max-Age" in cookies_of(answer)[SESSION]
    assert [event.method for event in events if isinstance(event, SignedIn)] == ["oauth"]


@pytest.mark.rule("S48")
def test_what_begins_it(call: Both) -> None:
    one, other = (call.client.flows.oauth_state() for _ in range(2))
    assert one.state != other.state
    assert len(one.state) >= 43
    assert one.state not in one.set_cookie
    for start in (one, other):
        assert start.state not in repr(start)
        assert start.set_cookie.split("=")[0] == OAUTH
        assert start.set_cookie.endswith("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax")


def test_it_is_lax_even_where_the_session_is_strict(emulator: Emulator) -> None:
    with flow_client("sync", emulator, cookies=CookieSettings(same_site="Strict")) as call:
        assert "SameSite=Lax" in call.client.flows.oauth_state().set_cookie


def test_without_cookies(emulator: Emulator) -> None:
    client = MoonKey(emulator.secret_key, base_url=emulator.base_url)
    with client, pytest.raises(ConfigurationError, match="cookies=CookieSettings"):
        client.flows.oauth_state()


@pytest.mark.rule("S48", "S49")
class TestWithoutItsState:
    @pytest.fixture(autouse=True)
    def nothing_is_sent(self, browser: Visitor, emulator: Emulator) -> Iterator[None]:
        """The token of somebody else's sign-in never reaches the API (RFC 6749 section 10.12)."""
        emulator.clear_requests()
        yield
        assert not emulator.requests()
        assert SESSION not in browser.cookies

    def refused(self, browser: Visitor, emulator: Emulator, query: dict[str, str]) -> None:
        token = emulator.oauth_token("attacker@example.com")
        answer = browser.get("oauth", {**query, "token": token}, **BACK)
        assert answer.status == 400
        assert token not in shown(answer).html
        assert shown(answer).one("h1").text == "This sign-in did not work"

    def test_no_cookie(self, browser: Visitor, emulator: Emulator) -> None:
        state = begin(browser)
        browser.cookies.clear()
        self.refused(browser, emulator, {"state": state})

    @pytest.mark.parametrize("change", ["", "x", "\u00e4", "\U0001f511" * 10])
    def test_another_state(self, browser: Visitor, emulator: Emulator, change: str) -> None:
        state = begin(browser)
        self.refused(browser, emulator, {"state": change and state + change})
        self.refused(browser, emulator, {})

    def test_that_of_another_browser(self, browser: Visitor, emulator: Emulator) -> None:
        begin(browser)
        self.refused(browser, emulator, {"state": begin(Visitor(browser.call))})

    def test_the_cookie_of_another_purpose(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", {"address": "me@example.com"})
        browser.cookies = {OAUTH: browser.cookies["__Host-moonkey_otp"]}
        emulator.clear_requests()
        self.refused(browser, emulator, {"state": ""})

    def test_that_of_another_app(self, browser: Visitor, emulator: Emulator) -> None:
        with MoonKey("sk_test_another", base_url=emulator.base_url, cookies=CookieSettings()) as client:
            start = client.flows.oauth_state()
        browser.keep([start.set_cookie])
        self.refused(browser, emulator, {"state": start.state})

    def test_the_cookie_twice(self, browser: Visitor, emulator: Emulator) -> None:
        state = begin(browser)
        line = f"{OAUTH}={browser.cookies[OAUTH]}; {OAUTH}=planted"
        answer = browser.get("oauth", {"state": state, "token": "x"}, cookie=line, **BACK)
        assert answer.status == 400

    def test_too_late(self, browser: Visitor, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        state = begin(browser)
        now = time.time()
        monkeypatch.setattr("moonkey_core._clock.time.time", lambda: now + 601)
        self.refused(browser, emulator, {"state": state})

    @pytest.mark.parametrize("query", ["token=a&code=b", "", "token=", "token=a%20b", "token=%00", "code=%C3%A4"])
    def test_no_proof_or_two(self, browser: Visitor, emulator: Emulator, query: str) -> None:
        state = begin(browser)
        answer = browser.get("oauth", f"state={state}&{query}", **BACK)
        assert answer.status == 400

    @pytest.mark.parametrize(
        "query", ["token=a&token=b", "state=x&token=a", "token=%FF", "&".join("abcdefghijklmnopqrstuvwx")]
    )
    def test_a_query_that_can_be_read_in_two_ways(self, browser: Visitor, query: str) -> None:
        state = begin(browser)
        assert browser.get("oauth", f"state={state}&{query}", **BACK).status == 400

    def test_the_provider_says_no(self, browser: Visitor, emulator: Emulator) -> None:
        state = begin(browser)
        said = "<script>said()</script>"
        answer = browser.get(
            "oauth", {"state": state, "error": "access_denied", "error_description": said}, **BACK
        )
        assert answer.status == 400
        assert "called off" in shown(answer).one("main").text
        assert "said()" not in shown(answer).html
        assert OAUTH not in browser.cookies

    def test_asking_for_the_head_only(self, browser: Visitor, emulator: Emulator) -> None:
        state = begin(browser)
        token = emulator.oauth_token()
        answer = browser.send("HEAD", "oauth", BACK, query={"state": state, "token": token})
        assert (answer.status, header(answer, "allow")) == (405, "GET")

    def test_posting_it(self, browser: Visitor, emulator: Emulator) -> None:
        state = begin(browser)
        answer = browser.post("oauth", {"state": state, "token": emulator.oauth_token()})
        assert (answer.status, header(answer, "allow")) == (405, "GET")


@pytest.mark.rule("S49")
def test_it_works_once(browser: Visitor, emulator: Emulator) -> None:
    """Even where somebody has kept the cookie."""
    state = begin(browser)
    kept = dict(browser.cookies)
    assert browser.get("oauth", {"state": state, "token": emulator.oauth_token()}, **BACK).status == 303
    browser.cookies = kept
    emulator.clear_requests()
    answer = browser.get("oauth", {"state": state, "token": emulator.oauth_token("other@example.com")}, **BACK)
    assert answer.status == 400
    assert not emulator.requests()


def test_a_token_that_is_refused(browser: Visitor, emulator: Emulator) -> None:
    state = begin(browser)
    answer = browser.get("oauth", {"state": state, "token": "made_up"}, **BACK)
    assert answer.status == 401
    assert shown(answer).one("h1").text == "This sign-in did not work"
    assert OAUTH not in browser.cookies
    assert SESSION not in browser.cookies


def test_the_api_is_down(browser: Visitor, emulator: Emulator, quick_retries: None) -> None:
    state = begin(browser)
    token = emulator.oauth_token("me@example.com")
    emulator.fault("/v1/auth/oauth", status=429)
    answer = browser.get("oauth", {"state": state, "token": token}, **BACK)
    assert answer.status == 503
    assert token not in shown(answer).html
    emulator.clear_faults()
    assert browser.get("oauth", {"state": state, "token": token}, **BACK).status == 303


def test_the_api_breaks_off(browser: Visitor, emulator: Emulator, quick_retries: None) -> None:
    """Whether the token was used up nobody knows: it is not sent again."""
    state = begin(browser)
    token = emulator.oauth_token("me@example.com")
    emulator.fault("/v1/auth/oauth", status=500)
    emulator.clear_requests()
    statuses = [browser.get("oauth", {"state": state, "token": token}, **BACK).status for _ in range(2)]
    assert statuses == [503, 400]
    assert emulator.requests()[VERIFY] == 1


@pytest.mark.rule("S47")
@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/a\\b", "/" + "x" * 3000])
def test_no_way_out(browser: Visitor, emulator: Emulator, target: str) -> None:
    state = begin(browser, next=target)
    assert path_of(browser.get("oauth", {"state": state, "token": emulator.oauth_token()}, **BACK)) == "/"


def test_a_program(call: Both, emulator: Emulator) -> None:
    program = Visitor(call, html=False)
    state = begin(program, next="/x")
    answer = program.get("oauth", f"state={quote(state)}&token={emulator.oauth_token()}")
    assert json_of(answer)["next"] == "/x"
    assert program.get("oauth", {"state": state, "token": "a"}).status == 400
