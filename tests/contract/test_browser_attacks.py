"""Attacks on browser sessions, byte by byte where it takes that: the same outcome on every stack."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import exchange

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import FOREIGN, OURS, PAGE, Visitor, pair

TRIES = 5
EVIL = "http://evil.example"


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def sent(web: httpx.Client, start: str, headers: dict[str, str], host: str | None = "{own}") -> int:
    """The status for a request without a body; ``host`` is ``None`` for none."""
    url = str(web.base_url).rstrip("/")
    hosts = () if host is None else (f"Host: {host.format(own=urlsplit(url).netloc)}",)
    lines = [start, *hosts, *(f"{name}: {value}" for name, value in headers.items())]
    return exchange(url, "\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""]).encode())


HOSTS: dict[str, tuple[str, str | None]] = {
    "none": ("POST /protected HTTP/1.0", None),
    "two": ("POST /protected HTTP/1.1", "{own}\r\nHost: evil.example"),
    "two the other way": ("POST /protected HTTP/1.1", "evil.example\r\nHost: {own}"),
    "in the address": ("POST http://evil.example/protected HTTP/1.1", "{own}"),
    "a list": ("POST /protected HTTP/1.1", "evil.example,{own}"),
    "a user": ("POST /protected HTTP/1.1", "{own}@evil.example"),
    "a path": ("POST /protected HTTP/1.1", "evil.example/{own}"),
    "of a proxy": (
        "POST /protected HTTP/1.1",
        "{own}\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example",
    ),
}


@pytest.mark.rule("S43", "S44")
def test_no_host_makes_another_site_ours(web: httpx.Client, ada: SignedIn, runs: Runs) -> None:
    """To a browser that says no more than its origin: what is compared with it is not for others to choose."""
    headers = {**pair(ada), "Origin": EVIL}
    statuses = {case: sent(web, start, headers, host) for case, (start, host) in HOSTS.items()}
    assert set(statuses.values()) <= {0, 400, 403, 404}, statuses
    assert runs == []


@pytest.mark.rule("S43")
@pytest.mark.parametrize("path", ["/protected", "/auth/sign-out", "/auth/sessions/revoke-others"])
def test_no_spelling_of_a_method_is_safer(
    web: httpx.Client, ada: SignedIn, runs: Runs, emulator: Emulator, path: str
) -> None:
    headers = {**pair(ada), **FOREIGN}
    for override in ({}, {"X-HTTP-Method-Override": "GET"}, {"X-HTTP-Method": "GET"}, {"Upgrade": "h2c"}):
        for method in ("POST", "post", "Post", "GETS"):
            assert sent(web, f"{method} {path}?_method=GET HTTP/1.1", {**headers, **override}) in (400, 403, 405)
    for method in ("GET", "HEAD"):
        sent(web, f"{method} {path}?_method=POST HTTP/1.1", {**headers, "X-HTTP-Method-Override": "POST"})
    assert set(runs) <= {"GET", "HEAD"}
    assert emulator.requests()["DELETE /v1/auth/sessions/delete"] == 0


@pytest.mark.rule("S48")
def test_many_tries_at_once_are_no_more_tries(web: httpx.Client, emulator: Emulator) -> None:
    browser = Visitor(web)
    browser.post("/sign-in/otp", {"address": "ada@example.com"})
    code = emulator.outbox()[0].code
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {**PAGE, **OURS, "Cookie": cookie}
    emulator.clear_requests()

    def guess(number: int) -> int:
        tried = f"{(int(code) + 1 + number) % 1_000_000:06d}"
        return web.post("/auth/sign-in/otp/verify", data={"code": tried}, headers=headers).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(guess, range(12)))
    assert sorted(statuses) == [401] * TRIES + [429] * (12 - TRIES)
    assert emulator.requests()["POST /v1/auth/otps/verify"] == TRIES
    assert web.post("/auth/sign-in/otp/verify", data={"code": code}, headers=headers).status_code == 429


@pytest.mark.rule("S47")
@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/protected",
        "/\\evil.example/protected",
        "/%5cevil.example/auth/sessions",
        "/%2f%2fevil.example/auth/sessions",
        "/.//evil.example/../protected",
        "http://evil.example/protected",
        "/protected?x=//evil.example",
        "/protected?x=%0d%0aSet-Cookie:%20a=b",
        "/protected?x=\\\\evil.example",
    ],
)
def test_a_way_to_sign_in_stays_here(web: httpx.Client, path: str) -> None:
    response = web.send(raw_request(web, path))
    assert (
        response.status_code == 303 if path.startswith("/protected") else response.status_code in (303, 400, 404)
    )
    location = response.headers.get("location", "/auth/sign-in")
    assert re.match(r"/auth/sign-in(\?next=%2F(?!%2F|%5C)|\Z)", location)
    assert "set-cookie" not in response.headers


def raw_request(web: httpx.Client, path: str) -> httpx.Request:
    """A request whose target goes out as it is."""
    request = web.build_request("GET", "/", headers=PAGE)
    request.extensions["target"] = path.encode()
    return request
