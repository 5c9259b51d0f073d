"""A browser, and the examples that it visits. Each module has its own: beside one, no event loop can be run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from moonkey_core.emulator import Emulator
from support.chromium import chromium, need_chromium
from support.examples import PAGES, running
from support.person import MakePerson, Person

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need_chromium()
    with chromium() as running_browser:
        yield running_browser


@pytest.fixture(scope="module", params=PAGES)
def stack(request: pytest.FixtureRequest) -> str:
    """The name of an example, and of what serves it."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def site(browser: Browser, shared_emulator: Emulator, stack: str) -> Iterator[str]:
    with running(stack, shared_emulator) as url:
        yield url


@pytest.fixture
def person(browser: Browser, emulator: Emulator) -> Iterator[MakePerson]:
    """``person(site, address, **options)``: somebody with a browser. In the end nobody's may have complained."""
    with ExitStack() as stack:
        people: list[Person] = []

        def make(site: str, address: str, **options: Any) -> Person:
            one = Person(browser, site, emulator, address, **options)
            stack.callback(one.context.close)
            people.append(one)
            return one

        yield make
        assert [one.complaints for one in people] == [[]] * len(people)
