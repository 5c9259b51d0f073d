"""One emulator for a test run, in its first state before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.emulator import Emulator


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    shared_emulator.start()
    shared_emulator.reset()
    return shared_emulator
