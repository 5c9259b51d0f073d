"""What a front end that keeps its credential itself is told, on every stack (rules S2, S26 and S29)."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from contract.behaviour import BROWSING, EXPOSED, ORIGIN
from contract.requests import PROGRAM, bearer, handshake, own_url
from contract.responses import assert_refused
from contract.stacks import OpenSite, Site, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import pair, signed_in_long_ago, vary

PROTECTED = ["/protected", "/other-colour", "/strict", "/totp"]
EMPTY: list[list[tuple[str, str]]] = [
    [("session-token", "")],
    [("Authorization", "Bearer")],
    [("Authorization", "bEARER")],
    [("Authorization", "")],
    [("Authorization", "Bearer"), ("session-token", "")],
]


@pytest.mark.rule("S2")
@pytest.mark.parametrize("lines", EMPTY, ids=str)
def test_an_empty_line_is_no_credential(
    site: Site, browser: httpx.Client, emulator: Emulator, lines: list[tuple[str, str]]
) -> None:
    emulator.clear_requests()
    for path in PROTECTED:
        assert_refused(browser.get(site.url + path, headers=lines), 401)
    assert browser.get(f"{site.url}/optional", headers=lines).json()["state"] == "anonymous"
    assert (emulator.requests(), site.runs) == ({}, [])


@pytest.mark.rule("S2", "S3")
def test_an_empty_line_beside_a_credential(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    for value in (ada.session_token, ada.session_jwt):
        for lines in (
            [("session-token", ""), ("Authorization", f"Bearer {value}")],
            [("session-token", value), ("Authorization", "Bearer")],
        ):
            assert browser.get(f"{site.url}/protected", headers=lines).json()["user"] == ada.user_id
    # A repeated line stays malformed, empty or not, and so does anything that is not nothing.
    for lines in (
        [("session-token", ""), ("session-token", "")],
        [("session-token", ","), ("Authorization", "Bearer")],
        [("session-token", ""), ("Authorization", "Bearer a b")],
    ):
        assert_refused(browser.get(f"{site.url}/protected", headers=lines), 400, "invalid_request")


@pytest.mark.rule("S2", "S42")
@pytest.mark.parametrize("lines", EMPTY, ids=str)
def test_cookies_count_beside_an_empty_line(
    web: httpx.Client, emulator: Emulator, lines: list[tuple[str, str]]
) -> None:
    ada = emulator.sign_in()
    cookies = ("Cookie", pair(ada)["Cookie"])
    assert web.get("/protected", headers=[*lines, cookies]).json()["user"] == ada.user_id
    foreign = [*lines, cookies, ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    assert web.post("/protected", headers=foreign).json()["error"] == "cross_site_request"


@with_websockets
@pytest.mark.rule("S2")
@pytest.mark.parametrize("lines", EMPTY, ids=str)
def test_a_websocket_with_an_empty_line(
    web: httpx.Client, emulator: Emulator, lines: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidStatus) as caught, handshake(web, lines):
        pass
    assert caught.value.response.status_code == 401
    assert caught.value.response.headers["WWW-Authenticate"] == 'Bearer realm="moonkey"'
    ada = emulator.sign_in()
    with handshake(web, [*lines, ("Cookie", pair(ada)["Cookie"]), ("Origin", own_url(web))]) as websocket:
        assert websocket.recv(10) == "hello"


def long_ago(emulator: Emulator) -> SignedIn:
    return signed_in_long_ago(emulator)


def assert_expired(response: httpx.Response) -> None:
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert {"authorization", "session-token"} <= vary(response)
    problem = response.json()
    assert (problem["error"], problem["reason"]) == ("invalid_token", "expired")
    challenge = response.headers["www-authenticate"]
    assert challenge == (f'Bearer realm="moonkey", error="invalid_token", error_description="{problem["detail"]}"')


@pytest.mark.rule("S29")
@pytest.mark.parametrize("header", ["authorization", "session-token"])
def test_an_expired_jwt_reads_differently_from_one_that_is_no_good(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, header: str
) -> None:
    site = open_site(refresh_jwt=False)
    old, good = long_ago(emulator).session_jwt, emulator.sign_in()

    def get(path: str, value: str) -> httpx.Response:
        line = f"Bearer {value}" if header == "authorization" else value
        return browser.get(site.url + path, headers={header: line})

    for path in PROTECTED:
        assert_expired(get(path, old))
    assert get("/optional", old).json() == {"state": "rejected", "reason": "expired_credentials", "user": None}
    # A forged or foreign one is not told that it is old, too.
    head, body, signature = old.split(".")
    emulator.set_clock(-400)
    foreign = emulator.mint(key="foreign")
    emulator.set_clock(0)
    for value in (f"{head}.{body}.{signature[:-8]}AAAAAAAA", foreign, "session_dead"):
        refused = get("/protected", value)
        assert_refused(refused, 401, "invalid_token")
        assert refused.json()["reason"] == "invalid"
    for value in (good.session_token, good.session_jwt):
        assert get("/protected", value).status_code == 200


@pytest.mark.rule("S29")
def test_an_old_pair_is_renewed_and_not_expired(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    site = open_site(refresh_jwt=False, **BROWSING)
    person = long_ago(emulator)
    assert browser.get(f"{site.url}/protected", headers=pair(person)).json()["user"] == person.user_id


@pytest.mark.rule("S29")
@pytest.mark.parametrize("shown", [bearer, lambda token: {"session-token": token}])
def test_a_session_whose_end_has_come(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, shown: Callable[[str], dict[str, str]]
) -> None:
    """By what the API says of it, if it still says anything."""
    site = open_site()
    person = emulator.sign_in()
    session = {"id": person.session_id, "user_id": person.user_id, "expires_at": int(emulator.now()) - 60}
    emulator.fault("/v1/auth/sessions/verify", status=200, body=json.dumps({"session": session}))
    assert_expired(browser.get(f"{site.url}/protected", headers=shown(person.session_token)))


@with_websockets
@pytest.mark.rule("S29")
def test_a_websocket_with_an_expired_jwt(open_site: OpenSite, emulator: Emulator) -> None:
    site = open_site(refresh_jwt=False)
    old = long_ago(emulator).session_jwt
    with (
        httpx.Client(base_url=site.url) as client,
        pytest.raises(InvalidStatus) as caught,
        handshake(client, [("Authorization", f"Bearer {old}")]),
    ):
        pass
    response = caught.value.response
    assert response.status_code == 401
    assert "error_description" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("origin", [ORIGIN])
def test_a_page_of_another_origin_may_send_and_read_what_it_needs(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, origin: str
) -> None:
    site = open_site(expires_in_header=True, fresh_jwt_header="Fresh-JWT")
    for name in ("authorization", "session-token"):
        preflight = browser.options(
            f"{site.url}/protected",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": name,
            },
        )
        assert preflight.status_code in (200, 204)
        assert name in preflight.headers["access-control-allow-headers"].lower()
    old = long_ago(emulator)
    good = browser.get(f"{site.url}/protected", headers={**PROGRAM, **bearer(old.session_jwt), "Origin": origin})
    emulator.stop()
    token = bearer(old.session_token)
    unavailable = browser.get(f"{site.url}/protected", headers={**PROGRAM, **token, "Origin": origin})
    for response, names in ((good, EXPOSED[1:]), (unavailable, EXPOSED[:1])):
        readable = response.headers["access-control-expose-headers"].lower()
        for name in names:
            assert name in response.headers
            assert name.lower() in readable
