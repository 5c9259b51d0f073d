"""Closed by default: with ``required`` each route of a site refuses what is not signed in, unless it is marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from contract.behaviour import ORIGIN
from contract.requests import OWN, bearer, closed, handshake
from contract.responses import assert_refused
from contract.stacks import OpenSite, also_lazy, with_websockets
from websockets.exceptions import InvalidStatus

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.visitors import PAGE, pair, signed_in_long_ago

pytestmark = pytest.mark.rule("S53")

PRESENTS: dict[str, Callable[[SignedIn], dict[str, str]]] = {
    "token": lambda person: bearer(person.session_token),
    "jwt": lambda person: bearer(person.session_jwt),
    "pair": pair,
}
each_kind = pytest.mark.parametrize("presents", PRESENTS.values(), ids=PRESENTS.keys())
WITH_COOKIES = frozenset({"authorization", "session-token", "cookie"})


@pytest.fixture
def web(open_site: OpenSite) -> Iterator[httpx.Client]:
    """A client of a site of the test's own that is closed by default."""
    with quick.Client(base_url=open_site(required=True, cookies=True).url) as client:
        yield client


@also_lazy
def test_a_route_without_a_mark_is_closed_and_one_with_a_mark_is_open(web: httpx.Client) -> None:
    for path in ("/public", "/protected"):
        assert_refused(web.get(path), 401, headers=WITH_COOKIES)
    assert web.get("/opened").text.strip('"') == "opened"
    assert web.get("/opened/to-state").text.strip('"') == "anonymous"


@also_lazy
@each_kind
@pytest.mark.rule("S53", "token", "jwt", "pair")
def test_each_kind_of_credential_opens_what_is_closed(
    web: httpx.Client, emulator: Emulator, presents: Callable[[SignedIn], dict[str, str]]
) -> None:
    person = emulator.sign_in()
    assert web.get("/public", headers=presents(person)).text.strip('"') == "public"
    assert web.get("/opened/to-state", headers=presents(person)).text.strip('"') == "authenticated"


@also_lazy
@each_kind
@pytest.mark.rule("S53", "token", "jwt", "pair")
def test_a_dead_one_is_refused_and_a_marked_route_stays_open(
    web: httpx.Client, emulator: Emulator, presents: Callable[[SignedIn], dict[str, str]]
) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    refused = web.get("/public", headers=presents(person))
    assert_refused(refused, 401, "invalid_token", headers=WITH_COOKIES)
    assert web.get("/opened", headers=presents(person)).text.strip('"') == "opened"


@also_lazy
@each_kind
@pytest.mark.rule("S53", "token", "jwt", "pair")
def test_an_outage_is_503_and_a_marked_route_stays_open(
    web: httpx.Client, emulator: Emulator, presents: Callable[[SignedIn], dict[str, str]]
) -> None:
    person = signed_in_long_ago(emulator)
    emulator.stop()
    refused = web.get("/public", headers=presents(person))
    assert_refused(refused, 503, headers=WITH_COOKIES)
    assert "set-cookie" not in refused.headers
    assert web.get("/opened", headers=presents(person)).text.strip('"') == "opened"


def test_preflights_pass_and_refusals_have_their_cors_headers(web: httpx.Client) -> None:
    preflight = web.options("/public", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})
    assert preflight.status_code in (200, 204)
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    refused = web.get("/public", headers={"Origin": ORIGIN})
    assert_refused(refused, 401)
    assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_a_browser_is_sent_to_sign_in_and_the_session_routes_are_open(web: httpx.Client) -> None:
    refused = web.get("/public", headers=PAGE)
    assert refused.status_code in (302, 303)
    where = refused.headers["location"]
    assert where.startswith("/auth/sign-in")
    assert web.get(where).status_code == 200
    assert web.get("/auth/style.css").status_code == 200
    assert web.get("/header/session").status_code == 200


@with_websockets
@pytest.mark.rule("S53", "connection")
def test_a_websocket_without_a_mark_is_closed(web: httpx.Client, emulator: Emulator) -> None:
    with pytest.raises(InvalidStatus) as caught, handshake(web, [], "/socket/public"):
        pass
    assert caught.value.response.status_code == 401
    with handshake(web, [], "/socket/opened") as opened:
        assert opened.recv(10) == "open"
        assert closed(opened) is not None
    person = emulator.sign_in()
    for presents in PRESENTS.values():
        with handshake(web, [*{**presents(person), "Origin": OWN}.items()], "/socket/public") as admitted:
            assert admitted.recv(10) == "open"
