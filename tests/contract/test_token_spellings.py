"""MoonKey writes one session token with and without ``session_``, and the API may echo either. On every stack."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import pytest
from contract.requests import OWN, bearer, closed, handshake
from contract.responses import assert_refused
from contract.stacks import Site, with_websockets

from moonkey_core.emulator import Emulator, SignedIn
from support.bindings import bound_line
from support.visitors import JWT, OURS, SESSION, Visitor, set_by, verifications, with_app

SPELLINGS = ["bare", "prefixed"]


@pytest.fixture(params=SPELLINGS, ids=[f"echoes {name}" for name in SPELLINGS], autouse=True)
def _echoed(request: pytest.FixtureRequest, emulator: Emulator) -> None:
    emulator.token_prefix(request.param == "prefixed")


def both(person: SignedIn) -> tuple[str, str]:
    """A person's token in both spellings."""
    bare = person.session_token.removeprefix("session_")
    return bare, f"session_{bare}"


@pytest.mark.rule("S3")
def test_a_header(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    answer = {"user": person.user_id, "session": person.session_id}
    for token in both(person):
        for headers in ({"session-token": token}, bearer(token)):
            response = browser.get(site.url + "/protected", headers=headers)
            assert (response.status_code, response.json()) == (200, answer)
    two = {"session-token": both(person)[0], **bearer(both(person)[1])}
    assert_refused(browser.get(site.url + "/protected", headers=two), 400, "invalid_request")


@pytest.mark.rule("S41")
def test_cookies(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    emulator.clear_requests()
    for token in both(person):
        for jwt in ("", f"; {JWT}={person.session_jwt}", f"; {JWT}=of.no.use"):
            response = web.get("/protected", headers={"Cookie": bound_line(f"{SESSION}={token}{jwt}")})
            assert response.json() == {"user": person.user_id, "session": person.session_id}
    assert verifications(emulator) == 4
    bare, prefixed = both(person)
    response = web.get("/protected", headers={"Cookie": f"{SESSION}={bare}; {SESSION}={prefixed}"})
    assert response.status_code == 200
    wrong = {"Cookie": f"{SESSION}={bare}; {SESSION}=session_{prefixed}"}
    assert_refused(web.get("/protected", headers=wrong), 400, "invalid_request")


@pytest.mark.rule("S33")
@pytest.mark.parametrize("first", [0, 1], ids=SPELLINGS)
def test_what_is_refused_in_one_is_refused_in_both(
    site: Site, browser: httpx.Client, emulator: Emulator, first: int
) -> None:
    person = emulator.sign_in()
    emulator.revoke(person.session_id)
    emulator.clear_requests()
    for place in (first, 1 - first):
        headers = {"session-token": both(person)[place]}
        assert_refused(browser.get(site.url + "/protected", headers=headers), 401, "invalid_token")
    assert verifications(emulator) == 1  # the second one is remembered


@pytest.mark.rule("S35")
@pytest.mark.parametrize("used", [0, 1], ids=SPELLINGS)
def test_signing_out_with_one_ends_both(web: httpx.Client, emulator: Emulator, used: int) -> None:
    person = emulator.sign_in()
    lines = [f"{SESSION}={token}; {JWT}={person.session_jwt}" for token in both(person)]
    cookies = [{"Cookie": bound_line(line)} for line in lines]
    assert all(web.get("/protected", headers=headers).status_code == 200 for headers in cookies)
    left = web.post("/auth/sign-out", headers={**cookies[used], **OURS})
    assert (left.json(), set_by(left)) == (
        {"signed_out": True, "complete": True, "revocation": "local"},
        {SESSION: "", JWT: ""},
    )
    for headers in (*cookies, *map(bearer, both(person))):
        assert web.get("/protected", headers=headers).status_code == 401


@pytest.mark.long
@pytest.mark.parametrize("used", [0, 1], ids=SPELLINGS)
def test_proving_more(web: httpx.Client, emulator: Emulator, used: int) -> None:
    person = emulator.sign_in(email="ada@example.com")
    secret = with_app(emulator, person.user_id)
    ada = Visitor(web)
    ada.cookies = {SESSION: both(person)[used], JWT: person.session_jwt}
    assert ada.get("/totp").status_code == 303
    done = ada.post("/step-up/totp", {"code": emulator.totp_code(secret), "next": "/totp"})
    assert (done.status_code, done.headers["location"]) == (303, "/totp")
    assert ada.get("/totp").status_code == 200
    program = bearer(both(emulator.sign_in(email="ada@example.com"))[used])
    emulator.set_clock(60)  # for another code
    code = {"code": emulator.totp_code(secret)}
    found = web.post("/auth/step-up/totp", json=code, headers=program)
    emulator.set_clock(0)
    assert found.status_code == 200
    assert web.get("/totp", headers=bearer(found.json()["session_token"])).status_code == 200


@pytest.mark.rule("S52", "connection")
@with_websockets
def test_a_websocket(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    with ExitStack() as stack:
        for token in both(person):
            websocket = stack.enter_context(handshake(web, [("Cookie", f"{SESSION}={token}"), ("Origin", OWN)]))
            assert websocket.recv(10) == "hello"
            program = stack.enter_context(handshake(web, [("session-token", token)]))
            assert program.recv(10) == "hello"
        other = bearer(both(person)[1])
        assert web.post("/auth/sign-out", headers=other).status_code == 200
        assert closed(websocket) == closed(program) == (4401, "Unauthorized")
