"""A client given by the app may speak HTTP/2, where the number of a stream binds a reply to its request."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, MoonKey, Settings
from moonkey_core._plan import Fetch, Outcome, Reply
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from support.certificates import make_certificate
from support.http2_server import http2_server
from support.patience import PATIENCE
from support.scripted import Received, reply
from support.together import together
from support.unsolicited import Answer, talkative

SECRET = "sk_test_" + "H" * 30


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["by ALPN", "known before"])
def context(request: pytest.FixtureRequest, certificate: Path) -> ssl.SSLContext | None:
    if request.param == "known before":
        return None
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


def options(certificate: Path, context: ssl.SSLContext | None) -> dict[str, Any]:
    verify = ssl.create_default_context(cafile=str(certificate))
    return {"http2": True, "http1": context is not None, "verify": verify, "trust_env": False}


def settings(url: str) -> Settings:
    return Settings.load({"secret_key": SECRET, "base_url": url})


def path_of(request: Received) -> object:
    return {"path": request.path}


def test_each_gets_its_own_reply_over_one_connection(certificate: Path, context: ssl.SSLContext | None) -> None:
    # httpcore does not lock its table of headers among threads: seldom a connection is lost, and all calls fail.
    assert any(_own_replies_over_one_connection(certificate, context) for _ in range(3))


def _own_replies_over_one_connection(certificate: Path, context: ssl.SSLContext | None) -> bool:
    """Have threads call over one connection. No call gets the reply of another; whether each gets its own."""
    with http2_server(path_of, context) as server, httpx.Client(**options(certificate, context)) as client:
        exchange = SyncExchange(settings(server.url), http_client=client)
        end = time.monotonic() + PATIENCE

        def ask(place: int) -> list[Outcome]:
            return [exchange(Fetch("GET", f"{server.url}/{place}/{turn}"), end) for turn in range(5)]

        assert isinstance(exchange(Fetch("GET", server.url + "/first"), end), Reply)
        answered = 0
        for place, found in enumerate(together(6, ask)):
            for turn, one in enumerate(found):
                if isinstance(one, Reply):
                    assert json.loads(one.body)["path"] == f"/{place}/{turn}"
                    answered += 1
        return answered == 30 and server.connections == 1


def test_each_gets_its_own_reply_in_one_event_loop(certificate: Path, context: ssl.SSLContext | None) -> None:
    async def work(url: str) -> list[Outcome]:
        async with httpx.AsyncClient(**options(certificate, context)) as client:
            exchange = AsyncExchange(settings(url), http_client=client)
            end = time.monotonic() + PATIENCE
            await exchange(Fetch("GET", url + "/first"), end)
            return await asyncio.gather(*(exchange(Fetch("GET", f"{url}/{place}"), end) for place in range(30)))

    with http2_server(path_of, context) as server:
        found = asyncio.run(work(server.url))
        paths = [json.loads(one.body)["path"] for one in found if isinstance(one, Reply)]
        assert paths == [f"/{place}" for place in range(30)]
        assert server.connections == 1


def answered(request: Received) -> object:
    if request.method == "DELETE":
        return {}
    name = request.json["session_token"]
    return {"session": {"id": f"sess_{name}", "user_id": f"user_{name}", "expires_at": 4_000_000_000}}


@pytest.mark.rule("S22")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_revocation_leaves_the_connection_and_sends_no_header_of_http_1(
    kind: str, certificate: Path, context: ssl.SSLContext | None
) -> None:
    async def work(**given: Any) -> str:
        async with httpx.AsyncClient(**options(certificate, context)) as carrier:
            client = AsyncMoonKey(http_client=carrier, **given)
            await client.sessions.verify(session_token="carol")
            await client.sessions.revoke(session_id="sess_carol")
            found = await client.sessions.verify(session_token="dave")
            await client.aclose()
            return found.user.id

    with http2_server(answered, context) as server:
        given: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url}
        if kind == "async":
            assert asyncio.run(work(**given)) == "user_dave"
        else:
            with (
                httpx.Client(**options(certificate, context)) as carrier,
                MoonKey(http_client=carrier, **given) as client,
            ):
                client.sessions.verify(session_token="carol")
                client.sessions.revoke(session_id="sess_carol")
                assert client.sessions.verify(session_token="dave").user.id == "user_dave"
        assert [one.method for one in server.heard] == ["POST", "DELETE", "POST"]
        assert not any("connection" in one.headers for one in server.heard)
        assert server.connections == 1


def test_where_the_server_speaks_http_1_only(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["http/1.1"])
    unasked = reply(400, {"error_type": "invalid_session"})

    def answer(request: Received) -> Answer:
        return Answer(reply(200, answered(request)), unasked if request.method == "DELETE" else b"")

    with (
        talkative(answer, context=context) as server,
        httpx.Client(**options(certificate, context)) as carrier,
        MoonKey(http_client=carrier, secret_key=SECRET, base_url=server.url) as client,
    ):
        client.sessions.verify(session_token="carol")
        client.sessions.revoke(session_id="sess_carol")
        assert client.sessions.verify(session_token="dave").user.id == "user_dave"
        assert server.heard[1].headers["connection"] == "close"
        assert server.connections == 2
