"""A credential in a header decides alone, whatever cookies beside it hold and whatever is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import CookieSettings
from moonkey_core.auth import from_cookies
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import DOWN, KnownToTheApi

TOKEN, UNKNOWN = "session_" + "t" * 40, "session_" + "u" * 40
SESSION, JWT = CookieSettings().names
GET = RequestInfo("GET", "https")
PAIRS = {
    "token": f"{SESSION}={TOKEN}",
    "pair": f"{SESSION}={TOKEN}; {JWT}={good(NOW)}",
    "pair with an old jwt": f"{SESSION}={TOKEN}; {JWT}={good(NOW - 400)}",
}
BAD: dict[str, dict[str, list[str]]] = {
    "malformed": {"session-token": ["a b"]},
    "two words": {"authorization": ["Bearer a b"]},
    "twice": {"session-token": [UNKNOWN, UNKNOWN]},
    "two": {"session-token": [UNKNOWN], "authorization": [f"Bearer {UNKNOWN}"]},
    "unknown": {"session-token": [UNKNOWN]},
    "forged": {"authorization": [f"Bearer {sign(header(), claims(NOW), 'foreign')}"]},
    "another issuer": {"authorization": [f"Bearer {good(NOW, iss='another')}"]},
    "not yet": {"authorization": [f"Bearer {good(NOW + 400)}"]},
}


def made(cookie: str, *, warm: bool, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], cookies=True, session_cache_ttl=60, grace_seconds=60, **options)
    if warm:
        for _ in range(2):
            assert decisions.read({"cookie": [cookie]}, None, GET).is_authenticated
    return decisions


@pytest.mark.rule("S42", "token", "jwt", "pair")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("cookie", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("lines", BAD.values(), ids=BAD)
def test_a_bad_one_never_falls_back(lines: dict[str, list[str]], cookie: str, warm: bool) -> None:
    decisions = made(cookie, warm=warm)
    for _ in range(2):
        auth = decisions.read({"cookie": [cookie], **lines}, None, GET)
        assert (auth.state, from_cookies(auth)) == ("rejected", False)
    assert decisions.read({"cookie": [cookie]}, None, GET).is_authenticated


@pytest.mark.rule("S42")
@pytest.mark.parametrize("warm", [False, True])
def test_nor_does_one_of_which_nobody_knows(warm: bool) -> None:
    """Although the pair could be judged here, or was good a moment ago."""
    decisions = made(PAIRS["pair"], warm=warm)
    decisions.answer = lambda _: DOWN
    auth = decisions.read({"cookie": [PAIRS["pair"]], "session-token": [UNKNOWN]}, None, GET)
    assert (auth.state, from_cookies(auth)) == ("unavailable", False)


@pytest.mark.rule("S42")
def test_a_revoked_one_does_not_either() -> None:
    decisions = made(PAIRS["pair"], warm=True)
    decisions.good[UNKNOWN] = {"session": {"id": "sess_2", "user_id": "user_2"}}
    lines = {"cookie": [PAIRS["pair"]], "session-token": [UNKNOWN]}
    assert decisions.read(lines, None, GET).is_authenticated
    decisions.core.revocations.add(session_id="sess_2")
    for _ in range(2):
        assert decisions.read(lines, None, GET).is_rejected


@pytest.mark.rule("S2", "S42")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("cookie", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("lines", [{"authorization": ["Bearer"]}, {"session-token": [""]}], ids=str)
def test_an_empty_one_is_none(lines: dict[str, list[str]], cookie: str, warm: bool) -> None:
    decisions = made(cookie, warm=warm)
    auth = decisions.read({"cookie": [cookie], **lines}, None, GET)
    assert (auth.state, from_cookies(auth)) == ("authenticated", True)
    assert decisions.read(lines, None, GET).state == "anonymous"
