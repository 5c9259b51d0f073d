"""A call that came to nothing says whom we called and why, in the log and in the error; never a path."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, MoonKey, ProviderUnavailable
from moonkey_core._plan import Fetch
from moonkey_core._transport.causes import cause_of
from moonkey_core._transport.httpx_connections import UnsolicitedData
from moonkey_core.web.responses import refuse
from support import odd_jwts
from support.certificates import make_certificate
from support.scripted import RESET, reply, scripted, unused_url
from support.secrets import assert_no_secret
from support.unsolicited import Answer, talkative

pytestmark = pytest.mark.usefixtures("quick_retries")
SECRET = "sk_test_" + "C" * 30
TOKEN = "session_" + "C4use" * 10
_LONG = 30.0  # seconds: what is wrong is noticed at once, however busy the machine is

Opened = Callable[[str], str]
"""The URL of a service with which something is wrong in the named way."""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    with ExitStack() as stack:

        def nobody(*_args: Any, **_options: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        def make(name: str) -> str:
            if name == "dns":
                monkeypatch.setattr(socket, "getaddrinfo", nobody)
                return "http://localhost:8123"
            if name == "refused":
                return unused_url()
            if name == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(make_certificate(tmp_path))
                return stack.enter_context(talkative(lambda _: Answer(b""), context=context)).url
            if name == "no tls":
                plain = talkative(lambda _: Answer(b""), greeting=reply(400))
                return stack.enter_context(plain).url.replace("http", "https")
            scripts: dict[str, Any] = {
                "slow": lambda _: [5.0],
                "reset": lambda _: [RESET],
                "closed": lambda _: [b""],
                "cut": lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"],
                "no http": lambda _: [b"nonsense\r\n\r\n"],
                "502": reply(502, b"no"),
                "page": reply(200, b"<html>"),
                "packed": reply(200, b"x", {"content-encoding": "br"}),
            }
            return stack.enter_context(scripted(scripts[name])).url

        yield make


CAUSES = {
    "dns": r"DNS: Name or service not known",
    "refused": "refused",
    "tls": "TLS: .*self.signed certificate",
    "no tls": "TLS: WRONG_VERSION_NUMBER",
    "slow": "timed out",
    "reset": "reset|closed without a reply",  # as the system tells it
    "closed": "closed without a reply",
    "cut": "closed within the reply",
    "no http": "a reply that is not HTTP",
    "502": "status 502",
    "page": "status 200",
    "packed": "an encoding that was not asked for",
}


def error_of(how: str, url: str, ask: Callable[[Any], Any], timeout: float = _LONG) -> ProviderUnavailable:
    options: dict[str, Any] = {
        "secret_key": SECRET,
        "base_url": url,
        "timeout": timeout,
        "jwks_timeout": timeout,
        "jwt_issuer": odd_jwts.ISSUER,
    }

    async def work() -> Any:
        async with AsyncMoonKey(**options) as client:
            return await ask(client)

    def block() -> Any:
        with MoonKey(**options) as client:
            return ask(client)

    try:
        auth = block() if how == "sync" else asyncio.run(work())
    except ProviderUnavailable as error:
        return error
    assert isinstance(auth.error, ProviderUnavailable)
    return auth.error


@pytest.mark.parametrize("name", CAUSES)
def test_a_call(name: str, how: str, opened: Opened) -> None:
    url = opened(name)
    timeout = 0.4 if name == "slow" else _LONG
    error = error_of(how, url, lambda client: client.sessions.verify(session_token=TOKEN), timeout)
    assert error.address == url
    assert re.match(CAUSES[name], error.cause or ""), error.cause
    for text in (str(error), str(copy.copy(error)), str(pickle.loads(pickle.dumps(error)))):
        assert f"{url}: {error.cause}" in text
        assert "/v1" not in text
    assert_no_secret([error], [SECRET, TOKEN])


@pytest.mark.parametrize("name", ["refused", "tls", "no tls", "reset", "closed", "502", "page"])
def test_the_key_set(name: str, how: str, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    url = opened(name)
    jwt = odd_jwts.good(time.time())
    error = error_of(how, url, lambda client: client.authenticate({"authorization": f"Bearer {jwt}"}))
    assert error.address == url
    assert error.cause
    (record,) = [one for one in caplog.records if one.getMessage().startswith("key set: fetch failed")]
    assert url in record.getMessage()
    assert error.cause in record.getMessage() or error.reason == "jwks_content"  # which says more
    assert vars(record)["address"] == url
    assert vars(record)["cause"] == error.cause
    assert "user" not in record.getMessage()  # of an address, nothing but the key set's own path


def test_the_log_of_a_refusal_has_it_and_the_response_has_not(
    how: str, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    url = opened("refused")
    error = error_of(how, url, lambda client: client.authenticate({"session-token": TOKEN}))
    with MoonKey(secret_key=SECRET) as client:
        caplog.clear()
        refusal = refuse(error, client.settings, None)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"refused with 503: api_connect ({url}: refused), request ")
    assert (vars(record)["address"], vars(record)["cause"]) == (url, "refused")
    assert b"127.0.0.1" not in refusal.body
    assert "127.0.0.1" not in str(refusal.headers)


def test_a_circuit_that_opens_says_why(how: str, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    url = opened("refused")
    caplog.set_level(logging.WARNING)
    options: dict[str, Any] = {"secret_key": SECRET, "base_url": url}

    async def work() -> None:
        async with AsyncMoonKey(**options) as client:
            for _ in range(4):
                await client.authenticate({"session-token": TOKEN})

    if how == "sync":
        with MoonKey(**options) as client:
            for _ in range(4):
                client.authenticate({"session-token": TOKEN})
    else:
        asyncio.run(work())
    (record,) = [one for one in caplog.records if vars(one).get("reason") == "circuit_open"]
    assert f"{url} keeps failing, at last with: refused" in record.getMessage()
    assert (vars(record)["address"], vars(record)["cause"]) == (url, "refused")


def test_an_address_has_neither_path_nor_user() -> None:
    for url, address in (
        ("https://api.example/v1/users/user_1?a=b", "https://api.example:443"),
        ("http://me:secret@127.0.0.1/x", "http://127.0.0.1:80"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ):
        assert Fetch("GET", url).address == address


def test_what_a_library_writes_is_not_shown() -> None:
    error = ValueError("https://api.example/v1/users/user_secret")
    assert cause_of(error) == "ValueError"
    outer = OSError("all attempts failed")
    outer.__cause__ = ExceptionGroup("several", [ConnectionRefusedError(111, "x"), TimeoutError()])
    assert cause_of(outer) == "refused"
    assert cause_of(ConnectionResetError(104, "x")) == "reset"
    wrapped = httpx.RemoteProtocolError("x")
    wrapped.__cause__ = UnsolicitedData("x")
    assert cause_of(wrapped) == "the server closed or spoke before it was asked"
    looped = ValueError()
    looped.__cause__ = looped
    assert cause_of(looped) == "ValueError"
    assert "\n" not in cause_of(socket.gaierror(1, "a\nb" * 200))


@pytest.mark.parametrize("kept", [False, True], ids=["a new connection", "a kept one"])
def test_a_server_that_reads_and_closes_sees_a_call_twice(kept: bool, how: str) -> None:
    """Our own two tries; ``aiohttp`` would make two of each."""
    with scripted(lambda request: reply(200, {}) if request.path.endswith("good") else [b""]) as server:
        options: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url}
        ids = ["user_good", "user_x"] if kept else ["user_x"]

        async def work() -> None:
            async with AsyncMoonKey(**options) as client:
                for one in ids:
                    with pytest.raises(ProviderUnavailable):
                        await client.users.get(one)

        if how == "sync":
            with MoonKey(**options) as client:
                for one in ids:
                    with pytest.raises(ProviderUnavailable):
                        client.users.get(one)
        else:
            asyncio.run(work())
        assert len([one for one in server.received if one.path.endswith("user_x")]) == 2
