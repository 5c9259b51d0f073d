"""S49. Bodies, queries and paths that no well-meaning client sends: never a 500, and no error in a log."""

from __future__ import annotations

import logging

import httpx
import pytest
from contract.requests import exchange

from moonkey_core.emulator import Emulator
from support.bodies import BODIES, answer_to
from support.visitors import pair

READS_BODIES = [
    "/auth/sign-in/otp",
    "/auth/sign-in/otp/verify",
    "/auth/sign-in/magic",
    "/auth/sign-out",
    "/auth/sessions/sess_1/revoke",
    "/auth/sessions/revoke-others",
    "/auth/step-up/otp",
    "/auth/step-up/otp/verify",
    "/auth/step-up/totp",
]
READS_QUERIES = ["/auth/sign-in", "/auth/sign-in/magic", "/auth/callback/oauth", "/auth/sign-out", "/auth/step-up"]
QUERIES = [
    *("%", "%zz", "%00", "next=%ff", "token=%0d%0aX:y", "token=%ed%a0%80", "=", "a=b&a=c", "%u1234"),
    *("next=//evil.example", "next=/%0d%0aSet-Cookie:a", "state=%C3%A9&token=a&error=x", "&" * 3000, "a" * 3000),
    "\xff\xfe",
]
SEGMENTS = [
    "%00",
    "%ff",
    "%0d%0aX:%20y",
    "a" * 3000,
    "%zz",
    "%",
    "%2f",
    "..%2f..%2f",
    "%ed%a0%80",
    "\xff",
    "a;b=c",
]
REFUSED = {400, 401, 403, 404, 405, 413, 415, 431, 501}
DONE = {200, 303}
WAITRESS = "uncaptured python exception, closing channel"  # its parser's own trouble, before there is a request


@pytest.fixture
def url(web: httpx.Client, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.INFO)
    return str(web.base_url)


def assert_quiet(caplog: pytest.LogCaptureFixture) -> None:
    loud = [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    told = [(record.name, record.getMessage()) for record in loud]
    assert [one for one in told if not one[1].startswith(WAITRESS)] == []


@pytest.mark.rule("S49")
@pytest.mark.long
@pytest.mark.parametrize("path", READS_BODIES)
def test_bodies(url: str, emulator: Emulator, caplog: pytest.LogCaptureFixture, path: str) -> None:
    person = pair(emulator.sign_in())["Cookie"]
    cookies = f"Cookie: {person}\r\n".encode() if "/sign-in" not in path and "sign-out" not in path else b""
    for name, body in BODIES.items():
        status = answer_to(url, path, body, headers=cookies)
        assert status in {0} | REFUSED | (DONE if "sign-out" in path or "revoke" in path else set()), name
        answer_to(url, path, body, headers=cookies, resets=True)
    assert_quiet(caplog)


@pytest.mark.long
@pytest.mark.parametrize("path", READS_QUERIES)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_queries(url: str, emulator: Emulator, caplog: pytest.LogCaptureFixture, path: str, accept: str) -> None:
    cookies = pair(emulator.sign_in())["Cookie"]
    for query in QUERIES:
        head = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nCookie: {cookies}\r\n\r\n"
        assert exchange(url, head.encode("latin-1")) in {0} | REFUSED | DONE, query
    assert_quiet(caplog)


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("known", [True, False])
def test_paths(url: str, emulator: Emulator, caplog: pytest.LogCaptureFixture, accept: str, known: bool) -> None:
    cookies = pair(emulator.sign_in())["Cookie"] if known else "a=b"
    for segment in SEGMENTS:
        head = (
            f"POST /auth/sessions/{segment}/revoke HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n"
            f"Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"
        )
        assert exchange(url, head.encode("latin-1")) in {0} | REFUSED, segment
    assert_quiet(caplog)
