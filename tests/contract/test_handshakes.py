"""The rules on credentials hold for handshakes of WebSockets, too, with a credential of each kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from contract.requests import OWN, bearer, closed, handshake
from contract.stacks import OpenSite, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.together import together
from support.visitors import SESSION, pair, signed_in_long_ago, verifications

pytestmark = with_websockets

VERIFY = "/v1/auth/sessions/verify"
OF_EACH = {"date", "set-cookie", "content-length"}

Browser = Callable[..., httpx.Client]
Presents = Callable[[SignedIn], dict[str, str]]

PRESENTS: dict[str, Presents] = {
    "token": lambda person: bearer(person.session_token),
    "jwt": lambda person: bearer(person.session_jwt),
    "pair": lambda person: {**pair(person), "Origin": OWN},
    "token in a cookie": lambda person: {"Cookie": f"{SESSION}={person.session_token}", "Origin": OWN},
}
each_kind = pytest.mark.parametrize("presents", PRESENTS.values(), ids=PRESENTS.keys())
asked_about = pytest.mark.parametrize(
    "presents",
    [PRESENTS[kind] for kind in ("token", "pair", "token in a cookie")],
    ids=["token", "pair", "cookie"],
)


@pytest.fixture
def open_web(open_site: OpenSite) -> Iterator[Browser]:
    """A browser in front of a site of the test's own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(quick.Client(base_url=open_site(cookies=True, **options).url))


