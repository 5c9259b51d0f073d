"""S32. On every stack the log names what a refused request has sent, and what was expected of it."""

from __future__ import annotations

import logging

import httpx
import pytest

from moonkey_core.emulator import Emulator
from moonkey_core.web import cookies
from support.visitors import FOREIGN, Visitor, pair


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    monkeypatch.setattr(cookies, "_told", set())


def lines(caplog: pytest.LogCaptureFixture, reason: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.__dict__.get("reason") == reason]


def test_the_scheme_that_was_sent(web: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    token = emulator.sign_in().session_token
    for value, shown in ((f"Token {token}", "the scheme 'Token'"), (token, "no scheme that can be named")):
        caplog.clear()
        answer = web.get("/protected", headers={"Authorization": value})
        assert answer.status_code == 401
        (line,) = lines(caplog, "no_credentials")
        assert shown in line
        assert token not in line
        assert shown not in answer.text


def test_what_was_compared(web: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    headers = {**pair(emulator.sign_in()), **FOREIGN}
    assert web.post("/protected", headers=headers).status_code == 403
    assert web.post("/auth/sign-out", headers=headers).status_code == 403
    host = f"{web.base_url.host}:{web.base_url.port}"
    expected = f"Sec-Fetch-Site: cross-site, Origin: https://evil.example; own origin: http://{host}."
    said = lines(caplog, "cross_site_request")
    assert len(said) == 2
    assert all(expected in line for line in said)


def test_a_secure_cookie_on_plain_http(
    web: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    for email in ("ada@example.com", "bob@example.com"):
        Visitor(web).sign_in(emulator, email)
    assert len(lines(caplog, "secure_cookie_on_http")) == 1
