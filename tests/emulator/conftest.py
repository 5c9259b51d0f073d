"""HTTP clients of the two interfaces."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support import quick


@pytest.fixture
def api(emulator: Emulator) -> Iterator[httpx.Client]:
    """Calls the service's API with the right key."""
    headers = {"Authorization": f"Bearer {emulator.secret_key}"}
    with quick.Client(base_url=f"{emulator.base_url}/v1/auth/", headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def control(emulator: Emulator) -> Iterator[httpx.Client]:
    """Calls the control interface."""
    with quick.Client(base_url=f"{emulator.base_url}/_emulator/", trust_env=False) as client:
        yield client
