"""S4 to S13, S18. A JWT that is wrong in one respect counts nowhere: in a header, in cookies or in a handshake."""

from __future__ import annotations

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import OWN, bearer, handshake
from contract.responses import assert_refused
from contract.stacks import OpenSite, with_websockets
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core.emulator import Emulator, SignedIn
from support.bad_jwts import bad_jwts
from support.visitors import JWT, pair, set_by, verifications

KEYS = "GET /v1/auth/jwks/default"


@pytest.fixture
def ada(web: httpx.Client, emulator: Emulator) -> SignedIn:
    """Somebody whose good JWT is verified without a call."""
    person = emulator.sign_in(email="ada@example.com")
    assert web.get("/protected", headers=bearer(person.session_jwt)).status_code == 200
    emulator.clear_requests()
    return person


@pytest.mark.rule("S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "jwt")
def test_in_a_header(web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs) -> None:
    runs.clear()
    for fault, jwt in bad_jwts(emulator, ada).items():
        for headers in (bearer(jwt), {"session-token": jwt}):
            response = web.get("/protected", headers=headers)
            assert response.status_code == 401, fault
            assert_refused(response, 401, "invalid_token")
    assert runs == []
    assert emulator.requests() == {}


@pytest.mark.rule("S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "pair")
def test_in_cookies(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    """The token beside it is verified instead, as if the JWT were not there."""
    faults = bad_jwts(emulator, ada)
    for count, (fault, jwt) in enumerate(faults.items(), 1):
        response = web.get("/protected", headers=pair(ada, jwt=jwt))
        assert response.json() == {"user": ada.user_id, "session": ada.session_id}, fault
        assert verifications(emulator) == count, fault
        assert set_by(response).keys() == {JWT}, fault
    emulator.revoke(ada.session_id)
    for fault, jwt in faults.items():
        assert web.get("/protected", headers=pair(ada, jwt=jwt)).status_code == 401, fault


@with_websockets
@pytest.mark.rule("S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "connection")
def test_in_a_handshake(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    faults = bad_jwts(emulator, ada)
    for fault, jwt in faults.items():
        with pytest.raises(InvalidStatus) as refused, handshake(web, [*bearer(jwt).items()]):
            pass
        assert refused.value.response.status_code == 401, fault
    assert emulator.requests() == {}
    for count, (fault, jwt) in enumerate(faults.items(), 1):
        with handshake(web, [*pair(ada, jwt=jwt).items(), ("Origin", OWN)]) as websocket:
            assert websocket.recv(10) == "hello"
        assert verifications(emulator) == count, fault


def unknown(emulator: Emulator, person: SignedIn) -> list[str]:
    """JWTs of a person's session whose keys nobody has published."""
    return [emulator.mint(header={"kid": f"unknown{number}"}, session_id=person.session_id) for number in range(8)]


@pytest.mark.rule("S18", "jwt", "pair")
def test_unknown_keys_cost_few_fetches(open_site: OpenSite, browser: httpx.Client, emulator: Emulator) -> None:
    """The first fetch, and the three of the bucket, for all kinds of credential together."""
    site = open_site(cookies=True)
    ada = emulator.sign_in()
    emulator.clear_requests()
    for jwt in unknown(emulator, ada):
        response = browser.get(site.url + "/protected", headers=pair(ada, jwt=jwt))
        assert response.json()["user"] == ada.user_id
    assert emulator.requests()[KEYS] in range(1, 5)
    for jwt in unknown(emulator, ada):
        assert browser.get(site.url + "/protected", headers=bearer(jwt)).status_code in (401, 503)
    assert emulator.requests()[KEYS] in range(1, 5)


@with_websockets
@pytest.mark.rule("S18", "connection")
def test_unknown_keys_cost_few_fetches_in_handshakes(open_site: OpenSite, emulator: Emulator) -> None:
    url = open_site().url.replace("http", "ws") + "/socket"
    emulator.clear_requests()
    for jwt in unknown(emulator, emulator.sign_in()):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=bearer(jwt)):
            pass
        assert refused.value.response.status_code in (401, 503)
    assert emulator.requests()[KEYS] in range(1, 5)
