"""``http_client=``: somebody else's httpx client carries the calls, and stays as it is."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import time
from typing import Any

import httpx
import pytest

from moonkey_core import ConfigurationError, MoonKey, Settings
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._provider import FixedAuthorization
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.settings import Secret
from support.patience import PATIENCE
from support.scripted import Pieces, Received, reply, scripted
from support.together import together

SECRET = "sk_test_" + "G" * 30
KEY = FixedAuthorization(Secret(f"Bearer {SECRET}"))
OK = {"session": {"id": "sess_1"}}


def settings(url: str, **options: Any) -> Settings:
    return Settings.load({"secret_key": SECRET, "base_url": url, **options})


def soon(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


def its_own(url: str) -> dict[str, Any]:
    """A client that has something of its own of every kind."""
    return {
        "base_url": url + "/elsewhere",
        "headers": {"x-own": "yes", "user-agent": "own", "accept": "text/html"},
        "params": {"own": "yes"},
        "cookies": {"own": "yes"},
        "auth": ("own", "password"),
        "follow_redirects": True,
        "timeout": 1.0,
        "trust_env": False,
    }


def ask(
    kind: str, url: str, given: dict[str, Any], *fetches: Fetch, seconds: float = PATIENCE, **options: Any
) -> Any:
    """The outcomes of calls over a client that is given, which is used by its owner before and after."""
    found: list[Outcome] = []
    if kind == "sync":
        with httpx.Client(**given) as client:
            exchange = SyncExchange(settings(url, **options), http_client=client)
            found = [exchange(fetch, soon(seconds)) for fetch in fetches]
            exchange.close()
            assert not client.is_closed
        return found

    async def work() -> None:
        async with httpx.AsyncClient(**given) as client:
            exchange = AsyncExchange(settings(url, **options), http_client=client)
            for fetch in fetches:
                found.append(await exchange(fetch, soon(seconds)))
            await exchange.aclose()
            assert not client.is_closed

    asyncio.run(work())
    return found


kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.mark.rule("S22")
@kinds
def test_nothing_of_its_own_gets_into_our_calls(kind: str) -> None:
    with scripted(reply(200, OK)) as server:
        fetch = Fetch("POST", server.url + "/v1/call", json={"a": 1}, authorization=KEY)
        assert isinstance(ask(kind, server.url, its_own(server.url), fetch)[0], Reply)
        (request,) = server.received
    assert request.path == "/v1/call"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("moonkey-python/")
    assert not {"x-own", "cookie"} & set(request.headers)


@kinds
def test_a_call_without_the_key_has_no_authorization_of_the_owner_s_either(kind: str) -> None:
    with scripted(reply(200, OK)) as server:
        ask(kind, server.url, its_own(server.url), Fetch("GET", server.url + "/jwks"))
        assert "authorization" not in server.received[0].headers


@pytest.mark.rule("S22")
@kinds
def test_no_redirect_is_followed(kind: str) -> None:
    with scripted(reply(200, OK)) as trap, scripted(reply(302, b"", {"location": trap.url})) as server:
        (outcome,) = ask(kind, server.url, its_own(server.url), Fetch("GET", server.url + "/x"))
        assert isinstance(outcome, Reply)
        assert outcome.status == 302
        assert trap.connections == 0


@pytest.mark.rule("S22")
def test_our_calls_leave_nothing_in_it() -> None:
    with scripted(reply(200, OK)) as server, httpx.Client(**its_own(server.url)) as client:
        exchange = SyncExchange(settings(server.url), http_client=client)
        assert isinstance(exchange(Fetch("GET", server.url + "/x"), soon()), Reply)
        client.get("mine")
        request = server.received[-1]
    assert request.path == "/elsewhere/mine?own=yes"
    assert request.headers["x-own"] == "yes"
    assert request.headers["cookie"] == "own=yes"
    assert request.headers["authorization"].startswith("Basic ")


@pytest.mark.rule("S21")
@kinds
@pytest.mark.parametrize("where", ["head", "body"])
def test_our_deadline_holds(kind: str, where: str) -> None:
    def script(request: Received) -> Pieces:
        yield b"HTTP/1.1 200 OK\r\n" + (b"content-length: 100000\r\n\r\n" if where == "body" else b"x-long: ")
        for _ in range(3000):
            yield 0.02
            yield b"."

    with scripted(script) as server:
        outcome = ask(kind, server.url, {"timeout": 60}, Fetch("GET", server.url + "/x"), seconds=0.3)
        assert outcome == [TransportError("timeout")]


def test_the_owner_s_own_calls_have_no_deadline_of_ours() -> None:
    with (
        scripted(lambda _: [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", 0.3, b"slow"]) as server,
        httpx.Client(trust_env=False) as client,
    ):
        exchange = SyncExchange(settings(server.url, timeout=0.1), http_client=client)
        assert exchange(Fetch("GET", server.url + "/x"), soon(0.1)) == TransportError("timeout")
        assert client.get(server.url + "/mine").text == "slow"


def test_one_that_carries_the_calls_of_two_is_changed_once() -> None:
    with scripted(reply(200, OK)) as server, httpx.Client(trust_env=False) as client:
        first = SyncExchange(settings(server.url), http_client=client)
        backend = client._transport._pool._network_backend  # type: ignore[attr-defined]
        second = SyncExchange(settings(server.url), http_client=client)
        assert client._transport._pool._network_backend is backend  # type: ignore[attr-defined]
        for exchange in (first, second, first):
            assert isinstance(exchange(Fetch("GET", server.url + "/x"), soon()), Reply)
        assert server.connections == 1


@pytest.mark.rule("S22")
@kinds
def test_our_bound_on_the_body_holds(kind: str) -> None:
    with scripted(reply(200, b"x" * 5000)) as server:
        fetches = [Fetch("GET", server.url + "/x", max_bytes=most) for most in (4999, 5000)]
        first, second = ask(kind, server.url, {}, *fetches)
        assert first == TransportError("too_large")
        assert isinstance(second, Reply)


@pytest.mark.rule("S38")
def test_our_bound_on_calls_holds() -> None:
    running, most = [0], [0]

    def script(_: Received) -> Pieces:
        running[0] += 1
        most[0] = max(most[0], running[0])
        yield 0.01
        running[0] -= 1
        yield reply(200, OK)

    with scripted(script) as server, httpx.Client(trust_env=False) as client:
        exchange = SyncExchange(settings(server.url, max_connections=2), http_client=client)
        found = together(10, lambda place: exchange(Fetch("GET", f"{server.url}/{place}"), soon()))
        assert [one.status for one in found] == [200] * 10
        assert most[0] <= 2


def test_one_of_the_wrong_kind() -> None:
    wrong: list[Any] = [httpx.AsyncClient(), httpx.Client, "client", object()]
    for one in wrong:
        with pytest.raises(TypeError, match=r"must be an httpx\.Client"):
            SyncExchange(settings("http://127.0.0.1:1"), http_client=one)
    wrong[0] = httpx.Client()
    for one in wrong:
        with pytest.raises(TypeError, match=r"must be an httpx\.AsyncClient"):
            AsyncExchange(settings("http://127.0.0.1:1"), http_client=one)


def test_an_asynchronous_one_belongs_to_one_loop() -> None:
    with scripted(reply(200, OK)) as server:
        client = httpx.AsyncClient(trust_env=False)
        exchange = AsyncExchange(settings(server.url), http_client=client)

        async def work() -> Outcome:
            return await exchange(Fetch("GET", server.url + "/x"), soon())

        with asyncio.Runner() as runner:
            assert isinstance(runner.run(work()), Reply)
            with pytest.raises(RuntimeError, match="belongs to the event loop"):
                asyncio.run(work())
            assert isinstance(runner.run(work()), Reply)
            runner.run(client.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork_it_opens_connections_of_its_own() -> None:
    with scripted(reply(200, OK)) as server, httpx.Client(trust_env=False) as client:
        exchange = SyncExchange(settings(server.url), http_client=client)
        fetch = Fetch("GET", server.url + "/x")
        assert isinstance(exchange(fetch, soon()), Reply)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                exchange.reset()
                code = 0 if isinstance(exchange(fetch, soon()), Reply) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.connections == 2
        assert isinstance(exchange(fetch, soon()), Reply)
        assert server.connections == 2  # the parent's own was neither used nor closed


def raising(response: httpx.Response) -> None:
    response.raise_for_status()


async def raising_later(response: httpx.Response) -> None:
    response.raise_for_status()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_hook_that_raises_for_the_status_is_no_trouble_of_the_api(kind: str) -> None:
    """A stranger's refused tokens must not open the circuit."""
    hook = raising if kind == "sync" else raising_later
    with scripted(lambda _: reply(404, {"error": {"code": "invalid_session"}})) as server:
        calls = [Fetch("POST", server.url, json={}) for _ in range(8)]
        found = ask(kind, server.url, {"event_hooks": {"response": [hook]}, "trust_env": False}, *calls)
        assert [one.status for one in found if isinstance(one, Reply)] == [404] * 8
        assert len(server.received) == 8


