"""S3, S41. Many header lines, and long ones: answered as few and short ones are, up to a bound for cookies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.requests import END, exchange
from contract.stacks import AS_SENT_ASGI, Site

from moonkey_core.emulator import Emulator
from support.visitors import OURS, SESSION, pair

KIB = 1024
TOO_LONG = "; ".join(["a=" + "b" * 1000] * 70)
NOT_TOO_LONG = TOO_LONG[: 60 * KIB]


@pytest.fixture(autouse=True)
def _servers_that_take_long_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AS_SENT_ASGI, "h11_max_incomplete_event_size", 512 * KIB)


@pytest.fixture
def open_web(open_site: Callable[..., Site]) -> Site:
    return open_site(**BROWSING)


@pytest.mark.rule("S3")
@pytest.mark.parametrize("name", ["Authorization", "session-token"])
def test_many_lines_of_a_credential_are_malformed(open_web: Site, emulator: Emulator, name: str) -> None:
    value = emulator.sign_in().session_token if name != "Authorization" else "Basic eDp5"
    lines = "\r\n".join([f"{name}: {value}", *[f"{name}: a"] * 5000])
    assert exchange(open_web.url, f"GET /protected HTTP/1.1\r\nHost: x\r\n{lines}".encode() + END) in (400, 431)
    assert open_web.runs == []


@pytest.mark.rule("S41")
def test_many_lines_of_cookies_are_all_read(open_web: Site, emulator: Emulator) -> None:
    cookies = pair(emulator.sign_in())["Cookie"]
    lines = "\r\n".join([f"Cookie: {cookies}; x=y", *["Cookie: a=b"] * 5000])
    request = f"GET /protected HTTP/1.1\r\nHost: x\r\n{lines}".encode() + END
    assert exchange(open_web.url, request) in (200, 431)
    planted = f"\r\nCookie: {SESSION}=another".encode()
    assert exchange(open_web.url, request.removesuffix(END) + planted + END) in (400, 431)


@pytest.mark.rule("S41")
class TestLongCookies:
    def test_up_to_a_bound(self, open_web: Site, emulator: Emulator, browser: httpx.Client) -> None:
        ada = emulator.sign_in()
        headers = {"Cookie": pair(ada)["Cookie"] + "; " + NOT_TOO_LONG}
        assert browser.get(f"{open_web.url}/protected", headers=headers).json()["user"] == ada.user_id

    def test_beyond_it_the_request_is_malformed(
        self, open_web: Site, emulator: Emulator, browser: httpx.Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "moonkey")
        headers = {**OURS, "Cookie": pair(emulator.sign_in())["Cookie"] + "; " + TOO_LONG}
        emulator.clear_requests()
        for method, path in (
            ("GET", "/protected"),
            ("POST", "/protected"),
            ("GET", "/auth/sign-in"),
            ("POST", "/auth/sign-in/otp"),
            ("GET", "/auth/session"),
            ("POST", "/auth/sign-out"),
        ):
            response = browser.request(method, f"{open_web.url}{path}", headers=headers)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request"), path
            assert "set-cookie" not in response.headers  # they may be good, and would not come back
        reasons = {record.__dict__.get("reason") for record in caplog.records if record.name == "moonkey"}
        assert reasons == {"cookies_too_long"}
        assert (emulator.requests(), open_web.runs) == ({}, [])

    def test_where_nobody_has_to_sign_in_it_is_rejected(
        self, open_web: Site, emulator: Emulator, browser: httpx.Client
    ) -> None:
        seen: Any = browser.get(f"{open_web.url}/optional", headers={"Cookie": TOO_LONG}).json()
        assert seen == {"state": "rejected", "reason": "cookies_too_long", "user": None}

    def test_they_are_not_looked_at_beside_a_header(
        self, open_web: Site, emulator: Emulator, browser: httpx.Client
    ) -> None:
        headers = {"session-token": emulator.sign_in().session_token, "Cookie": TOO_LONG}
        assert browser.get(f"{open_web.url}/protected", headers=headers).status_code == 200
