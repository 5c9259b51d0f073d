"""Clients of the core, and how hypothesis works here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator
from support.scripted import Scripted, reply, scripted

settings.register_profile(
    "core", deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")

MakeClient = Callable[..., MoonKey]
MakeAsyncClient = Callable[..., AbstractAsyncContextManager[AsyncMoonKey]]


@pytest.fixture
def make_client(emulator: Emulator) -> Iterator[MakeClient]:
    """``make_client(**options)``: a client of the emulator, closed after the test."""
    with ExitStack() as stack:
        usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
        yield lambda **options: stack.enter_context(MoonKey(**{**usual, **options}))


@pytest.fixture
def make_async_client(emulator: Emulator) -> MakeAsyncClient:
    """The asynchronous twin, as a context manager for the test's own loop."""
    usual: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[AsyncMoonKey]:
        async with AsyncMoonKey(**{**usual, **options}) as client:
            yield client

    return make


class Both:
    """Calls a method by its dotted name on a blocking or an asynchronous client."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        self.client: Any = AsyncMoonKey(**options) if kind == "async" else MoonKey(**options)

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        method = self.client
        for part in name.split("."):
            method = getattr(method, part)
        result = method(*args, **kwargs)
        return self._runner.run(result) if self._runner else result

    def close(self) -> None:
        if self._runner:
            self._runner.run(self.client.aclose())
            self._runner.close()
        else:
            self.client.close()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Both]:
    both = Both(request.param, {"secret_key": emulator.secret_key, "base_url": emulator.base_url})
    yield both
    both.close()


@contextmanager
def answering(body: object, status: int = 200) -> Iterator[tuple[MoonKey, Scripted]]:
    """A client of a server that gives one and the same reply."""
    with scripted(reply(status, body)) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
        yield client, server


@pytest.fixture(params=["sync", "httpx", "aiohttp"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Blocking, or asynchronous by one of the two transports."""
    name: str = request.param
    if name != "sync":
        monkeypatch.setenv("MOONKEY_TRANSPORT", name)
    return name


@pytest.fixture(params=["httpx", "aiohttp"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What carries the calls of asynchronous clients."""
    name: str = request.param
    monkeypatch.setenv("MOONKEY_TRANSPORT", name)
    return name


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before a second try, which is random, is next to nothing."""
    monkeypatch.setattr("moonkey_core._transport.retries._BACKOFF", (0.001, 0.002))
