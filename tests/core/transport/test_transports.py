"""Both asynchronous transports and the blocking one: many calls at once, which one is taken, what they log."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, MoonKeyError, Settings
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport.exchange import AsyncExchange
from support.patience import PATIENCE
from support.scripted import Pieces, Received, reply, scripted, wait_until
from support.secrets import assert_no_secret

SECRET = "sk_test_" + "Q" * 30
USER = "user_" + "N4me" * 6
TOKEN = "session_" + "T0k3n" * 10
OK = {"session": {"id": "sess_1"}}


def settings(url: str, **options: Any) -> Settings:
    return Settings.load({"secret_key": SECRET, "base_url": url, **options})


def soon(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


@pytest.mark.rule("S38")
class TestManyAtOnce:
    @pytest.mark.long
    def test_a_thousand_different_calls_on_a_cold_client(self, transport: str) -> None:
        with scripted(lambda request: [0.005, reply(200, {"path": request.path})]) as server:

            async def work() -> list[Outcome]:
                exchange = AsyncExchange(settings(server.url))
                calls = [exchange(Fetch("GET", f"{server.url}/{place}"), soon()) for place in range(1000)]
                try:
                    return await asyncio.gather(*calls)
                finally:
                    await exchange.aclose()

            found = asyncio.run(work())
            assert [one.status for one in found if isinstance(one, Reply)] == [200] * 1000
            assert [one.body for one in found if isinstance(one, Reply)] == [
                b'{"path": "/%d"}' % place for place in range(1000)
            ]
            assert server.connections <= 64

    @pytest.mark.long
    def test_too_many_are_sent_away_and_known_ones_go_first(self, transport: str) -> None:
        """One call is under way, 4,096 wait: a stranger is refused, a known one displaces the newest stranger."""
        order: list[str] = []

        def script(request: Received) -> Pieces:
            order.append(request.path)
            if request.path == "/first":
                assert wait_until(lambda: len(order) > 1 or server.stopping.is_set())
            yield reply(200, OK)

        def opens(name: str, **options: Any) -> asyncio.Task[Outcome]:
            return asyncio.create_task(exchange(Fetch("GET", f"{server.url}/{name}", **options), soon()))

        async def work() -> None:
            first = opens("first")
            assert await asyncio.to_thread(wait_until, lambda: order == ["/first"])
            strangers = [opens(f"stranger{place}") for place in range(4096)]
            limiter = exchange._loops.current().limiter._limiter
            while len(limiter._normal) < 4096:  # noqa: ASYNC110 - there is nothing to be told
                await asyncio.sleep(0.001)
            busy = TransportError("busy", unsent=True)
            assert await opens("one more") == busy
            known = [
                opens("known", priority=True),
                opens("jwks", uses_breaker=False),
                opens("probe", operation="key-probe"),
            ]
            assert await asyncio.gather(*strangers[-3:]) == [busy] * 3
            order.append("go")
            assert isinstance(await first, Reply)
            assert [one.status for one in await asyncio.gather(*known) if isinstance(one, Reply)] == [200] * 3
            assert sorted(order[2:5]) == ["/jwks", "/known", "/probe"]
            for one in strangers:
                one.cancel()
            await asyncio.gather(*strangers, return_exceptions=True)
            assert not limiter._normal
            await exchange.aclose()

        with scripted(script) as server:
            exchange = AsyncExchange(settings(server.url, max_connections=1))
            asyncio.run(work())


class TestWhichOne:
    def maker(self, **options: Any) -> str:
        async def work() -> str:
            exchange = AsyncExchange(settings("http://127.0.0.1:1", **options))
            try:
                return type(exchange._loops.current().sender).__module__
            finally:
                await exchange.aclose()

        return asyncio.run(work())

    def test_the_fast_one_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.maker() == "moonkey_core._transport.aiohttp_backend"
        assert self.maker(transport="aiohttp") == "moonkey_core._transport.aiohttp_backend"
        assert self.maker(transport="httpx") == "moonkey_core._transport.httpx_backend"
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert self.maker() == "moonkey_core._transport.httpx_backend"
        with pytest.raises(ConfigurationError, match=r"pip install 'moonkey\[fast\]'"):
            self.maker(transport="aiohttp")

    @pytest.mark.rule("S24")
    def test_proxies_of_the_environment_are_for_httpx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        assert self.maker(trust_env=True) == "moonkey_core._transport.aiohttp_backend"
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:2")
        assert self.maker() == "moonkey_core._transport.aiohttp_backend"
        assert self.maker(trust_env=True) == "moonkey_core._transport.httpx_backend"
        with pytest.raises(ConfigurationError, match="proxies"):
            self.maker(trust_env=True, transport="aiohttp")

    @pytest.mark.long
    def test_importing_the_core_does_not_import_it(self) -> None:
        code = "import moonkey_core, sys; sys.exit('aiohttp' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_try_is_one_request(transport: str) -> None:
    """aiohttp by itself would send a GET again when its connection breaks."""
    with scripted(lambda _: [b""]) as server:

        async def work() -> Outcome:
            exchange = AsyncExchange(settings(server.url))
            try:
                return await exchange(Fetch("GET", server.url + "/x", idempotent=False), soon())
            finally:
                await exchange.aclose()

        assert asyncio.run(work()) == TransportError("broken")
        assert len(server.received) == 1


def test_a_cancelled_call_takes_its_connection_with_it(transport: str) -> None:
    ended: list[bool] = []

    def script(request: Received) -> Pieces:
        if request.path == "/hangs":
            yield b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
            try:
                while True:
                    yield 0.01
                    yield b"."
            finally:
                ended.append(True)
        else:
            yield reply(200, OK)

    with scripted(script) as server:

        async def work() -> None:
            exchange = AsyncExchange(settings(server.url))
            task = asyncio.create_task(exchange(Fetch("GET", server.url + "/hangs"), soon()))
            assert await asyncio.to_thread(wait_until, lambda: len(server.received) == 1)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(wait_until, lambda: server.connections == 1)
            for _ in range(3):
                answer = await exchange(Fetch("GET", server.url + "/next"), soon())
                assert isinstance(answer, Reply)
                assert answer.body == b'{"session": {"id": "sess_1"}}'
            await exchange.aclose()

        asyncio.run(work())
        assert server.connections == 2


class TestLogs:
    """At DEBUG, on all loggers: neither key nor token nor user, in whatever comes back either."""

    @pytest.fixture(autouse=True)
    def debug(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

    def talk(self, how: str, url: str) -> None:
        options: dict[str, Any] = {"secret_key": SECRET, "base_url": url}

        async def work() -> None:
            async with AsyncMoonKey(**options) as client:
                for call in (client.users.get(USER), client.sessions.verify(session_token=TOKEN)):
                    with suppress(MoonKeyError):
                        await call

        if how == "sync":
            with MoonKey(**options) as client:
                for call in (lambda: client.users.get(USER), lambda: client.sessions.verify(session_token=TOKEN)):
                    with suppress(MoonKeyError):
                        call()
        else:
            asyncio.run(work())

    @pytest.mark.rule("S30")
    @pytest.mark.parametrize("status", [200, 302, 404, 503])
    def test_nothing_is_shown(self, how: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
        headers = {
            "set-cookie": f"session={TOKEN}; Path=/",
            "x-user": USER,
            "location": f"http://127.0.0.1:1/{USER}?key={SECRET}",
            "set-cookie2": f"bad name;{TOKEN}",
        }
        with scripted(reply(status, {"user_id": USER, "session_token": TOKEN}, headers)) as server:
            self.talk(how, server.url)
            assert any(USER in request.path for request in server.received)
        assert_no_secret(caplog.records, [SECRET, USER, TOKEN])
        ours = [record.getMessage() for record in caplog.records if record.name == "httpx"]
        if how != "aiohttp":
            host = server.url.removeprefix("http://")
            line = f'HTTP Request: GET http://{host}/(users.get) "HTTP/1.1 {status} Status"'
            assert line in ours
            http11 = {record.getMessage() for record in caplog.records if record.name == "httpcore.http11"}
            assert "receive_response_headers.complete" in http11

    def test_an_unreachable_api(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        self.talk(how, "http://127.0.0.1:1")
        assert_no_secret([*caplog.records, "a line"], [SECRET, USER, TOKEN])

    def test_lines_of_others_stay_as_they_are(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        with scripted(reply(200, OK, {"x-mine": "yes"})) as server:
            self.talk(how, server.url)
            caplog.clear()
            httpx.get(f"{server.url}/mine?a=b", trust_env=False)
        messages = [record.getMessage() for record in caplog.records]
        assert f'HTTP Request: GET {server.url}/mine?a=b "HTTP/1.1 200 Status"' in messages
        assert any("x-mine" in message for message in messages)
