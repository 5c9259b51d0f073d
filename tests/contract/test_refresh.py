"""Browser sessions: a JWT that is no good is replaced on that very response, and nobody notices."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from contract.behaviour import HELD, Runs
from contract.relay import relayed
from contract.requests import OWN, handshake
from contract.responses import assert_refused
from contract.stacks import STACKS, OpenSite, Serving, also_lazy, with_websockets

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.bindings import BINDING, bound_line
from support.patience import PATIENCE
from support.scripted import Received
from support.together import together
from support.visitors import GONE, JWT, OURS, SESSION, pair, set_by, signed_in_long_ago, vary, verifications

EVERYWHERE = [
    ("GET", "/protected", 200),
    ("HEAD", "/protected", 200),
    ("POST", "/protected", 200),
    ("GET", "/optional", 200),
    ("GET", "/missing", 404),
    ("GET", "/moved", 302),
    ("GET", "/failed", 500),
    ("GET", "/raises", 503),
    ("GET", "/totp", 401),
    ("GET", "/paying", 403),
    ("GET", "/stream", 200),
    ("GET", "/late-stream", 200),
    ("GET", "/auth/session", 200),
    ("GET", "/auth/sign-in", 200),
]


def _forged(emulator: Emulator, person: SignedIn) -> str:
    return person.session_jwt[:-8] + "AAAAAAAA"


FAULTS: dict[str, Callable[[Emulator, SignedIn], str]] = {
    "forged": _forged,
    "foreign key": lambda emulator, person: emulator.mint(key="foreign", session_id=person.session_id),
    "foreign issuer": lambda emulator, person: emulator.mint({"iss": "x"}, session_id=person.session_id),
    "too old": lambda emulator, person: emulator.mint({"iat": 1_000, "exp": 2_000}, session_id=person.session_id),
    "not yet": lambda emulator, person: emulator.mint({"nbf": 4_000_000_000}, session_id=person.session_id),
    "unsigned": lambda emulator, person: person.session_jwt.rpartition(".")[0] + ".",
    "half of it": lambda emulator, person: person.session_jwt[:60],
    "no jwt at all": lambda emulator, person: "abc",
    "no form of one": lambda emulator, person: '"{"',
    "far too long": lambda emulator, person: "a." * 4_097,
    "empty": lambda emulator, person: "",
}


@pytest.mark.long
@also_lazy
@pytest.mark.rule("S28", "pair")
@pytest.mark.rule("S40")
@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
def test_the_new_one_goes_out_on_that_very_response(
    web: httpx.Client, emulator: Emulator, method: str, path: str, status: int
) -> None:
    person = signed_in_long_ago(emulator)
    response = web.request(method, path, headers={**pair(person), **OURS})
    assert response.status_code == status
    fresh = set_by(response)
    assert set(fresh) == {JWT}
    assert fresh[JWT] not in ("", person.session_jwt)
    assert response.headers["cache-control"] == "no-store"
    assert "cookie" in vary(response)
    assert "fresh-jwt" not in response.headers
    again = web.request(method, path, headers={**pair(person, jwt=fresh[JWT]), **OURS})
    assert (again.status_code, set_by(again)) == (status, {})
    assert verifications(emulator) == 1


def test_a_bug_of_the_app(web: httpx.Client, emulator: Emulator, serving: Serving) -> None:
    """Starlette answers it outside of all middleware, so that the next response brings the new JWT there."""
    person = signed_in_long_ago(emulator)
    response = web.get("/broken", headers={**pair(person), "Connection": "close"})
    assert response.status_code == 500
    is_outside = serving in (STACKS["starlette"], STACKS["fastapi"])
    assert set(set_by(response)) == (set() if is_outside else {JWT})
    assert set(set_by(web.get("/optional", headers=pair(person)))) == {JWT}
    assert verifications(emulator) == 1


@pytest.mark.rule("S40")
@pytest.mark.parametrize("fault", FAULTS)
def test_any_fault_of_a_jwt_is_the_end_of_it_alone(web: httpx.Client, emulator: Emulator, fault: str) -> None:
    person = emulator.sign_in()
    jwt = FAULTS[fault](emulator, person)
    emulator.clear_requests()
    cookie = {"Cookie": bound_line(f"{SESSION}={person.session_token}; {JWT}={jwt}")}
    response = web.get("/protected", headers=cookie)
    assert response.json() == {"user": person.user_id, "session": person.session_id}
    fresh = set_by(response)
    assert verifications(emulator) == 1
    assert set(fresh) == {JWT}
    assert web.get("/protected", headers=pair(person, jwt=fresh[JWT])).status_code == 200
    assert verifications(emulator) == 1


def test_ten_requests_at_once_cost_one_call(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.1)
    paths = ["/protected", "/other-colour", "/optional", "/missing", "/stream", "/late-stream", "/moved"]
    responses = together(10, lambda place: web.get(paths[place % len(paths)], headers=pair(person)))
    assert sorted({response.status_code for response in responses}) == [200, 302, 404]
    assert len({set_by(response)[JWT] for response in responses}) == 1
    assert verifications(emulator) == 1


@pytest.mark.rule("S13", "S23", "pair")
@pytest.mark.rule("S40", "S45")
def test_one_of_somebody_else_is_refused(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    """An old JWT beside a token is renewed by it: the answer has to be of the same user and session.

    Nobody can plant such a pair, as it is bound.
    """
    ada, other = signed_in_long_ago(emulator), signed_in_long_ago(emulator)
    ben = signed_in_long_ago(emulator, "ben@example.com")
    for planted in (ben, other):
        refused = web.get("/protected", headers=pair(ada, jwt=planted.session_jwt))
        assert_refused(refused, 503)
        assert set_by(refused) == {JWT: ""}  # the token stays, and tells by itself
        assert runs == []
    good = web.get("/protected", headers={"Cookie": f"{SESSION}={ada.session_token}"})
    assert good.json() == {"user": ada.user_id, "session": ada.session_id}


@pytest.mark.rule("S13", "S40")
def test_an_answer_with_somebody_elses_jwt_is_refused(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    ada, ben = signed_in_long_ago(emulator), emulator.sign_in(email="ben@example.com")
    headers = {"authorization": f"Bearer {emulator.secret_key}"}
    url = f"{emulator.base_url}/v1/auth/sessions/verify"
    answer = quick.post(url, json={"session_token": ada.session_token}, headers=headers).json()
    emulator.fault("/v1/auth/sessions/verify", body=json.dumps({**answer, "session_jwt": ben.session_jwt}))
    refused = web.get("/protected", headers=pair(ada))
    assert_refused(refused, 503)
    assert ben.session_jwt not in str(refused.headers)
    assert runs == []


@pytest.mark.rule("S42")
def test_a_header_never_changes_cookies(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    bearer = {"Authorization": f"Bearer {person.session_jwt}"}
    for headers in (bearer, {**bearer, **pair(person)}):
        response = web.get("/protected", headers=headers)
        assert (response.status_code, set_by(response)) == (200, {})


@with_websockets
def test_a_handshake_brings_it_too(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    with handshake(web, [*pair(person).items(), ("Origin", OWN)]) as websocket:
        assert websocket.recv(10) == "hello"
        assert websocket.response is not None
        line, binding = websocket.response.headers.get_all("Set-Cookie")
        assert binding.startswith(f"{BINDING}=")
    fresh = line.split(";")[0].removeprefix(f"{JWT}=")
    assert web.get("/protected", headers=pair(person, jwt=fresh)).status_code == 200
    assert verifications(emulator) == 1


# --- a response that is on its way while the user signs out


@also_lazy
@pytest.mark.rule("S46", "pair")
def test_the_view_is_still_at_work(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(web.get, "/held", headers=pair(person))
        try:
            assert HELD.arrived()
            out = web.post("/auth/sign-out", headers={**pair(person), **OURS})
        finally:
            HELD.let_go()
        assert set_by(late.result(PATIENCE)) == {}  # no cookie comes back to life
    assert set_by(out) == GONE
    assert web.get("/protected", headers=pair(person)).status_code == 401


@pytest.mark.rule("S46")
def test_the_api_is_still_at_work(open_site: OpenSite, browser: httpx.Client, emulator: Emulator) -> None:
    """The API has found the session good, but its answer comes when the session was ended."""
    person = signed_in_long_ago(emulator)
    with relayed(emulator, is_verification) as api, ThreadPoolExecutor(1) as pool:
        site = open_site(base_url=api.url, timeout=20, cookies=True)
        late = pool.submit(browser.get, site.url + "/protected", headers=pair(person))
        try:
            assert api.has_answered()
            newer = pair(person, jwt=emulator.mint(session_id=person.session_id))
            out = browser.post(site.url + "/auth/sign-out", headers={**newer, **OURS})
        finally:
            api.let_go()
        assert (out.json(), set_by(out)) == ({"signed_out": True, "complete": True, "revocation": "local"}, GONE)
        assert late.result(PATIENCE).status_code == 401
        assert not any(set_by(late.result()).values())
    assert site.runs == []


def is_verification(request: Received) -> bool:
    return request.path.endswith("/sessions/verify")
