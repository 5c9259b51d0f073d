"""S28. Headers for single caches, such as ``CDN-Cache-Control``: no cache keeps a session of somebody's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.kinds import TARGETED
from contract.requests import bearer
from contract.stacks import OpenSite, also_lazy

from moonkey_core.emulator import Emulator
from support.visitors import JWT, OURS, SESSION, pair, set_by, signed_in_long_ago

pytestmark = pytest.mark.rule("S28")

KINDS = ["targeted", "targeted, streamed"]
CLOSED = {name: "0" if name == "X-Accel-Expires" else "no-store" for name, _ in TARGETED}


def targeted(response: httpx.Response) -> dict[str, str]:
    for name, _ in TARGETED:
        assert len(response.headers.get_list(name)) == 1
    return {name: response.headers[name] for name, _ in TARGETED}


@pytest.mark.long
@also_lazy
@pytest.mark.parametrize("kind", KINDS)
def test_beside_cookies_that_change(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, kind: str
) -> None:
    site = open_site(**BROWSING)
    old, dead = signed_in_long_ago(emulator), emulator.sign_in()
    emulator.revoke(dead.session_id)
    for headers, changed in (
        (pair(old), {JWT}),
        ({"Cookie": f"{SESSION}={emulator.sign_in().session_token}"}, {JWT}),
        ({"Cookie": f"{SESSION}={dead.session_token}"}, {SESSION, JWT}),
        ({"Cookie": f'{SESSION}="a b"'}, {SESSION, JWT}),
    ):
        response = browser.get(f"{site.url}/kinds/{kind}?read=1", headers={**OURS, **headers})
        assert set(set_by(response)) == changed
        assert response.headers["cache-control"] == "no-store"
        assert targeted(response) == CLOSED


@also_lazy
@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_jwt_that_is_handed_out(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, kind: str
) -> None:
    site = open_site(fresh_jwt_header="Fresh-JWT")
    old = signed_in_long_ago(emulator)
    response = browser.get(f"{site.url}/kinds/{kind}?read=1", headers=bearer(old.session_jwt))
    assert "fresh-jwt" in response.headers
    assert targeted(response) == CLOSED


@pytest.mark.parametrize("kind", KINDS)
def test_beside_one_that_the_app_may_hand_out(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, kind: str
) -> None:
    """In the body, by ``Auth.fresh``."""
    site = open_site()
    old = signed_in_long_ago(emulator)
    response = browser.get(f"{site.url}/kinds/{kind}?read=1", headers=bearer(old.session_jwt))
    assert response.headers["cache-control"] == "private"
    assert targeted(response) == CLOSED


@pytest.mark.parametrize("kind", KINDS)
def test_the_apps_own_word_stands_elsewhere(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, kind: str
) -> None:
    site = open_site(**BROWSING)
    good = emulator.sign_in()
    cases: list[dict[str, Any]] = [{}, bearer(good.session_token), bearer(good.session_jwt), pair(good)]
    for headers in cases:
        for query in ("?read=1", ""):
            response = browser.get(f"{site.url}/kinds/{kind}{query}", headers={**OURS, **headers})
            assert set_by(response) == {}
            assert targeted(response) == dict(TARGETED)
