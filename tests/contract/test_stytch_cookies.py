"""Cookies that Stytch's own SDK sets in the browser: read, never set, and removed so that the SDK sees it.

A script plays the SDK (``support/stytch_sdk.py``). One stack is tested here, the others by the long tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest
from contract.stytch_sites import api, browsing, on_each_stack

from moonkey_core.emulator import StytchEmulator
from support.stytch_sdk import JWT, OPAQUE, StytchSdk, StytchVisitor
from support.visitors import FOREIGN, PAGE

ASK = "POST /v1/sessions/authenticate"
INTERMEDIATE = "stytch_intermediate_session_token"
PLACED = {"session_name": "acme_session", "jwt_name": "acme_jwt", "path": "/auth", "domain": "example.com"}

pytestmark = on_each_stack({"starlette"})

Open = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def site(stack: str, shared_stytch: StytchEmulator) -> Iterator[httpx.Client]:
    shared_stytch.start()
    with browsing(stack, shared_stytch, cookies_by="browser") as http:
        yield http


@pytest.fixture
def open_site(stack: str, stytch: StytchEmulator) -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda *args, **more: opened.enter_context(browsing(stack, stytch, *args, **more))


def browser(http: httpx.Client, stytch: StytchEmulator, **headers: str) -> tuple[StytchVisitor, StytchSdk]:
    """A browser on the site, whose pages run the SDK."""
    one = StytchVisitor(http, **headers)
    return one, StytchSdk(one.jar, stytch)


def assert_sets_nothing(response: httpx.Response) -> None:
    assert response.headers.get_list("set-cookie") == []


def grow_old(stytch: StytchEmulator, sdk: StytchSdk, email: str = "ada@example.com") -> None:
    """Begin a session whose JWT is too old, as where nobody has looked at a page for a while."""
    stytch.set_clock(-400)
    sdk.sign_in(email)
    stytch.set_clock(0)
    stytch.clear_requests()


def test_what_the_sdk_sets_is_read_and_left_alone(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    assert one.get("/protected").status_code == 401
    session_id = sdk.sign_in()
    one.get("/public")
    stytch.clear_requests()
    for path in ("/protected", "/other-colour"):
        found = one.get(path)
        assert (found.status_code, found.json()["session"]) == (200, session_id)
        assert_sets_nothing(found)
    assert stytch.requests()[ASK] == 0  # the JWT is verified here
    assert one.get("/auth/session").json()["session"]["id"] == session_id
    assert one.jar.hidden() == set()
    before = sdk.tokens
    stytch.set_clock(10)
    assert sdk.renew()
    assert sdk.tokens != before
    stytch.set_clock(0)
    assert one.get("/protected").json()["session"] == session_id


def test_an_old_jwt_is_not_renewed_here(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    grow_old(stytch, sdk)
    before = sdk.tokens
    found = one.get("/protected")
    assert found.status_code == 200
    assert_sets_nothing(found)
    assert one.get("/protected").status_code == 200
    assert (sdk.tokens, stytch.requests()[ASK]) == (before, 2)  # about the token, as about any
    assert sdk.renew()
    stytch.clear_requests()
    assert one.get("/protected").status_code == 200
    assert stytch.requests()[ASK] == 0


def test_an_old_jwt_alone_is_not_renewed_here(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    grow_old(stytch, sdk)
    sdk.keep(None, sdk.tokens[1])
    found = one.get("/protected")
    assert found.status_code == 200
    assert_sets_nothing(found)
    assert stytch.requests()[ASK] == 1


def test_either_cookie_alone(site: httpx.Client, stytch: StytchEmulator) -> None:
    person = stytch.sign_in("ada@example.com")
    stytch.clear_requests()
    one, sdk = browser(site, stytch)
    sdk.keep(None, person.session_jwt)
    assert one.get("/protected").json()["session"] == person.session_id
    assert stytch.requests()[ASK] == 0
    one, sdk = browser(site, stytch)
    sdk.keep(person.session_token, None)
    assert one.get("/protected").json()["session"] == person.session_id
    assert stytch.requests()[ASK] == 1


def test_another_site_may_not_use_them(site: httpx.Client, stytch: StytchEmulator) -> None:
    for kinds in ((True, True), (True, False), (False, True)):
        one, sdk = browser(site, stytch, **FOREIGN)
        person = stytch.sign_in()
        sdk.keep(person.session_token if kinds[0] else None, person.session_jwt if kinds[1] else None)
        refused = one.post("/protected")
        assert refused.status_code == 403


def test_the_token_decides_where_the_jwt_does_not(site: httpx.Client, stytch: StytchEmulator) -> None:
    """Whatever stands in the cookie of the JWT: nothing binds the two, so it says nothing about the token."""
    ada = stytch.sign_in("ada@example.com")
    stytch.set_clock(-400)
    mallory = stytch.sign_in("mallory@example.com")
    stytch.set_clock(0)
    bad = {
        "garbage": "x" * 50,
        "no jwt": "e30.e30.e30",
        "of another, too old": mallory.session_jwt,
        "another key": stytch.token(key="imposter"),
        "of a machine": stytch.token("m2m"),
        "of a connected app": stytch.token("connected-app"),
        "another project": stytch.token("other-project"),
    }
    for name, jwt in bad.items():
        one, sdk = browser(site, stytch)
        sdk.keep(ada.session_token, jwt)
        found = one.get("/protected")
        assert (found.status_code, found.json().get("session")) == (200, ada.session_id), name
        assert_sets_nothing(found)
    stytch.revoke(mallory.session_id)  # nor does its end say anything
    sdk.keep(ada.session_token, mallory.session_jwt)
    assert one.get("/strict").json()["session"] == ada.session_id


def test_the_sdk_signs_out(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    sdk.sign_in()
    assert one.get("/protected").status_code == 200
    sdk.sign_out()
    assert one.jar.names() == set()
    found = one.get("/protected")
    assert found.status_code == 401
    assert_sets_nothing(found)


def test_the_app_signs_out_and_the_sdk_sees_it(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    sdk.sign_in()
    token = sdk.tokens[0]
    assert one.get("/protected").status_code == 200
    done = one.post("/auth/sign-out")
    assert done.json() == {"signed_out": True, "complete": True, "revocation": "local"}
    lines = done.headers.get_list("set-cookie")
    assert sorted(line.partition("=")[0] for line in lines) == [OPAQUE, JWT]
    for line in lines:
        attributes = line.split("; ")[1:]
        assert "HttpOnly" not in attributes
        assert {"Path=/", "Max-Age=0", "Secure", "SameSite=Lax"} == set(attributes)
    assert sdk.tokens == (None, None)
    sdk.keep(token, None)  # a copy of it
    assert not sdk.renew()


def test_a_session_that_has_ended_elsewhere(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    grow_old(stytch, sdk)
    session_id = one.get("/auth/session").json()["session"]["id"]
    stytch.revoke(session_id)
    assert one.get("/strict").status_code == 401
    assert sdk.tokens == (None, None)


def test_an_outage_ends_nothing(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    grow_old(stytch, sdk)
    before = sdk.tokens
    stytch.stop()
    try:
        found = one.get("/strict")
        assert found.status_code == 503
        assert_sets_nothing(found)
    finally:
        stytch.start()
    assert sdk.tokens == before


def test_names_path_and_domain(open_site: Open, stytch: StytchEmulator) -> None:
    http = open_site(PLACED, cookies_by="browser")
    one = StytchVisitor(http)
    more = "; Path=/auth; Domain=example.com"
    sdk = StytchSdk(one.jar, stytch, (PLACED["session_name"], PLACED["jwt_name"]), more)
    other = StytchSdk(one.jar, stytch)  # with the usual names: of another app of the same domain
    other.sign_in("eve@example.com")
    session_id = sdk.sign_in()
    assert one.get("/auth/session").json()["session"]["id"] == session_id
    assert one.get("/protected").status_code == 401  # another path
    assert one.post("/auth/sign-out").status_code == 200
    assert sdk.tokens == (None, None)
    assert None not in other.tokens


def test_names_that_no_other_host_can_set(open_site: Open, stytch: StytchEmulator) -> None:
    names = {"session_name": "__Host-session", "jwt_name": "__Host-jwt"}
    http = open_site(names, cookies_by="browser")
    one = StytchVisitor(http)
    sdk = StytchSdk(one.jar, stytch, (names["session_name"], names["jwt_name"]))
    session_id = sdk.sign_in()
    assert one.get("/protected").json()["session"] == session_id
    one.post("/auth/sign-out")
    assert one.jar.names() == set()


def test_signing_in_is_the_sdk_s_part(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    sdk.sign_in()
    before = sdk.tokens
    stytch.clear_requests()
    paths = ("/auth/sign-in", "/auth/sign-in/otp/verify", "/auth/sign-in/magic?token=abc")
    refused = [one.get(path) for path in (*paths, "/auth/callback/oauth?token=abc&state=x")]
    posted = ("/auth/sign-in/otp", "/auth/sign-in/otp/verify", "/auth/sign-in/magic")
    refused += [one.post(path, {"address": "ada@example.com", "code": "123456"}) for path in posted]
    for response in refused:
        assert response.status_code == 501, response.url
        assert_sets_nothing(response)
    on_the_page = one.get("/auth/sign-in?next=/protected%3Fa%3Db", **PAGE)
    assert (on_the_page.status_code, on_the_page.headers["location"]) == (303, "/login?next=%2Fprotected%3Fa%3Db")
    assert one.get("/auth/sign-in?next=https://elsewhere.example", **PAGE).headers["location"] == "/login"
    assert one.get("/auth/sign-in/magic?token=abc", **PAGE).status_code == 501
    assert sdk.tokens == before
    assert not any(count for route, count in stytch.requests().items() if "otps" in route or "totps" in route)
    # A client without cookies has nothing to do with the SDK.
    bare = StytchVisitor(site)
    assert bare.post("/header/sign-in/otp", {"address": "ada@example.com"}).json()["sent"] is True


def test_a_page_of_the_app_hands_a_new_session_to_the_sdk(site: httpx.Client, stytch: StytchEmulator) -> None:
    """Its script signs in by the routes without cookies, and the SDK keeps the credentials in its own ones."""
    one, sdk = browser(site, stytch)
    sent = one.post("/header/sign-in/otp", {"address": f"{uuid4().hex[:12]}@example.com"}).json()
    fields = {"code": stytch.outbox()[0].code, "method_id": sent["method_id"]}
    answer = one.post("/header/sign-in/otp/verify", fields)
    assert answer.status_code == 200, answer.text
    assert_sets_nothing(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert one.get("/protected").status_code == 401  # the SDK has not been told yet
    found = answer.json()
    sdk.keep(found["session_token"], found["session_jwt"])  # stytch.session.updateSession
    assert one.get("/protected").json()["session"] == found["session"]["id"]
    assert sdk.renew()
    assert one.get("/protected").json()["session"] == found["session"]["id"]


def test_a_browser_is_sent_to_the_app_s_own_sign_in_page(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    refused = one.get("/protected", **PAGE)
    assert (refused.status_code, refused.headers["location"]) == (303, "/login?next=%2Fprotected")
    sdk.sign_in()
    assert one.get("/totp", **PAGE).headers["location"].startswith("/auth/step-up?")


def test_step_up_by_a_code(site: httpx.Client, stytch: StytchEmulator) -> None:
    """The session has the factor, and the JWT of the SDK says so no later than its next one does."""
    one, sdk = browser(site, stytch)
    stytch.set_clock(-700)
    sdk.sign_in(f"{uuid4().hex[:12]}@example.com")
    stytch.set_clock(0)
    assert sdk.renew()
    before = sdk.tokens
    for alone in (False, True):
        if alone:
            sdk.keep(None, before[1])
        assert one.get("/fresh-factor").status_code == (200 if alone else 401)
        sent = one.post("/auth/step-up/otp", {"which": "email"})
        assert sent.json()["sent"] is True
        code = stytch.outbox()[0].code
        wrong = one.post("/auth/step-up/otp/verify", {"code": f"{(int(code) + 1) % 1_000_000:06}"})
        assert wrong.status_code == 401
        done = one.post("/auth/step-up/otp/verify", {"code": code})
        assert done.status_code == 200, done.text
        assert "session_token" not in done.json()
        lines = done.headers.get_list("set-cookie")
        assert not any(line.startswith((OPAQUE, JWT)) for line in lines)
        assert sdk.tokens == (None if alone else before[0], before[1])
        found = one.get("/fresh-factor")
        assert found.status_code == 200
        assert_sets_nothing(found)


def test_step_up_by_an_authenticator_app(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    person = stytch.sign_in(f"{uuid4().hex[:12]}@example.com")
    sdk.keep(person.session_token, person.session_jwt)
    assert one.get("/totp").status_code == 401
    registered = api(stytch, "/v1/totps", user_id=person.user_id)["secret"]
    api(stytch, "/v1/totps/authenticate", user_id=person.user_id, totp_code=stytch.totp_code(registered))
    page = one.get("/auth/step-up?acr_values=totp", **PAGE)
    assert "/auth/step-up/totp" in page.text
    stytch.set_clock(60)  # the code that has verified the app is used up
    done = one.post("/auth/step-up/totp", {"code": stytch.totp_code(registered), "next": "/totp"}, **PAGE)
    stytch.set_clock(0)
    assert (done.status_code, done.headers["location"]) == (303, "/totp")
    assert one.get("/totp").status_code == 200
    assert sdk.tokens == (person.session_token, person.session_jwt)


def test_a_session_token_that_is_replaced_cannot_be_handed_on(site: httpx.Client, stytch: StytchEmulator) -> None:
    """Stytch goes on with the same one. If it did not, the browser would have to be told by its script."""
    one, sdk = browser(site, stytch)
    sdk.sign_in(f"{uuid4().hex[:12]}@example.com")
    assert one.post("/auth/step-up/otp", {"which": "email"}).status_code == 200
    code = stytch.outbox()[0].code
    method_id = one.get("/auth/session").json()["session"]["factors"][0]["method_id"]
    answer = api(stytch, "/v1/otps/authenticate", method_id=method_id, code=code, session_token=sdk.tokens[0])
    stytch.fault("/v1/otps/authenticate", status=200, body=json.dumps({**answer, "session_token": "n" * 44}))
    done = one.post("/auth/step-up/otp/verify", {"code": code})
    stytch.clear_faults()
    assert done.status_code == 501
    assert "n" * 44 not in done.text


def test_devices(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, sdk = browser(site, stytch)
    other, other_sdk = browser(site, stytch)
    mine, others = sdk.sign_in(), other_sdk.sign_in()
    listed = one.get("/auth/sessions").json()["sessions"]
    assert {each["id"] for each in listed} == {mine, others}
    assert one.post(f"/auth/sessions/{others}/revoke").json() == {"revoked": [others], "revocation": "local"}
    assert other.get("/protected").status_code == 401
    assert other_sdk.tokens == (None, None)
    assert one.get("/protected").status_code == 200


@pytest.mark.parametrize("cookies_by", ["browser", "server"])
def test_a_sign_in_that_is_not_complete_is_no_session(
    open_site: Open, stytch: StytchEmulator, cookies_by: str
) -> None:
    http = open_site(cookies_by=cookies_by, hydrate="tokens")
    person = stytch.sign_in()
    for value in (person.session_token, person.session_jwt):  # even where it would be one
        one = StytchVisitor(http)
        one.jar.write(f"{INTERMEDIATE}={value}; Path=/; Secure")
        places: list[dict[str, Any]] = [
            {},
            {"Stytch-Intermediate-Session-Token": value},
            {"X-Stytch-Intermediate-Session-Token": value},
            {"Intermediate-Session-Token": value},
        ]
        stytch.clear_requests()
        for headers in places:
            assert one.get("/protected", **headers).status_code == 401
            assert one.get("/optional", **headers).json()["state"] == "anonymous"
            assert one.get("/auth/session", **headers).json() == {"authenticated": False}
            query = f"?{INTERMEDIATE}={value}&intermediate_session_token={value}"
            assert one.get(f"/protected{query}", **headers).status_code == 401
            for path in ("/auth/session/hydrate", "/auth/sessions/revoke-others", "/protected"):
                body = {INTERMEDIATE: value, "intermediate_session_token": value}
                assert one.post(path, body, **headers).status_code == 401
        assert stytch.requests()[ASK] == 0
        one.post("/auth/sign-out", {INTERMEDIATE: value})
        assert INTERMEDIATE in one.jar.names()
        bare = StytchVisitor(http, Authorization=f"Bearer {person.session_token}")
        assert bare.get("/protected").status_code == 200  # nobody has ended it
