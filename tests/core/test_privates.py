"""What other libraries keep to themselves and we need: a release without it is refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import aiohttp
import httpx
import pytest
from aiohttp.client_proto import ResponseHandler

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, ProviderUnavailable
from moonkey_core._transport import aiohttp_connections
from moonkey_core._transport import httpx_backend as _httpx
from moonkey_core.privates import private, set_private
from support.scripted import reply, scripted

OPTIONS: dict[str, Any] = {"secret_key": "sk_test_" + "P" * 30, "base_url": "http://127.0.0.1:1"}
CLIENT = ("_transport", "_mounts")
POOL = ("_network_backend", "_connections", "_requests", "_optional_thread_lock")


@pytest.fixture(autouse=True)
def checked_again() -> Iterator[None]:
    """The check is made once per process: here it is made for each test, and for those after it."""
    _httpx.check_httpx.cache_clear()
    yield
    _httpx.check_httpx.cache_clear()


def renamed(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """As if a newer release of the library called its attribute otherwise."""
    made: Any = vars(owner)["__init__"]

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if name in vars(self):
            setattr(self, name + "_renamed", vars(self).pop(name))

    monkeypatch.setattr(owner, "__init__", make)


@pytest.fixture(params=[MoonKey, AsyncMoonKey])
def client_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("name", CLIENT)
@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_of_an_httpx_client(name: str, kind: type, client_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed(monkeypatch, kind, name)
    with pytest.raises(ConfigurationError, match=rf"httpx \(\d.*Client\.{name}\b"):
        client_class(transport="httpx", **OPTIONS)


@pytest.mark.parametrize("kind", [httpx.HTTPTransport, httpx.AsyncHTTPTransport])
def test_of_an_httpx_transport(kind: type, client_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed(monkeypatch, kind, "_pool")
    with pytest.raises(ConfigurationError, match=rf"httpx \(\d.*{kind.__name__}\._pool\b"):
        client_class(transport="httpx", **OPTIONS)


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("kind", ["ConnectionPool", "AsyncConnectionPool"])
def test_of_a_pool_of_httpcore(name: str, kind: str, client_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpcore

    renamed(monkeypatch, getattr(httpcore, kind), name)
    with pytest.raises(ConfigurationError, match=rf"httpcore \(\d.*{kind}\.{name}\b"):
        client_class(transport="httpx", **OPTIONS)


def test_of_a_client_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with httpx.Client() as given:
        del given._transport._pool._network_backend  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="_network_backend"):
            MoonKey(http_client=given, **OPTIONS)


def without_factory(self: Any) -> None:
    self._closed = False


def without_closed(self: Any) -> None:
    self._factory = None


@pytest.mark.parametrize(("name", "make"), [("_factory", without_factory), ("_closed", without_closed)])
def test_of_a_connector_of_aiohttp(name: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp.BaseConnector, "__init__", make)
    with pytest.raises(ConfigurationError, match=rf"aiohttp \(\d.*BaseConnector\.{name}\b"):
        AsyncMoonKey(transport="aiohttp", **OPTIONS)


def test_a_connector_that_makes_its_connections_in_another_way() -> None:
    """The attribute is there, but has no effect: that is noticed before anything is sent."""

    async def work(url: str) -> None:
        async with AsyncMoonKey(transport="aiohttp", **{**OPTIONS, "base_url": url}) as client:
            sender: Any = client._exchange._loops.current().sender
            plain = partial(ResponseHandler, loop=asyncio.get_running_loop())
            set_private(sender._opened(), "_factory", plain)
            await client.sessions.verify(session_token="x")

    with scripted(reply(200, {})) as server:
        with pytest.raises(ConfigurationError, match=r"BaseConnector\._factory"):
            asyncio.run(work(server.url))
        assert server.received == []


async def asked(url: str, transport: Literal["httpx", "aiohttp"]) -> None:
    async with AsyncMoonKey(transport=transport, **{**OPTIONS, "base_url": url}) as client:
        for _ in range(2):
            with suppress(ProviderUnavailable):
                await client.users.get("user_x")


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (aiohttp_connections.Handler, "feed_data", r"ResponseHandler\.feed_data"),
    ],
)
def test_what_aiohttp_calls_no_more(owner: type, name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a newer release called a method of ours otherwise: then it never would be."""
    monkeypatch.delattr(owner, name)
    with scripted(reply(200, {})) as server, pytest.raises(ConfigurationError, match=told):
        asyncio.run(asked(server.url, "aiohttp"))


def test_a_pool_that_opens_its_connections_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(client: object) -> None:
        """As if it had no effect."""

    monkeypatch.setattr(_httpx, "guard_connections", nothing)
    told = r"httpcore \(\d.*ConnectionPool\._network_backend"
    with scripted(reply(200, {})) as server:
        client = MoonKey(**{**OPTIONS, "base_url": server.url})
        with client, pytest.raises(ConfigurationError, match=told):
            client.users.get("user_x")
        with pytest.raises(ConfigurationError, match=told):
            asyncio.run(asked(server.url, "httpx"))


def test_nothing_is_made_up() -> None:
    class Thing:
        _there = 1

    assert private(Thing(), "_there") == 1
    with pytest.raises(ConfigurationError, match=r"Thing\._gone"):
        private(Thing(), "_gone")
    with pytest.raises(ConfigurationError):
        set_private(Thing(), "_gone", 2)
