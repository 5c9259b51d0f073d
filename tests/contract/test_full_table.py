"""S35, S45. A table of revocations that is full refuses everything, and clears no cookie, on every stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.requests import bearer, closed, handshake, own_url
from contract.responses import assert_refused
from contract.stacks import OpenSite, Site, also_lazy, usual_options, with_websockets

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.revocations import Revocations
from support.visitors import GONE, OURS, PAGE, SESSION, pair, set_by

pytestmark = pytest.mark.rule("S35", "S45")

PATHS = ["/protected", "/optional", "/auth/session", "/auth/sessions", "/auth/sign-in", "/missing"]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An API of these tests' own: all clients of an app in this process share the table."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def opened(open_site: OpenSite, emulator: Emulator) -> tuple[Site, Revocations, MoonKey]:
    """A site, and the table that it shares with every client of the app in this process."""
    client = MoonKey(**{**usual_options(emulator), "secret_key": emulator.secret_key})
    return open_site(**BROWSING), client.revocations, client


def fill(revocations: Revocations) -> None:
    size = revocations.max_untold
    revocations.max_untold = 2
    for number in range(3):
        revocations.add(session_id=f"another_{number}")
    revocations.max_untold = size


def held(person: SignedIn) -> list[dict[str, str]]:
    return [pair(person), {"Cookie": f"{SESSION}={person.session_token}"}]


@pytest.mark.long
@also_lazy
def test_it_refuses_and_clears_nothing(
    opened: tuple[Site, Revocations, MoonKey], browser: httpx.Client, emulator: Emulator
) -> None:
    site, revocations, _ = opened
    emulator.set_clock(-60)
    ada, bob = emulator.sign_in(), emulator.sign_in("bob@example.com")
    emulator.set_clock(0)
    for cookies in held(ada):
        assert browser.get(f"{site.url}/protected", headers={**OURS, **cookies}).status_code == 200
    fill(revocations)
    for person in (ada, bob):  # one whose credentials are remembered, one who comes for the first time
        for cookies in held(person):
            assert_refused(browser.get(f"{site.url}/protected", headers={**OURS, **cookies}), 401, "invalid_token")
            for path in PATHS:
                for more in ({}, PAGE):
                    response = browser.get(site.url + path, headers={**OURS, **cookies, **more})
                    assert set_by(response) == {}, path
        for credential in (person.session_token, person.session_jwt):
            assert_refused(browser.get(f"{site.url}/protected", headers=bearer(credential)), 401, "invalid_token")


def _by_session(client: MoonKey, person: SignedIn) -> None:
    client.revocations.add(session_id=person.session_id)


def _by_user(client: MoonKey, person: SignedIn) -> None:
    client.revocations.add(user_id=person.user_id)


def _by_time(client: MoonKey, person: SignedIn) -> None:
    client.revocations.add(issued_before=client.revocations.now())


@pytest.mark.long
@pytest.mark.parametrize("revoke", [_by_session, _by_user, _by_time])
def test_what_is_revoked_by_name_still_clears(
    opened: tuple[Site, Revocations, MoonKey],
    browser: httpx.Client,
    emulator: Emulator,
    revoke: Callable[[MoonKey, SignedIn], None],
) -> None:
    site, revocations, client = opened
    emulator.set_clock(-60)
    ada = emulator.sign_in()
    emulator.set_clock(0)
    fill(revocations)
    revoke(client, ada)
    for cookies in held(ada):
        refused = browser.get(f"{site.url}/protected", headers={**OURS, **cookies})
        assert (refused.status_code, set_by(refused)) == (401, GONE)


@pytest.mark.long
@with_websockets
def test_a_connection_ends_and_its_cookies_stay(
    opened: tuple[Site, Revocations, MoonKey], emulator: Emulator
) -> None:
    site, revocations, _ = opened
    emulator.set_clock(-60)
    ada = emulator.sign_in()
    emulator.set_clock(0)
    with httpx.Client(base_url=site.url) as web:
        lines = [("Cookie", pair(ada)["Cookie"]), ("Origin", own_url(web))]
        with handshake(web, lines) as websocket:
            assert websocket.recv(10) == "hello"
            fill(revocations)
            assert closed(websocket) == (4401, "Unauthorized")
