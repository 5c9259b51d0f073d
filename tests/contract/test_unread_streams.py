"""A streamed response of a view that never reads the identity: when the headers go out, what is it worth a call?

A body that is still to be made may read the identity later, and a cookie that is renewed then could not be sent
any more. So the credential is verified before the headers go out where it stands in the cookies, and only there.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.stacks import Site

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import GONE, JWT, SESSION, pair, set_by, signed_in_long_ago, vary, verifications

OpenSite = Callable[..., Site]
Headers = Callable[[SignedIn], dict[str, str]]


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"{SESSION}={value}"}


ROWS: dict[str, tuple[Headers, int, set[str]]] = {
    "anonymous": (lambda _: {}, 0, set()),
    "another scheme": (lambda _: {"Authorization": "Basic dXNlcjpwYXNz"}, 0, set()),
    "token": (lambda one: {"Authorization": f"Bearer {one.session_token}"}, 0, set()),
    "token, cookie beside it": (lambda one: {"Session-Token": one.session_token, **pair(one)}, 0, set()),
    "jwt, cookie beside it": (lambda one: {"Authorization": f"Bearer {one.session_jwt}", **pair(one)}, 0, set()),
    "malformed header, cookie beside it": (lambda one: {"Authorization": "Bearer a b", **pair(one)}, 0, set()),
    "two headers, cookie beside them": (
        lambda one: {"Authorization": f"Bearer {one.session_token}", "Session-Token": "x", **pair(one)},
        0,
        set(),
    ),
    "another scheme, pair beside it": (
        lambda one: {"Authorization": "Basic dXNlcjpwYXNz", **pair(one)},
        1,
        {JWT},
    ),
    "pair, old JWT": (pair, 1, {JWT}),
    "token cookie alone": (lambda one: cookie(one.session_token), 1, {JWT}),
    "jwt cookie alone": (lambda one: {"Cookie": f"{JWT}={one.session_jwt}"}, 0, set()),
    "malformed cookie": (lambda _: cookie('"a b"'), 0, set(GONE)),
    "jwt in the place of the token": (lambda one: cookie(one.session_jwt), 0, set(GONE)),
    "doubled cookie": (lambda one: {"Cookie": f"{SESSION}={one.session_token}; {SESSION}=other"}, 0, set()),
    "malformed jwt cookie": (lambda one: pair(one, jwt='"{"'), 1, {JWT}),
}


@pytest.mark.rule("S28", "S42", "S45")
@pytest.mark.parametrize("row", ROWS)
def test_it_is_verified_first_where_it_stands_in_cookies(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, row: str
) -> None:
    headers, calls, cookies = ROWS[row]
    site = open_site(**BROWSING, lazy=True)
    person = signed_in_long_ago(emulator)
    before = verifications(emulator)
    response = browser.get(site.url + "/unread-stream", headers=headers(person))
    assert (response.status_code, response.text) == (200, "ab")
    assert verifications(emulator) - before == calls
    assert set(set_by(response)) == cookies
    assert ("cookie" in vary(response)) == (row not in ("anonymous", "jwt cookie alone"))
