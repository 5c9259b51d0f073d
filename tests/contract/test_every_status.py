"""Lists that a request meets, each member on every stack: statuses, kinds in ``Accept``, odd cookies."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from contract.behaviour import Runs

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import JWT, PAGE, SESSION, pair, set_by, signed_in_long_ago

pytestmark = pytest.mark.long

VERIFY = "/v1/auth/sessions/verify"
ANSWERS = {
    **dict.fromkeys((400, 404, 410), 401),
    **dict.fromkeys((402, 403, 409), 500),
    **dict.fromkeys((204, 302, 405, 422, 425, 429, 451, 503), 503),
}
"""What a route answers where the API answers a verification so, with an error in JSON that nobody knows."""


def presented(person: SignedIn) -> dict[str, dict[str, str]]:
    return {
        "bearer": {"Authorization": f"Bearer {person.session_token}"},
        "header": {"Session-Token": person.session_token},
        "old JWT": {"Authorization": f"Bearer {person.session_jwt}"},
        "cookie": {"Cookie": f"{SESSION}={person.session_token}"},
        "pair": pair(person),
    }


@pytest.mark.parametrize("status", ANSWERS)
def test_a_status_of_the_api_has_one_meaning(
    web: httpx.Client, runs: Runs, emulator: Emulator, status: int
) -> None:
    person = signed_in_long_ago(emulator)
    body = "" if status in (204, 304) else json.dumps({"status_code": status, "error_type": "some_error"})
    emulator.fault(VERIFY, status=status, body=body, headers={"content-type": "application/json"})
    for name, headers in presented(person).items():
        answer = web.get("/protected", headers=headers)
        assert answer.status_code == ANSWERS[status], name
        assert answer.json()["status"] == ANSWERS[status]
        assert set_by(answer) == {}, name  # it takes nothing away
    assert runs == []
    emulator.clear_faults()
    for name, headers in presented(person).items():
        assert web.get("/protected", headers=headers).status_code == 200, name


TO_A_PAGE = ("text/html", "application/xhtml+xml", "TEXT/HTML;q=0.1", "application/xhtml+xml, image/*")
TO_EITHER = ("text/html, application/json", "application/json;q=0.5, application/xhtml+xml", "*/*, text/html")
TO_ANYTHING = ("", "*/*", "application/*", "application/json", "text/plain", "text/*", "application/xml")
RATHER_NOT = ("text/html;q=0", "text/html;q=0.5, application/json", "application/xhtml+xml;q=0.5, */*")
ACCEPTED = {
    **dict.fromkeys((*TO_A_PAGE, *TO_EITHER), 303),
    **dict.fromkeys((*TO_ANYTHING, *RATHER_NOT), 401),
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_who_is_sent_to_sign_in(web: httpx.Client, runs: Runs, accept: str) -> None:
    answer = web.get("/protected", headers={"Accept": accept})
    assert answer.status_code == ACCEPTED[accept]
    assert ("location" in answer.headers) == (answer.status_code == 303)
    assert runs == []


ODD = [b"\xe9", b"\xc3\xa9", b"\xff", b"\x80", b"\xe9.\xe9.\xe9", b'"', b"a b", b"{}", b"junk", b"a.b.c", b""]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_jwt_beside_a_good_token_is_no_fault_of_the_session(
    web: httpx.Client, emulator: Emulator, odd: bytes
) -> None:
    person = emulator.sign_in(email="ada@example.com")
    whole = person.session_jwt.encode()
    for jwt in (odd, odd + whole if odd else odd, whole[:40] + odd + whole[40:]):
        line = f"{SESSION}={person.session_token}; {JWT}=".encode() + jwt + b"; theme=dark"
        headers: Any = [(b"cookie", line)]
        answer = web.get("/protected", headers=headers)
        assert (answer.status_code, answer.json()["user"]) == (200, person.user_id), line
        assert not {name for name, value in set_by(answer).items() if not value}


@pytest.mark.parametrize("odd", [b"\xe9", b"\xc3\xa9", b"\xff", b"\x80", b'"', b"{}"], ids=repr)
def test_an_odd_token_is_malformed_whatever_stands_beside_it(
    web: httpx.Client, runs: Runs, emulator: Emulator, odd: bytes
) -> None:
    person = emulator.sign_in(email="ada@example.com")
    for beside in (b"", f"; {JWT}={person.session_jwt}".encode(), f"; {JWT}=".encode() + odd):
        line = f"{SESSION}={person.session_token[:20]}".encode() + odd + b"x" + beside
        headers: Any = [(b"cookie", line)]
        answer = web.get("/protected", headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_request"
        page = web.get("/protected", headers=[*headers, (b"accept", PAGE["Accept"].encode())])
        assert page.status_code == 400
    assert runs == []
