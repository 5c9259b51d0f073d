"""Browser sessions: which credential of a request counts, and what happens to cookies that are no good."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from contract.behaviour import Runs
from contract.responses import assert_refused
from contract.stacks import OpenSite, also_lazy

from moonkey_core.emulator import Emulator, SignedIn
from support.bindings import BINDING
from support.bindings import binding as binding_of
from support.secrets import assert_no_secret
from support.visitors import (
    FOREIGN,
    GONE,
    JWT,
    OURS,
    PAGE,
    SESSION,
    Visitor,
    pair,
    set_by,
    signed_in_long_ago,
    vary,
    verifications,
)

HOST_PREFIXED = {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    person = emulator.sign_in(email="ada@example.com")
    emulator.clear_requests()
    return person


def lines_of(response: httpx.Response) -> list[tuple[str, set[str]]]:
    """Each ``Set-Cookie`` line as name=value and its attributes."""
    split = [line.split("; ") for line in response.headers.get_list("set-cookie")]
    return sorted((first, set(rest)) for first, *rest in split)


@also_lazy
@pytest.mark.rule("S28", "pair")
@pytest.mark.rule("S40")
def test_a_pair_is_verified_here(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    for path in ("/protected", "/other-colour", "/protected"):
        response = web.get(path, headers=pair(ada))
        assert response.json() == {"user": ada.user_id, "session": ada.session_id}
        assert {"cookie", "authorization", "session-token"} <= vary(response)
        assert response.headers["cache-control"] == "private"
        assert 604_000 < int(response.headers["session-expires-in"]) <= 604_800
        assert set_by(response) == {}
    assert verifications(emulator) == 0


@also_lazy
@pytest.mark.rule("S40")
def test_the_token_alone_gets_its_jwt(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    response = web.get("/protected", headers={"Cookie": f"{SESSION}={ada.session_token}"})
    assert response.json()["user"] == ada.user_id
    jwt, binding = lines_of(response)
    assert jwt[0].startswith(f"{JWT}=ey")
    assert binding[0] == f"{BINDING}={binding_of(ada.session_token, set_by(response)[JWT])}"
    assert jwt[1] == binding[1] == HOST_PREFIXED  # they end with the browser: it is only a cache
    assert verifications(emulator) == 1


@also_lazy
@pytest.mark.rule("S40")
def test_a_jwt_alone_is_nobody(web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs) -> None:
    alone = {"Cookie": f"{JWT}={ada.session_jwt}"}
    assert_refused(web.get("/protected", headers=alone), 401)
    state = web.get("/optional", headers=alone)
    assert state.json() == {"state": "anonymous", "reason": None, "user": None}
    assert "session-expires-in" not in state.headers
    assert set_by(state) == {}
    assert emulator.requests() == {}
    assert runs == []


@also_lazy
@pytest.mark.rule("S42")
def test_a_header_wins_and_a_bad_one_never_falls_back(
    web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs
) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    good = web.get("/protected", headers={**pair(ada), "Authorization": f"Bearer {ben.session_jwt}"})
    assert good.json()["user"] == ben.user_id
    runs.clear()
    for name, value, status in (
        ("Authorization", "Bearer a b", 400),
        ("Authorization", "Bearer dead", 401),
        ("Authorization", f"Bearer {ben.session_jwt[:-8]}AAAAAAAA", 401),
        ("session-token", "a b", 400),
        ("session-token", "dead", 401),
    ):
        refused = web.get("/protected", headers={**pair(ada), **PAGE, name: value})
        assert_refused(refused, status, "invalid_request" if status == 400 else "invalid_token")
        assert set_by(refused) == {}  # the cookies had no part in it
        assert web.get("/optional", headers={**pair(ada), name: value}).json()["state"] == "rejected"
    assert runs == []
    # Another scheme is no credential of ours.
    assert web.get("/protected", headers={**pair(ada), "Authorization": "Basic eDp5"}).status_code == 200


@also_lazy
@pytest.mark.rule("S41", "pair")
@pytest.mark.parametrize("which", [SESSION, JWT])
def test_a_name_that_stands_twice_is_never_picked_from(
    web: httpx.Client, ada: SignedIn, emulator: Emulator, runs: Runs, which: str
) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    planted = f"{which}={ben.session_token if which == SESSION else ben.session_jwt}"
    own = pair(ada)["Cookie"]
    emulator.clear_requests()
    for lines in (
        [("Cookie", f"{planted}; {own}")],
        [("Cookie", f"{own}; {planted}")],
        [("Cookie", own), ("Cookie", planted)],
        [("Cookie", f"x=1; {planted}; y=2"), ("Cookie", own)],
        [("Cookie", f"{own}; {which}=")],
    ):
        assert_refused(web.get("/protected", headers=lines), 400, "invalid_request")
        assert web.get("/optional", headers=lines).json()["state"] == "rejected"
        assert web.get("/public", headers=lines).status_code == 200
    assert emulator.requests() == {}
    assert runs == []
    assert web.get("/protected", headers={"Cookie": f"{own}; {own}"}).status_code == 200


@pytest.mark.rule("S1", "S41", "pair")
def test_only_the_configured_names_are_read(
    open_site: OpenSite, browser: httpx.Client, ada: SignedIn, emulator: Emulator
) -> None:
    names = {"session_name": "__Secure-s", "jwt_name": "__Secure-j"}
    lifetime = timedelta(days=3)
    site = open_site(cookies={**names, "domain": "example.com", "same_site": "Strict", "lifetime": lifetime})
    for usual in (pair(ada), {"Cookie": f"__secure-s={ada.session_token}"}):
        assert browser.get(site.url + "/protected", headers=usual).status_code == 401
    old = {"Cookie": f"__Secure-s={ada.session_token}; __Secure-j=x"}
    jwt, binding = lines_of(browser.get(site.url + "/protected", headers=old))
    assert jwt[0].startswith("__Secure-j=ey")
    assert binding[0].startswith("__Secure-j_binding=")
    strict = {"Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Domain=example.com"}
    assert jwt[1] == binding[1] == strict | {"Max-Age=259200"}
    emulator.revoke(ada.session_id)
    gone = strict | {"Max-Age=0"}
    refused = browser.get(site.url + "/protected", headers=old)
    assert lines_of(refused) == [("__Secure-j=", gone), ("__Secure-j_binding=", gone), ("__Secure-s=", gone)]


@also_lazy
@pytest.mark.rule("S45", "pair")
def test_a_session_that_is_over_takes_its_cookies_along(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    gone = HOST_PREFIXED | {"Max-Age=0"}
    refused = web.get("/protected", headers=pair(person))
    assert_refused(refused, 401, "invalid_token")
    assert {"cookie", "accept"} <= vary(refused)
    assert lines_of(refused) == [(f"{JWT}=", gone), (f"{BINDING}=", gone), (f"{SESSION}=", gone)]
    sent = web.get("/protected", headers={**pair(person), **PAGE})
    assert (sent.status_code, set_by(sent)) == (303, GONE)
    for path in ("/missing", "/moved", "/failed", "/late-stream"):
        assert set_by(web.get(path, headers=pair(person))) == GONE, path
    assert runs == []


@pytest.mark.rule("S45")
@pytest.mark.parametrize("held", ["revoked", "never one", "no form of one", "dead jwt"])
def test_dead_cookies_take_no_public_page_down(web: httpx.Client, emulator: Emulator, held: str) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    cookie = {
        "revoked": pair(person)["Cookie"],
        "never one": f"{SESSION}=never-existed",
        "no form of one": f'{SESSION}="a b"',
        "dead jwt": f"{SESSION}=never-existed; {JWT}={person.session_jwt[:-8]}AAAAAAAA",
    }[held]
    for headers in ({"Cookie": cookie}, {"Cookie": cookie, **PAGE}):
        shown = web.get("/optional", headers=headers)
        assert (shown.status_code, shown.json()["state"]) == (200, "rejected")
        assert set_by(shown) == GONE
        assert web.get("/public", headers=headers).status_code == 200
        assert web.get("/nowhere", headers=headers).status_code == 404


@also_lazy
@pytest.mark.rule("S45")
def test_the_api_is_down(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    """Trouble takes nobody's cookies away, and sends nobody to sign in."""
    person = signed_in_long_ago(emulator)
    emulator.stop()
    refused = web.get("/protected", headers=pair(person))
    assert_refused(refused, 503)
    shown = web.get("/optional", headers=pair(person))
    assert (shown.status_code, shown.json()["state"]) == (200, "unavailable")
    page = web.get("/protected", headers={**pair(person), **PAGE})
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "not available" in page.text
    assert int(page.headers["retry-after"]) > 0
    assert "location" not in page.headers
    for response in (refused, shown, page):
        assert set_by(response) == {}
    assert runs == []
    emulator.start()
    assert web.get("/protected", headers=pair(person)).status_code == 200


