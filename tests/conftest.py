"""One emulator for a test run, in its first state before each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial

import pytest

from moonkey_core import _repeated_log
from moonkey_core.emulator import Emulator
from moonkey_core.redis import shared
from moonkey_core.settings import Settings
from support.scripted import wait_until


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage, and need not be looked at each time that some is collected."""
    gc.collect()
    gc.freeze()
    # Variables that begin like a setting, and are none, are said once: in no test.
    Settings.load({"secret_key": "sk_test_x"})


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def nothing_is_revoked_yet() -> None:
    """Clients of one app in a process share what is revoked; those of two tests do not."""
    shared._tables.clear()
    shared._feeds.clear()


@pytest.fixture(autouse=True)
def nothing_is_logged_yet() -> None:
    """What an outage repeats is counted per process."""
    _repeated_log.reset()


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    shared_emulator.start()
    assert wait_until(partial(_is_in_its_first_state, shared_emulator))
    return shared_emulator


def _is_in_its_first_state(emulator: Emulator) -> bool:
    """Reset it; whether no call of the last test is left, which would count among those of the next."""
    emulator.reset()
    return emulator.in_flight_max() == 0
