"""Clients of the core, an emulator for each test module, and how hypothesis works here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator

settings.register_profile(
    "core", deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")

MakeClient = Callable[..., MoonKey]
MakeAsyncClient = Callable[..., AbstractAsyncContextManager[AsyncMoonKey]]


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """The emulator in its first state."""
    shared_emulator.start()
    shared_emulator.reset()
    return shared_emulator


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
