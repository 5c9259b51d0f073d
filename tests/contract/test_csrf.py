"""Which requests may use their cookies: the same answers on every stack, by real requests."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from contract.behaviour import PARTNER, Runs
from contract.requests import ORIGIN, OWN, SITE, Lines, handshake, lines_for, own_url
from contract.stacks import also_lazy, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.flows import ROUTES
from support.visitors import FOREIGN, OURS, PAGE, pair, set_by, verifications

PASS: dict[str, Lines] = {
    "a page of this origin": [(SITE, "same-origin")],
    "the user": [(SITE, "none")],
    "a page of this origin, with its origin": [(SITE, "same-origin"), (ORIGIN, OWN)],
    "this origin, to an old browser": [(ORIGIN, OWN)],
    "a trusted origin": [(SITE, "cross-site"), (ORIGIN, PARTNER)],
    "a trusted sibling": [(SITE, "same-site"), (ORIGIN, PARTNER)],
    "a trusted origin, to an old browser": [(ORIGIN, PARTNER)],
    "a trusted origin with its port": [(ORIGIN, f"{PARTNER}:443")],
}
REFUSED: dict[str, Lines] = {
    "nothing": [],
    "null": [(ORIGIN, "null")],
    "null of a trusted page": [(SITE, "cross-site"), (ORIGIN, "null")],
    "empty": [(ORIGIN, "")],
    "another site": [(SITE, "cross-site"), (ORIGIN, "https://evil.example")],
    "another site that hides it": [(SITE, "cross-site")],
    "another site, to an old browser": [(ORIGIN, "https://evil.example")],
    "a sibling": [(SITE, "same-site")],
    "a sibling with our origin": [(SITE, "same-site"), (ORIGIN, OWN)],
    "another site with our origin": [(SITE, "cross-site"), (ORIGIN, OWN)],
    "a word in capitals": [(SITE, "Same-Origin")],
    "no known word": [(SITE, "same-origin, none")],
    "an empty word": [(SITE, "")],
    "two words": [(SITE, "cross-site"), (SITE, "same-origin")],
    "two origins": [(ORIGIN, "https://evil.example"), (ORIGIN, OWN)],
    "two origins in one line": [(ORIGIN, f"https://evil.example {OWN}")],
    "a list of origins": [(ORIGIN, f"{OWN}, https://evil.example")],
    "another port": [(ORIGIN, "http://127.0.0.1:1")],
    "no port": [(ORIGIN, "http://127.0.0.1")],
    "another scheme": [(ORIGIN, OWN.replace("own", "own_https"))],
    "ours as a user name": [(ORIGIN, f"{OWN}@evil.example")],
    "ours as a subdomain": [(ORIGIN, f"{OWN}.evil.example")],
    "ours with a path": [(ORIGIN, f"{OWN}/page")],
    "trusted by its beginning": [(ORIGIN, f"{PARTNER}.evil.example")],
    "trusted by its end": [(ORIGIN, "https://evil.partner.example")],
    "trusted but plain http": [(ORIGIN, PARTNER.replace("https", "http"))],
    "only a referer": [("Referer", f"{OWN}/page")],
    "a proxy that nobody trusts": [
        (ORIGIN, "https://app.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "app.example"),
    ],
    "another way to say it": [("X-Requested-With", "XMLHttpRequest"), ("X-CSRFToken", "1")],
}


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def assert_cross_site(response: httpx.Response) -> None:
    assert (response.status_code, response.headers["content-type"]) == (403, "application/problem+json")
    assert response.json()["error"] == "cross_site_request"
    assert response.headers["cache-control"] == "no-store"
    assert set_by(response) == {}


@also_lazy
@pytest.mark.rule("S43")
def test_who_may_use_the_cookies(web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs) -> None:
    statuses = {
        case: web.post("/protected", headers=[*pair(ada).items(), *lines_for(own_url(web), lines)]).status_code
        for case, lines in PASS.items()
    }
    assert statuses == dict.fromkeys(PASS, 200)
    assert runs == ["POST"] * len(PASS)


@also_lazy
@pytest.mark.rule("S43", "pair")
def test_who_may_not(web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs) -> None:
    emulator.clear_requests()
    answers = {
        case: web.post("/protected", headers=[*pair(ada).items(), *lines_for(own_url(web), lines)])
        for case, lines in REFUSED.items()
    }
    assert {case: answer.status_code for case, answer in answers.items()} == dict.fromkeys(REFUSED, 403)
    for answer in answers.values():
        assert_cross_site(answer)
    assert runs == []
    assert emulator.requests() == {}


@pytest.mark.rule("S43")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "PROPFIND"])
def test_every_unsafe_method(web: httpx.Client, ada: SignedIn, runs: Runs, method: str) -> None:
    assert_cross_site(web.request(method, "/protected", headers={**pair(ada), **FOREIGN}))
    assert runs == []
    assert web.request(method, "/protected", headers={**pair(ada), **OURS}).status_code == 200


@also_lazy
@pytest.mark.rule("S43")
def test_safe_methods_may_come_from_anywhere(web: httpx.Client, ada: SignedIn) -> None:
    """They change nothing; and a link from another site must not find the user signed out."""
    for lines in ([], *REFUSED.values()):
        headers = [*pair(ada).items(), *lines_for(own_url(web), lines)]
        assert web.get("/protected", headers=headers).status_code == 200
    assert web.head("/protected", headers={**pair(ada), **FOREIGN}).status_code == 200


@also_lazy
@pytest.mark.rule("S43")
def test_a_credential_in_a_header_is_no_browsers_doing(web: httpx.Client, ada: SignedIn) -> None:
    for name, value in (("Authorization", f"Bearer {ada.session_token}"), ("session-token", ada.session_jwt)):
        for more in (FOREIGN, {**FOREIGN, **pair(ada)}, {}):
            assert web.post("/protected", headers={name: value, **more}).status_code == 200


@also_lazy
def test_a_person_is_told_in_a_page(web: httpx.Client, ada: SignedIn, runs: Runs) -> None:
    refused = web.post("/protected", headers={**pair(ada), **FOREIGN, **PAGE})
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "Another site" in refused.text
    assert set_by(refused) == {}
    assert runs == []


POSTS = [route.path.format(session_id="sess_1") for route in ROUTES if "POST" in route.methods]


@pytest.mark.long
@pytest.mark.rule("S43")
def test_the_session_routes_ask_the_same(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    """Signing in too: else another site could sign a browser in as somebody else."""
    emulator.clear_requests()
    form = {"address": "ben@example.com", "code": "123456", "token": "t", "totp": "123456"}
    for path in POSTS:
        for who in ({}, pair(ada)):
            for case in ("another site", "null", "nothing"):
                headers = [*who.items(), *lines_for(own_url(web), REFUSED[case])]
                assert_cross_site(web.post(f"/auth{path}", headers=headers, data=form))
    assert emulator.requests() == {}
    assert emulator.outbox() == []
    trusted = web.post("/auth/sign-in/otp", headers={ORIGIN: PARTNER}, data={"address": "ben@example.com"})
    assert trusted.json() == {"sent": True}
    for bad in ("dead", "a b"):  # one that is no good exempts nobody
        assert_cross_site(web.post("/auth/sign-out", headers={"session-token": bad, **pair(ada), **FOREIGN}))
    assert web.get("/strict", headers=pair(ada)).status_code == 200
    by_header = web.post("/auth/sign-out", headers={"session-token": ada.session_token, **FOREIGN})
    assert by_header.json() == {"signed_out": True, "complete": True, "revocation": "local"}


# --- WebSockets


HANDSHAKES: list[tuple[Lines, bool]] = [
    ([(ORIGIN, OWN)], True),
    ([(ORIGIN, OWN), (SITE, "same-origin")], True),
    ([(ORIGIN, PARTNER), (SITE, "cross-site")], True),
    ([], False),
    ([(SITE, "same-origin")], False),
    ([(SITE, "none")], False),
    ([(ORIGIN, "null")], False),
    ([(ORIGIN, "https://evil.example"), (SITE, "cross-site")], False),
    ([(ORIGIN, "https://evil.example"), (SITE, "same-origin")], False),
]


@pytest.mark.rule("S43", "connection")
@with_websockets
def test_a_handshake_is_judged_by_its_origin(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    emulator.clear_requests()
    for lines, passes in HANDSHAKES:
        presented = [*pair(ada).items(), *lines]
        if passes:
            with handshake(web, presented) as websocket:
                assert websocket.recv(10) == "hello"
        else:
            assert_denied(web, presented, 403)
    assert verifications(emulator) == 0
    with handshake(web, [("session-token", ada.session_token), *FOREIGN.items()]) as websocket:
        assert websocket.recv(10) == "hello"
    assert_denied(web, [(ORIGIN, OWN)], 401)


@pytest.mark.rule("S43", "connection")
@pytest.mark.parametrize("serving", ["django-wsgi"], indirect=True, scope="session")
def test_so_is_one_under_wsgi(web: httpx.Client, ada: SignedIn, runs: Runs) -> None:
    """Extensions serve WebSockets there; to MoonKey a handshake is a GET with an ``Upgrade``."""
    upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), *pair(ada).items()]
    for lines, passes in HANDSHAKES:
        runs.clear()
        response = web.get("/protected", headers=[*upgrade, *lines_for(own_url(web), lines)])
        assert (response.status_code, runs) == ((200, ["GET"]) if passes else (403, [])), lines
    assert web.get("/protected", headers={**pair(ada), **FOREIGN}).status_code == 200  # a link, say


def assert_denied(web: httpx.Client, lines: Lines, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, handshake(web, lines):
        """It is refused before it is accepted."""
    response: Any = refused.value.response
    assert response.status_code == status
    assert "Set-Cookie" not in response.headers
