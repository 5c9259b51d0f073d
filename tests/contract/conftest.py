"""Fixtures of the contract suite: an emulator, and each stack in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from contract.stacks import STACKS, Serving, Site

from moonkey_core.emulator import Emulator

Visit = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    """The emulator in its first state."""
    shared_emulator.start()
    yield shared_emulator
    shared_emulator.start()
    shared_emulator.clear_faults()
    shared_emulator.dead_session()
    shared_emulator.set_clock(0)
    shared_emulator.clear_requests()


@pytest.fixture(scope="session", params=list(STACKS))
def serving(request: pytest.FixtureRequest) -> Serving:
    """One of the five stacks."""
    return STACKS[request.param]


@pytest.fixture
def open_site(serving: Serving, emulator: Emulator) -> Iterator[Callable[..., Site]]:
    """Open the contract site with settings of its own."""
    with ExitStack() as stack:

        def open_(**options: Any) -> Site:
            base = {
                "secret_key": emulator.secret_key,
                "base_url": emulator.base_url,
                "jwt_issuer": emulator.issuer,
                "timeout": 2.0,
            }
            return stack.enter_context(serving({**base, **options}))

        yield open_


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    """The contract site with the settings of a usual app."""
    return open_site()


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """An HTTP client that keeps connections alive and no cookies of note."""
    with httpx.Client(timeout=20) as client:
        yield client
