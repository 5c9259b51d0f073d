"""S35. More sessions end than are remembered: the API is asked, no other user is signed out, on every stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.requests import bearer, closed, handshake, own_url
from contract.responses import assert_refused
from contract.stacks import OpenSite, also_lazy, with_websockets

from moonkey_core.emulator import Emulator, SignedIn
from support.patience import PATIENCE
from support.visitors import OURS, pair, set_by

pytestmark = pytest.mark.rule("S35", "S45")

VERIFY = "POST /v1/auth/sessions/verify"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An API of these tests' own: all clients of an app in this process share the table."""
    with Emulator() as emulator:
        yield emulator


def presented(person: SignedIn) -> list[dict[str, str]]:
    """The kinds of credentials of a person. The last one can only be asked about."""
    return [bearer(person.session_jwt), {**pair(person), **OURS}, bearer(person.session_token)]


def before(emulator: Emulator) -> SignedIn:
    """A user who has signed in a minute ago."""
    emulator.set_clock(-60)
    person = emulator.sign_in("bob@example.com")
    emulator.set_clock(0)
    return person


def sign_out(web: httpx.Client, url: str, emulator: Emulator, email: str) -> SignedIn:
    person = emulator.sign_in(email)
    assert web.post(f"{url}/auth/sign-out", headers=bearer(person.session_token)).status_code == 200
    return person


def by_one(_: int) -> str:
    return "eve@example.com"


def by_many(number: int) -> str:
    return f"person{number}@example.com"


def check(web: httpx.Client, url: str, bob: SignedIn, ended: list[SignedIn]) -> None:
    for headers in presented(bob):
        response = web.get(f"{url}/protected", headers=headers)
        assert response.status_code == 200, headers
        assert "" not in set_by(response).values()  # a new JWT at most
    for person in ended:
        for headers in presented(person):
            assert_refused(web.get(f"{url}/protected", headers=headers), 401, "invalid_token")


@pytest.mark.parametrize(
    ("most", "number"),
    [
        (10, 12),
        pytest.param(50, 50, marks=pytest.mark.long),
        pytest.param(50, 500, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("email", [by_one, by_many])
def test_who_signs_out_often_signs_out_no_other(
    open_site: OpenSite,
    browser: httpx.Client,
    emulator: Emulator,
    email: Callable[[int], str],
    most: int,
    number: int,
) -> None:
    site, bob = open_site(**BROWSING, max_revocations=most), before(emulator)
    check(browser, site.url, bob, [])
    ended = [sign_out(browser, site.url, emulator, email(one)) for one in range(number)]
    asked = emulator.requests()[VERIFY]
    assert browser.get(f"{site.url}/protected", headers=bearer(bob.session_jwt)).status_code == 200
    is_asked_about = email is by_many and number > most
    assert emulator.requests()[VERIFY] - asked == int(is_asked_about)
    check(browser, site.url, bob, [ended[0], ended[-1]])
    new = emulator.sign_in(email(0))  # the user of the sessions that have ended
    check(browser, site.url, new, [ended[0]])


@also_lazy
def test_while_the_api_is_away_it_is_an_outage(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    site, bob = open_site(**BROWSING, max_revocations=4), before(emulator)
    for number in range(6):
        sign_out(browser, site.url, emulator, by_many(number))
    emulator.stop()
    for headers in presented(bob):
        response = browser.get(f"{site.url}/protected", headers=headers)
        assert (response.status_code, set_by(response)) == (503, {})
    emulator.start()


def test_what_the_api_could_not_be_told_is_never_asked_about(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    site, bob = open_site(**BROWSING, max_revocations=4), before(emulator)
    people = [emulator.sign_in(by_many(number)) for number in range(8)]
    for person in people:  # known, so that a sign-out knows the session
        assert browser.get(f"{site.url}/protected", headers=bearer(person.session_jwt)).status_code == 200
    emulator.fault("DELETE /v1/auth/sessions/delete", status=500)
    for person in people:
        browser.post(f"{site.url}/auth/sign-out", headers=bearer(person.session_jwt))
    for number in range(8):
        browser.get(f"{site.url}/protected", headers=bearer(emulator.sign_in(by_many(number)).session_token))
    for person in people:
        assert_refused(
            browser.get(f"{site.url}/protected", headers=bearer(person.session_jwt)), 401, "invalid_token"
        )
    check(browser, site.url, bob, [])


@with_websockets
def test_a_connection_goes_on_and_another_ends(open_site: OpenSite, emulator: Emulator) -> None:
    site, bob = open_site(**BROWSING, max_revocations=4), before(emulator)
    ada = emulator.sign_in()
    with httpx.Client(base_url=site.url, timeout=PATIENCE) as web:
        kept, ending = ([("Cookie", pair(person)["Cookie"]), ("Origin", own_url(web))] for person in (bob, ada))
        with handshake(web, kept) as bobs, handshake(web, ending) as adas:
            assert bobs.recv(PATIENCE) == adas.recv(PATIENCE) == "hello"
            assert web.post("/auth/sign-out", headers=bearer(ada.session_token)).status_code == 200
            for number in range(8):
                sign_out(web, site.url, emulator, by_many(number))
            assert closed(adas) == (4401, "Unauthorized")
            emulator.revoke(bob.session_id)
            sign_out(web, site.url, emulator, "last@example.com")
            assert closed(bobs) == (4401, "Unauthorized")  # as it was asked about, and had ended elsewhere
