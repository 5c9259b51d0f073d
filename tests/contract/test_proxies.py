"""Behind a proxy: whose word on scheme, host and address is taken."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from contract.requests import ORIGIN, OWN, handshake, lines_for
from contract.stacks import OpenSite, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.visitors import Visitor, pair

pytestmark = pytest.mark.rule("S44")

VIA = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example"}
AT_THE_PROXY: list[tuple[Mapping[str, str], str, int]] = [
    (VIA, "https://app.example", 200),
    (VIA, "https://app.example:443", 200),
    (VIA, "http://app.example", 403),
    (VIA, OWN, 403),
    ({}, OWN, 200),  # one that says nothing
    ({"X-Forwarded-Proto": "https"}, "{own_https}", 200),
    ({**VIA, "X-Forwarded-Host": "evil.example, app.example"}, "https://app.example", 200),
    ({**VIA, "X-Forwarded-Host": "evil.example, app.example"}, "https://evil.example", 403),
    ({**VIA, "X-Forwarded-Proto": "http, https"}, "https://app.example", 200),
    ({**VIA, "X-Forwarded-Host": "app.example/.evil.example"}, "https://app.example", 403),
    ({"Forwarded": "proto=https;host=app.example"}, "https://app.example", 403),
]


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


@pytest.mark.rule("S44", "pair")
def test_behind_a_trusted_proxy(open_site: OpenSite, browser: httpx.Client, ada: SignedIn) -> None:
    url = open_site(cookies=True, trusted_proxies=["127.0.0.0/8"]).url
    for said, origin, status in AT_THE_PROXY:
        headers = [*pair(ada).items(), *said.items(), *lines_for(url, [(ORIGIN, origin)])]
        assert browser.post(f"{url}/protected", headers=headers).status_code == status, (said, origin)


@with_websockets
@pytest.mark.rule("S44", "connection")
def test_handshakes_behind_it(open_site: OpenSite, ada: SignedIn) -> None:
    with quick.Client(base_url=open_site(cookies=True, trusted_proxies=["127.0.0.0/8"]).url) as web:
        for said, origin, status in AT_THE_PROXY:
            lines = [*pair(ada).items(), *said.items(), (ORIGIN, origin)]
            answered = 200
            try:
                with handshake(web, lines) as websocket:
                    assert websocket.recv(10) == "hello"
            except InvalidStatus as refused:
                answered = refused.response.status_code
            assert answered == status, (said, origin)


def test_an_origin_by_name_is_the_only_one(open_site: OpenSite, browser: httpx.Client, ada: SignedIn) -> None:
    url = open_site(cookies={"origin": "https://app.example"}).url
    for origin, status in (("https://app.example", 200), (OWN, 403), ("http://app.example", 403)):
        headers = [*pair(ada).items(), *lines_for(url, [(ORIGIN, origin)])]
        assert browser.post(f"{url}/protected", headers=headers).status_code == status, origin


def test_without_a_proxy_the_peer_is_the_device(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    browser.base_url = httpx.URL(open_site(cookies=True, trusted_proxies="none").url)
    visitor = Visitor(browser)
    visitor.sign_in(emulator, "device@example.com")
    (one,) = visitor.get("/auth/sessions", Accept="application/json").json()["sessions"]
    assert one["device"]["ip"] == "127.0.0.1"


@pytest.mark.long
def test_the_address_of_a_device(
    open_site: OpenSite, browser: httpx.Client, web: httpx.Client, emulator: Emulator
) -> None:
    """The browser's, as the nearest proxy that is ours tells it; what stands before that anybody may have said."""

    def shown(client: httpx.Client, forwarded: str) -> str | None:
        visitor = Visitor(client, **{"X-Forwarded-For": forwarded})
        visitor.sign_in(emulator, "device@example.com")
        (one,) = [
            one
            for one in visitor.get("/auth/sessions", Accept="application/json").json()["sessions"]
            if one["current"]
        ]
        address: str | None = one["device"]["ip"]
        return address

    assert shown(web, "203.0.113.7") is None
    browser.base_url = httpx.URL(open_site(cookies=True, trusted_proxies=["127.0.0.0/8", "10.0.0.1"]).url)
    for forwarded, address in (
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("203.0.113.7, somebody", None),
    ):
        assert shown(browser, forwarded) == address, forwarded
