"""Calls over a hostile network: deadlines, retries, redirects, sizes, contents (rules S14, S15, S21, S22, S24)."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, MoonKey, ProviderUnavailable
from moonkey_core.emulator import Emulator
from support.asking import GOOD, SECRET, TOKEN, asked, trouble
from support.clients import MakeClient
from support.decisions import presenting
from support.odd_jwts import ISSUER, good, key_set
from support.patience import PATIENCE
from support.scripted import RESET, Pieces, reply, scripted

pytestmark = pytest.mark.usefixtures("quick_retries")
VERIFY = "POST /v1/auth/sessions/verify"


DRIPS: dict[str, dict[str, Any]] = {
    "body": {"drip": 0.05},
    "headers": {"drip_headers": 0.05},
    "headers of an error": {"status": 500, "drip_headers": 0.05},
    "nothing at all": {"delay": 10},
}


@pytest.mark.rule("S21")
@pytest.mark.long
@pytest.mark.parametrize("fault", DRIPS.values(), ids=DRIPS.keys())
@pytest.mark.parametrize("credential", ["session_token", "session_jwt"])
def test_a_reply_that_drips_in_ends_with_the_deadline(
    emulator: Emulator, how: str, fault: dict[str, Any], credential: str
) -> None:
    person = emulator.sign_in()
    emulator.fault(**fault)
    options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "timeout": 0.25}
    value = getattr(person, credential)
    if how == "sync":
        with MoonKey(jwt_issuer=emulator.issuer, **options) as client:
            auth = client.authenticate(presenting(value))
    else:

        async def work() -> Auth:
            async with AsyncMoonKey(jwt_issuer=emulator.issuer, **options) as client:
                return await client.authenticate(presenting(value))

        auth = asyncio.run(work())
    # All of it would take longer than anybody waits for a single byte.
    assert trouble(auth).reason in ("api_timeout", "jwks_timeout")


@pytest.mark.rule("S15")
def test_the_key_set_has_a_shorter_deadline_of_its_own(emulator: Emulator, make_client: MakeClient) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer, jwks_timeout=0.3), emulator.sign_in()
    emulator.fault("/v1/auth/jwks", drip=0.05)
    auth = client.authenticate(presenting(person.session_jwt))
    assert trouble(auth).reason == "jwks_timeout"


def endless(head: bytes, piece: bytes, came_to_its_end: list[bool]) -> Pieces:
    """Goes on for longer than anybody should read; then says so."""
    yield head
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield piece
    came_to_its_end.append(True)


FLOODS: dict[str, tuple[bytes, bytes]] = {
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "until closed": (b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 65536),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nx-long: ", b"y" * 1000),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    "gzip": (
        b"HTTP/1.0 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(json.dumps(GOOD).encode()),
        b"behind the end" * 1000,
    ),
}


@pytest.mark.rule("S22")
@pytest.mark.long
@pytest.mark.parametrize(("head", "piece"), FLOODS.values(), ids=FLOODS.keys())
def test_a_reply_without_an_end(how: str, head: bytes, piece: bytes) -> None:
    came_to_its_end: list[bool] = []
    with scripted(lambda _: endless(head, piece, came_to_its_end)) as server:
        trouble(asked(server.url, how, timeout=1.0))
        assert not came_to_its_end


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


LARGE = json.dumps({**GOOD, "x": "y" * 2_000_000}).encode()
SIZES: dict[str, Callable[[], bytes]] = {  # made when they are sent: bombs take their time
    "announced": lambda: reply(200, LARGE),
    "inflated": lambda: reply(200, gzip.compress(LARGE), {"content-encoding": "gzip"}),
    "deflated": lambda: reply(200, deflated(LARGE), {"content-encoding": "deflate"}),
    "a bomb": lambda: reply(200, gzip.compress(b" " * 50_000_000, 1), {"content-encoding": "gzip"}),
    "a bomb in a bomb": lambda: reply(
        200, gzip.compress(gzip.compress(b" " * 5_000_000)), {"content-encoding": "gzip, gzip"}
    ),
    "an error": lambda: reply(400, LARGE),
}


@pytest.mark.rule("S22")
@pytest.mark.parametrize("made", SIZES.values(), ids=SIZES.keys())
def test_a_reply_that_is_too_large(how: str, made: Callable[[], bytes]) -> None:
    with scripted(made()) as server:
        assert trouble(asked(server.url, how)).reason in ("api_too_large", "api_broken")


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "not http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http 0.9": b'{"session": {}}',
    "no status": b"HTTP/1.1 \r\n\r\n",
    "odd status": b"HTTP/1.1 2OO OK\r\n\r\n",
    "shorter than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + json.dumps(GOOD).encode(),
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
    "an unfinished chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}",
    "an odd chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n{}",
    "unfinished gzip": reply(200, gzip.compress(json.dumps(GOOD).encode())[:-12], {"content-encoding": "gzip"}),
    "not gzip": reply(200, GOOD, {"content-encoding": "gzip"}),
    "another encoding": reply(200, GOOD, {"content-encoding": "br"}),
    "two gzip members": reply(200, gzip.compress(json.dumps(GOOD).encode()) * 2, {"content-encoding": "gzip"}),
    "junk behind gzip": reply(
        200, gzip.compress(json.dumps(GOOD).encode()) + b"junk", {"content-encoding": "gzip"}
    ),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_a_reply_that_is_broken(how: str, raw: bytes) -> None:
    with scripted(lambda _: [raw, RESET] if raw == b"" else raw) as server:
        trouble(asked(server.url, how))
        assert len(server.received) <= 2


@pytest.mark.rule("S15", "S22")
def test_a_reply_that_was_inflated(how: str) -> None:
    raw = json.dumps(GOOD).encode()
    for encoding, body in (("gzip", gzip.compress(raw)), ("deflate", deflated(raw)), ("identity", raw)):
        with scripted(reply(200, body, {"content-encoding": encoding})) as server:
            assert asked(server.url, how).is_authenticated


PLACES = [
    "http:x",
    "http://[",
    "//[",
    "http://127.0.0.1:99999999/",
    "\x7f",
    "",
    "/",
    "http://é/",
    "http://xn--a",
    "ftp://a/b",
    "http://",
]


@pytest.mark.rule("S22")
@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_to_nowhere(how: str, place: str) -> None:
    with scripted(reply(302, b"", {"location": place})) as server:
        trouble(asked(server.url, how))


@pytest.mark.rule("S14", "S22")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays(how: str, status: int) -> None:
    with scripted(reply(200, GOOD)) as trap:
        raw = reply(status, GOOD, {"location": f"{trap.url}/v1/auth/sessions/verify"})
        with scripted(raw) as server:
            trouble(asked(server.url, how))
            with MoonKey(secret_key=SECRET, base_url=server.url, jwt_issuer="x") as client:
                token = good(time.time())
                trouble(client.authenticate(presenting(token)))
                with pytest.raises(ProviderUnavailable):
                    client.users.get("user_1")
                with pytest.raises(ProviderUnavailable):
                    client.sessions.revoke(session_id="sess_1")
        assert trap.connections == 0


@pytest.mark.rule("S22")
def test_what_a_request_carries(how: str) -> None:
    with scripted(reply(200, GOOD, {"set-cookie": "sticky=yes; Path=/"})) as server:
        assert asked(server.url, how).is_authenticated
        with MoonKey(secret_key=SECRET, base_url=server.url) as client:
            for _ in range(3):
                client.sessions.verify(session_token=TOKEN)
        for request in server.received:
            assert (request.method, request.path) == ("POST", "/v1/auth/sessions/verify")
            assert request.headers["authorization"] == f"Bearer {SECRET}"
            assert request.headers["content-type"] == "application/json"
            assert request.headers["accept-encoding"] == "identity"
            assert request.headers["user-agent"].startswith("moonkey-python/")
            assert "cookie" not in request.headers
            assert request.json == {"session_token": TOKEN}
        assert server.connections == 2  # kept alive within a client


@pytest.mark.rule("S14")
def test_the_key_of_the_key_set_is_in_the_header_alone() -> None:
    for mode in ("header", "none"):
        with scripted(reply(200, key_set())) as server:
            options: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url, "jwks_auth": mode}
            token = good(time.time())
            with MoonKey(jwt_issuer=ISSUER, **options) as client:
                auth = client.authenticate(presenting(token))
            assert auth.is_authenticated
            assert [request.path for request in server.received] == ["/v1/auth/jwks/default"]
            sent = server.received[0].headers.get("authorization")
            assert sent == (f"Bearer {SECRET}" if mode == "header" else None)


@pytest.mark.rule("S24")
@pytest.mark.parametrize("trusts", [False, True])
def test_the_environment_is_asked_only_where_told(how: str, trusts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "aiohttp" and trusts:
        monkeypatch.setenv("MOONKEY_TRANSPORT", "auto")  # aiohttp takes no proxies from there, so httpx steps in
    with scripted(reply(502)) as proxy, scripted(reply(200, GOOD)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        auth = asked(server.url, how, trust_env=trusts)
        assert auth.is_authenticated is not trusts
        assert (proxy.connections > 0) is trusts


@pytest.mark.rule("S21")
def test_a_host_with_many_addresses_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """S21. No address takes a connection; all of them together get the time of one call."""
    real = socket.getaddrinfo

    def many_addresses(host: str, *args: Any, **kwargs: Any) -> Any:
        found = real("127.0.0.1" if host == "localhost" else host, *args, **kwargs)
        return found[:1] * 1000 if host == "localhost" else found

    monkeypatch.setattr(socket, "getaddrinfo", many_addresses)
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(6):  # a full queue: further connections are neither taken nor refused
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        port = listener.getsockname()[1]
        with MoonKey(secret_key=SECRET, base_url=f"http://localhost:{port}", timeout=0.4) as client:
            started = time.monotonic()
            assert client.authenticate(presenting(TOKEN)).is_unavailable
            assert time.monotonic() - started < PATIENCE  # that of a thousand is 400 s
