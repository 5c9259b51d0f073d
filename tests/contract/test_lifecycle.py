"""How long browser sessions last: those in use are extended, and what hangs on them ends with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest
from contract.relay import Relay, relayed
from contract.requests import OWN, bearer, closed, handshake
from contract.stacks import Site, with_websockets

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.scripted import Received, wait_until
from support.visitors import JWT, OURS, SESSION, pair, set_by, verifications

HOUR, WEEK = 3600, 604_800


def left(emulator: Emulator, person: SignedIn) -> float:
    """How many seconds the API gives a session, without asking as the app does."""
    url = f"{emulator.base_url}/v1/auth/sessions/list"
    headers = bearer(emulator.secret_key)
    found = quick.get(url, params={"user_id": person.user_id}, headers=headers).raise_for_status()
    (session,) = [one for one in found.json()["sessions"] if one["id"] == person.session_id]
    return float(session["expires_at"]) - emulator.now()


def old_pair(emulator: Emulator, person: SignedIn) -> dict[str, str]:
    """The person's cookies, with a JWT that has to be renewed."""
    return pair(person, jwt=emulator.mint({"iat": 1_000, "exp": 2_000}, session_id=person.session_id))


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Relay]:
    """The API, that keeps back what it answers where a session is extended and nothing else."""
    with relayed(emulator, is_extension) as relay:
        yield relay


@pytest.fixture
def site(open_site: Callable[..., Site], api: Relay) -> Site:
    return open_site(
        base_url=api.url, timeout=20, cookies=True, extend_on_activity=timedelta(days=7), expires_in_header=True
    )


def is_extension(request: Received) -> bool:
    return request.path.endswith("/sessions/verify") and "session_expires_in" in request.json


def test_it_rides_on_a_call_that_is_due_anyway(
    site: Site, api: Relay, browser: httpx.Client, emulator: Emulator
) -> None:
    api.let_go()
    person = emulator.sign_in(minutes=60)
    response = browser.get(site.url + "/protected", headers=old_pair(emulator, person))
    assert WEEK - 60 < int(response.headers["session-expires-in"]) <= WEEK
    assert WEEK - 60 < left(emulator, person) <= WEEK
    fresh = set_by(response)[JWT]
    for _ in range(3):
        assert browser.get(site.url + "/protected", headers=pair(person, jwt=fresh)).status_code == 200
    assert api.verifications == 1


def test_nobody_waits_for_it(site: Site, api: Relay, browser: httpx.Client, emulator: Emulator) -> None:
    """Where nothing has to be asked, or no more than whether the session is good, the response goes out before."""
    here, there = (emulator.sign_in(minutes=60) for _ in range(2))
    token_alone = {"Cookie": f"{SESSION}={there.session_token}"}
    for headers in (pair(here), pair(here), token_alone):
        assert browser.get(site.url + "/protected", headers=headers, timeout=5).status_code == 200
    assert api.has_answered()
    api.let_go()
    assert wait_until(lambda: min(left(emulator, here), left(emulator, there)) > WEEK - 60)
    assert browser.get(site.url + "/protected", headers=pair(here)).status_code == 200
    assert api.verifications == 3  # one extension each, and the plain verification of the token alone


def test_what_has_long_to_go_is_left_alone(
    site: Site, api: Relay, browser: httpx.Client, emulator: Emulator
) -> None:
    person = emulator.sign_in(minutes=WEEK / 60 - 120)
    for headers in (*[pair(person)] * 3, old_pair(emulator, person)):
        assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    assert api.verifications == 1
    assert left(emulator, person) <= WEEK - 2 * HOUR


def test_its_trouble_is_nobodys(site: Site, api: Relay, browser: httpx.Client, emulator: Emulator) -> None:
    api.let_go()
    person = emulator.sign_in(minutes=60)
    emulator.fault("/v1/auth/sessions/verify", status=500)
    for _ in range(2):
        response = browser.get(site.url + "/protected", headers=pair(person))
        assert (response.status_code, set_by(response)) == (200, {})
    assert wait_until(lambda: api.verifications > 0)
    assert browser.get(site.url + "/protected", headers=pair(person)).status_code == 200
    assert left(emulator, person) <= HOUR


def test_the_new_end_is_told_for_a_jwt_too(
    open_site: Callable[..., Site], browser: httpx.Client, emulator: Emulator
) -> None:
    site = open_site(extend_on_activity=timedelta(days=7), expires_in_header=True, load_user=True)
    headers = bearer(emulator.sign_in(minutes=10).session_jwt)

    def told() -> int:
        return int(browser.get(site.url + "/protected", headers=headers).headers["session-expires-in"])

    assert wait_until(lambda: told() > 600)
    assert all(WEEK - 60 < told() <= WEEK for _ in range(3))


def test_after_a_sign_out_no_end_is_told(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    assert int(web.get("/protected", headers=pair(person)).headers["session-expires-in"]) > HOUR
    for path in ("/auth/sign-out", "/auth/sessions/{}/revoke"):
        person = emulator.sign_in()
        response = web.post(path.format(person.session_id), headers={**pair(person), **OURS})
        assert set_by(response)[SESSION] == ""
        assert "session-expires-in" not in response.headers


def test_off_by_default(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in(minutes=60)
    for headers in (pair(person), old_pair(emulator, person), {"Cookie": f"{SESSION}={person.session_token}"}):
        assert web.get("/protected", headers=headers).status_code == 200
    assert verifications(emulator) == 2
    assert left(emulator, person) <= HOUR


# --- connections that outlive their request


@pytest.mark.rule("S52", "connection")
@with_websockets
def test_a_websocket_ends_with_its_session(web: httpx.Client, emulator: Emulator) -> None:
    here, there = (emulator.sign_in(email="ada@example.com") for _ in range(2))
    ben = emulator.sign_in(email="ben@example.com")
    with ExitStack() as stack:
        one, two, bens = (
            stack.enter_context(handshake(web, [*pair(person).items(), ("Origin", OWN)]))
            for person in (here, there, ben)
        )
        for websocket in (one, two, bens):
            assert websocket.recv(10) == "hello"
        assert web.post("/auth/sessions/revoke-others", headers={**pair(here), **OURS}).status_code == 200
        assert closed(two) == (4401, "Unauthorized")
        one.send("still here")
        assert one.recv(10) == "still here"
        assert web.post("/auth/sign-out", headers={**pair(here), **OURS}).status_code == 200
        assert closed(one) == (4401, "Unauthorized")
        bens.send("and I")
        assert bens.recv(10) == "and I"
