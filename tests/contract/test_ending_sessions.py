"""Ending sessions by the routes while the API is in trouble: refused first, told afterwards. On every stack."""

from __future__ import annotations

import httpx
import pytest

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.scripted import wait_until
from support.visitors import OURS, pair

DELETE, LIST = "/v1/auth/sessions/delete", "/v1/auth/sessions/list"


def status(web: httpx.Client, person: SignedIn, kind: str) -> int:
    headers = pair(person) if kind == "cookies" else {"session-token": getattr(person, kind)}
    return web.get("/protected", headers=headers).status_code


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonkey_core._operations.ending_retries._FIRST_PAUSE", 0.05)


def alive(emulator: Emulator, person: SignedIn) -> set[str]:
    """The sessions of a user that the API itself knows."""
    url, key = f"{emulator.base_url}/v1/auth/sessions/list", f"Bearer {emulator.secret_key}"
    found = quick.get(url, params={"user_id": person.user_id}, headers={"Authorization": key})
    return {session["id"] for session in found.json()["sessions"]}


def assert_left(web: httpx.Client, emulator: Emulator, mine: SignedIn, others: list[SignedIn]) -> None:
    """Only one session is left, whichever credential is shown; a little later for the API, too."""
    emulator.clear_faults()
    assert wait_until(lambda: not alive(emulator, mine) & {other.session_id for other in others})
    assert mine.session_id in alive(emulator, mine)
    for kind in ("cookies", "session_token", "session_jwt"):
        assert status(web, mine, kind) == 200
        assert [status(web, other, kind) for other in others] == [401] * len(others)


@pytest.mark.rule("S35")
def test_one_that_cannot_be_ended(web: httpx.Client, emulator: Emulator) -> None:
    mine, other = (emulator.sign_in(email="ada@example.com") for _ in range(2))
    assert status(web, other, "cookies") == 200
    emulator.fault(DELETE, status=500)
    path = f"/auth/sessions/{other.session_id}/revoke"
    assert web.post(path, headers={**pair(mine), **OURS}).status_code == 503
    assert_left(web, emulator, mine, [other])


@pytest.mark.rule("S35")
@pytest.mark.parametrize("path", [DELETE, LIST])
def test_others_that_cannot_be_ended(web: httpx.Client, emulator: Emulator, path: str) -> None:
    mine, *others = (emulator.sign_in(email="ada@example.com") for _ in range(3))
    assert status(web, others[0], "session_jwt") == 200
    emulator.fault(path, status=500)
    assert web.post("/auth/sessions/revoke-others", headers={**pair(mine), **OURS}).status_code == 503
    assert_left(web, emulator, mine, others)


@pytest.mark.parametrize("answer", [(200, ""), (200, "OK"), (202, "{}"), (204, "")])
def test_an_api_that_says_little(web: httpx.Client, emulator: Emulator, answer: tuple[int, str]) -> None:
    mine, other = (emulator.sign_in(email="ada@example.com") for _ in range(2))
    emulator.fault(DELETE, status=answer[0], body=answer[1])
    found = web.post("/auth/sessions/revoke-others", headers={**pair(mine), **OURS})
    assert (found.status_code, found.json()) == (200, {"revoked": [other.session_id], "revocation": "local"})
    left = web.post("/auth/sign-out", headers={**pair(other), **OURS})
    assert left.json() == {"signed_out": True, "complete": True, "revocation": "local"}


def test_signing_in_at_once_after_signing_out_everywhere_else(web: httpx.Client, emulator: Emulator) -> None:
    mine = emulator.sign_in(email="ada@example.com")
    assert web.post("/auth/sessions/revoke-others", headers={**pair(mine), **OURS}).json() == {
        "revoked": [],
        "revocation": "local",
    }
    again = emulator.sign_in(email="ada@example.com")
    assert_left(web, emulator, mine, [])
    assert_left(web, emulator, again, [])
