"""What the handshake of a WebSocket presents is read as that of any request, where there are WebSockets."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest
from contract.stacks import with_websockets
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import JWT, SESSION, pair, set_by, verifications

Lines = Sequence[tuple[str, str]]

pytestmark = with_websockets


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    person = emulator.sign_in(email="ada@example.com")
    emulator.clear_requests()
    return person


def status(web: httpx.Client, lines: Lines, query: str = "") -> int:
    """Return the status of a handshake from a page of this site: 101 where it is accepted."""
    own = str(web.base_url).rstrip("/")
    headers = [*lines, ("Origin", own)]
    try:
        with connect(f"{own.replace('http', 'ws')}/socket{query}", additional_headers=headers) as websocket:
            assert websocket.recv(10) == "hello"
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


@pytest.mark.rule("S1", "connection")
def test_a_credential_elsewhere_is_never_read(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    token, jwt = ada.session_token, ada.session_jwt
    names = ("session_token", "session-token", "access_token", "token", "authorization")
    query = "?" + "&".join(f"{name}={value}" for name in names for value in (token, jwt))
    assert status(web, [], query) == 401
    for name, value in (
        ("Sec-WebSocket-Protocol", f"session-token, {token}"),
        ("Sec-WebSocket-Protocol", f"bearer.{jwt}"),
        ("Cookie", "; ".join(f"{name}={token}" for name in names)),
        ("X-Session-Token", token),
    ):
        assert status(web, [(name, value)]) == 401, name
    assert emulator.requests() == {}
    assert status(web, [("Session-Token", token)]) == 101


@pytest.mark.rule("S2", "S3", "connection")
def test_a_malformed_or_second_credential(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    token = ada.session_token
    cases: list[Lines] = [
        [("Session-Token", "a b")],
        [("Session-Token", f'"{token}"')],
        [("Authorization", f"Bearer {token} {token}")],
        [("Authorization", f"Bearer {token}"), ("Session-Token", token)],
        [("Session-Token", token), ("session-token", token)],
    ]
    for lines in cases:
        assert status(web, lines) == 400, [name for name, _ in lines]
    assert emulator.requests() == {}


@pytest.mark.rule("S40", "connection")
def test_a_jwt_in_a_cookie(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    assert status(web, [("Cookie", f"{JWT}={ada.session_jwt}")]) == 401
    assert verifications(emulator) == 0
    for count, fault in enumerate((ada.session_jwt[:-8] + "AAAAAAAA", emulator.mint(key="foreign"), "x"), 1):
        assert status(web, list(pair(ada, jwt=fault).items())) == 101
        assert verifications(emulator) == count


@pytest.mark.rule("S41", "connection")
def test_a_cookie_that_stands_twice(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    own = pair(ada)["Cookie"]
    for planted in (f"{SESSION}={ben.session_token}", f"{JWT}={ben.session_jwt}"):
        for lines in ([("Cookie", f"{planted}; {own}")], [("Cookie", own), ("Cookie", planted)]):
            assert status(web, lines) == 400
    assert status(web, [("Cookie", f"{own}; {own}")]) == 101


@pytest.mark.rule("S42", "connection")
def test_a_header_beside_cookies(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    dead = emulator.sign_in(email="ben@example.com")
    emulator.revoke(dead.session_id)
    good = list(pair(ada).items())
    assert status(web, good) == 101  # and is remembered
    for name, value, expected in (
        ("Session-Token", "a b", 400),
        ("Session-Token", dead.session_token, 401),
        ("Authorization", "Bearer never-existed", 401),
        ("Authorization", f"Bearer {ada.session_jwt[:-8]}AAAAAAAA", 401),
    ):
        assert status(web, [*good, (name, value)]) == expected, value[:20]
    over = {"Cookie": f"{SESSION}={dead.session_token}"}
    assert status(web, list(over.items())) == 401
    assert status(web, [*over.items(), ("Session-Token", ada.session_token)]) == 101
    response = web.get("/protected", headers={**over, "Session-Token": ada.session_token})
    assert (response.status_code, set_by(response)) == (200, {})
