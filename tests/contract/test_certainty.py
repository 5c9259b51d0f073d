"""What an answer of the API that is not certain may not bring about, on every stack (rules S19, S20 and S45)."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import bearer
from contract.responses import assert_refused
from contract.stacks import OpenSite

from moonkey_core.emulator import Emulator, SignedIn
from support.visitors import GONE, JWT, OURS, PAGE, SESSION, Visitor, pair, set_by, signed_in_long_ago

VERIFY = "/v1/auth/sessions/verify"
DEAD = {"error": {"code": "invalid_session", "message": "Session not found or has expired"}}


def flat(status: int, code: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"status_code": status, "error_type": code})}


NOT_CERTAIN: dict[str, dict[str, Any]] = {
    "empty 401": {"status": 401, "body": ""},
    "401 of nothing": {"status": 401, "body": "{}"},
    "a gateway's 401": {"status": 401, "body": '{"message":"Unauthorized"}'},
    "maintenance": flat(400, "maintenance"),
    "no app": flat(404, "app_not_found"),
    "no route": flat(404, "route_not_found"),
}


def unreadable(person: SignedIn, now: float) -> dict[str, dict[str, Any]]:
    session = {"id": person.session_id, "user_id": person.user_id, "expires_at": int(now) + 9999}
    return {
        "deleted in words": {"body": json.dumps({"session": {**session, "deleted": "false"}})},
        "deleted as number": {"body": json.dumps({"session": {**session, "deleted": 1}})},
        "both at once": {"body": json.dumps({"session": session, **DEAD})},
        "rate limited": {"status": 429, "body": json.dumps(DEAD)},
        "timed out": {"status": 408, "body": json.dumps(DEAD)},
        "trouble": {"status": 503, "body": json.dumps(DEAD)},
    }


def new_address() -> str:
    """One that was sent no code yet: the site counts on from test to test."""
    return f"ada-{secrets.token_hex(8)}@example.com"


def held(person: SignedIn) -> list[dict[str, str]]:
    """What a browser may hold of a session: both cookies, or the token alone."""
    return [pair(person), {"Cookie": f"{SESSION}={person.session_token}"}]


@pytest.mark.long
@pytest.mark.rule("S19", "S20", "S45")
@pytest.mark.parametrize("answer", NOT_CERTAIN)
def test_a_refusal_that_is_not_certain_takes_no_cookie(
    web: httpx.Client, emulator: Emulator, runs: Runs, answer: str
) -> None:
    person = signed_in_long_ago(emulator)
    emulator.fault(VERIFY, **NOT_CERTAIN[answer])
    for cookies in held(person):
        refused = web.get("/protected", headers=cookies)
        assert_refused(refused, 401, "invalid_token")
        page = web.get("/protected", headers={**cookies, **PAGE})
        shown = web.get("/optional", headers=cookies)
        assert shown.json()["state"] == "rejected"
        for path in (
            "/auth/session",
            "/auth/sessions",
            "/auth/step-up",
            "/auth/sign-out",
            "/auth/sign-in",
            "/missing",
        ):
            assert set_by(web.get(path, headers={**cookies, **PAGE})) == {}, path
        for response in (refused, page, shown):
            assert set_by(response) == {}
    assert runs == []
    emulator.clear_faults()
    for cookies in held(person):
        assert web.get("/protected", headers=cookies).status_code == 200  # a minute later


@pytest.mark.long
@pytest.mark.rule("S19", "token", "jwt", "pair")
@pytest.mark.parametrize("place", range(6))
def test_what_cannot_be_read_is_503(web: httpx.Client, emulator: Emulator, runs: Runs, place: int) -> None:
    person = signed_in_long_ago(emulator)
    name, answer = list(unreadable(person, emulator.now()).items())[place]
    emulator.fault(VERIFY, **answer)
    for cookies in (*held(person), bearer(person.session_token), bearer(person.session_jwt)):
        for headers in (cookies, {**cookies, **PAGE}):
            refused = web.get("/protected", headers=headers)
            assert (refused.status_code, set_by(refused)) == (503, {}), name
        assert web.get("/optional", headers=cookies).json()["state"] == "unavailable"
        assert web.get("/auth/session", headers=cookies).status_code == 503
    assert runs == []
    emulator.clear_faults()
    for cookies in (*held(person), bearer(person.session_token), bearer(person.session_jwt)):
        assert web.get("/protected", headers=cookies).status_code == 200


@pytest.mark.long
@pytest.mark.rule("S19")
def test_it_revokes_nothing_for_the_routes_that_ask_each_time(web: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    for answer in (*unreadable(person, emulator.now()).values(), *NOT_CERTAIN.values()):
        emulator.fault(VERIFY, **answer)
        for headers in (pair(person), bearer(person.session_jwt)):
            refused = web.get("/strict", headers=headers)
            assert refused.status_code in (401, 503)
            assert set_by(refused) == {}
            assert web.get("/protected", headers=headers).status_code == 200  # its JWT is good by itself
    emulator.clear_faults()
    assert web.get("/strict", headers=pair(person)).status_code == 200


@pytest.mark.rule("S19", "S45")
def test_a_step_up_that_is_refused_for_something_else(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    visitor.sign_in(emulator, new_address())
    before = dict(visitor.cookies)
    visitor.post("/step-up/otp", {"which": "email"})
    code = {"code": emulator.outbox()[0].code}
    for answer in (flat(400, "maintenance"), flat(404, "route_not_found")):
        emulator.fault("/v1/auth/otps/verify", **answer)
        refused = visitor.post("/step-up/otp/verify", code)
        assert refused.status_code == 400
        assert "the code is not the reason" in refused.text
        assert "tries left" not in refused.text
    emulator.clear_faults()
    assert {name: visitor.cookies[name] for name in before} == before
    assert visitor.post("/step-up/otp/verify", code).status_code == 303


@pytest.mark.rule("S45")
def test_a_session_that_ends_during_a_step_up(web: httpx.Client, emulator: Emulator) -> None:
    visitor = Visitor(web)
    visitor.sign_in(emulator, new_address())
    visitor.post("/step-up/otp", {"which": "email"})
    code = {"code": emulator.outbox()[0].code}
    emulator.fault("/v1/auth/otps/verify", status=404, body=json.dumps(DEAD))
    refused = visitor.post("/step-up/otp/verify", code, Accept="application/json")
    assert refused.status_code == 401
    assert "wrong" not in refused.text
    assert set_by(refused) == GONE


@pytest.mark.rule("S20")
class TestALengthThatIsRefused:
    """Of the session, which says nothing of the code; the API takes 20,000 minutes at most."""

    @pytest.fixture(autouse=True)
    def _bound(self, emulator: Emulator) -> None:
        emulator.max_session_minutes(20_000)

    def ask(self, visitor: Visitor, emulator: Emulator) -> dict[str, str]:
        visitor.post("/sign-in/otp", {"address": new_address(), "remember_me": "on"})
        return {"code": emulator.outbox()[0].code}

    def test_the_page_says_that_it_is_not_the_code(
        self, web: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        visitor = Visitor(web)
        code = self.ask(visitor, emulator)
        for _ in range(7):  # more than there are tries
            refused = visitor.post("/sign-in/otp/verify", code)
            assert refused.status_code == 400
            assert "the code is not the reason" in refused.text
            assert "wrong" not in refused.text
            assert SESSION not in set_by(refused)
        (*_, line) = [one for one in caplog.records if getattr(one, "reason", "") == "sign_in_unclear"]
        assert "sign_in.remember_me asks for 43200 minutes" in line.getMessage()
        assert "session_expires_in must be a whole number from 5 to 20000" in line.getMessage()
        assert code["code"] not in line.getMessage()
        emulator.max_session_minutes()
        assert SESSION in set_by(visitor.post("/sign-in/otp/verify", code))

    def test_a_program_is_told_the_same(self, web: httpx.Client, emulator: Emulator) -> None:
        program = Visitor(web, Accept="application/json")
        code = self.ask(program, emulator)
        for _ in range(3):
            refused = program.post("/sign-in/otp/verify", code)
            problem = refused.json()
            assert (refused.status_code, problem["tries_left"]) == (400, 5)
            assert "not because of the code" in problem["detail"]
            assert "20000" not in refused.text  # what the API says is the operator's
        wrong = {"code": "000000" if code["code"] != "000000" else "111111"}
        emulator.max_session_minutes()
        assert program.post("/sign-in/otp/verify", wrong).json()["tries_left"] == 4

    def test_a_magic_link(self, web: httpx.Client, emulator: Emulator) -> None:
        url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
        key = {"Authorization": f"Bearer {emulator.secret_key}"}
        httpx.post(url, json={"email": "ada@example.com"}, headers=key)
        fields = {"token": emulator.outbox()[0].code, "remember_me": "1"}
        visitor = Visitor(web)
        refused = visitor.post("/sign-in/magic", fields)
        assert (refused.status_code, set_by(refused)) == (400, {})
        assert "The link is not the reason" in refused.text
        emulator.max_session_minutes()
        assert SESSION in set_by(visitor.post("/sign-in/magic", fields))

    def test_a_session_in_use_is_served(
        self, open_site: OpenSite, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = open_site(cookies={}, extend_on_activity=timedelta(days=60))
        old, new = signed_in_long_ago(emulator), emulator.sign_in()
        for person in (old, new):
            for headers in (*held(person), bearer(person.session_token), bearer(person.session_jwt)):
                response = browser.get(site.url + "/protected", headers={**headers, **OURS})
                assert response.status_code == 200
                assert set(set_by(response)) <= {JWT}
        lines = [one for one in caplog.records if getattr(one, "reason", "") == "extension_refused"]
        assert len(lines) == 1
        assert "extend_on_activity says (86400 minutes)" in lines[0].getMessage()
