"""A client of the emulator in cookie mode, of both kinds, and a browser that visits its routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.emulator import Emulator
from support.clients import Both
from support.flow_visits import Visitor, flow_client


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def call(kind: str, emulator: Emulator) -> Iterator[Both]:
    with flow_client(kind, emulator) as both:
        yield both


@pytest.fixture
def browser(call: Both) -> Visitor:
    return Visitor(call)
