"""Nothing that a server says unasked answers a question (RFC 9112 section 9.2; rule S22)."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, MoonKey, Settings
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport import aiohttp_connections, httpx_connections
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from support import odd_jwts
from support.certificates import make_certificate
from support.patience import PATIENCE
from support.scripted import Received, reply, wait_until
from support.unsolicited import Answer, Talkative, talkative

pytestmark = pytest.mark.usefixtures("quick_retries")

SECRET = "sk_test_" + "U" * 30
REFUSAL = {"status_code": 400, "error_type": "invalid_session", "error_message": "no"}
MALLORY = {"session": {"id": "sess_m", "user_id": "user_mallory", "expires_at": 4_000_000_000}}
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"

UNASKED = {
    "a 200": reply(200, MALLORY),
    "a 400": reply(400, REFUSAL),
    "a 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a body": reply(200, MALLORY)[:-9],
    "one byte": b"x",
    "a line end": b"\r\n",
    "two": reply(400, REFUSAL) + reply(200, MALLORY),
    "a hundred KB": reply(200, b"x" * 100_000),
}


def framed(request: Received) -> bytes:
    """A reply that says which path was asked for, in the form that the path names."""
    body = json.dumps({"path": request.path}).encode()
    form = request.path.split("/")[1]
    if form == "chunked":
        return CHUNKED + b"\r\n5\r\n" + body[:5] + b"\r\n%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n"
    if form == "trailers":
        return CHUNKED + b"trailer: x-t\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\nx-t: 1\r\n\r\n"
    if form == "informed":
        return b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + reply(200, body)
    if form == "gzip":
        return reply(200, gzip.compress(body), {"content-encoding": "gzip"})
    if form == "nothing":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if form == "unchanged":
        return b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"
    if form == "empty":
        return reply(200, b"")
    if form == "large":
        return reply(200, body.ljust(65_536 * 3))
    return reply(200, body)


FORMS = ("length", "chunked", "trailers", "informed", "gzip", "nothing", "unchanged", "empty", "large")


class Caller:
    """Makes calls one after the other, by one way of making them."""

    def __init__(self, way: str, url: str) -> None:
        self.way = way
        self._runner = None if "sync" in way.split() else asyncio.Runner()
        transport = "aiohttp" if way == "aiohttp" else "httpx"
        settings = Settings.load(
            {"secret_key": SECRET, "base_url": url, "trust_env": True, "transport": transport}
        )
        self.given: Any = None
        if way == "given sync":
            self.given = httpx.Client(trust_env=True)
        elif way == "given httpx":
            self.given = httpx.AsyncClient(trust_env=True)
        make: Any = SyncExchange if self._runner is None else AsyncExchange
        self.exchange = make(settings, http_client=self.given)

    def __call__(self, fetch: Fetch) -> Outcome:
        end = time.monotonic() + PATIENCE
        outcome: Outcome = self.run(lambda: self.exchange(fetch, end))
        return outcome

    def run(self, make: Callable[[], Any]) -> Any:
        async def work() -> Any:
            return await make()

        return make() if self._runner is None else self._runner.run(work())

    def rest(self) -> None:
        """Let the event loop, if there is one, read what has come."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.01))

    def close(self) -> None:
        if self._runner is None:
            self.exchange.close()
            if self.given is not None:
                self.given.close()
            return
        self._runner.run(self.exchange.aclose())
        if self.given is not None:
            self._runner.run(self.given.aclose())
        self._runner.close()