def refused(web: httpx.Client, headers: dict[str, str], path: str = "/socket") -> Any:
    """The HTTP response to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught, handshake(web, [*headers.items()], path):
        pass
    return caught.value.response


def status(web: httpx.Client, headers: dict[str, str], path: str = "/socket") -> int:
    """The status of a handshake; 101 where it is accepted and the app speaks."""
    try:
        with handshake(web, [*headers.items()], path) as websocket:
            assert websocket.recv(10) == "hello"
    except InvalidStatus as error:
        return error.response.status_code
    return 101


@pytest.mark.rule("S13", "connection")
def test_an_old_jwt(web: httpx.Client, emulator: Emulator) -> None:
    ada, ben, dead = (signed_in_long_ago(emulator, f"{name}@example.com") for name in ("ada", "ben", "dead"))
    emulator.revoke(dead.session_id)
    assert status(web, bearer(ada.session_jwt)) == 101
    assert verifications(emulator) == 1
    assert status(web, bearer(dead.session_jwt)) == 401
    key = {"Authorization": f"Bearer {emulator.secret_key}"}
    theirs = quick.post(emulator.base_url + VERIFY, json={"session_token": ben.session_token}, headers=key).text
    eve = signed_in_long_ago(emulator, "eve@example.com")
    emulator.fault(VERIFY, body=theirs)
    for headers in (PRESENTS["jwt"](eve), PRESENTS["pair"](eve)):
        assert status(web, headers) == 503


@pytest.mark.rule("S17", "connection")
def test_without_keys_nothing_is_known(open_web: Browser, emulator: Emulator) -> None:
    emulator.fault("/v1/auth/jwks", status=502)
    web = open_web()
    ada = emulator.sign_in()
    assert status(web, PRESENTS["jwt"](ada)) == 503
    assert status(web, PRESENTS["pair"](ada)) == 101  # by its token


@pytest.mark.rule("S25", "connection")
@each_kind
def test_everybody_is_who_they_are(web: httpx.Client, emulator: Emulator, presents: Presents) -> None:
    people = [emulator.sign_in(email=f"person{number}@example.com") for number in range(6)]
    emulator.fault(VERIFY, delay=0.01)

    def ask(place: int) -> tuple[str, str]:
        person = people[place % len(people)]
        with handshake(web, [*presents(person).items()]) as websocket:
            websocket.recv(10)
            websocket.send("who?")
            return str(websocket.recv(10)), person.user_id

    assert all(said == expected for said, expected in together(12, ask))
    with ExitStack() as stack:
        sockets = [stack.enter_context(handshake(web, [*presents(one).items()])) for one in people]
        for websocket in sockets:
            websocket.recv(10)
            websocket.send("who?")
        assert [websocket.recv(10) for websocket in sockets] == [one.user_id for one in people]


TROUBLE: dict[str, dict[str, Any]] = {
    "503": {"status": 503, "headers": {"Retry-After": "60"}},
    "no JSON": {"status": 200, "body": "<html>"},
    "no known refusal": {"status": 404, "body": '{"detail": "nope"}'},
    "an error beside a session": {"body": '{"session": {}, "error": {"code": "invalid_session"}}'},
}


@pytest.mark.rule("S19", "connection")
@asked_about
def test_trouble_is_no_refusal(web: httpx.Client, emulator: Emulator, presents: Presents) -> None:
    ada = signed_in_long_ago(emulator)
    for name, fault in TROUBLE.items():
        emulator.fault(VERIFY, **fault)
        answer = refused(web, presents(ada))
        assert (answer.status_code, answer.headers.get_all("Set-Cookie")) == (503, []), name
        assert answer.headers["Cache-Control"] == "no-store"
    emulator.clear_faults()
    assert status(web, presents(ada)) == 101


@pytest.mark.rule("S20", "connection")
def test_our_own_key_is_wrong(open_web: Browser, emulator: Emulator) -> None:
    web = open_web(secret_key="sk_test_wrong", cache_secret="a secret of this site", jwt_issuer=None)
    ada = emulator.sign_in()
    for presents in PRESENTS.values():
        answer = refused(web, presents(ada))
        assert (answer.status_code, answer.headers.get_all("Set-Cookie")) == (500, [])


@pytest.mark.rule("S2", "S28", "S45", "connection")
def test_what_a_refusal_says_of_caches_and_cookies(web: httpx.Client, emulator: Emulator) -> None:
    ada, dead = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ben@example.com")
    emulator.revoke(dead.session_id)
    cases: list[tuple[dict[str, str], int, bool]] = [
        ({"Cookie": f"{SESSION}=a b"}, 400, True),
        ({"Cookie": f'{SESSION}="{ada.session_token}"'}, 400, True),
        ({"Cookie": f"{SESSION}={ada.session_jwt}"}, 400, True),
        ({"Cookie": f"{SESSION}={ada.session_token}; {SESSION}=another"}, 400, False),
        (pair(dead, jwt="x"), 401, True),
        ({**pair(ada), "Session-Token": dead.session_token}, 401, False),
        (pair(ada), 403, False),
        ({}, 401, False),
    ]
    for headers, code, clears in cases:
        origin = {} if code == 403 else {"Origin": OWN}
        answer = refused(web, {**headers, **origin})
        said = answer.headers
        assert (answer.status_code, said["Cache-Control"]) == (code, "no-store"), headers
        assert {"cookie", "authorization", "session-token"} <= {*said["Vary"].lower().split(", ")}
        assert bool(said.get_all("Set-Cookie")) is clears, headers
        assert all("Max-Age=0" in line for line in said.get_all("Set-Cookie"))
        assert ("WWW-Authenticate" in said) is (code != 403), headers


@pytest.mark.rule("S29", "connection")
def test_all_invalid_credentials_get_the_same_answer(web: httpx.Client, emulator: Emulator) -> None:
    ada, dead = signed_in_long_ago(emulator), emulator.sign_in(email="ben@example.com")
    emulator.revoke(dead.session_id)
    head, body, _ = ada.session_jwt.split(".")

    def told(headers: dict[str, str]) -> tuple[Any, ...]:
        answer = refused(web, headers)
        problem = json.loads(answer.body)
        assert problem.pop("instance").startswith("urn:request:")
        said = sorted((name.lower(), value) for name, value in answer.headers.raw_items())
        return answer.status_code, [one for one in said if one[0] not in OF_EACH], problem

    first, *others = [
        told(headers)
        for headers in (
            bearer("never-existed"),
            bearer(dead.session_token),
            {"Session-Token": dead.session_token},
            bearer(f"{head}.{body}."),
            bearer(emulator.mint(key="foreign", header={"kid": emulator.kid})),
            bearer(emulator.mint({"iss": "another"})),
            PRESENTS["token in a cookie"](dead),
            PRESENTS["pair"](SignedIn("", "", "session_" + "0" * 40, ada.session_jwt)),
        )
    ]
    assert first[0] == 401
    assert all(other == first for other in others)


@pytest.mark.rule("S30", "connection")
@each_kind
def test_no_credential_is_shown(
    web: httpx.Client, emulator: Emulator, presents: Presents, caplog: pytest.LogCaptureFixture
) -> None:
    person = signed_in_long_ago(emulator)
    said: list[str] = []
    caplog.set_level(logging.DEBUG, "moonkey")
    with handshake(web, [*presents(person).items()]) as websocket:
        websocket.recv(10)
        emulator.revoke(person.session_id)
        sent = {name: value for name, value in presents(person).items() if name != "Origin"}
        assert web.get("/strict", headers=sent).status_code == 401
        said.append(repr(closed(websocket)))
    for headers in (presents(person), {**presents(person), "Session-Token": "a b"}):
        answer = refused(web, headers)
        said.append(f"{answer.body!r} {[*answer.headers.raw_items()]}")
    emulator.fault("/v1/auth", status=500, body=f"boom {person.session_token} {person.session_jwt}")
    said.append(str(refused(web, presents(person), "/socket/strict").body))
    said += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert len(caplog.records) > 2
    for secret in (person.session_token, person.session_token.removeprefix("session_"), person.session_jwt):
        assert not any(secret in one for one in said)


@pytest.mark.long
@pytest.mark.rule("S34", "connection")
@each_kind
def test_what_is_remembered_and_who_asks_anew(open_web: Browser, emulator: Emulator, presents: Presents) -> None:
    web = open_web(session_cache_ttl=60)
    ada = emulator.sign_in(email="ada@example.com")
    emulator.clear_requests()
    for _ in range(2):
        assert status(web, presents(ada)) == 101
    before = verifications(emulator)
    assert before <= 1
    for count in (1, 2):
        assert status(web, presents(ada), "/socket/strict") == 101
        assert verifications(emulator) == before + count
    emulator.revoke(ada.session_id)
    assert status(web, presents(ada), "/socket/strict") == 401
    assert status(web, presents(ada)) == 401


@pytest.mark.rule("S34", "connection")
@each_kind
def test_the_grace_period(open_web: Browser, emulator: Emulator, presents: Presents) -> None:
    web = open_web(grace_seconds=60, jwt_issuer=None)
    ada, ben = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben"))
    assert status(web, presents(ada)) == 101
    emulator.stop()
    assert status(web, presents(ada)) == 101
    assert status(web, presents(ada), "/socket/strict") == 503
    assert status(web, presents(ben)) == 503


@pytest.mark.rule("S35", "connection")
@each_kind
def test_who_has_signed_out_comes_in_no_more(web: httpx.Client, emulator: Emulator, presents: Presents) -> None:
    ada, ben = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben"))
    assert [status(web, presents(person)) for person in (ada, ben)] == [101, 101]
    assert web.post("/auth/sign-out", headers=bearer(ada.session_token)).status_code == 200
    assert [status(web, presents(person)) for person in (ada, ben)] == [401, 101]


@pytest.mark.rule("S39", "connection")
@asked_about
def test_an_open_circuit(
    open_web: Browser, emulator: Emulator, presents: Presents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonkey_core._transport.circuit_breaker._PROBE_EVERY", 3600.0)
    web = open_web()
    open_one, late = emulator.sign_in(email="ada@example.com"), signed_in_long_ago(emulator)
    with handshake(web, [*presents(open_one).items()]) as websocket:
        assert websocket.recv(10) == "hello"
        emulator.fault(VERIFY, status=500)
        for number in range(4):
            assert web.get("/protected", headers=bearer(f"token_{number}")).status_code == 503
        emulator.clear_faults()
        emulator.clear_requests()
        answer = refused(web, presents(late))
        assert (answer.status_code, answer.headers.get_all("Set-Cookie")) == (503, [])
        websocket.send("who?")
        assert websocket.recv(10) == open_one.user_id
        assert verifications(emulator) == 0


@pytest.mark.rule("S50", "connection")
@each_kind
def test_what_is_not_known_meets_no_demand(web: httpx.Client, emulator: Emulator, presents: Presents) -> None:
    for factors in ([], ["otp"]):
        assert status(web, presents(emulator.sign_in(factors=factors)), "/socket/totp") == 401
    person = emulator.sign_in(factors=["totp"])
    assert status(web, presents(person), "/socket/totp") == 101
    bare = emulator.sign_in(factors=[])
    claims = {"factors": [{"type": "totp", "delivery_channel": "totp"}]}
    for more in (claims, {"custom_claims": claims}):
        jwt = emulator.mint(more, session_id=bare.session_id)
        told = SignedIn(bare.user_id, bare.session_id, bare.session_token, jwt)
        assert status(web, presents(told), "/socket/totp") == 401
