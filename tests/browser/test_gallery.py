"""All pages, photographed at two sizes, light and dark, and looked at on the smallest of screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.emulator import Emulator
from support.other_site import form, other_site
from support.page_checks import check_page, check_small, photograph
from support.person import FIREFOX, MakePerson, Person, magic_link, with_authenticator

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["pages_flask:app"])
def stack(request: pytest.FixtureRequest) -> str:
    """The pages are the same everywhere; the core's tests compare what the two template engines make of them."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def running_again(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.start()


def show(one: Person, name: str, heading: str) -> None:
    """Keep the page that somebody has before them."""
    assert one.heading == heading
    check_page(one.page)
    check_small(one.page)
    photograph(one.page, name)


def test_signing_in(site: str, person: MakePerson, emulator: Emulator) -> None:
    ada = person(site, "ada-who-has-a-rather-long-address-indeed@department.example.com")
    ada.open("/")
    show(ada, "home", "A small site")
    ada.open("/account")
    show(ada, "sign-in", "Sign in")
    ada.fill("E-mail address", "neither")
    ada.click("Send the code")
    show(ada, "sign-in-wrong-address", "Sign in")
    assert ada.page.get_by_role("alert").count() == 1
    ada.fill("E-mail address", ada.address)
    ada.click("Send the code")
    show(ada, "verify", "Enter the code")
    wrong = f"{(int(ada.code()) + 1) % 10**6:06d}"
    for left in (4, 3, 2, 1):
        ada.fill("Code", wrong)
        ada.click("Sign in")
        assert f"{left} tries left" in ada.text or (left == 1 and "one try left" in ada.text)
    show(ada, "verify-wrong-code", "Enter the code")
    ada.fill("Code", wrong)
    ada.click("Sign in")
    show(ada, "verify-used-up", "Too many tries")
    for _ in range(4):
        ada.click("Send a new code")
    assert ada.heading == "Enter the code"
    ada.click("Send a new code")
    show(ada, "too-many-codes", "Too many tries")


def test_links(site: str, person: MakePerson, emulator: Emulator) -> None:
    ada = person(site, "ada@example.com")
    ada.open(f"/auth/sign-in/magic?token={magic_link(emulator, ada.address)}&next=/account")
    show(ada, "magic", "Sign in")
    ada.click("Sign in")
    assert ada.path == "/account"
    ada.open(f"/auth/sign-in/magic?token={magic_link(emulator, ada.address)[::-1]}")
    ada.click("Sign in")
    show(ada, "magic-refused", ada.heading)
    ada.open("/auth/sign-in/magic")
    show(ada, "magic-broken", ada.heading)
    ada.open("/auth/sign-in/otp/verify")
    show(ada, "no-code", "Ask for a new code")
    ada.open("/auth/callback/oauth?state=x&token=y")
    show(ada, "oauth-refused", ada.heading)


def test_signed_in(site: str, person: MakePerson, emulator: Emulator) -> None:
    ada = person(site, "ada.signed.in@example.com")
    phone = person(site, ada.address, user_agent=FIREFOX)
    other = person(site, ada.address, user_agent="curl/8.14.1 (a text that no browser sends) " + "x" * 100)
    for one in (ada, phone, other):
        one.open("/auth/sign-in")
        one.sign_in()
    show(ada, "home-signed-in", "A small site")
    ada.open("/account")
    show(ada, "account", "Your account")
    ada.click("Your devices", "link")
    show(ada, "sessions", "Your devices")
    emulator.fault("/v1/auth/sessions/delete", status=500)
    ada.click("Sign out everywhere else")
    show(ada, "sessions-not-all", ada.heading)
    emulator.clear_faults()
    ada.open("/auth/sessions")
    ada.click("Sign out everywhere else")
    show(ada, "sessions-alone", "Your devices")
    ada.open("/auth/sign-in")
    show(ada, "sign-in-signed-in", "Sign in")
    ada.open("/email")
    show(ada, "email", "Where we write to you")
    ada.fill("New e-mail address", "ada@new.example.com")
    ada.click("Change it")
    show(ada, "email-code", "Where we write to you")
    ada.fill("Code", ada.code())
    ada.click("Change the address")
    assert "ada@new.example.com" in ada.text
    ada.open("/auth/sign-out")
    show(ada, "sign-out", "Sign out")


def test_step_up(site: str, person: MakePerson, emulator: Emulator) -> None:
    ada = person(site, "ada.steps.up@example.com")
    secret = with_authenticator(emulator, ada.address)
    emulator.set_clock(-90)
    ada.open("/auth/sign-in")
    ada.sign_in()
    emulator.set_clock(0)
    ada.open("/vault")
    show(ada, "step-up", "Confirm that it is you")
    ada.fill("Code of your authenticator app", f"{(int(emulator.totp_code(secret)) + 1) % 10**6:06d}")
    ada.click("Confirm")
    show(ada, "step-up-wrong-code", "Confirm that it is you")
    ada.click("Send a code to")
    show(ada, "step-up-verify", "Enter the code")
    ada.fill("Code", ada.code())
    ada.click("Confirm")
    show(ada, "vault", "The vault")
    ada.open("/auth/step-up?acr_values=webauthn&next=/vault")
    show(ada, "step-up-nothing", "Confirm that it is you")


def test_trouble(site: str, person: MakePerson, emulator: Emulator) -> None:
    ada = person(site, "ada.in.trouble@example.com")
    ada.open("/auth/sign-in")
    ada.sign_in()
    with other_site({"/": form(f"{site}/auth/sign-out")}) as other:
        ada.page.goto(other)
        ada.page.get_by_role("button").click()
        ada.page.wait_for_load_state()
        show(ada, "refused", ada.heading)
    ada.open("/account")
    ada.age_jwt(400)
    emulator.stop()
    ada.open("/account")
    show(ada, "unavailable", "Sign-in is not available at the moment")
    ada.open("/auth/sign-out")
    ada.click("Sign out")
    show(ada, "signed-out-perhaps", "You are signed out here")
    assert ada.session_cookies() == {}