def reading(response: httpx.Response) -> None:
    response.read()


async def reading_later(response: httpx.Response) -> None:
    await response.aread()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_reply_that_a_hook_has_read_already(kind: str, encoding: str) -> None:
    hook = reading if kind == "sync" else reading_later
    body = json.dumps(OK).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body
    with scripted(lambda _: reply(200, sent, {"content-encoding": encoding})) as server:
        given = {"event_hooks": {"response": [hook]}, "trust_env": False}
        (found,) = ask(kind, server.url, given, Fetch("POST", server.url, json={}))
        assert (found.status, found.body) == (200, body)


@pytest.mark.rule("S22")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_compressed_reply_that_is_cut(kind: str) -> None:
    """S22. Our reader judges what a given client brings as well, as long as no hook has read it."""
    sent = gzip.compress(json.dumps(OK).encode())[:-8]
    with scripted(lambda _: reply(200, sent, {"content-encoding": "gzip"})) as server:
        given = {"trust_env": False}
        assert ask(kind, server.url, given, Fetch("POST", server.url, json={}, idempotent=False)) == [
            TransportError("broken")
        ]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_transport_of_a_test(kind: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=OK))
    (found,) = ask(kind, "http://127.0.0.1", {"transport": transport}, Fetch("POST", "http://127.0.0.1", json={}))
    assert json.loads(found.body) == OK


@pytest.mark.rule("S22")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_transport_of_a_test_whose_reply_is_too_large(kind: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"x" * 2000))
    fetch = Fetch("POST", "http://127.0.0.1", json={}, max_bytes=1000)
    assert ask(kind, "http://127.0.0.1", {"transport": transport}, fetch) == [TransportError("too_large")]


def test_a_client_that_its_owner_has_closed() -> None:
    given = httpx.Client()
    given.close()
    with (
        MoonKey(secret_key=SECRET, base_url="http://127.0.0.1", http_client=given) as client,
        pytest.raises(ConfigurationError, match="closed by its owner"),
    ):
        client.authenticate({"session-token": "x" * 40})
