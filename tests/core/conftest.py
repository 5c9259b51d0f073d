"""Clients of the core, and how hypothesis works here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator
from support.clients import Both, MakeAsyncClient, MakeClient
from support.patience import PATIENT

settings.register_profile(
    "core", deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")


@pytest.fixture
def make_client(emulator: Emulator) -> Iterator[MakeClient]:
    """``make_client(**options)``: a client of the emulator, closed after the test."""
    with ExitStack() as stack:
        usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        yield lambda **options: stack.enter_context(MoonKey(**{**usual, **options}))


@pytest.fixture
def make_async_client(emulator: Emulator) -> MakeAsyncClient:
    """The asynchronous twin, as a context manager for the test's own loop."""
    usual: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[AsyncMoonKey]:
        async with AsyncMoonKey(**{**usual, **options}) as client:
            yield client

    return make


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Both]:
    both = Both(request.param, {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT})
    yield both
    both.close()


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
def exact_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is remembered lives shorter than it may: for tests that count seconds."""
    monkeypatch.setattr("moonkey_core._stagger._STEPS", 1)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before a second try, which is random, is next to nothing."""
    monkeypatch.setattr("moonkey_core._transport.retries._BACKOFF", (0.001, 0.002))
