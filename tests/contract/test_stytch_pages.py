"""The ready-made pages on Stytch, with cookies that the app sets: the same on every stack.

One stack is tested here, the others by the long tests.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from contract.stytch_sites import api, browsing, on_each_stack, options

from moonkey_core import MoonKey, Settings
from moonkey_core.emulator import StytchEmulator
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import pair_text
from support import quick
from support.stytch_sdk import HOST, JWT, OPAQUE, StytchVisitor
from support.visitors import FOREIGN, PAGE

BINDING = f"{JWT}_binding"
WEEK = timedelta(days=7)
ASK = "POST /v1/sessions/authenticate"

pytestmark = on_each_stack({"flask-wsgi"})


@pytest.fixture(scope="module")
def site(stack: str, shared_stytch: StytchEmulator) -> Iterator[httpx.Client]:
    shared_stytch.start()
    with browsing(stack, shared_stytch) as http:
        yield http


@pytest.fixture(scope="module")
def hydrating(stack: str, shared_stytch: StytchEmulator) -> Iterator[httpx.Client]:
    shared_stytch.start()
    with browsing(stack, shared_stytch, hydrate="tokens") as http:
        yield http


@pytest.fixture
def email() -> str:
    """An address of nobody else: the limits of the site outlive a test."""
    return f"{uuid.uuid4().hex[:12]}@example.com"


def is_active(stytch: StytchEmulator, token: str) -> bool:
    url, body = f"{stytch.base_url}{ASK.partition(' ')[2]}", {"session_token": token}
    return quick.post(url, json=body, auth=(stytch.project_id, stytch.secret)).status_code == 200


def sign_in(one: StytchVisitor, stytch: StytchEmulator, email: str) -> httpx.Response:
    assert one.post("/auth/sign-in/otp", {"address": email}).status_code == 200
    done = one.post("/auth/sign-in/otp/verify", {"code": stytch.outbox()[0].code})
    assert done.status_code == 200, done.text
    return done


def assert_signed_in(one: StytchVisitor, email: str) -> dict[str, Any]:
    assert one.jar.hidden() >= {OPAQUE, JWT, BINDING}
    assert one.jar.seen_by_scripts("/") == {}
    assert one.get("/protected").status_code == 200
    found = one.get("/auth/session").json()
    assert found["authenticated"]
    assert found["user"]["email"] == email
    session: dict[str, Any] = found["session"]
    return session


def with_app(one: StytchVisitor, stytch: StytchEmulator) -> str:
    """Give the visitor an authenticator app that has been used once; its secret."""
    user_id = one.get("/auth/session").json()["user"]["id"]
    stytch.set_clock(-90)
    secret: str = api(stytch, "/v1/totps", user_id=user_id)["secret"]
    api(stytch, "/v1/totps/authenticate", user_id=user_id, totp_code=stytch.totp_code(secret))
    stytch.set_clock(0)
    return secret


def test_a_code_by_mail(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    assert not one.get("/auth/session").json()["authenticated"]
    sign_in(one, stytch, email)
    session = assert_signed_in(one, email)
    (factor,) = session["factors"]
    assert (factor["type"], factor["delivery_channel"]) == ("otp", "email")
    stytch.clear_requests()
    assert one.get("/protected").status_code == 200
    assert stytch.requests()[ASK] == 0  # the JWT is verified here


def test_a_wrong_code(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    one.post("/auth/sign-in/otp", {"address": email})
    code = f"{(int(stytch.outbox()[0].code) + 1) % 1_000_000:06d}"
    refused = one.post("/auth/sign-in/otp/verify", {"code": code})
    assert (refused.status_code, refused.json()["reason"]) == (401, "login_refused")
    assert OPAQUE not in one.jar.names()
    page = one.post("/auth/sign-in/otp/verify", {"code": code}, **PAGE)
    assert page.status_code == 401
    assert "<form" in page.text
    assert one.post("/auth/sign-in/otp/verify", {"code": stytch.outbox()[0].code}).status_code == 200


def test_a_code_by_text_message(site: httpx.Client, stytch: StytchEmulator) -> None:
    one, number = StytchVisitor(site), f"+1415555{uuid.uuid4().int % 10_000:04d}"
    assert one.post("/auth/sign-in/otp", {"phone_number": number}).status_code == 200
    sent = stytch.outbox()[0]
    assert sent.to == number
    assert one.post("/auth/sign-in/otp/verify", {"code": sent.code}).status_code == 200
    assert one.get("/protected").status_code == 200
    found = one.get("/auth/session").json()
    assert (found["user"]["phone_number"], found["session"]["factors"][0]["delivery_channel"]) == (number, "sms")


def test_a_magic_link(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    link = f"https://{HOST}/auth/sign-in/magic?next=%2Faccount"
    path = "/v1/magic_links/email/login_or_create"
    api(stytch, path, email=email, login_magic_link_url=link, signup_magic_link_url=link)
    url = urlsplit(stytch.outbox()[0].link)
    fields = {name: one for name, (one, *_) in parse_qs(url.query).items()}
    assert fields["stytch_token_type"] == "magic_links"
    one = StytchVisitor(site)
    wrong = one.get(f"/auth/sign-in/magic?stytch_token_type=oauth&token={fields['token']}")
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "link_malformed")
    page = one.get(f"{url.path}?{url.query}", **PAGE)  # a scanner of mails opens it too
    assert page.status_code == 200
    assert fields["token"] in page.text
    done = one.post("/auth/sign-in/magic", {"token": fields["token"], "next": fields["next"]}, **PAGE)
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert assert_signed_in(one, email)["factors"][0]["type"] == "magic_link"
    again = one.post("/auth/sign-in/magic", {"token": fields["token"]})
    assert (again.status_code, again.json()["reason"]) == (401, "login_refused")


def test_oauth(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    page = f"https://{HOST}/auth/callback/oauth"
    with MoonKey(**options(stytch)) as client:  # the app's own view, elsewhere in the fleet
        start = client.flows.oauth_state(next="/account")
        url = client.oauth.start_url("google", login_redirect_url=page, state=start.state)
    consent = quick.get(url).headers["location"]
    back = urlsplit(quick.get(f"{consent}&email={email}").headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == page
    assert parse_qs(back.query)["stytch_token_type"] == ["oauth"]
    one, path = StytchVisitor(site, **FOREIGN), f"{back.path}?{back.query}"
    assert one.get(path).status_code == 400
    one.jar.write(start.set_cookie)
    done = one.get(path, **PAGE)
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    (factor,) = assert_signed_in(one, email)["factors"]
    assert (factor["type"], factor["delivery_channel"]) == ("oauth", "oauth_google")
    one.jar.write(start.set_cookie)
    assert one.get(path).status_code == 400  # once


def test_a_token_for_something_else_is_no_oauth(site: httpx.Client, stytch: StytchEmulator) -> None:
    with MoonKey(**options(stytch)) as client:
        start = client.flows.oauth_state()
    one = StytchVisitor(site, **FOREIGN)
    one.jar.write(start.set_cookie)
    back = f"/auth/callback/oauth?stytch_token_type=reset_password&token=abc&state={start.state}"
    assert one.get(back).status_code == 400
    assert stytch.requests()["POST /v1/oauth/authenticate"] == 0


def test_step_up_by_an_authenticator_app(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    sign_in(one, stytch, email)
    before = assert_signed_in(one, email)
    secret = with_app(one, stytch)
    refused = one.get("/totp")
    assert refused.status_code == 401
    assert 'acr_values="totp"' in refused.headers["www-authenticate"]
    page = one.get("/auth/step-up?acr_values=totp", **PAGE)
    assert page.status_code == 200
    assert "/auth/step-up/totp" in page.text
    wrong = one.post("/auth/step-up/totp", {"code": "000000"})
    assert wrong.status_code == 401
    done = one.post("/auth/step-up/totp", {"code": stytch.totp_code(secret)})
    assert done.status_code == 200, done.text
    assert one.get("/totp").status_code == 200
    after = assert_signed_in(one, email)
    assert after["id"] == before["id"]
    assert [factor["delivery_channel"] for factor in after["factors"]] == ["email", "authenticator_app"]
    assert after["expires_at"] == before["expires_at"]


def test_step_up_by_a_code(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    stytch.set_clock(-700)
    sign_in(one, stytch, email)
    stytch.set_clock(0)
    assert one.get("/fresh-factor").status_code == 401
    sent = one.post("/auth/step-up/otp", {"which": "email"})
    assert sent.status_code == 200, sent.text
    done = one.post("/auth/step-up/otp/verify", {"code": stytch.outbox()[0].code})
    assert done.status_code == 200, done.text
    assert one.get("/fresh-factor").status_code == 200
    # Stytch goes on with the same token: that it is refused later still ends this browser's session.
    stytch.revoke(one.get("/auth/session").json()["session"]["id"])
    assert one.get("/strict").status_code == 401
    assert not one.jar.names() & {OPAQUE, JWT, BINDING}


def test_factors_that_nobody_has_proven_here(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    for factor in ("imported", "impersonated", "trusted_auth_token"):
        person = stytch.sign_in(email, factors=[factor])
        one.jar.write(f"{OPAQUE}={person.session_token}; Path=/; Secure; HttpOnly")
        assert one.get("/protected").status_code == 200
        assert one.get("/fresh-factor").status_code == 401


@pytest.mark.parametrize("factor", ["password", "webauthn", "crypto", "biometric"])
def test_sessions_that_began_elsewhere(
    site: httpx.Client, stytch: StytchEmulator, email: str, factor: str
) -> None:
    one = StytchVisitor(site)
    person = stytch.sign_in(email, factors=[factor])
    one.jar.write(f"{OPAQUE}={person.session_token}; Path=/; Secure; HttpOnly")
    assert one.get("/protected").status_code == 200
    assert one.get("/fresh-factor").status_code == 200


def test_devices_and_signing_out(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    laptop, phone, tablet = (StytchVisitor(site, **{"User-Agent": f"device {n}"}) for n in range(3))
    for one in (laptop, phone, tablet):
        sign_in(one, stytch, email)
    listed = laptop.get("/auth/sessions").json()["sessions"]
    assert [one["current"] for one in listed] == [True, False, False]
    assert listed[0]["device"]["user_agent"] == "device 0"
    assert "device 1" in laptop.get("/auth/sessions", **PAGE).text
    other = next(one["id"] for one in listed if one["device"]["user_agent"] == "device 1")
    assert laptop.post(f"/auth/sessions/{other}/revoke").json() == {"revoked": [other], "revocation": "local"}
    assert not is_active(stytch, phone.jar.value(OPAQUE))
    assert phone.get("/protected").status_code == 401
    assert OPAQUE not in phone.jar.names()
    assert len(laptop.post("/auth/sessions/revoke-others").json()["revoked"]) == 1
    assert tablet.get("/protected").status_code == 401
    token = laptop.jar.value(OPAQUE)
    assert laptop.post("/auth/sign-out").json() == {"signed_out": True, "complete": True, "revocation": "local"}
    assert not is_active(stytch, token)
    assert not laptop.jar.names() & {OPAQUE, JWT, BINDING}


def test_signing_out_in_an_outage(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    """The JWT names the session, however old it is: a newer one of it is refused."""
    one = StytchVisitor(site)
    session_id = sign_in(one, stytch, email).json()["session"]["id"]
    copy, old = one.jar.value(OPAQUE), stytch.token(session_id=session_id, age=400)
    app = Settings(**options(stytch))
    for name, value in ((JWT, old), (BINDING, make_binding(pair_text(copy, old, app), app))):
        one.jar.write(f"{name}={value}; Path=/; Secure; HttpOnly")
    stytch.stop()
    try:
        assert one.post("/auth/sign-out").json() == {"signed_out": True, "complete": False, "revocation": "local"}
    finally:
        stytch.start()
    assert not one.jar.names() & {OPAQUE, JWT, BINDING}
    for credential in (copy, stytch.token(session_id=session_id)):
        bare = StytchVisitor(site, Authorization=f"Bearer {credential}")
        assert bare.get("/protected").status_code == 401


def test_an_old_jwt_is_renewed_on_the_same_response(
    site: httpx.Client, stytch: StytchEmulator, email: str
) -> None:
    one = StytchVisitor(site)
    stytch.set_clock(-400)
    sign_in(one, stytch, email)
    stytch.set_clock(0)
    one.get("/protected")
    renewed = one.jar.value(JWT)
    stytch.clear_requests()
    assert one.get("/protected").status_code == 200
    assert (one.jar.value(JWT), stytch.requests()[ASK]) == (renewed, 0)


def test_a_planted_jwt_counts_only_beside_its_token(
    site: httpx.Client, stytch: StytchEmulator, email: str
) -> None:
    one = StytchVisitor(site)
    sign_in(one, stytch, email)
    mallory = stytch.sign_in("mallory@example.com")
    mine = one.get("/protected").json()["user"]
    one.jar.write(f"{JWT}={mallory.session_jwt}; Path=/; Secure; HttpOnly")
    assert one.get("/protected").json()["user"] == mine
    assert one.jar.value(JWT) != mallory.session_jwt  # a new one, bound to the token
    assert one.get("/protected").json()["user"] == mine


def test_without_cookies(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    """The routes for clients that keep their credentials themselves: from a sign-in to a sign-out."""
    one = StytchVisitor(site)
    sent = one.post("/header/sign-in/otp", {"email": email}).json()
    body = {"method_id": sent["method_id"], "code": stytch.outbox()[0].code}
    done = one.post("/header/sign-in/otp/verify", body)
    assert done.status_code == 200, done.text
    assert one.jar.names() == set()
    secret = ""
    for name in ("session_token", "session_jwt"):
        mine = StytchVisitor(site, Authorization=f"Bearer {done.json()[name]}")
        secret = secret or with_app(mine, stytch)
        assert mine.get("/totp").status_code == 401
        stytch.set_clock(30 if name == "session_jwt" else 0)  # a code counts once
        stepped = mine.post("/header/step-up/totp", {"code": stytch.totp_code(secret)})
        stytch.set_clock(0)
        assert stepped.status_code == 200, stepped.text
        newer = StytchVisitor(site, Authorization=f"Bearer {stepped.json()['session_token']}")
        assert newer.get("/totp").status_code == 200
        assert stepped.json()["session"]["id"] == done.json()["session"]["id"]
        if name == "session_token":  # another session, without that factor
            sent = one.post("/header/sign-in/otp", {"email": email}).json()
            body = {"method_id": sent["method_id"], "code": stytch.outbox()[0].code}
            done = one.post("/header/sign-in/otp/verify", body)
    assert newer.post("/header/sign-out").json()["complete"] is True
    assert newer.get("/protected").status_code == 401


def test_all_sessions_are_replaced_by_one(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one, thief = StytchVisitor(site), StytchVisitor(site)
    for each in (one, thief):
        sign_in(each, stytch, email)
    user = one.get("/auth/session").json()["user"]
    with MoonKey(**options(stytch)) as client:  # the app's own view
        sent = client.otps.send(email=email)
        code = stytch.outbox()[0].code
        rotation = client.sessions.rotate(
            user_id=user["id"], otp=code, method_id=sent.method_id, session_expires_in=WEEK
        )
        assert rotation.is_complete
        assert len(rotation.revoked) == 2
        for line in client.sign_in_cookies(rotation.login):
            one.jar.write(line)
    assert one.get("/strict").status_code == 200
    assert thief.get("/strict").status_code == 401


def test_hydrating_is_off(site: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(site)
    sign_in(one, stytch, email)
    refused = one.post("/auth/session/hydrate")
    assert refused.status_code == 501
    assert one.jar.value(OPAQUE) not in refused.text
    shown = one.get("/auth/session")
    assert one.jar.value(OPAQUE) not in shown.text
    assert one.jar.value(JWT) not in shown.text


def test_hydrating(hydrating: httpx.Client, stytch: StytchEmulator, email: str) -> None:
    one = StytchVisitor(hydrating)
    assert one.post("/auth/session/hydrate").status_code == 401
    sign_in(one, stytch, email)
    assert one.get("/auth/session/hydrate").status_code == 405
    for foreign in (FOREIGN, {"Sec-Fetch-Site": "same-site"}):
        refused = one.post("/auth/session/hydrate", None, **foreign)
        assert refused.status_code == 403
        assert one.jar.value(OPAQUE) not in refused.text
    found = one.post("/auth/session/hydrate")
    assert found.status_code == 200, found.text
    assert found.headers["cache-control"] == "no-store"
    assert found.json()["session_token"] == one.jar.value(OPAQUE)
    mine = one.get("/protected").json()
    for name in ("session_token", "session_jwt"):
        bare = StytchVisitor(hydrating, Authorization=f"Bearer {found.json()[name]}")
        assert bare.get("/protected").json() == mine
        assert (
            bare.post("/auth/session/hydrate").json()["session"]["id"] == mine["session"]
        )  # a header is no cookie
    stytch.stop()
    try:
        assert one.post("/auth/session/hydrate").status_code == 503
    finally:
        stytch.start()
    stytch.revoke(mine["session"])
    assert one.post("/auth/session/hydrate").status_code == 401
    assert not one.jar.names() & {OPAQUE, JWT, BINDING}
