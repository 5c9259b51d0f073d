"""What a person does with a site on Stytch, in a real browser: each way to sign in, and its own SDK's cookies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import pytest

from moonkey_core.emulator import Emulator, StytchEmulator
from support.examples import running_with
from support.page_checks import check_small
from support.person import MakePerson, Person
from support.stytch_sdk import JWT, OPAQUE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long

APP = "pages_stytch:app"
SECRET = {"MOONKEY_CACHE_SECRET": "c" * 32}
EMAIL = "ada@example.com"


@pytest.fixture(scope="module")
def site(browser: Browser, shared_stytch: StytchEmulator) -> Iterator[str]:
    shared_stytch.start()
    with running_with(APP, {**shared_stytch.settings, **SECRET}) as url:
        yield url


@pytest.fixture
def person(browser: Browser, stytch: StytchEmulator) -> Iterator[MakePerson]:
    """``person(site, address)``: somebody with a browser. In the end nobody's may have complained."""
    with ExitStack() as stack:
        people: list[Person] = []

        def make(site: str, address: str, **options: Any) -> Person:
            one = Person(browser, site, cast(Emulator, stytch), address, **options)
            stack.callback(one.context.close)
            people.append(one)
            return one

        yield make
        assert [one.complaints for one in people] == [[]] * len(people)


def seen_by_scripts(one: Person) -> str:
    """The cookies that a page's script reads."""
    found: str = one.page.evaluate("document.cookie")
    return found


def test_every_way_in(site: str, person: MakePerson, stytch: StytchEmulator) -> None:
    ada, phone, demo = person(site, EMAIL), person(site, EMAIL), person(site, "demo@example.com")

    # By a code, without JavaScript in the way; the cookies are hidden from scripts.
    ada.open("/account")
    assert ada.path == "/auth/sign-in"
    ada.sign_in()
    assert ada.path == "/account"
    assert EMAIL in ada.text
    assert {OPAQUE, JWT, f"{JWT}_binding"} <= ada.cookies().keys()
    assert seen_by_scripts(ada) == ""

    # By a link, on another device.
    phone.open("/")
    phone.fill("E-mail address", EMAIL)
    phone.click("Send me a link")
    link = stytch.outbox()[0].link
    assert link.startswith(f"{site}/auth/sign-in/magic?")
    phone.open(link.removeprefix(site))
    phone.click("Sign in")
    assert phone.path == "/account"
    assert EMAIL in phone.text

    # By another provider: the emulator stands in its place, and consents.
    demo.open("/")
    demo.click("Sign in with Google", "link")
    assert demo.path == "/account"
    assert "demo@example.com" in demo.text

    # Your devices.
    ada.click("Your devices", "link")
    devices = ada.page.get_by_role("listitem")
    assert devices.count() == 2
    check_small(ada.page)
    ada.click("Sign out everywhere else")
    assert devices.count() == 1
    phone.open("/account")
    assert phone.path == "/auth/sign-in"

    # Signing out.
    ada.open("/account")
    ada.click("Sign out")
    assert ada.path == "/"
    assert OPAQUE not in ada.cookies()
    assert demo.open("/account").status == 200


def test_an_authenticator_app(site: str, person: MakePerson, stytch: StytchEmulator) -> None:
    ada = person(site, "app@example.com")
    ada.open("/account")
    ada.sign_in()
    ada.open("/strong-room")
    assert ada.path == "/auth/step-up"
    ada.open("/app")
    stytch.set_clock(-90)
    ada.click("Add an app")
    secret = ada.page.locator("main code").first.inner_text()
    assert ada.page.get_by_role("listitem").count() == 10
    ada.fill("Code", stytch.totp_code(secret))
    ada.click("Use this app")
    stytch.set_clock(0)
    assert ada.path == "/account"
    ada.open("/strong-room")
    assert ada.path == "/auth/step-up"
    ada.page.get_by_label("Code").fill(stytch.totp_code(secret))
    ada.page.get_by_label("Code").press("Enter")
    ada.page.wait_for_url(f"{site}/strong-room")
    assert "flower pot" in ada.text


def test_stepping_up_by_a_code(site: str, person: MakePerson, stytch: StytchEmulator) -> None:
    ada = person(site, "late@example.com")
    ada.open("/account")
    stytch.set_clock(-120)
    ada.sign_in()
    stytch.set_clock(0)
    ada.open("/vault")
    assert ada.path == "/auth/step-up"
    ada.click("Send a code")
    ada.fill("Code", ada.code())
    ada.page.get_by_label("Code").press("Enter")
    ada.page.wait_for_url(f"{site}/vault")
    assert "flower pot" in ada.text


def test_cookies_of_a_script(browser: Browser, person: MakePerson, stytch: StytchEmulator) -> None:
    own = {"MOONKEY_STYTCH_COOKIES_BY": "browser", "MOONKEY_SIGN_IN": "/"}
    with running_with(APP, {**stytch.settings, **SECRET, **own}) as site:
        ada, signed_in = person(site, EMAIL), stytch.sign_in(EMAIL)
        ada.open("/")
        for name, value in ((OPAQUE, signed_in.session_token), (JWT, signed_in.session_jwt)):
            ada.page.evaluate(
                "line => { document.cookie = line }",
                f"{name}={value}; Path=/; Max-Age=3600; Secure; SameSite=Lax",
            )
        ada.open("/account")
        assert EMAIL in ada.text
        before = seen_by_scripts(ada)
        assert {one.partition("=")[0] for one in before.split("; ")} == {OPAQUE, JWT}
        ada.open("/auth/sessions")
        assert seen_by_scripts(ada) == before
        ada.open("/auth/sign-in")
        assert ada.path == "/"  # the page of the app where the script would sign in
        ada.open("/account")
        ada.click("Sign out")
        assert (ada.path, seen_by_scripts(ada), ada.cookies()) == ("/", "", {})


def test_hydrating(browser: Browser, person: MakePerson, stytch: StytchEmulator) -> None:
    """A script is given both credentials. It can keep them under other names than those of the app's cookies."""
    hydrate = """async (name) => {
        const answer = await fetch("/auth/session/hydrate", { method: "POST" });
        const found = await answer.json();
        document.cookie = `${name}=${found.session_token}; Path=/; Secure; SameSite=Lax`;
        return [answer.status, answer.headers.get("cache-control"), found.session.id];
    }"""
    with running_with(APP, {**stytch.settings, **SECRET, "MOONKEY_STYTCH_HYDRATE": "tokens"}) as site:
        ada = person(site, EMAIL)
        ada.open("/account")
        ada.sign_in()
        assert seen_by_scripts(ada) == ""
        ada.page.evaluate(hydrate, OPAQUE)
        assert seen_by_scripts(ada) == ""  # a script does not replace a cookie that is HttpOnly
        ada.open("/")
        status, caching, session_id = ada.page.evaluate(hydrate, "acme_session")
        assert (status, caching) == (200, "no-store")
        assert seen_by_scripts(ada) == f"acme_session={ada.cookies()[OPAQUE]}"
        assert session_id.startswith("session-test-")