def test_a_jwt_that_no_browser_would_keep(
    web: httpx.Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("moonkey_core.web.cookies._warned", set())
    person = emulator.sign_in(claims={"pad": "x" * 3000})
    assert len(person.session_jwt) > 4096
    for _ in range(2):
        response = web.get("/protected", headers={"Cookie": f"{SESSION}={person.session_token}"})
        assert response.json()["user"] == person.user_id
        assert set_by(response) == {}
    reasons = [getattr(record, "reason", None) for record in caplog.records]
    assert reasons.count("jwt_cookie_too_long") == 1


@pytest.mark.rule("S28")
def test_the_apps_own_cache_headers_give_way_to_a_new_cookie(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    renewed = web.get("/cached", headers=pair(person))
    fresh = set_by(renewed)  # which looks at Cache-Control
    kept = web.get("/cached", headers=pair(person, jwt=fresh[JWT]))
    assert kept.headers["cache-control"] == "public, max-age=60"
    for response in (renewed, kept):
        assert {"accept-language", "cookie"} <= vary(response)


@pytest.mark.rule("S1")
def test_without_cookie_mode_cookies_are_nothing(
    open_site: OpenSite, browser: httpx.Client, ada: SignedIn
) -> None:
    site = open_site()
    refused = browser.get(site.url + "/protected", headers={**pair(ada), **PAGE})
    assert_refused(refused, 401)
    assert "cookie" not in vary(refused)
    assert browser.get(site.url + "/auth/sign-in", headers=PAGE).status_code == 404


@pytest.mark.rule("S30", "pair")
def test_no_credential_is_shown_anywhere(
    web: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    person = signed_in_long_ago(emulator)
    visitor = Visitor(web)
    visitor.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    secrets = [person.session_token, person.session_jwt, emulator.secret_key]
    seen: list[Any] = []

    def note(*responses: httpx.Response) -> None:
        for response in responses:
            others = [pair for pair in response.headers.items() if pair[0] != "set-cookie"]
            seen.append(f"{response.status_code} {others} {response.text}")

    note(*(visitor.get(path) for path in ("/protected", "/missing", "/raises", "/auth/session")))
    note(visitor.get("/broken", Connection="close"))  # some servers hang up after that
    secrets.append(visitor.cookies[JWT])
    note(*(visitor.get(f"/auth/{path}") for path in ("sessions", "sign-in", "sign-out", "step-up")))
    note(web.post("/protected", headers={**pair(person), **FOREIGN, **PAGE}))
    emulator.fault("/v1/auth", status=500, body=f"boom {person.session_token}")
    note(visitor.get("/strict"), visitor.get("/auth/sessions"))
    emulator.clear_faults()
    emulator.revoke(person.session_id)
    note(visitor.get("/strict"), web.get("/protected", headers={**pair(person), **PAGE}))
    note(visitor.post("/sign-out"), web.get("/optional", headers={**pair(person), **OURS}))
    # What the test's own browser logs of the answers that it gets is not the site's.
    records = [record for record in caplog.records if "receive_response" not in record.getMessage()]
    assert assert_no_secret(seen, secrets) >= 15
    assert assert_no_secret(records, secrets) > 10
