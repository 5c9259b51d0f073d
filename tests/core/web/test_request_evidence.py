"""S32. What the log and errors say of a request that is refused: enough to mend it, and no secret."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import CookieSettings, MoonKeyError
from moonkey_core._plan import run
from moonkey_core.auth import Auth
from moonkey_core.gate import check
from moonkey_core.web import cookies as cookies_module
from moonkey_core.web.cookies import set_cookie, warn_about_plain_http
from moonkey_core.web.origin import cross_site
from moonkey_core.web.request import HeaderView, RequestInfo
from moonkey_core.web.responses import refuse
from support.decisions import Decisions, replied
from support.visitors import SESSION

TOKEN = "session_" + "Ab3" * 20
BARE = "qWeRtY" * 5
DECISIONS = Decisions(cookies=CookieSettings(trusted_origins=("https://partner.example",)))
GET, POST = RequestInfo("GET", "https"), RequestInfo("POST", "http")
SOCKET = RequestInfo("GET", "ws", is_websocket=True)


def view(**lines: str | list[str]) -> HeaderView:
    held = {name.replace("_", "-"): [value] if isinstance(value, str) else value for name, value in lines.items()}
    return lambda name: held.get(name, [])


def refused(headers: HeaderView, info: RequestInfo = GET) -> MoonKeyError:
    """The error that a gate raises for a request."""
    found = DECISIONS.core.begin(headers, None, info)
    if not isinstance(found, Auth):
        found = run(DECISIONS.core.finish(found), lambda _: replied(503))
    error = check(found)
    assert error is not None
    return error


def logged(error: MoonKeyError, caplog: pytest.LogCaptureFixture) -> str:
    """The line for the operator, and that the caller is told nothing of it."""
    caplog.set_level(logging.INFO, "moonkey")
    caplog.clear()
    answer = refuse(error, DECISIONS.settings)
    (record,) = caplog.records
    line = record.getMessage()
    assert error.evidence
    assert error.evidence in str(error)
    assert error.evidence in line
    assert error.evidence not in answer.body.decode() + repr(answer.headers)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 700
    return line


@pytest.mark.rule("S32")
class TestTheScheme:
    @pytest.mark.parametrize("scheme", ["Basic", "Token", "JWT", "Digest", "DPoP", "AWS4-HMAC-SHA256", "Bearrer"])
    def test_another_one_is_named(self, scheme: str, caplog: pytest.LogCaptureFixture) -> None:
        error = refused(view(authorization=f"{scheme} {TOKEN}"))
        line = logged(error, caplog)
        assert error.reason == "no_credentials"
        assert f"the scheme '{scheme}', not 'Bearer'" in line
        assert TOKEN not in line

    @pytest.mark.parametrize(
        "value", [TOKEN, BARE, f"{TOKEN} x", f"{BARE} x", f"{BARE} {TOKEN}", "hunter2 x", "hunter", "Pass.word x"]
    )
    def test_what_may_be_a_credential_is_not(self, value: str, caplog: pytest.LogCaptureFixture) -> None:
        line = logged(refused(view(authorization=value)), caplog)
        assert "no scheme that can be named" in line
        for word in value.split():
            assert word == "x" or word not in line

    def test_so_it_is_where_it_is_malformed(self, caplog: pytest.LogCaptureFixture) -> None:
        cases = [f"Bearer {TOKEN} {TOKEN}", f'Bearer "{TOKEN}"', f"Basic eA==,Bearer {TOKEN}", "bearer a b"]
        for value in cases:
            line = logged(refused(view(authorization=value)), caplog)
            assert "malformed_credentials" in line
            assert f"the scheme '{value.split()[0]}'" in line
            assert TOKEN not in line

    def test_which_header_it_is_about(self, caplog: pytest.LogCaptureFixture) -> None:
        cases: list[tuple[HeaderView, str]] = [
            (view(session_token=[TOKEN] * 3), "session-token stands there 3 times"),
            (view(authorization=f"Bearer {TOKEN}", session_token=TOKEN), "authorization and session-token both"),
            (view(session_token="a" * 9000), "session-token: 9000 characters; max_credential_length is 8192"),
            (view(session_token=f"{TOKEN}\n"), "session-token is empty or holds more"),
            (view(session_token=f"{TOKEN} {TOKEN}"), "session-token holds more than one"),
        ]
        for headers, expected in cases:
            line = logged(refused(headers), caplog)
            assert expected in line
            assert TOKEN not in line

    @given(st.text(st.characters(max_codepoint=255), min_size=1, max_size=300))
    def test_of_any_other_line_nothing_is_told(self, value: str) -> None:
        error = refused(view(authorization=value))
        evidence = error.evidence
        named = evidence.partition("the scheme '")[2].partition("'")[0]
        assert len(named) <= 16
        assert named == "" or value.strip(" \t").startswith(named)
        assert evidence.isascii()
        assert evidence.isprintable()
        assert len(evidence) < 200

    def test_there_is_none_without_the_header(self) -> None:
        error = refused(view())
        assert (error.evidence, str(error)) == ("", error.default_message)


@pytest.mark.rule("S32")
class TestCrossSiteRequests:
    @pytest.mark.rule("S32", "pair")
    def test_what_was_compared_with_what(self, caplog: pytest.LogCaptureFixture) -> None:
        cookie, host = f"{SESSION}={TOKEN}", "app.example:8000"
        own = "own origin: http://app.example:8000"
        cases: list[tuple[dict[str, str | list[str]], str]] = [
            ({"sec_fetch_site": "cross-site"}, f"Sec-Fetch-Site: cross-site, Origin: none; {own}."),
            ({"origin": "https://evil.example"}, f"Sec-Fetch-Site: none, Origin: https://evil.example; {own}."),
            ({"origin": "null"}, f"Origin: null; {own}."),
            ({"origin": ["https://a.example", "https://b.example"]}, f"Origin: 2 lines; {own}."),
            ({"origin": f"https://{TOKEN}@app.example"}, "Origin: no valid one (88 characters); "),
            ({"origin": "https://app.example:8000\r\nforged"}, "Origin: no valid one"),
            ({"sec_fetch_site": TOKEN}, "Sec-Fetch-Site: no valid one"),
            ({"origin": "https://" + "a." * 140 + "example"}, "Origin: https://a.a.a.a."),
        ]
        for headers, expected in cases:
            error = refused(view(cookie=cookie, host=host, **headers), POST)
            line = logged(error, caplog)
            assert error.reason == "cross_site_request"
            assert expected in line
            assert TOKEN not in line

    def test_that_a_proxy_ends_tls_is_told(self) -> None:
        error = cross_site(POST, view(host="app.example", origin="https://app.example"), DECISIONS.settings)
        assert error.evidence.endswith("set trusted_proxies, or origin in the cookie settings.")

    def test_what_is_not_known(self) -> None:
        said = cross_site(None, view(), DECISIONS.settings).evidence
        assert "own origin: unknown: nothing was said of the request" in said
        assert "no usable Host header" in cross_site(POST, view(host="a b"), DECISIONS.settings).evidence

    @pytest.mark.rule("S32", "connection")
    def test_a_websocket(self, caplog: pytest.LogCaptureFixture) -> None:
        error = refused(view(cookie=f"{SESSION}={TOKEN}", host="a.example", origin="http://b.example"), SOCKET)
        line = logged(error, caplog)
        assert "Origin: http://b.example; own origin: http://a.example." in line
        assert TOKEN not in line


class TestSecureCookiesOnPlainHttp:
    @pytest.fixture(autouse=True)
    def _anew(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(cookies_module, "_warned", set())
        caplog.set_level(logging.INFO, "moonkey")

    SETTINGS = DECISIONS.settings
    COOKIE = set_cookie(SETTINGS, SESSION, TOKEN, None)

    def test_is_one_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(3):
            warn_about_plain_http([self.COOKIE], POST, view(host="app.example"), self.SETTINGS)
        (record,) = caplog.records
        assert (record.levelname, record.__dict__["reason"]) == ("WARNING", "secure_cookie_on_http")
        assert "http://app.example" in record.getMessage()
        assert "most browsers will not keep it" in record.getMessage()
        assert TOKEN not in record.getMessage()

    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
    def test_on_this_machine_some_browsers_keep_it(self, caplog: pytest.LogCaptureFixture, host: str) -> None:
        warn_about_plain_http([self.COOKIE], POST, view(host=host), self.SETTINGS)
        assert "some browsers will not keep it" in caplog.text

    def test_only_where_it_is(self, caplog: pytest.LogCaptureFixture) -> None:
        told = Decisions(cookies=CookieSettings(origin="https://app.example")).settings
        trusting = Decisions(cookies=CookieSettings(), trusted_proxies=["10.0.0.1"]).settings
        plain = Decisions(
            cookies=CookieSettings(insecure_development=True), base_url="http://127.0.0.1:1"
        ).settings
        behind = RequestInfo("POST", "http", "10.0.0.1")
        gone = set_cookie(self.SETTINGS, SESSION, "", 0)
        warn_about_plain_http([self.COOKIE], RequestInfo("POST", "https"), view(), self.SETTINGS)
        warn_about_plain_http([self.COOKIE], POST, view(origin="https://app.example"), self.SETTINGS)
        warn_about_plain_http([self.COOKIE], POST, view(), told)
        warn_about_plain_http([self.COOKIE], behind, view(x_forwarded_proto="https"), trusting)
        warn_about_plain_http([set_cookie(plain, SESSION, TOKEN, None)], POST, view(), plain)
        warn_about_plain_http([gone], POST, view(), self.SETTINGS)
        warn_about_plain_http([], POST, view(), self.SETTINGS)
        assert caplog.records == []
        warn_about_plain_http([self.COOKIE], behind, view(), trusting)
        assert len(caplog.records) == 1
