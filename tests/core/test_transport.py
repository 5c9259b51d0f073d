"""Calls over a hostile network: deadlines, retries, redirects, sizes, contents (rules S14, S15, S21, S22, S24)."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from core.conftest import MakeClient
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, Auth, MoonKey, ProviderUnavailable
from moonkey_core._replies import retry_after
from moonkey_core.emulator import Emulator
from support.decisions import replied
from support.scripted import RESET, Pieces, Received, reply, scripted, unused_url

SECRET = "sk_test_" + "t" * 30
TOKEN = "session_" + "Ab3" * 20
GOOD: dict[str, Any] = {"session": {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}}
VERIFY = "POST /v1/auth/sessions/verify"


def asked(url: str, how: str = "sync", **options: Any) -> Auth:
    """The verdict of a client of its own about a session token."""

    def headers(name: str) -> list[str]:
        return [TOKEN] if name == "session-token" else []

    options = {"secret_key": SECRET, "base_url": url, **options}
    if how == "sync":
        with MoonKey(**options) as client:
            return client.authenticate(headers)

    async def work() -> Auth:
        async with AsyncMoonKey(**options) as client:
            return await client.authenticate(headers)

    return asyncio.run(work())


def trouble(auth: Auth) -> ProviderUnavailable:
    assert isinstance(auth.error, ProviderUnavailable), auth
    return auth.error


@pytest.fixture(params=["sync", "async"])
def how(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


DRIPS: dict[str, dict[str, Any]] = {
    "body": {"drip": 0.05},
    "headers": {"drip_headers": 0.05},
    "headers of an error": {"status": 500, "drip_headers": 0.05},
    "nothing at all": {"delay": 10},
}


@pytest.mark.parametrize("fault", DRIPS.values(), ids=DRIPS.keys())
@pytest.mark.parametrize("credential", ["session_token", "session_jwt"])
def test_a_reply_that_drips_in_ends_with_the_deadline(
    emulator: Emulator, how: str, fault: dict[str, Any], credential: str
) -> None:
    person = emulator.sign_in()
    emulator.fault(**fault)
    options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "timeout": 0.25}
    value = getattr(person, credential)
    start = time.monotonic()
    if how == "sync":
        with MoonKey(jwt_issuer=emulator.issuer, **options) as client:
            auth = client.authenticate(lambda name: [value] if name == "session-token" else [])
    else:

        async def work() -> Auth:
            async with AsyncMoonKey(jwt_issuer=emulator.issuer, **options) as client:
                return await client.authenticate(lambda name: [value] if name == "session-token" else [])

        auth = asyncio.run(work())
    assert time.monotonic() - start < 1.25
    assert trouble(auth).reason in ("api_timeout", "jwks_timeout")


def test_the_key_set_has_a_shorter_deadline_of_its_own(emulator: Emulator, make_client: MakeClient) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer, jwks_timeout=0.3), emulator.sign_in()
    emulator.fault("/v1/auth/jwks", drip=0.05)
    start = time.monotonic()
    auth = client.authenticate(lambda name: [person.session_jwt] if name == "session-token" else [])
    assert time.monotonic() - start < 1.3
    assert trouble(auth).reason == "jwks_timeout"


def endless(head: bytes, piece: bytes) -> Pieces:
    yield head
    while True:
        yield piece


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


@pytest.mark.parametrize(("head", "piece"), FLOODS.values(), ids=FLOODS.keys())
def test_a_reply_without_an_end(how: str, head: bytes, piece: bytes) -> None:
    with scripted(lambda _: endless(head, piece)) as server:
        start = time.monotonic()
        trouble(asked(server.url, how, timeout=1.0))
        assert time.monotonic() - start < 2.0


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


LARGE = json.dumps({**GOOD, "x": "y" * 2_000_000}).encode()
SIZES: dict[str, bytes] = {
    "announced": reply(200, LARGE),
    "inflated": reply(200, gzip.compress(LARGE), {"content-encoding": "gzip"}),
    "deflated": reply(200, deflated(LARGE), {"content-encoding": "deflate"}),
    "a bomb": reply(200, gzip.compress(b" " * 50_000_000, 9), {"content-encoding": "gzip"}),
    "a bomb in a bomb": reply(
        200, gzip.compress(gzip.compress(b" " * 5_000_000)), {"content-encoding": "gzip, gzip"}
    ),
    "an error": reply(400, LARGE),
}


@pytest.mark.parametrize("raw", SIZES.values(), ids=SIZES.keys())
def test_a_reply_that_is_too_large(how: str, raw: bytes) -> None:
    with scripted(raw) as server:
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
    "two gzip members": reply(200, gzip.compress(b"{}") * 2, {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_a_reply_that_is_broken(how: str, raw: bytes) -> None:
    with scripted(lambda _: [raw, RESET] if raw == b"" else raw) as server:
        trouble(asked(server.url, how))
        assert len(server.received) <= 2


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
    "ftp://a/b",
    "http://",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_to_nowhere(how: str, place: str) -> None:
    with scripted(reply(302, b"", {"location": place})) as server:
        trouble(asked(server.url, how))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays(how: str, status: int) -> None:
    with scripted(reply(200, GOOD)) as trap:
        raw = reply(status, GOOD, {"location": f"{trap.url}/v1/auth/sessions/verify"})
        with scripted(raw) as server:
            trouble(asked(server.url, how))
            with MoonKey(secret_key=SECRET, base_url=server.url, jwt_issuer="x") as client:
                from support.odd_jwts import good

                token = good(time.time())
                trouble(client.authenticate(lambda name: [token] if name == "session-token" else []))
                with pytest.raises(ProviderUnavailable):
                    client.users.get("user_1")
                with pytest.raises(ProviderUnavailable):
                    client.sessions.revoke(session_id="sess_1")
        assert trap.connections == 0


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


def test_the_key_of_the_key_set_is_in_the_header_alone() -> None:
    from support.odd_jwts import ISSUER, good, key_set

    for mode in ("header", "none"):
        with scripted(reply(200, key_set())) as server:
            options: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url, "jwks_auth": mode}
            token = good(time.time())
            with MoonKey(jwt_issuer=ISSUER, **options) as client:
                auth = client.authenticate(lambda name, token=token: [token] if name == "session-token" else [])
            assert auth.is_authenticated
            assert [request.path for request in server.received] == ["/v1/auth/jwks/default"]
            sent = server.received[0].headers.get("authorization")
            assert sent == (f"Bearer {SECRET}" if mode == "header" else None)


class TestRetries:
    def test_a_refused_connection_is_tried_again(self, emulator: Emulator, make_client: MakeClient) -> None:
        client, person = make_client(), emulator.sign_in()
        code = client.otps.login_or_create(email="me@example.com")
        for call in (
            lambda: client.sessions.verify(session_token=person.session_token),
            lambda: client.otps.verify(emulator.outbox()[0].code, method_id=code.method_id),
        ):
            emulator.stop()
            restart = threading.Timer(0.02, emulator.start)
            restart.start()
            call()
            restart.join()

    def test_nobody_there(self, how: str) -> None:
        auth = asked(unused_url(), how)
        assert trouble(auth).reason == "api_connect"

    @pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"status": 429}, {"reset": True}])
    def test_trouble_is_tried_once_more(self, emulator: Emulator, make_client: MakeClient, fault: Any) -> None:
        client, person = make_client(), emulator.sign_in()
        emulator.fault(times=1, **fault)
        assert client.sessions.verify(session_token=person.session_token).user.id == person.user_id
        assert emulator.requests()[VERIFY] == 2
        emulator.fault(times=2, **fault)
        with pytest.raises(ProviderUnavailable):
            client.sessions.verify(session_token=person.session_token)
        assert emulator.requests()[VERIFY] == 4

    @pytest.mark.parametrize("status", [400, 404, 410, 402, 403, 422, 200, 302])
    def test_an_answer_is_not_asked_for_twice(self, how: str, status: int) -> None:
        with scripted(reply(status, {"error_type": "x"})) as server:
            asked(server.url, how)
            assert len(server.received) == 1

    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"reset": True}, {"delay": 5}])
    def test_a_login_is_never_sent_twice(self, emulator: Emulator, make_client: MakeClient, fault: Any) -> None:
        client = make_client(timeout=0.3)
        emulator.fault(**fault)
        calls: list[Callable[[], object]] = [
            lambda: client.otps.verify("123456", method_id="em_1"),
            lambda: client.magic_links.verify("t" * 64),
            lambda: client.oauth.verify(token="t" * 64),
            lambda: client.totps.verify("123456", user_id="user_1"),
            lambda: client.wallets.verify(wallet_type="ethereum", public_address="0x1", signature="0x2"),
            lambda: client.otps.send(email="me@example.com"),
            lambda: client.otps.login_or_create(phone_number="+14152222222"),
        ]
        for count, call in enumerate(calls, 1):
            with pytest.raises(ProviderUnavailable):
                call()
            assert sum(emulator.requests().values()) == count
            if "delay" in fault:
                break

    def test_a_login_that_had_to_wait_had_no_effect(self, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client()
        sent = client.otps.login_or_create(email="me@example.com")
        emulator.fault("/v1/auth/otps/verify", status=429, times=1)
        assert client.otps.verify(emulator.outbox()[0].code, method_id=sent.method_id).user.id == sent.user_id

    def test_a_wait_beyond_the_deadline_is_handed_on(self, how: str) -> None:
        later = formatdate(time.time() + 100, usegmt=True)
        for value, least, most in (("7", 7, 7), ("100000000", 3600, 3600), (later, 90, 100)):
            for status in (429, 503):
                with scripted(reply(status, {"error_type": "x"}, {"retry-after": value})) as server:
                    start = time.monotonic()
                    error = trouble(asked(server.url, how, timeout=2.0))
                    assert time.monotonic() - start < 2.0
                    assert len(server.received) == 1
                    assert error.retry_after is not None
                    assert least <= error.retry_after <= most

    def test_a_wait_within_the_deadline_is_kept(self, how: str) -> None:
        times: list[float] = []

        def script(_: Received) -> bytes:
            times.append(time.monotonic())
            return reply(503, b"", {"retry-after": "1"}) if len(times) == 1 else reply(200, GOOD)

        with scripted(script) as server:
            assert asked(server.url, how, timeout=4.0).is_authenticated
        assert len(times) == 2
        assert times[1] - times[0] >= 1.0


@given(
    st.one_of(
        st.text(max_size=40), st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d( GMT)?")
    )
)
def test_any_retry_after_is_bounded_or_nothing(value: str) -> None:
    seconds = retry_after(replied(503, b"", retry_after=value))
    assert seconds is None or 0 <= seconds <= 3600


class TestConnections:
    def test_a_timed_out_call_takes_its_connection_with_it(self, how: str) -> None:
        """The late answer to one must never be read as the answer to another."""

        def script(request: Received) -> Iterator[bytes | float]:
            user = request.json["session_token"]
            if user == "slow":
                yield 0.4
            yield reply(200, {"session": {"id": f"sess_{user}", "user_id": user, "expires_at": 4_000_000_000}})

        with scripted(script) as server:
            options: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url, "timeout": 0.2}

            async def work() -> list[str]:
                async with AsyncMoonKey(**options) as client:
                    with pytest.raises(ProviderUnavailable):
                        await client.sessions.verify(session_token="slow")
                    await asyncio.sleep(0.4)
                    return [(await client.sessions.verify(session_token=name)).user.id for name in ("a", "b")]

            def block() -> list[str]:
                with MoonKey(**options) as client:
                    with pytest.raises(ProviderUnavailable):
                        client.sessions.verify(session_token="slow")
                    time.sleep(0.4)
                    return [client.sessions.verify(session_token=name).user.id for name in ("a", "b")]

            assert (block() if how == "sync" else asyncio.run(work())) == ["a", "b"]
            assert server.connections == 2

    def test_a_connection_that_the_server_has_closed(self) -> None:
        def script(_: Received) -> bytes:
            return reply(200, GOOD).replace(b"content-length", b"Content-Length")

        # It closes after each reply without saying so.
        with scripted(script) as server, MoonKey(secret_key=SECRET, base_url=server.url) as client:
            for _ in range(5):
                assert client.sessions.verify(session_token=TOKEN).user.id == "user_1"
            assert server.connections == 5

    def test_few_connections_for_many_threads(self, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(max_connections=2)
        people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(8)]
        emulator.fault("/v1/auth/sessions", delay=0.02)
        found: dict[int, str] = {}

        def work(place: int) -> None:
            for _ in range(3):
                found[place] = client.sessions.verify(session_token=people[place].session_token).user.id
                assert found[place] == people[place].user_id

        threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == {place: person.user_id for place, person in enumerate(people)}
        assert emulator.in_flight_max() <= 2

    def test_few_connections_for_many_tasks(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.fault("/v1/auth/sessions", delay=0.02)

        async def work() -> None:
            options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
            async with AsyncMoonKey(max_connections=2, **options) as client:
                calls = [client.sessions.verify(session_token=person.session_token) for _ in range(12)]
                assert {found.user.id for found in await asyncio.gather(*calls)} == {person.user_id}

        asyncio.run(work())
        assert emulator.in_flight_max() <= 2


@pytest.mark.parametrize("trusts", [False, True])
def test_the_environment_is_asked_only_where_told(how: str, trusts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(reply(502)) as proxy, scripted(reply(200, GOOD)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        auth = asked(server.url, how, trust_env=trusts)
        assert auth.is_authenticated is not trusts
        assert (proxy.connections > 0) is trusts
