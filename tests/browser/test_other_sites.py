"""Other sites in the same browser: what they send with its cookies is refused, and they sign nobody in.

``localhost`` is another site than ``127.0.0.1``: SameSite keeps the cookies back. Another port is the same site:
they are sent, and only the origin tells.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.emulator import Emulator
from support.other_site import form, other_site
from support.person import MakePerson, Person, magic_link

pytestmark = [pytest.mark.long, pytest.mark.rule("S43")]

ORIGINS = {"same-site": "127.0.0.1", "cross-site": "localhost"}
Pages = dict[str, str]


@pytest.fixture(params=ORIGINS)
def relation(request: pytest.FixtureRequest) -> str:
    """What another site is to ours."""
    name: str = request.param
    return name


@pytest.fixture
def pages() -> Pages:
    return {}


@pytest.fixture
def other(pages: Pages, relation: str) -> Iterator[str]:
    with other_site(pages) as url:
        yield url.replace("127.0.0.1", ORIGINS[relation])


def lured(victim: Person, url: str) -> tuple[int, dict[str, str]]:
    """Somebody clicks on the button there: the status that the browser gets, and the headers that it has sent."""
    victim.page.goto(url)
    with victim.page.expect_navigation() as found:
        victim.page.get_by_role("button").click()
    return found.value.status, found.value.request.all_headers()


def changes(emulator: Emulator) -> list[str]:
    """What the API was asked to do, beside looking."""
    return [route for route in emulator.requests() if route.startswith(("DELETE", "POST"))]


def test_what_is_sent_from_elsewhere_is_refused(
    site: str, person: MakePerson, emulator: Emulator, pages: Pages, other: str, relation: str
) -> None:
    ada = person(site, f"ada-{relation}@example.com")
    phone = person(site, ada.address)
    for one in (ada, phone):
        one.open("/auth/sign-in?next=/account")
        one.sign_in()
    kept = ada.cookies()
    emulator.clear_requests()
    pages["/sign-out"] = form(f"{site}/auth/sign-out")
    pages["/others"] = form(f"{site}/auth/sessions/revoke-others")
    pages["/send"] = form(f"{site}/auth/sign-in/otp", address="mallory@example.com")
    pages["/step-up"] = form(f"{site}/auth/step-up/otp", which="email")
    for path in pages:
        status, sent = lured(ada, other + path)
        assert status == 403, path
        assert sent["sec-fetch-site"] == relation
        assert ("cookie" in sent) == (relation == "same-site"), "SameSite alone would have done, or would not"
        assert ada.cookies() == kept
    assert not changes(emulator)
    for one in (ada, phone):
        assert one.open("/account").status == 200
        assert ada.address in one.text
    ada.click("Sign out")  # which our own page may do
    assert ada.session_cookies() == {}


def test_nobody_is_signed_in_from_elsewhere(
    site: str, person: MakePerson, emulator: Emulator, pages: Pages, other: str
) -> None:
    """As somebody else, that would be, who waits for what is typed in then."""
    token = magic_link(emulator, "mallory@example.com")
    victim = person(site, "ada@example.com")
    pages["/link"] = form(f"{site}/auth/sign-in/magic", token=token)
    status, _ = lured(victim, other + "/link")
    assert status == 403
    assert victim.cookies() == {}
    mallory = person(site, "mallory@example.com")  # the link was not even used up
    mallory.open(f"/auth/sign-in/magic?token={token}&next=/account")
    mallory.click("Sign in")
    assert mallory.path == "/account"
    assert "mallory@example.com" in mallory.text


@pytest.mark.parametrize("stack", ["pages_django:application"], indirect=True)
def test_scripts_and_frames_of_others(
    site: str, person: MakePerson, emulator: Emulator, pages: Pages, other: str
) -> None:
    ada = person(site, "ada@example.com")
    ada.open("/auth/sign-in?next=/account")
    ada.sign_in()
    kept = ada.cookies()
    mallory = ada.context.new_page()
    pages["/"] = "<p>Kittens</p>"
    mallory.goto(other + "/")
    emulator.clear_requests()
    send = """(url) => fetch(url, {method: "POST", credentials: "include", mode: "no-cors",
      headers: {"content-type": "application/x-www-form-urlencoded"}, body: "next=/"})"""
    with mallory.expect_response("**/auth/sign-out") as answer:
        mallory.evaluate(f"({send})", f"{site}/auth/sign-out")
    assert answer.value.status == 403
    read = '(url) => fetch(url, {credentials: "include"}).then((found) => found.text(), () => "kept from us")'
    assert mallory.evaluate(read, f"{site}/auth/session") == "kept from us"
    mallory.evaluate(
        """(url) => new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.onload = done; frame.src = url; document.body.append(frame); })""",
        f"{site}/auth/sign-out",
    )
    assert mallory.frames[1].url != f"{site}/auth/sign-out"
    assert ada.cookies() == kept
    assert not changes(emulator)
    assert ada.open("/account").status == 200


@pytest.mark.parametrize("stack", ["pages_fastapi:app"], indirect=True)
def test_websockets_of_others(site: str, person: MakePerson, pages: Pages, other: str) -> None:
    """They are no safe requests, although they are GETs, and the same site's cookies go along."""
    ada = person(site, "ada@example.com")
    ada.open("/auth/sign-in?next=/account")
    ada.sign_in()
    say = """(url) => new Promise((done) => {
      const socket = new WebSocket(url.replace("http", "ws"));
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => { done(event.data); socket.close(); };
      socket.onerror = () => done("refused"); })"""
    assert ada.page.evaluate(say, f"{site}/echo").endswith(": hello")
    pages["/"] = "<p>Kittens</p>"
    mallory = ada.context.new_page()
    mallory.goto(other + "/")
    assert mallory.evaluate(say, f"{site}/echo") == "refused"
