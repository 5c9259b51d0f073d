"""The session routes and protected pages: what a browser is shown, and where it is sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import PROGRAM, bearer
from contract.responses import assert_page, assert_refused
from contract.stacks import STACKS, OpenSite, Serving, also_lazy

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.flows import ROUTES
from support.scripted import wait_until
from support.visitors import GONE, JWT, OURS, PAGE, SESSION, Visitor, pair, set_by, signed_in_long_ago, vary

DELETE = "DELETE /v1/auth/sessions/delete"


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def visitor_of(web: httpx.Client, person: SignedIn, **headers: str) -> Visitor:
    found = Visitor(web, **headers)
    found.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    return found


def is_alive(emulator: Emulator, person: SignedIn) -> bool:
    try:
        emulator.mint(session_id=person.session_id)
    except ValueError:
        return False
    return True


VERIFYING_FIRST = [STACKS[name] for name in ("django-asgi", "starlette", "fastapi")]
"""Stacks that verify each request before it reaches the app, whatever it is for."""


# --- protected pages


@also_lazy
@pytest.mark.parametrize("path", ["/protected", "/other-colour", "/strict"])
def test_a_browser_is_sent_to_sign_in_and_a_program_is_not(web: httpx.Client, runs: Runs, path: str) -> None:
    sent = web.get(f"{path}?tab=a%26b&x", headers=PAGE)
    where = urlsplit(sent.headers["location"])
    assert (sent.status_code, where.path) == (303, "/auth/sign-in")
    assert parse_qs(where.query) == {"next": [f"{path}?tab=a%26b&x"]}
    assert (sent.headers["cache-control"], sent.content) == ("no-store", b"")
    assert {"accept", "cookie"} <= vary(sent)
    assert "www-authenticate" not in sent.headers
    for headers in (
        {},
        {"Accept": "application/json"},
        {"Accept": "*/*"},
        {"Accept": "text/html;q=0.4, */json, application/json"},
    ):
        assert_refused(web.get(path, headers=headers), 401)
    assert_refused(web.get(path, headers={**PAGE, **bearer("dead")}), 401, "invalid_token")
    assert runs == []


@also_lazy
def test_only_who_came_to_read_is_sent_anywhere(web: httpx.Client, runs: Runs) -> None:
    assert web.head("/protected", headers=PAGE).status_code == 303
    page = assert_page(web.post("/protected", headers={**PAGE, **OURS}), 401)
    (link,) = [one.attributes["href"] for one in page.all("a")]
    assert link == "/auth/sign-in"  # without a way back: a browser would come back by GET
    assert runs == []


@also_lazy
def test_a_page_of_the_apps_own(open_site: OpenSite, browser: httpx.Client) -> None:
    site = open_site(cookies=True, sign_in={"page": "/welcome?from=app"})
    sent = browser.get(site.url + "/protected", headers=PAGE)
    assert sent.headers["location"] == "/welcome?from=app&next=%2Fprotected"
    page = assert_page(browser.post(site.url + "/protected", headers={**PAGE, **OURS}), 401)
    assert [one.attributes["href"] for one in page.all("a")] == ["/welcome?from=app"]


@also_lazy
def test_who_has_to_prove_more(web: httpx.Client, ada: SignedIn) -> None:
    visitor = visitor_of(web, ada)
    asked = visitor.get("/two-factors?x=1")
    where = urlsplit(asked.headers["location"])
    assert (asked.status_code, where.path) == (303, "/auth/step-up")
    wanted = {"acr_values": "totp webauthn", "max_age": "600", "next": "/two-factors?x=1"}
    assert parse_qs(where.query) == {name: [value] for name, value in wanted.items()}
    assert assert_page(visitor.get(asked.headers["location"])).one("h1").text == "Confirm that it is you"
    assert set(visitor.cookies) == {SESSION, JWT}
    program = visitor.get("/two-factors", Accept="application/json")
    assert (program.status_code, program.json()["acr_values"]) == (401, ["totp", "webauthn"])
    denied = assert_page(visitor.get("/paying"), 403)  # proving more would not help
    assert "step-up" not in denied.html
    nobody = web.get("/auth/step-up", headers=PAGE)
    assert urlsplit(nobody.headers["location"]).path == "/auth/sign-in"


@pytest.mark.parametrize(
    "referer", ["{site}/form?x=1", None, "https://evil.example/form", "{site}//evil.example", "x"]
)
def test_a_form_that_takes_more_proof(web: httpx.Client, ada: SignedIn, referer: str | None) -> None:
    """Whoever is signed in reads so, and comes back to the page with the form."""
    site = str(web.base_url).rstrip("/")
    sent = {} if referer is None else {"Referer": referer.format(site=site)}
    comes_back = referer is not None and "/form?" in referer and "evil" not in referer
    for headers in ({**sent, **OURS}, {**sent, "Origin": site}):  # the second, of an older browser
        page = assert_page(web.post("/totp", data={"amount": "5"}, headers={**PAGE, **pair(ada), **headers}), 401)
        assert page.one("h1").text == page.one("title").text == "Confirm it is you"
        assert "Nothing was done" in page.one("main").text
        assert "send it again" in page.one("main").text
        assert ("come back to the page" in page.one("main").text) is comes_back
        link = urlsplit(str(page.one("a").attributes["href"]))
        assert link.path == "/auth/step-up"
        expected = {"acr_values": ["totp"], **({"next": ["/form?x=1"]} if comes_back else {})}
        assert parse_qs(link.query) == expected
    again = shown_next(visitor_of(web, ada), link.geturl())
    assert again == ("/form?x=1" if comes_back else "")


def shown_next(visitor: Visitor, page: str) -> str:
    """Where the step-up page would lead to."""
    return assert_page(visitor.get(page.replace("acr_values=totp", "acr_values=otp"))).fields()["next"]


def test_a_form_that_came_too_late(web: httpx.Client) -> None:
    """Without a session there is a way back, too."""
    site = str(web.base_url).rstrip("/")
    page = assert_page(web.post("/protected", headers={**PAGE, **OURS, "Referer": f"{site}/form"}), 401)
    assert page.one("h1").text == "Sign in to continue"
    assert "send it again" in page.one("main").text
    assert page.one("a").attributes["href"] == "/auth/sign-in?next=%2Fform"


# --- who is here


def test_the_session_for_a_front_end(web: httpx.Client, emulator: Emulator) -> None:
    assert web.get("/auth/session").json() == {"authenticated": False}
    visitor = Visitor(web)
    visitor.sign_in(emulator, "front@example.com")
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
    for headers in (cookie, {**cookie, **PAGE}, bearer(visitor.cookies[SESSION]), bearer(visitor.cookies[JWT])):
        found = web.get("/auth/session", headers=headers)
        assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
        body = found.json()
        assert (body["authenticated"], body["user"]["email"]) == (True, "front@example.com")
        assert body["user"]["id"] == web.get("/protected", headers=headers).json()["user"]
        assert body["session"]["expires_in"] == pytest.approx(604_800, abs=60)
        assert [factor["delivery_channel"] for factor in body["session"]["factors"]] == ["email"]
        assert int(found.headers["session-expires-in"]) == pytest.approx(604_800, abs=60)
        assert not any(value in found.text for value in visitor.cookies.values())
    assert web.head("/auth/session", headers=cookie).content == b""


def test_the_session_where_it_is_over_or_unknown(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.stop()
    for headers in (pair(person), {**pair(person), **PAGE}):
        for path in ("/auth/session", "/auth/sessions"):
            unknown = web.get(path, headers=headers)
            assert (unknown.status_code, set_by(unknown)) == (503, {})
    emulator.start()
    emulator.revoke(person.session_id)
    over = web.get("/auth/session", headers=pair(person))
    assert (over.status_code, over.json(), set_by(over)) == (200, {"authenticated": False}, GONE)


# --- signing out


def test_sign_out(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    visitor = visitor_of(web, ada)
    assert_page(visitor.get("/auth/sign-out"))
    assert visitor.get("/protected").status_code == 200  # a GET signs nobody out
    out = visitor.post("/sign-out", {"next": "/public"})
    assert (out.status_code, out.headers["location"]) == (303, "/public")
    assert visitor.cookies == {}
    assert not is_alive(emulator, ada)
    # Whoever has copied the cookies: the JWT's time is not over, and it is refused all the same.
    assert web.get("/protected", headers=pair(ada)).status_code == 401
    assert web.get("/protected", headers=bearer(ada.session_jwt)).status_code == 401
    again = web.post("/auth/sign-out", headers={**pair(ada), **PROGRAM})
    assert (again.status_code, set_by(again)) == (200, GONE)


def test_sign_out_while_the_api_is_down(
    web: httpx.Client, ada: SignedIn, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonkey_core._operations.ending_retries._FIRST_PAUSE", 0.2)
    visitor = visitor_of(web, ada)
    emulator.fault("/v1/auth/sessions/delete", reset=True)
    page = assert_page(visitor.post("/sign-out", {"next": "/public"}))
    emulator.clear_faults()
    assert "may still be active elsewhere" in page.one("main").text
    assert "/public" in [one.attributes["href"] for one in page.all("a")]
    assert visitor.cookies == {}
    for headers in (pair(ada), bearer(ada.session_token), bearer(ada.session_jwt)):
        assert_refused(web.get("/protected", headers=headers), 401, "invalid_token")
    assert wait_until(lambda: not is_alive(emulator, ada))  # by one more call, later


# --- the user's devices


@pytest.mark.rule("S51")
def test_the_users_sessions(web: httpx.Client, emulator: Emulator) -> None:
    phone = Visitor(
        web, **{"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Version/17.0 Mobile Safari/604.1"}
    )
    laptop = Visitor(web, **{"User-Agent": "<b>Ada's robot</b>"})
    for visitor in (phone, laptop):
        visitor.sign_in(emulator, "devices@example.com")
    emulator.sign_in(email="ben@example.com")
    listed = phone.get("/auth/sessions", Accept="application/json").json()["sessions"]
    assert [(one["current"], one["device"]["name"]) for one in listed] == [
        (True, "Safari on iPhone"),
        (False, "<b>Ada's robot</b>"),
    ]
    assert all(one["started_at"] and one["last_active_at"] for one in listed)
    page = assert_page(phone.get("/auth/sessions"))
    assert [one.text for one in page.all("h2")] == ["Safari on iPhone This device", "<b>Ada's robot</b>"]
    actions = [one.attributes["action"] for one in page.all("form")]
    assert actions == [*(f"/auth/sessions/{one['id']}/revoke" for one in listed), "/auth/sessions/revoke-others"]
    assert phone.cookies[SESSION] not in page.html
    assert_refused(web.get("/auth/sessions"), 401)
    sent = web.get("/auth/sessions", headers=PAGE)
    assert sent.headers["location"] == "/auth/sign-in?next=%2Fauth%2Fsessions"


@pytest.mark.rule("S35")
def test_one_of_them_is_thrown_out_on_its_next_click(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    here, there = visitor_of(web, ada), visitor_of(web, emulator.sign_in(email="ada@example.com"))
    theirs = there.get("/auth/session").json()["session"]["id"]
    assert there.get("/protected").status_code == 200
    revoked = here.post(f"/sessions/{theirs}/revoke")
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/auth/sessions")
    assert urlsplit(there.get("/protected").headers["location"]).path == "/auth/sign-in"
    assert there.cookies == {}
    assert here.get("/protected").status_code == 200
    mine = here.get("/auth/session").json()["session"]["id"]
    assert here.post(f"/sessions/{mine}/revoke").status_code == 303  # which is signing out
    assert here.cookies == {}


@pytest.mark.rule("S51", "token", "jwt", "pair")
@pytest.mark.parametrize("how", ["another user's", "never one", "odd", "escaped", "empty"])
def test_nobody_ends_a_session_of_somebody_else(
    web: httpx.Client, ada: SignedIn, emulator: Emulator, how: str
) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    wanted = {
        "another user's": ben.session_id,
        "never one": "sess_0",
        "odd": "..%2F..%2Fsessions",
        "escaped": "%00%3Cscript%3E",
        "empty": "%20",
    }[how]

    def ends_none(headers: dict[str, str]) -> bool:
        emulator.clear_requests()
        refused = web.post(f"/auth/sessions/{wanted}/revoke", headers=headers)
        assert (refused.status_code, set_by(refused)) == (404, {})
        return emulator.requests()[DELETE] == 0

    for headers in ({**pair(ada), **OURS}, bearer(ada.session_token), bearer(ada.session_jwt)):
        # The app may end a session of an earlier test at this moment, but not each time.
        assert any(ends_none(headers) for _ in range(5))
    assert web.get("/protected", headers=pair(ben)).status_code == 200
    assert_refused(web.post(f"/auth/sessions/{ben.session_id}/revoke", headers=OURS), 401)


def test_all_others(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    others = [emulator.sign_in(email="ada@example.com") for _ in range(3)]
    ben = emulator.sign_in(email="ben@example.com")
    body = web.post("/auth/sessions/revoke-others", headers={**pair(ada), **PROGRAM}).json()
    assert sorted(body["revoked"]) == sorted(one.session_id for one in others)
    for person in others:
        assert web.get("/protected", headers=pair(person)).status_code == 401
    for person in (ada, ben):
        assert web.get("/protected", headers=pair(person)).status_code == 200
    emulator.sign_in(email="ada@example.com")
    emulator.fault("/v1/auth/sessions/delete", status=500)
    page = assert_page(visitor_of(web, ada).post("/sessions/revoke-others"), 503)
    assert "Not all devices" in page.one("main").text


# --- of all routes


def test_methods(web: httpx.Client) -> None:
    for route in ROUTES:
        path = "/auth" + route.path.format(session_id="sess_1")
        allowed = {*route.methods, *(["HEAD"] if "GET" in route.methods else [])}
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"} - allowed:
            refused = web.request(method, path, headers=OURS)
            assert refused.status_code == 405, (method, path)
            assert set(refused.headers["allow"].replace(" ", "").split(",")) - {"OPTIONS"} == allowed
        options = web.options(path)
        assert options.status_code in (200, 204, 405)
        assert set(options.headers["allow"].replace(" ", "").split(",")) - {"OPTIONS"} == allowed


def test_head_is_get_without_a_body(web: httpx.Client, ada: SignedIn) -> None:
    for path in ("sign-in", "sign-out", "session", "sessions", "style.css", "icon.svg"):
        headers = {**pair(ada), **PAGE}
        whole, head = (web.request(method, f"/auth/{path}", headers=headers) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length", "cache-control", "content-security-policy", "vary"):
            assert head.headers.get(name) == whole.headers.get(name), (path, name)


@also_lazy
def test_the_style_sheet_is_the_same_for_all(web: httpx.Client, emulator: Emulator, serving: Serving) -> None:
    page = assert_page(web.get("/auth/sign-in", headers=PAGE))
    (address,) = [one.attributes["href"] for one in page.all("link") if one.attributes["rel"] == "stylesheet"]
    assert address == "/auth/style.css"
    person = signed_in_long_ago(emulator)
    style = web.get(address)
    # Verified first, an old pair brings its new JWT on any response, on this one too.
    more = [] if serving in VERIFYING_FIRST else [pair(person)]
    for headers in ({}, *more, {**pair(person), **bearer("dead")}):
        again = web.get(address, headers=headers)
        assert (again.status_code, again.headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert again.headers["cache-control"] == "public, max-age=3600"
        assert "cookie" not in again.headers.get("vary", "").lower()
        assert again.text == style.text
        if serving not in VERIFYING_FIRST:
            assert emulator.requests() == {}
            assert set_by(again) == {}
    assert "@import" not in style.text


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"address=a%40example.com&address=b%40example.com", 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe=1", 400),
        ("application/json", b'{"address": ["a@example.com"]}', 400),
        ("application/json", b"[" * 2_000, 400),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("text/plain", b"address=a%40example.com", 415),
        ("application/x-www-form-urlencoded", b"a" * 16_385, 413),
    ],
)
def test_bodies_of_no_good_form(
    web: httpx.Client, emulator: Emulator, kind: str, body: bytes, status: int
) -> None:
    emulator.clear_requests()
    refused: Any = web.post("/auth/sign-in/otp", headers={**OURS, "Content-Type": kind}, content=body)
    assert refused.status_code == status
    assert set(emulator.requests()) <= {DELETE}  # of a test before, as it is tried until it succeeds