WAYS = ("sync", "httpx", "aiohttp", "given sync", "given httpx")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "https"])
def context(
    request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext | None:
    if request.param == "http":
        return None
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


@pytest.fixture
def call(way: str) -> Iterator[Callable[[Talkative], Caller]]:
    made: list[Caller] = []

    def make(server: Talkative) -> Caller:
        made.append(Caller(way, server.url))
        return made[-1]

    yield make
    for one in made:
        one.close()


def get(server: Talkative, path: str) -> Fetch:
    return Fetch("GET", server.url + path, idempotent=False)


def answers(outcome: Outcome, path: str) -> bool:
    """Whether it is the reply to a request for this path, as :func:`framed` gives it."""
    form = path.split("/")[1]
    assert isinstance(outcome, Reply), outcome
    if form in ("nothing", "unchanged", "empty"):
        return outcome.body == b"" and outcome.status == {"nothing": 204, "unchanged": 304, "empty": 200}[form]
    return bool(json.loads(outcome.body) == {"path": path})


@pytest.mark.rule("S22")
@pytest.mark.long
@pytest.mark.parametrize("moment", ["behind", "idle", "idle and read"])
def test_it_answers_nobody(
    moment: str, call: Callable[[Talkative], Caller], context: ssl.SSLContext | None
) -> None:
    def answer(request: Received) -> Answer:
        name = request.path.partition("?")[2].replace("%20", " ")
        what = UNASKED.get(name, b"")
        return Answer(framed(request), what if moment == "behind" else b"", what if moment != "behind" else b"")

    with talkative(answer, context=context) as server:
        ask = call(server)
        for form in FORMS if moment == "behind" and context is None else FORMS[:2]:
            for name in UNASKED:
                path = f"/{form}/first?{name.replace(' ', '%20')}"
                assert answers(ask(get(server, path)), path), name
                assert wait_until(lambda: server.said == len(server.heard))
                if moment == "idle and read":
                    ask.rest()
                for second in ("/length/second", "/chunked/third"):
                    assert answers(ask(get(server, second)), second), name


@pytest.mark.long
@pytest.mark.parametrize(
    ("form", "pieces"),
    [*((form, False) for form in FORMS), *((form, True) for form in FORMS if form != "large")],
)
def test_a_connection_on_which_only_replies_arrive_is_used_again(
    form: str, pieces: bool, call: Callable[[Talkative], Caller]
) -> None:
    with talkative(lambda request: Answer(framed(request), pieces=pieces)) as server:
        ask = call(server)
        for place in range(12):
            path = f"/{form}/{place}"
            assert answers(ask(get(server, path)), path)
        assert server.connections == 1


@pytest.mark.rule("S22")
def test_what_follows_a_reply_is_no_body_that_its_head_states(call: Callable[[Talkative], Caller]) -> None:
    """A 304 has no body, whatever length it states (RFC 9112 section 6.3): what comes behind it is unasked."""
    behind = b"HTTP/"

    def answer(request: Received) -> Answer:
        if request.path != "/unchanged/first":
            return Answer(framed(request))
        return Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(behind), behind)

    with talkative(answer) as server:
        ask = call(server)
        assert answers(ask(get(server, "/unchanged/first")), "/unchanged/first")
        assert answers(ask(get(server, "/length/second")), "/length/second")
        assert server.connections == 2


@pytest.mark.rule("S22")
def test_over_tls_too(call: Callable[[Talkative], Caller], context: ssl.SSLContext | None) -> None:
    with talkative(lambda request: Answer(framed(request)), context=context) as server:
        ask = call(server)
        for place in range(12):
            assert answers(ask(get(server, f"/{FORMS[place % 5]}/{place}")), f"/{FORMS[place % 5]}/{place}")
            ask.rest()
        assert server.connections == 1


@pytest.fixture
def after_the_greeting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Talkative], None]:
    """Nobody sends a request before the server has said what it says unasked."""

    def apply(server: Talkative) -> None:
        opened = itertools.count(1)

        def greeted() -> bool:
            number = next(opened)
            return wait_until(lambda: server.greeted == number)

        def silent(self: Any) -> bool:
            assert greeted()
            return blocking(self)

        async def silent_later(self: Any) -> bool:
            assert await asyncio.to_thread(greeted)
            by_httpx = isinstance(self, httpx_connections._AsyncStream)
            return await (at_httpx(self) if by_httpx else at_aiohttp(self))

        blocking = httpx_connections._Stream._is_drained
        at_httpx = httpx_connections._AsyncStream._is_drained
        at_aiohttp = aiohttp_connections.Handler.is_drained
        monkeypatch.setattr(httpx_connections._Stream, "_is_drained", silent)
        monkeypatch.setattr(httpx_connections._AsyncStream, "_is_drained", silent_later)
        monkeypatch.setattr(aiohttp_connections.Handler, "is_drained", silent_later)

    return apply


@pytest.mark.rule("S22")
@pytest.mark.parametrize("name", ["a 200", "half a head", "one byte"])
def test_before_the_first_request(
    name: str,
    call: Callable[[Talkative], Caller],
    context: ssl.SSLContext | None,
    after_the_greeting: Callable[[Talkative], None],
) -> None:
    """Nothing is sent over such a connection, and it is safe to try again."""
    with talkative(lambda request: Answer(framed(request)), greeting=UNASKED[name], context=context) as server:
        after_the_greeting(server)
        assert call(server)(get(server, "/length/x")) == TransportError("broken", unsent=True)
        assert server.heard == []
        assert server.connections == 2


@pytest.mark.rule("S22")
class TestTheBodyOfADelete:
    """A front end that gives DELETE none reads ours as another request, and answers that with a 400."""

    @pytest.mark.parametrize("moment", ["behind", "idle"])
    def test_the_next_reply_is_not_its_own(self, moment: str, call: Callable[[Talkative], Caller]) -> None:
        def answer(request: Received) -> Answer:
            more = UNASKED["a 400"] if request.method == "DELETE" else b""
            return Answer(framed(request), *((more, b"") if moment == "behind" else (b"", more)))

        with talkative(answer) as server:
            ask = call(server)
            for _ in range(3):
                assert answers(ask(Fetch("DELETE", server.url + "/length/x", json={"a": 1})), "/length/x")
                assert answers(ask(get(server, "/length/next")), "/length/next")

    def test_it_ends_its_connection_whatever_the_server_says(self, call: Callable[[Talkative], Caller]) -> None:
        def answer(request: Received) -> Answer:
            return Answer(reply(200, {"path": request.path}, {"connection": "keep-alive"}))

        with talkative(answer) as server:
            ask = call(server)
            for count in (1, 2, 3):
                assert answers(ask(Fetch("DELETE", server.url + "/length/x", json={"a": 1})), "/length/x")
                assert server.connections == count
            assert [one.headers["connection"] for one in server.heard] == ["close"] * 3
            for _ in range(3):
                assert answers(ask(Fetch("POST", server.url + "/length/y", json={"a": 1})), "/length/y")
            assert server.connections == 4
            assert "close" not in [one.headers.get("connection") for one in server.heard[3:]]


