"""What a person does with a site, from the first visit to signing out, in a real browser, on every stack."""

from __future__ import annotations

import pytest

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator
from support.page_checks import check_small, photograph
from support.person import FIREFOX, MakePerson, Person, with_authenticator

pytestmark = pytest.mark.long

SESSION, JWT = CookieSettings().names
VERIFY = "POST /v1/auth/sessions/verify"


def sent_to_sign_in(one: Person) -> bool:
    return one.path == "/auth/sign-in" and one.heading == "Sign in" and one.session_cookies() == {}


def test_journey(stack: str, site: str, person: MakePerson, emulator: Emulator) -> None:
    """All of it without JavaScript, which the other tests leave switched on."""
    address = "ada@example.com"
    ada = person(site, address, java_script_enabled=False)
    phone = person(site, address, java_script_enabled=False, user_agent=FIREFOX)

    # Signing in leads back to where one wanted to go, here 90 seconds ago.
    ada.open("/account")
    assert sent_to_sign_in(ada)
    emulator.set_clock(-90)
    ada.sign_in()
    assert ada.path == "/account"
    assert address in ada.text
    emulator.set_clock(0)

    # The JWT grows old, and nobody notices.
    ada.age_jwt(400)
    before = ada.session_cookies()
    emulator.clear_requests()
    assert ada.open("/account").status == 200
    assert address in ada.text
    after = ada.session_cookies()
    assert emulator.requests()[VERIFY] == 1
    assert after[SESSION] == before[SESSION]
    assert after[JWT] != before[JWT]
    ada.open("/account")
    assert ada.session_cookies() == after
    assert emulator.requests()[VERIFY] == 1

    # A second device is seen, signed out, and thrown out on its next click.
    phone.open("/account")
    phone.sign_in()
    assert phone.path == "/account"
    ada.click("Your devices", "link")
    devices = ada.page.get_by_role("listitem")
    assert devices.count() == 2
    check_small(ada.page)
    photograph(ada.page, f"stack-{stack.replace(':', '-')}-sessions")
    assert "This device" in devices.filter(has_text="Chrome").inner_text()
    other = devices.filter(has_text="Firefox on Windows")
    assert "This device" not in other.inner_text()
    other.get_by_role("button").click()
    assert ada.heading == "Your devices"
    assert devices.count() == 1
    assert "You are signed in nowhere else" in ada.text
    phone.click("The vault", "link")
    assert sent_to_sign_in(phone)

    # What is sensitive takes a fresh proof: the code that was given 90 seconds ago is too old.
    ada.open("/vault")
    assert (ada.path, ada.heading) == ("/auth/step-up", "Confirm that it is you")
    ada.click("Send a code to a•••@example.com")
    ada.fill("Code", ada.code())
    ada.click("Confirm")
    assert ada.path == "/vault"
    assert "flower pot" in ada.text
    assert ada.session_cookies()[SESSION] != after[SESSION]

    # Signing out.
    ada.click("Your account", "link")
    ada.click("Sign out")
    assert (ada.path, ada.session_cookies()) == ("/", {})
    assert "Anybody may read this page" in ada.text
    ada.click("Your account", "link")
    assert sent_to_sign_in(ada)


def test_step_up_by_an_authenticator_app(site: str, person: MakePerson, emulator: Emulator) -> None:
    address = "grace@example.com"
    secret = with_authenticator(emulator, address)
    grace = person(site, address)
    emulator.set_clock(-90)
    grace.open("/auth/sign-in")
    grace.sign_in(remember_me=True)
    assert grace.path == "/"
    emulator.set_clock(0)
    kept = {one.get("name"): one for one in grace.context.cookies(site)}
    assert set(kept) == {SESSION, JWT, CookieSettings().binding_name}
    for cookie in kept.values():
        assert (cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (True, True, "Lax")
        assert (cookie.get("path"), cookie.get("domain")) == ("/", "127.0.0.1")
        assert cookie.get("expires", -1) > emulator.now() + 29 * 86_400
    grace.open("/vault")
    code = emulator.totp_code(secret)
    grace.fill("Code of your authenticator app", f"{(int(code) + 1) % 10**6:06d}")
    grace.click("Confirm")
    assert "That code is wrong" in grace.text
    grace.fill("Code of your authenticator app", code)
    grace.click("Confirm")
    assert grace.path == "/vault"
    assert "flower pot" in grace.text


@pytest.mark.rule("S45")
def test_trouble_signs_nobody_out(site: str, person: MakePerson, emulator: Emulator) -> None:
    """While the API is down a page says so; nobody is sent to sign in, and all goes on afterwards."""
    joan = person(site, "joan@example.com")
    joan.open("/auth/sign-in")
    joan.sign_in()
    joan.age_jwt(400)
    kept = joan.session_cookies()
    emulator.stop()
    try:
        assert joan.open("/account").status == 503
        assert "does not answer" in joan.text
        assert joan.path == "/account"
        assert joan.session_cookies() == kept
    finally:
        emulator.start()
