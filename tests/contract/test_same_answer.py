"""Nobody learns from an answer why a credential is no good: the same for all of them, on every stack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support.visitors import PAGE, SESSION, pair

OF_EACH = {"date", "content-length", "set-cookie", "server", "connection"}


def told(web: httpx.Client, headers: Mapping[str, str]) -> tuple[Any, ...]:
    """Return all that an answer says but for its request id, and for what it does to cookies."""
    response = web.get("/protected", headers=dict(headers))
    problem = response.json()
    assert problem.pop("instance").startswith("urn:request:")
    said = sorted((name, value) for name, value in response.headers.items() if name not in OF_EACH)
    return response.status_code, said, problem


@pytest.mark.rule("S29", "token", "jwt", "pair")
def test_all_invalid_credentials_get_the_same_answer(web: httpx.Client, emulator: Emulator) -> None:
    ada, dead = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ben@example.com")
    emulator.revoke(dead.session_id)
    assert web.get("/protected", headers={"Session-Token": ada.session_jwt}).status_code == 200
    head, body, _ = ada.session_jwt.split(".")
    jwts = {
        "forged": ada.session_jwt[:-8] + "AAAAAAAA",
        "unsigned": f"{head}.{body}.",
        "foreign": emulator.mint(key="foreign", header={"kid": emulator.kid}),
        "another issuer": emulator.mint({"iss": "another"}),
        "nobody": emulator.mint({"sub": ""}),
        "not yet": emulator.mint({"nbf": int(time.time()) + 60}),
        "another algorithm": emulator.mint(header={"alg": "HS256"}),
    }
    tokens = {"never one": "never-existed", "ended": dead.session_token}
    asked = [{"Session-Token": value} for value in (*jwts.values(), *tokens.values())]
    asked += [{"Authorization": f"Bearer {value}"} for value in (*jwts.values(), *tokens.values())]
    asked += [{"Cookie": f"{SESSION}={value}"} for value in tokens.values()]
    asked += [pair(dead, jwt=value) for value in jwts.values()]
    first, *others = [told(web, headers) for headers in asked]
    assert first[0] == 401
    assert all(other == first for other in others)


@pytest.mark.rule("S29")
def test_all_malformed_ones_do(web: httpx.Client, emulator: Emulator) -> None:
    token = emulator.sign_in().session_token
    first, *others = [
        told(web, headers)
        for headers in (
            {"Session-Token": "a b"},
            {"Session-Token": "a" * 8193},
            {"Authorization": "Bearer a b"},
            {"Authorization": f"Bearer {token}", "Session-Token": token},
            {"Cookie": f"{SESSION}=a b"},
            {"Cookie": f"{SESSION}={token}; {SESSION}=another"},
        )
    ]
    assert first[0] == 400
    assert all(other == first for other in others)


@pytest.mark.rule("S29")
def test_a_page_says_no_more(web: httpx.Client, emulator: Emulator) -> None:
    dead = emulator.sign_in(email="ben@example.com")
    emulator.revoke(dead.session_id)
    found = {
        (response.status_code, response.headers.get("location"), response.text)
        for value in ("never-existed", dead.session_token)
        for response in [web.get("/protected", headers={**PAGE, "Cookie": f"{SESSION}={value}"})]
    }
    assert len(found) == 1