@pytest.mark.rule("S22")
class TestPeople:
    """Carol's reply is followed by one about mallory; dave is dave."""

    def answer(self, request: Received) -> Answer:
        if "jwks" in request.path:
            return Answer(reply(200, odd_jwts.key_set()))
        name = request.json["session_token"]
        session = {"id": f"sess_{name}", "user_id": f"user_{name}", "expires_at": 4_000_000_000}
        if name == "gone":
            return Answer(reply(400, REFUSAL))
        return Answer(reply(200, {"session": session}), behind=self.behind, idle=self.idle)

    behind = idle = b""

    def verified(self, how: str, server: Talkative, *names: str, **options: Any) -> list[str]:
        given = {"secret_key": SECRET, "base_url": server.url, **options}
        if how == "sync":
            with MoonKey(**given) as client:
                found = []
                for name in names:
                    found.append(client.sessions.verify(session_token=name).user.id)
                    assert wait_until(lambda: server.said == len(server.heard))
                return found

        async def work() -> list[str]:
            async with AsyncMoonKey(**given) as client:
                found = []
                for name in names:
                    found.append((await client.sessions.verify(session_token=name)).user.id)
                    while server.said < len(server.heard):  # noqa: ASYNC110 - there is nothing to be told
                        await asyncio.sleep(0.001)
                return found

        return asyncio.run(work())

    @pytest.mark.parametrize("moment", ["behind", "idle"])
    @pytest.mark.parametrize("name", ["a 200", "a 400", "two"])
    def test_everybody_is_who_they_are(self, moment: str, name: str, how: str) -> None:
        setattr(self, moment, UNASKED[name])
        with talkative(self.answer) as server:
            names = ("carol", "dave", "erin", "frank")
            assert self.verified(how, server, *names) == [f"user_{name}" for name in names]

    @pytest.mark.parametrize("moment", ["behind", "idle"])
    def test_a_key_set_is_not_what_follows_somebody_s_reply(self, moment: str, how: str) -> None:
        setattr(self, moment, reply(200, odd_jwts.key_set("mallory")))
        forged = odd_jwts.sign(odd_jwts.header(kid="mallory"), odd_jwts.claims(time.time()), "mallory")
        good = odd_jwts.good(time.time())
        with talkative(self.answer) as server:
            given: dict[str, Any] = {
                "secret_key": SECRET,
                "base_url": server.url,
                "jwt_issuer": odd_jwts.ISSUER,
            }

            def checked(found: list[Any]) -> None:
                assert [one.is_authenticated for one in found] == [True, False, True]

            if how == "sync":
                with MoonKey(**given) as client:
                    client.sessions.verify(session_token="carol")
                    assert wait_until(lambda: server.said == 1)
                    checked(
                        [client.authenticate({"authorization": f"Bearer {one}"}) for one in (good, forged, good)]
                    )
                return

            async def work() -> None:
                async with AsyncMoonKey(**given) as client:
                    await client.sessions.verify(session_token="carol")
                    assert await asyncio.to_thread(wait_until, lambda: server.said == 1)
                    tokens = (good, forged, good)
                    checked([await client.authenticate({"authorization": f"Bearer {one}"}) for one in tokens])

            asyncio.run(work())


@pytest.mark.long
def test_many_at_once_get_their_own(call: Callable[[Talkative], Caller]) -> None:
    """While connections come and go between threads and tasks."""

    def answer(request: Received) -> Answer:
        return Answer(framed(request), UNASKED["a 200"] if len(server.heard) % 3 == 0 else b"")

    with talkative(answer) as server:
        ask = call(server)
        paths = [f"/length/{place}" for place in range(200)]
        end = time.monotonic() + PATIENCE
        if ask.way in ("sync", "given sync"):
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda path: ask.exchange(Fetch("GET", server.url + path), end), paths))
        else:

            async def work() -> list[Outcome]:
                return [
                    *await asyncio.gather(*(ask.exchange(Fetch("GET", server.url + path), end) for path in paths))
                ]

            found = ask.run(work)
        assert all(answers(one, path) for one, path in zip(found, paths, strict=True))


def test_no_call_goes_out_twice(call: Callable[[Talkative], Caller]) -> None:
    with talkative(lambda request: Answer(framed(request), UNASKED["a 200"])) as server:
        ask = call(server)
        for place in range(5):
            assert answers(ask(get(server, f"/length/{place}")), f"/length/{place}")
        assert len(server.heard) == 5
