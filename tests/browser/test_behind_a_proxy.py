"""The same app behind a reverse proxy that speaks plain http to it, and calls it by another name."""

from __future__ import annotations

import pytest

from moonkey_core.emulator import Emulator
from support.examples import running
from support.person import MakePerson
from support.proxy import reverse_proxy

pytestmark = pytest.mark.long

STACKS = ["pages_flask:app", "pages_django:application", "pages_fastapi:app"]
BROWSER = "203.0.113.9"
# Older browsers don't send it, and no browser does to a site without https: then only the Origin tells.
FETCH_METADATA = frozenset({"sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"})


@pytest.mark.rule("S44")
@pytest.mark.parametrize(
    ("target", "drop"), [*((one, FETCH_METADATA) for one in STACKS), (STACKS[0], frozenset[str]())]
)
def test_a_trusted_proxy(target: str, drop: frozenset[str], person: MakePerson, emulator: Emulator) -> None:
    with (
        running(target, emulator, MOONKEY_TRUSTED_PROXIES="127.0.0.1") as app,
        reverse_proxy(app, browser=BROWSER, drop=drop) as site,
    ):
        ada = person(site, "ada@example.com")
        ada.open("/account")
        assert ada.path == "/auth/sign-in"
        ada.sign_in()
        assert ada.path == "/account"
        ada.click("Your devices", "link")
        assert f"Address\n{BROWSER}" in ada.text.replace(":", "")
        ada.click("Sign out")
        assert (ada.path, ada.session_cookies()) == ("/", {})


@pytest.mark.rule("S44")
@pytest.mark.parametrize("target", STACKS)
def test_a_proxy_that_nobody_trusts(target: str, person: MakePerson, emulator: Emulator) -> None:
    """What it says of the browser's origin is not believed, and so its forms are another site's."""
    with running(target, emulator) as app, reverse_proxy(app, browser=BROWSER, drop=FETCH_METADATA) as site:
        ada = person(site, "ada@example.com")
        ada.open("/auth/sign-in")
        ada.fill("E-mail address", ada.address)
        with ada.page.expect_navigation() as answer:
            ada.page.get_by_role("button", name="Send the code").click()
        assert answer.value.status == 403
        assert ada.cookies() == {}
        assert emulator.outbox() == []
