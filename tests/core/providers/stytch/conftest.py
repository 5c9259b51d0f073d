"""One emulated project of Stytch for all tests here, as it was at first for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.emulator import StytchEmulator


@pytest.fixture(scope="module")
def running_project() -> Iterator[StytchEmulator]:
    with StytchEmulator() as running:
        yield running


@pytest.fixture
def project(running_project: StytchEmulator) -> StytchEmulator:
    running_project.reset()
    return running_project
