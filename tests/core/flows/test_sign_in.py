"""Signing in while the API is in trouble, and in a browser that has a session already."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core.emulator import Emulator
from moonkey_core.events import Revoked
from support.bindings import BINDING
from support.clients import Both
from support.flow_visits import (
    JWT,
    OTP,
    SESSION,
    Visitor,
    code_of,
    cookies_of,
    events_of,
    flow_client,
    header,
    json_of,
    shown,
    who,
)

VERIFY = "POST /v1/auth/otps/verify"
REVOKE = "DELETE /v1/auth/sessions/delete"
ME = {"address": "me@example.com"}


class TestTrouble:
    @pytest.mark.parametrize("fault", [{"status": 500}, {"body": "<html>"}, {"reset": True}])
    def test_no_code_can_be_sent(
        self, browser: Visitor, emulator: Emulator, fault: dict[str, Any], quick_retries: None
    ) -> None:
        emulator.fault("/v1/auth/otps", **fault)
        answer = browser.post("send_otp", ME)
        assert answer.status == 503
        assert shown(answer).one("h1").text == "Sign-in is not available at the moment"
        assert not cookies_of(answer)

    def test_a_code_can_still_be_used_afterwards(
        self, browser: Visitor, emulator: Emulator, quick_retries: None
    ) -> None:
        browser.post("send_otp", ME)
        code = code_of(emulator)
        for _ in range(7):
            emulator.fault("/v1/auth/otps/verify", status=429)
            answer = browser.post("verify_otp", {"code": code})
            assert answer.status == 503
            assert shown(answer).one("main").text
        emulator.clear_faults()
        assert OTP in browser.cookies
        assert browser.post("verify_otp", {"code": code}).status == 303

    @pytest.mark.rule("S21")
    def test_a_login_is_never_sent_twice(self, browser: Visitor, emulator: Emulator, quick_retries: None) -> None:
        browser.post("send_otp", ME)
        emulator.clear_requests()
        emulator.fault("/v1/auth/otps/verify", status=500)
        assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 503
        assert emulator.requests()[VERIFY] == 1

    def test_a_program_gets_a_problem(self, call: Both, emulator: Emulator, quick_retries: None) -> None:
        emulator.fault("/v1/auth/otps", status=500)
        answer = Visitor(call, html=False).post_json("send_otp", ME)
        assert (answer.status, json_of(answer)["status"]) == (503, 503)
        assert header(answer, "retry-after")

    def test_an_answer_without_a_session(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", ME)
        emulator.fault("/v1/auth/otps/verify", body='{"user_id": "user_1"}')
        assert browser.post("verify_otp", {"code": "123456"}).status == 503
        assert SESSION not in browser.cookies

    @pytest.mark.rule("S23")
    def test_an_answer_about_somebody_else(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", ME)
        ends = int(emulator.now()) + 3600
        session = f'{{"id": "sess_1", "user_id": "user_other", "expires_at": {ends}}}'
        body = f'{{"user_id": "user_other", "session": {session}, "session_token": "abc", "session_jwt": "a.b.c"}}'
        emulator.fault("/v1/auth/otps/verify", body=body)
        assert browser.post("verify_otp", {"code": "123456"}).status == 503
        assert SESSION not in browser.cookies

    def test_the_first_page_comes_up_while_the_api_is_down(self, browser: Visitor, emulator: Emulator) -> None:
        browser.cookies = {SESSION: "session_" + "Ab3" * 20}
        emulator.fault("*", status=500)
        assert shown(browser.get("sign_in")).one("h1").text == "Sign in"


class TestASessionBefore:
    def sign_in(self, browser: Visitor, emulator: Emulator, address: str) -> None:
        browser.post("send_otp", {"address": address})
        browser.post("verify_otp", {"code": code_of(emulator)})

    def test_it_is_said(self, browser: Visitor, emulator: Emulator) -> None:
        self.sign_in(browser, emulator, "me@example.com")
        page = shown(browser.get("sign_in"))
        assert "signed in already" in page.one("main").text
        assert "/auth/sign-out" in [link.attributes["href"] for link in page.all("a")]

    @pytest.mark.parametrize("address", ["me@example.com", "you@example.com"])
    def test_it_is_ended(self, browser: Visitor, emulator: Emulator, address: str) -> None:
        self.sign_in(browser, emulator, "me@example.com")
        former = dict(browser.cookies)
        events = events_of(browser.call)
        self.sign_in(browser, emulator, address)
        assert who(browser) == address
        assert browser.cookies[SESSION] != former[SESSION]
        assert len([event for event in events if isinstance(event, Revoked)]) == 1
        thief = Visitor(browser.call)
        thief.cookies = former
        assert "signed in already" not in shown(thief.get("sign_in")).one("main").text
        # Another request of the same browser may be under way with them: its answer leaves the new cookies alone.
        assert set(thief.cookies) == {SESSION, JWT, BINDING}

    def test_the_sign_in_works_where_it_cannot_be_ended(
        self, browser: Visitor, emulator: Emulator, caplog: pytest.LogCaptureFixture, quick_retries: None
    ) -> None:
        self.sign_in(browser, emulator, "me@example.com")
        former = dict(browser.cookies)
        emulator.fault("/v1/auth/sessions/delete", status=500)
        self.sign_in(browser, emulator, "you@example.com")
        assert who(browser) == "you@example.com"
        assert "former_session" in [getattr(record, "reason", "") for record in caplog.records]
        thief = Visitor(browser.call)
        thief.cookies = {name: former[name] for name in (SESSION, JWT)}
        thief.get("sign_in")
        assert not thief.cookies  # refused here all the same

    @pytest.mark.parametrize(("status", "times"), [(500, 2), (404, 1)])  # a 500 is asked once more
    def test_where_nobody_knows_whose_it_was(
        self, emulator: Emulator, quick_retries: None, status: int, times: int
    ) -> None:
        with flow_client("sync", emulator, jwt_issuer=None) as call:
            browser = Visitor(call)
            self.sign_in(browser, emulator, "me@example.com")
            former = browser.cookies[SESSION]
            browser.post("send_otp", {"address": "you@example.com"})
            emulator.fault("/v1/auth/sessions/verify", status=status, times=times)
            emulator.clear_requests()
            assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303
            assert emulator.requests()[REVOKE] == 1
            browser.cookies[SESSION] = former
            assert "signed in already" not in shown(browser.get("sign_in")).one("main").text

    def test_a_credential_in_a_header_is_left_alone(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in(email="me@example.com")
        program = Visitor(call, html=False)
        bearer = {"authorization": f"Bearer {person.session_token}", "sec-fetch-site": None}
        program.post_json("send_otp", {"address": "you@example.com"}, **bearer)
        assert program.post_json("verify_otp", {"code": code_of(emulator)}, **bearer).status == 200
        assert call("sessions.verify", session_token=person.session_token).user.email == "me@example.com"
