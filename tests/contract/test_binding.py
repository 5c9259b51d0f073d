"""Browser sessions: a JWT in a cookie counts only beside the session token for which it was issued."""

from __future__ import annotations

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import OWN, handshake
from contract.responses import assert_refused
from contract.stacks import OpenSite, also_lazy, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from support.bindings import BINDING, binding
from support.visitors import (
    GONE,
    JWT,
    OURS,
    SESSION,
    Visitor,
    all_set_by,
    pair,
    set_by,
    signed_in_long_ago,
    verifications,
)

PROOFS = ["none", "empty", "junk", "of the owner of the JWT", "of the owner of the token"]


def unbound(person: SignedIn, jwt: str | None = None) -> str:
    """The cookies as they were before JWTs were bound."""
    return f"{SESSION}={person.session_token}; {JWT}={jwt or person.session_jwt}"


def planted(ada: SignedIn, ben: SignedIn, proof: str) -> str:
    """Ben's JWT beside Ada's token."""
    value = {
        "empty": "",
        "junk": "0" * 64,
        "of the owner of the JWT": binding(ben.session_token, ben.session_jwt),
        "of the owner of the token": binding(ada.session_token, ada.session_jwt),
    }.get(proof)
    return unbound(ada, ben.session_jwt) + ("" if value is None else f"; {BINDING}={value}")


@pytest.mark.long
@also_lazy
@pytest.mark.rule("S40", "pair")
@pytest.mark.parametrize("proof", PROOFS)
def test_a_planted_jwt_never_says_who_somebody_is(web: httpx.Client, emulator: Emulator, proof: str) -> None:
    ada, ben = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ben@example.com")
    assert web.get("/protected", headers=pair(ben)).json()["user"] == ben.user_id  # remembered from now on
    emulator.clear_requests()
    response = web.get("/protected", headers={"Cookie": planted(ada, ben, proof)})
    assert response.json() == {"user": ada.user_id, "session": ada.session_id}
    assert set(set_by(response)) == {JWT}
    assert verifications(emulator) == 1
    mine = pair(ada, jwt=set_by(response)[JWT])
    assert web.get("/protected", headers=mine).json()["user"] == ada.user_id
    assert verifications(emulator) == 1


@also_lazy
@pytest.mark.rule("S40", "pair")
@pytest.mark.rule("S45")
def test_junk_beside_a_good_jwt_is_refused(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    ada = emulator.sign_in(email="ada@example.com")
    right = binding(ada.session_token, ada.session_jwt)
    for token in ("junk", "session_" + "j" * 40):
        for proof in ("", f"; {BINDING}={right}"):
            line = f"{SESSION}={token}; {JWT}={ada.session_jwt}{proof}"
            refused = web.get("/protected", headers={"Cookie": line})
            assert_refused(refused, 401, "invalid_token")
            assert set_by(refused) == GONE
            assert web.get("/optional", headers={"Cookie": line}).json()["state"] == "rejected"
    assert runs == []
    assert web.get("/protected", headers=pair(ada)).status_code == 200


@also_lazy
@pytest.mark.rule("S40", "S45")
def test_cookies_of_before_cost_one_call_and_are_replaced(web: httpx.Client, emulator: Emulator) -> None:
    """A process of an earlier version sets a JWT without its binding, and does not look at ours."""
    for person in (emulator.sign_in(), signed_in_long_ago(emulator)):
        emulator.clear_requests()
        visitor = Visitor(web)
        first = web.get("/protected", headers={"Cookie": unbound(person)})
        assert (first.status_code, first.json()["user"]) == (200, person.user_id)
        assert verifications(emulator) == 1
        visitor.cookies = {SESSION: person.session_token, **all_set_by(first)}
        assert visitor.cookies.keys() == {SESSION, JWT, BINDING}
        for _ in range(2):
            again = visitor.get("/protected")
            assert (again.status_code, set_by(again)) == (200, {})
        assert verifications(emulator) == 1
        # One of those processes renews the JWT: the binding beside it is now that of another one.
        visitor.cookies[JWT] = emulator.mint({"set_by": "an earlier version"}, session_id=person.session_id)
        assert set(set_by(visitor.get("/protected"))) == {JWT}
        assert verifications(emulator) == 2
        assert visitor.get("/protected").status_code == 200
        assert verifications(emulator) == 2


@also_lazy
@pytest.mark.rule("S45")
def test_cookies_of_before_in_an_outage(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    emulator.stop()
    refused = web.get("/protected", headers={"Cookie": unbound(person)})
    assert_refused(refused, 503)
    assert set_by(refused) == {}
    emulator.start()
    assert web.get("/protected", headers={"Cookie": unbound(person)}).status_code == 200


@pytest.mark.rule("S40")
def test_signing_in_and_out(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    visitor.sign_in(emulator)
    held = dict(visitor.cookies)
    assert held[BINDING] == binding(held[SESSION], held[JWT])
    emulator.clear_requests()
    assert visitor.get("/protected").status_code == 200
    assert verifications(emulator) == 0
    assert visitor.post("/sign-out").status_code == 303
    assert visitor.cookies.keys() & {SESSION, JWT, BINDING} == set()


@pytest.mark.rule("S40")
def test_another_app_or_secret_binds_nothing(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    person = emulator.sign_in()
    site = open_site(cookies=True, cache_secret="another secret of this fleet")
    response = browser.get(site.url + "/protected", headers=pair(person))
    assert response.json()["user"] == person.user_id
    assert set(set_by(response)) == {JWT}


@with_websockets
@pytest.mark.rule("S40", "connection")
@pytest.mark.rule("S52", "connection")
def test_a_handshake(web: httpx.Client, emulator: Emulator) -> None:
    ada, ben = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ben@example.com")
    emulator.clear_requests()
    with handshake(web, [("Cookie", planted(ada, ben, "none")), ("Origin", OWN)]) as websocket:
        assert websocket.recv(10) == "hello"
    assert verifications(emulator) == 1
    junk = f"{SESSION}=junk; {JWT}={ben.session_jwt}; {BINDING}={binding(ben.session_token, ben.session_jwt)}"
    with pytest.raises(InvalidStatus), handshake(web, [("Cookie", junk), ("Origin", OWN)]):
        pass


@pytest.mark.rule("S42", "token", "jwt")
def test_headers_need_none(web: httpx.Client, emulator: Emulator) -> None:
    ada, ben = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ben@example.com")
    for credential in (ada.session_token, ada.session_jwt):
        for beside in ({}, {"Cookie": f"{BINDING}=junk"}, {"Cookie": planted(ada, ben, "junk")}):
            headers = {"Authorization": f"Bearer {credential}", **beside, **OURS}
            response = web.get("/protected", headers=headers)
            assert (response.json()["user"], set_by(response)) == (ada.user_id, {})
