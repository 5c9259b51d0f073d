"""S1 to S3, S26. Requests that no well-meaning client sends, byte by byte: never let in, never a 500."""

from __future__ import annotations

import pytest
from contract.requests import END, exchange
from contract.stacks import Site

from moonkey_core.emulator import Emulator

TOKEN = b"{token}"

# What is sent after "GET /protected HTTP/1.1" and Host; {token} is a good one.
HEADS: dict[str, bytes] = {
    "the same line twice": b"Authorization: Bearer {token}\r\nAuthorization: Bearer {token}",
    "two schemes": b"Authorization: Basic eDp5\r\nAuthorization: Bearer {token}",
    "an empty line first": b"Authorization:\r\nAuthorization: Bearer {token}",
    "session-token twice": b"session-token: {token}\r\nSession-Token: {token}",
    "both headers": b"Authorization: Bearer {token}\r\nsession-token: {token}",
    "comma list": b"Authorization: Bearer {token}, Bearer {token}",
    "comma list, other header": b"session-token: {token},{token}",
    "tab": b"Authorization: Bearer\t{token}",
    "quoted": b'Authorization: Bearer "{token}"',
    "no-break space": b"Authorization: Bearer\xc2\xa0{token}",
    "latin-1": b"Authorization: Bearer {token}\xe9",
    "next line character": b"session-token: {token}\xc2\x85",
    "delete character": b"session-token: {token}\x7f",
    "vertical tab": b"session-token: {token}\x0b",
    "bare carriage return": b"Authorization: Bearer {token}\rX: y",
    "nul": b"Authorization: Bearer {token}\x00",
    "space before the colon": b"Authorization : Bearer {token}",
    "percent escape": b"session-token: %7Btoken%7D",
    "too long": b"session-token: " + b"a" * 8193,
    "far too long": b"Authorization: Bearer " + b"a" * 60_000,
    "many spaces": b"Authorization: Bearer" + b" " * 30_000 + b"{token}",
    "many commas": b"Authorization: " + b"," * 30_000,
    "ten thousand dots": b"session-token: eyJhbGciOiJSUzI1NiJ9" + b"." * 8000,
    "no value": b"session-token:",
    "only a scheme": b"Authorization: Bearer",
    "a scheme of control characters": b"Authorization: \x01\x02 {token}",
    "not a credential header": b"X-Authorization: Bearer {token}\r\nX-User-Id: admin\r\nX-Forwarded-User: admin",
    "proxy authorization": b"Proxy-Authorization: Bearer {token}",
    "original url": b"X-Original-URL: /public\r\nX-Rewrite-URL: /public",
    "method override": b"X-HTTP-Method-Override: OPTIONS\r\nX-Method-Override: HEAD",
}

METHODS = ["GET", "HEAD", "get", "BREW", "TRACE"]


@pytest.mark.rule("S2", "S3")
@pytest.mark.parametrize("case", HEADS)
def test_odd_headers(site: Site, emulator: Emulator, case: str) -> None:
    token = emulator.sign_in().session_token.encode()
    head = HEADS[case].replace(TOKEN, token)
    status = exchange(site.url, b"GET /protected HTTP/1.1\r\nHost: localhost\r\n" + head + END)
    assert status in (0, 400, 401, 403, 431), case
    assert site.runs == []


def test_the_good_request_of_these_tests_is_let_in(site: Site, emulator: Emulator) -> None:
    token = emulator.sign_in().session_token.encode()
    for head in (b"Authorization: Bearer " + token + b" \t", b"aUTHORIZATION:bearer   " + token):
        request = b"GET /protected HTTP/1.1\r\nHost: localhost\r\n" + head + END
        assert exchange(site.url, request) == 200


@pytest.mark.rule("S26")
@pytest.mark.parametrize("method", METHODS)
def test_odd_methods(site: Site, method: str) -> None:
    status = exchange(site.url, f"{method} /protected HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status in (0, 400, 401, 405, 501)
    assert site.runs == []


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    "target", ["//protected", "/./protected", "/public/../protected", "/protected/", "/%70rotected", "/PROTECTED"]
)
@pytest.mark.parametrize("host", ["localhost", "localhost/public?", "public", "[::1]:80"])
def test_tricks_with_path_and_host(site: Site, target: str, host: str) -> None:
    status = exchange(site.url, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert status in (0, 400, 401, 404, 301, 307, 308)
    assert site.runs == []


@pytest.mark.rule("S1")
def test_a_trailer_is_not_a_header(site: Site, emulator: Emulator) -> None:
    """Identity is decided from the header section of this very request."""
    token = emulator.sign_in().session_token.encode()
    request = (
        b"POST /protected HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\nTrailer: session-token\r\n\r\n"
        b"1\r\nx\r\n0\r\nsession-token: " + token + END
    )
    assert exchange(site.url, request) in (0, 400, 401)
    assert site.runs == []


@pytest.mark.rule("S1")
def test_an_underscore_is_not_a_hyphen(site: Site, emulator: Emulator) -> None:
    """A header that a proxy does not know to strip must not come through under the name of ours."""
    token = emulator.sign_in().session_token.encode()
    request = b"GET /protected HTTP/1.1\r\nHost: localhost\r\nsession_token: " + token + END
    assert exchange(site.url, request) in (0, 400, 401)
    assert site.runs == []
