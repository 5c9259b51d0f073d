"""Fixtures of the contract suite: each stack in front of an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from contract.behaviour import BROWSING, HELD, Runs
from contract.stacks import LAZY_STACKS, STACKS, Serving, Site, usual_options

from moonkey_core.emulator import Emulator
from support import quick
from support.pauses import no_pauses

Visit = Callable[..., httpx.Response]


@pytest.fixture(scope="module", autouse=True)
def _no_pauses_after_an_outage() -> Iterator[None]:
    with no_pauses():
        yield


@pytest.fixture(scope="session", params=list(STACKS))
def serving(request: pytest.FixtureRequest) -> Serving:
    """One of the five stacks; where a test asks for it, one that is lazy too."""
    return {**STACKS, **LAZY_STACKS}[request.param]


@pytest.fixture
def open_site(serving: Serving, emulator: Emulator) -> Iterator[Callable[..., Site]]:
    """Open a contract site of the test's own, with other settings or nothing remembered."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving({**usual_options(emulator), **options}))


@pytest.fixture(scope="session")
def shared_site(serving: Serving, shared_emulator: Emulator) -> Iterator[Site]:
    shared_emulator.start()
    with serving(usual_options(shared_emulator)) as site:
        yield site


@pytest.fixture
def site(shared_site: Site, emulator: Emulator) -> Site:
    """The contract site with the settings of a usual app; it runs on from test to test, as in production."""
    shared_site.runs.clear()
    return shared_site


@pytest.fixture(scope="module")
def _browsed_site(serving: Serving, shared_emulator: Emulator) -> Iterator[tuple[Site, httpx.Client]]:
    shared_emulator.start()
    with (
        serving({**usual_options(shared_emulator), **BROWSING}) as site,
        quick.Client(base_url=site.url) as client,
    ):
        yield site, client


@pytest.fixture
def web(_browsed_site: tuple[Site, httpx.Client], emulator: Emulator) -> httpx.Client:
    """A browser in front of a site with cookies and the session routes. It sends what it is told to."""
    site, client = _browsed_site
    site.runs.clear()
    HELD.reset()
    client.cookies.clear()
    return client


@pytest.fixture
def runs(_browsed_site: tuple[Site, httpx.Client]) -> Runs:
    """The methods of the requests for which a protected view of that site really ran."""
    return _browsed_site[0].runs


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """An HTTP client that keeps connections alive and no cookies of note."""
    with quick.Client() as client:
        yield client
