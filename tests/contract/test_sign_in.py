"""The ready-made ways to sign in: the same on every stack, for browsers and for programs."""

from __future__ import annotations

from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from contract.behaviour import BLOCKED
from contract.requests import PROGRAM
from contract.responses import assert_page
from contract.stacks import usual_options

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from support import quick
from support.bindings import BINDING
from support.pages import Read
from support.visitors import FOREIGN, JWT, OURS, PAGE, SESSION, Visitor, set_by

OTP, OAUTH = "__Host-moonkey_otp", "__Host-moonkey_oauth"
SEND = "POST /v1/auth/otps/email/login_or_create"
TRY = "POST /v1/auth/otps/verify"
WEEK = 604_800

HOSTILE_TARGETS = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/.//evil.example",
    "/a//b",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "/%5cevil.example\\",
    "http:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "?next=//evil.example",
    "/a\r\nSet-Cookie: x=y",
    "/a b",
    "/ä",
    "/\u2028//evil.example",
    "/\x00",
    "/" + "a" * 2_048,
    "",
]
GOOD_TARGETS = ["/", "/account", "/a?b=c&d=%2F%2Fe#f", "/%2Fevil.example", "/@evil.example", "/x:y", "/a?b=//c"]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


# --- by a code


def test_a_person(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    sent = visitor.get("/protected?tab=a%26b")
    assert sent.status_code == 303
    page = assert_page(visitor.get(sent.headers["location"]))
    assert page.fields()["next"] == "/protected?tab=a%26b"
    form = page.one("form").attributes
    assert (form["method"], form["action"]) == ("post", "/auth/sign-in/otp?next=%2Fprotected%3Ftab%3Da%2526b")
    asked = visitor.post("/sign-in/otp", {**page.fields(), "address": "ada@example.com"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/auth/sign-in/otp/verify")
    page = assert_page(visitor.get(asked.headers["location"]))
    assert "ada@example.com" in page.one("main").text
    done = visitor.post("/sign-in/otp/verify", {**page.fields(), "code": emulator.outbox()[0].code})
    assert (done.status_code, done.headers["location"]) == (303, "/protected?tab=a%26b")
    assert set(visitor.cookies) == {SESSION, JWT, BINDING}
    emulator.clear_requests()
    assert visitor.get(done.headers["location"]).json()["user"]
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0
    assert "You are signed in" in assert_page(visitor.get("/auth/sign-in")).one("main").text


def test_a_program(web: httpx.Client, emulator: Emulator) -> None:
    steps = web.get("/auth/sign-in").json()["steps"]
    sent = web.post(steps["send_otp"]["path"], headers=OURS, json={"email": "ada@example.com"})
    assert sent.json() == {"sent": True}
    (line,) = sent.headers.get_list("set-cookie")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=600"} <= set(line.split("; "))
    assert "ada" not in line
    code = {"code": emulator.outbox()[0].code}
    cookie = {"Cookie": line.split(";")[0]}
    done = web.post(steps["verify_otp"]["path"], headers={**OURS, **cookie}, json=code)
    assert (done.json()["authenticated"], done.json()["next"]) == (True, "/")
    given = set_by(done)
    assert given.keys() == {SESSION, JWT, OTP}
    assert given[OTP] == ""
    assert not any(value and value in done.text for value in given.values())


def test_remember_me(web: httpx.Client, emulator: Emulator) -> None:
    for fields, life in (({}, WEEK), ({"remember_me": "on"}, 2_592_000)):
        visitor = Visitor(web)
        lines = visitor.sign_in(emulator, f"{life}@example.com", **fields).headers.get_list("set-cookie")
        (session,) = [line for line in lines if line.startswith(SESSION)]
        (jwt,) = [line for line in lines if line.startswith(f"{JWT}=")]
        assert ("Max-Age" in session) == bool(fields)  # else it goes when the browser is closed
        assert ("Max-Age" in jwt) == bool(fields)
        left = visitor.get("/auth/session").json()["session"]["expires_in"]
        assert life - 60 < left <= life


def test_whether_an_address_is_known_nobody_learns(web: httpx.Client, emulator: Emulator) -> None:
    def seen(name: str, headers: dict[str, str]) -> list[Any]:
        response = web.post("/auth/sign-in/otp", headers=headers, data={"address": f"{name}@example.com"})
        others = {key: value for key, value in response.headers.items() if key not in ("date", "set-cookie")}
        cookies = [(name, len(value)) for name, value in set_by(response).items()]
        return [response.status_code, response.text, others, cookies]

    for headers, expected in ((OURS, 200), ({**OURS, **PAGE}, 303)):
        emulator.sign_in(email=f"known{expected}@example.com")
        known, unknown = (seen(f"{name}{expected}", headers) for name in ("known", "fresh"))
        emulator.fault("/v1/auth/otps", status=400, times=1)
        refused = seen(f"odd{expected}", headers)  # by the API: it must not be told apart by its answer
        assert known == unknown
        assert refused[:3] == known[:3]
        assert known[0] == expected


@pytest.mark.rule("S48")
def test_a_code_is_tried_five_times(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web, Accept="application/json")
    visitor.post("/sign-in/otp", {"address": "tries@example.com"})
    code = emulator.outbox()[0].code
    for left in (4, 3, 2, 1, 0):
        refused = visitor.post("/sign-in/otp/verify", {"code": wrong(code)})
        assert (refused.status_code, refused.json()["tries_left"]) == (401, left)
    over = visitor.post("/sign-in/otp/verify", {"code": code})
    assert (over.status_code, over.json()["tries_left"]) == (429, 0)
    assert emulator.requests()[TRY] == 5
    assert SESSION not in visitor.cookies
    assert_page(visitor.post("/sign-in/otp/verify", {"code": code}, **PAGE), 429)
    visitor.post("/sign-in/otp", {"address": "tries@example.com"})  # another code is another request
    assert visitor.post("/sign-in/otp/verify", {"code": emulator.outbox()[0].code}).status_code == 200


@pytest.mark.rule("S48")
def test_an_address_is_sent_so_many_codes(web: httpx.Client, emulator: Emulator) -> None:
    form = {"address": "Sends@example.com"}
    for _ in range(3):
        assert web.post("/auth/sign-in/otp", headers=OURS, data=form).status_code == 200
    for headers, form["address"] in ((OURS, "sends@EXAMPLE.com"), ({**OURS, **PAGE}, " sends@example.com")):
        refused = web.post("/auth/sign-in/otp", headers=headers, data=form)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 900
        assert set_by(refused) == {}
    assert_page(refused, 429)
    assert emulator.requests()[SEND] == 3
    other = web.post("/auth/sign-in/otp", headers=OURS, data={"address": "sends2@example.com"})
    assert other.status_code == 200


def test_the_apps_own_limiter_has_a_say(web: httpx.Client, emulator: Emulator) -> None:
    emulator.clear_requests()
    refused = web.post("/auth/sign-in/otp", headers=OURS, data={"address": BLOCKED})
    assert refused.status_code == 429
    assert emulator.requests() == {}


@pytest.mark.rule("S48")
def test_a_code_counts_only_where_it_was_asked_for(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web, Accept="application/json")
    visitor.post("/sign-in/otp", {"address": "asks@example.com"})
    code, sealed = emulator.outbox()[0].code, visitor.cookies[OTP]
    emulator.clear_requests()
    changed = sealed[:-6] + ("AAAAAA" if sealed[-6:] != "AAAAAA" else "BBBBBB")
    for cookie in (None, changed, "x", f"{sealed}; {OTP}={changed}"):
        headers = {**PROGRAM} if cookie is None else {**PROGRAM, "Cookie": f"{OTP}={cookie}"}
        assert web.post("/auth/sign-in/otp/verify", headers=headers, data={"code": code}).status_code == 400
    assert emulator.requests() == {}
    page = assert_page(web.get("/auth/sign-in/otp/verify", headers=PAGE), 400)
    assert page.one("h1").text == "Ask for a new code"


@pytest.mark.parametrize("address", ["", "no address", "a@b@c", "+12", "x" * 400 + "@example.com"])
def test_what_is_no_address(web: httpx.Client, emulator: Emulator, address: str) -> None:
    emulator.clear_requests()
    refused = web.post("/auth/sign-in/otp", headers={**OURS, **PAGE}, data={"address": address})
    assert "That is not an e-mail address" in assert_page(refused, 400).one("main").text
    assert emulator.requests() == {}


def test_another_sign_in_ends_the_session_before(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    visitor.sign_in(emulator, "before@example.com")
    before = visitor.cookies[SESSION]
    visitor.sign_in(emulator, "after@example.com")
    assert visitor.get("/auth/session").json()["user"]["email"] == "after@example.com"
    assert web.get("/protected", headers={"Cookie": f"{SESSION}={before}"}).status_code == 401


def test_the_api_is_down(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    emulator.stop()
    assert_page(visitor.get("/auth/sign-in"))
    page = assert_page(visitor.post("/sign-in/otp", {"address": "down@example.com"}), 503)
    assert page.one("h1").text == "Sign-in is not available at the moment"
    assert visitor.cookies == {}


# --- by a link, or by another provider


@pytest.mark.rule("S49")
def test_a_link_is_not_burnt_by_opening_it(web: httpx.Client, emulator: Emulator) -> None:
    url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
    key = {"authorization": f"Bearer {emulator.secret_key}"}
    quick.post(url, json={"email": "ada@example.com"}, headers=key).raise_for_status()
    token = emulator.outbox()[0].code
    emulator.clear_requests()
    visitor = Visitor(web, **{"Sec-Fetch-Site": "cross-site"})  # from a mail program
    link = f"/auth/sign-in/magic?token={token}&next=/account"
    page = assert_page(visitor.get(link))
    for _ in range(2):
        assert visitor.get(link).status_code == 200
        assert web.head(link, headers=PAGE).status_code == 200
        assert web.get(link).status_code == 200
    assert emulator.requests() == {}
    assert page.fields()["token"] == token
    assert visitor.post("/sign-in/magic", page.fields()).status_code == 403
    done = visitor.post("/sign-in/magic", page.fields(), **OURS)
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert visitor.get("/auth/session").json()["user"]["email"] == "ada@example.com"
    again = Visitor(web).post("/sign-in/magic", page.fields())
    assert assert_page(again, 401).one("h1").text == "This link no longer works"
    assert_page(Visitor(web).get("/auth/sign-in/magic"), 400)


@pytest.mark.rule("S48", "S49")
def test_oauth_is_bound_to_the_browser_that_began_it(web: httpx.Client, emulator: Emulator) -> None:
    with MoonKey(**usual_options(emulator), cookies=True) as client:  # the app's own view, elsewhere in the fleet
        start = client.flows.oauth_state(next="/account")
    token, emulated = emulator.oauth_token("ada@example.com"), "POST /v1/auth/oauth/verify"
    visitor = Visitor(web, **FOREIGN)  # sent by the provider's page
    back = f"/auth/callback/oauth?token={token}&state={start.state}"
    mine = start.set_cookie.split(";")[0]
    for path, cookie in ((back, "a=b"), (back + "x", mine), (back.split("&")[0], mine), (back, mine + "x")):
        page = assert_page(visitor.get(path, Cookie=cookie), 400)
        assert page.one("h1").text == "This sign-in did not work"
        assert token not in page.html
    assert web.head(back, headers={"Cookie": mine}).status_code == 405
    assert emulator.requests()[emulated] == 0
    name, _, visitor.cookies[OAUTH] = mine.partition("=")
    assert name == OAUTH
    done = visitor.get(back)
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert set(visitor.cookies) == {SESSION, JWT, BINDING}
    assert_page(Visitor(web).get(back, Cookie=mine), 400)  # once
    assert emulator.requests()[emulated] == 1


# --- where to go afterwards


@pytest.mark.rule("S47")
def test_nobody_is_sent_to_another_site(web: httpx.Client) -> None:
    headers = {**OURS, **PAGE}
    for target in [*HOSTILE_TARGETS, *GOOD_TARGETS]:
        expected = target if target in GOOD_TARGETS else ""
        out = web.post("/auth/sign-out", headers=headers, data={"next": target})
        assert (out.status_code, out.headers["location"]) == (303, expected or "/"), target
        assert set(set_by(out)) == {SESSION, JWT}
        form = Read(web.get("/auth/sign-in", params={"next": target}, headers=PAGE).text)
        assert form.fields().get("next", "") == expected, target


def test_what_was_asked_for_comes_back_as_it_was(web: httpx.Client) -> None:
    for target in (
        "/protected",
        "/protected?a=%2F%2Fevil&b=%3Cscript%3E",
        "/protected?a=%22%3E&next=//evil.example",
    ):
        sent = web.get(target, headers=PAGE)
        where = urlsplit(sent.headers["location"])
        assert (where.scheme, where.netloc, where.path) == ("", "", "/auth/sign-in")
        assert parse_qs(where.query) == {"next": [target]}
        page = web.get(sent.headers["location"], headers=PAGE)
        assert Read(page.text).fields()["next"] == target
        assert "<script>" not in unescape(page.text).replace(target, "")
