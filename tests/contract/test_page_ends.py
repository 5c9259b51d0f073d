"""No page is a dead end, in any framework: what a browser is shown after an error, and what it can press."""

from __future__ import annotations

import httpx
import pytest
from contract.requests import PROGRAM
from contract.responses import assert_page, assert_refused
from contract.stacks import OpenSite

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.flows import MAX_BODY_BYTES, ROUTES
from support.pages import Read
from support.visitors import OURS, PAGE, pair, set_by

TOO_LONG = b"address=" + b"a" * MAX_BODY_BYTES
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def hrefs(page: Read) -> list[str | None]:
    return [one.attributes["href"] for one in page.all("a")]


def test_every_address_of_the_routes_can_be_opened(web: httpx.Client, ada: SignedIn) -> None:
    for route in ROUTES:
        path = "/auth" + route.path.format(session_id="sess_1")
        for headers in ({**pair(ada), **PAGE}, pair(ada)):
            found = web.get(f"{path}?next=%2Fx", headers=headers)
            if "GET" not in route.methods:  # a script's address
                assert found.status_code == 405, path
                continue
            assert found.status_code in (200, 303, 400), path
            if route.form not in (None, route.path):
                assert (found.status_code, found.headers["location"]) == (303, f"/auth{route.form}?next=%2Fx")
                assert set_by(found) == {}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_that_is_too_long(web: httpx.Client, emulator: Emulator, chunked: bool) -> None:
    emulator.clear_requests()

    def sent(headers: dict[str, str]) -> httpx.Response:
        content = iter([TOO_LONG]) if chunked else TOO_LONG
        return web.post("/auth/sign-in/otp", headers={**headers, **FORM}, content=content)

    page = assert_page(sent({**OURS, **PAGE}), 413)
    assert page.one("h1").text == "That was too long"
    assert hrefs(page) == ["/auth/sign-in", "/"]
    assert_refused(sent({**PROGRAM, **OURS}), 413)
    assert emulator.requests() == {}


def test_what_is_not_there(web: httpx.Client, ada: SignedIn) -> None:
    page = assert_page(web.post("/auth/sessions/sess_0/revoke", headers={**pair(ada), **OURS, **PAGE}), 404)
    assert hrefs(page) == ["/auth/sessions", "/"]


def test_what_is_not_allowed(web: httpx.Client, ada: SignedIn) -> None:
    assert hrefs(assert_page(web.get("/paying", headers={**pair(ada), **PAGE}), 403)) == ["/"]


def test_an_outage_can_be_tried_again(open_site: OpenSite, browser: httpx.Client, emulator: Emulator) -> None:
    site = open_site(cookies=True, sign_in={"home": "/public", "site_name": "Ada & Co"}, timeout=1.0)
    person = emulator.sign_in()
    emulator.stop()
    shown = browser.get(f"{site.url}/strict?tab=a%26b", headers={**pair(person), **PAGE})
    page = assert_page(shown, 503)
    assert page.one("title").text == "Sign-in is not available at the moment \u2013 Ada & Co"
    assert hrefs(page) == ["/strict?tab=a%26b", "/public"]


def test_the_icon(web: httpx.Client) -> None:
    page = assert_page(web.get("/auth/sign-in", headers=PAGE))
    (address,) = [one.attributes["href"] for one in page.all("link") if one.attributes["rel"] == "icon"]
    icon = web.get(str(address))
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.headers["cache-control"] == "public, max-age=3600"


def test_json_is_not_sniffed(web: httpx.Client, ada: SignedIn) -> None:
    for path in ("/auth/session", "/auth/sessions", "/auth/sign-in", "/protected"):
        found = web.get(path, headers={"session-token": "dead"} if path == "/protected" else pair(ada))
        assert found.headers["content-type"] in ("application/json", "application/problem+json")
        assert found.headers["x-content-type-options"] == "nosniff"


def test_a_page_has_a_whole_user(web: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    assert web.get("/models", headers=pair(ada)).json()["user"]["email"] == "ada@example.com"
    said = web.get("/models", headers={"session-token": ada.session_jwt}).json()["user"]
    assert (said["email"], said["complete"]) == (None, False)
