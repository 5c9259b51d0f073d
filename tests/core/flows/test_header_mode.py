"""The routes without cookies: what stands in for one, and what a client without a browser may and may not do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import ConfigurationError, CookieSettings, _clock
from moonkey_core.emulator import Emulator
from moonkey_core.events import SignedIn, SignedOut
from moonkey_core.flows import HEADER_ROUTES, ROUTES, Route, routes_of
from support.clients import Both
from support.flow_visits import Visitor, cookies_of, events_of, flow_client, header, json_of
from support.secrets import assert_no_secret

ME = "ada@example.com"


@pytest.fixture
def call(kind: str, emulator: Emulator) -> Iterator[Both]:
    with flow_client(kind, emulator, cookies=None) as both:
        yield both


@pytest.fixture
def program(call: Both) -> Visitor:
    found = Visitor(call, mode="header")  # whatever it accepts
    found.usual["sec-fetch-site"] = None
    return found


def sent(program: Visitor, address: str = ME) -> str:
    found = json_of(program.post_json("send_otp", {"address": address}))
    method_id = found["method_id"]
    assert isinstance(method_id, str)
    return method_id


def tried(program: Visitor, method_id: object, code: str) -> int:
    return program.post_json("verify_otp", {"method_id": method_id, "code": code}).status


def test_the_table() -> None:
    assert routes_of("cookies") == ROUTES
    assert routes_of("header") == HEADER_ROUTES
    assert {route.name for route in ROUTES} - {route.name for route in HEADER_ROUTES} == {"oauth", "style", "icon"}
    wrong: Any = "headers"
    with pytest.raises(ConfigurationError, match='"header"'):
        routes_of(wrong)


@pytest.mark.parametrize("route", HEADER_ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_answer(program: Visitor, route: Route, method: str) -> None:
    """JSON or a problem, whatever the client accepts; no cookie, no page, no redirect, and nobody stores it."""
    response = program.send(method, route.name, session_id="sess_1")
    assert (response.status == 405) is (method not in route.methods)
    assert response.page is None
    assert cookies_of(response) == {}
    assert header(response, "cache-control") == "no-store"
    assert response.status < 300 or response.status >= 400


@pytest.mark.parametrize("cookies", [None, CookieSettings()])
def test_the_whole_way(kind: str, emulator: Emulator, cookies: CookieSettings | None) -> None:
    with flow_client(kind, emulator, cookies=cookies) as call:
        program, seen = Visitor(call, mode="header"), events_of(call)
        program.usual["sec-fetch-site"] = "cross-site"
        fields = {"method_id": sent(program), "code": emulator.outbox()[0].code}
        found = json_of(program.post("verify_otp", fields))
        program.usual["session-token"] = found["session_token"]
        assert json_of(program.get("session"))["session"]["id"] == found["session"]["id"]
        assert json_of(program.post("sign_out")) == {"signed_out": True, "complete": True, "revocation": "local"}
        assert program.cookies == {}
        kinds = [type(one) for one in seen if isinstance(one, SignedIn | SignedOut)]
        assert kinds == [SignedIn, SignedOut]


@pytest.mark.rule("S48")
class TestTheMethodId:
    def test_nothing_can_be_read_in_it(self, program: Visitor, emulator: Emulator) -> None:
        method_id = sent(program)
        content = base64.urlsafe_b64decode(method_id + "=" * (-len(method_id) % 4)).decode("latin-1")
        for hidden in (emulator.outbox()[0].method_id, emulator.outbox()[0].user_id, ME):
            assert_no_secret([method_id, content], [hidden])

    def test_whether_an_address_is_known_nobody_learns(self, program: Visitor, emulator: Emulator) -> None:
        emulator.sign_in(email="known@example.com")
        lengths = {len(sent(program, f"{name}@example.com")) for name in ("known", "fresh")}
        emulator.fault("/v1/auth/otps", status=400, body='{"error_type": "blocked", "status_code": 400}')
        lengths.add(len(sent(program, "never@example.com")))
        assert len(lengths) == 1

    def test_it_cannot_be_changed(self, program: Visitor, emulator: Emulator) -> None:
        method_id, code = sent(program), emulator.outbox()[0].code
        for place in range(0, len(method_id) - 1, 7):
            other = "A" if method_id[place] != "A" else "B"
            assert tried(program, method_id[:place] + other + method_id[place + 1 :], code) == 400
        for wrong in (
            "",
            method_id[:-1],
            method_id * 2,
            "é",
            "x" * 4096,
            emulator.outbox()[0].method_id,
        ):
            assert tried(program, wrong, code) == 400
        assert tried(program, method_id, code) == 200

    def test_what_is_no_text(self, program: Visitor, emulator: Emulator) -> None:
        other: tuple[Any, ...] = (None, 7, [], {}, True)
        for wrong in other:
            assert tried(program, wrong, "123456") == 400

    def test_ten_minutes(self, program: Visitor, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        method_id, code = sent(program), emulator.outbox()[0].code
        wall = _clock.wall
        monkeypatch.setattr(_clock, "wall", lambda: wall() + 601)
        assert tried(program, method_id, code) == 400

    def test_it_is_no_cookie_and_no_cookie_is_one(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator) as call:
            browser, program = Visitor(call, html=False), Visitor(call, mode="header")
            browser.post("send_otp", {"address": ME})
            (name, cookie), *_ = browser.cookies.items()
            assert tried(program, cookie, emulator.outbox()[0].code) == 400
            browser.cookies = {name: sent(program)}
            assert browser.post("verify_otp", {"code": emulator.outbox()[0].code}).status == 400

    def test_a_sign_in_is_no_step_up(self, program: Visitor, emulator: Emulator) -> None:
        person = emulator.sign_in(email=ME)
        method_id, code = sent(program), emulator.outbox()[0].code
        program.usual["session-token"] = person.session_token
        found = program.post_json("step_up_verify_otp", {"method_id": method_id, "code": code})
        assert found.status == 400

    def test_one_session_cannot_use_that_of_another(self, program: Visitor, emulator: Emulator) -> None:
        one, other = (emulator.sign_in(email=ME) for _ in range(2))
        program.usual["session-token"] = one.session_token
        handed = json_of(program.post_json("step_up_send_otp", {"which": "email"}))
        fields = {"method_id": handed["method_id"], "code": emulator.outbox()[0].code}
        program.usual["session-token"] = other.session_token
        assert program.post_json("step_up_verify_otp", fields).status == 400
        program.usual["session-token"] = one.session_token
        assert json_of(program.post_json("step_up_verify_otp", fields))["stepped_up"] is True

    def test_a_code_is_tried_five_times(self, program: Visitor, emulator: Emulator) -> None:
        method_id, code = sent(program), emulator.outbox()[0].code
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        assert [tried(program, method_id, wrong) for _ in range(6)] == [401] * 5 + [429]
        assert tried(program, method_id, code) == 429

    def test_a_long_way_back_is_left_out(self, program: Visitor, emulator: Emulator) -> None:
        fields = {"address": ME, "next": "/" + "a" * 2040}
        method_id = json_of(program.post_json("send_otp", fields))["method_id"]
        assert len(method_id) <= 4096
        found = json_of(
            program.post_json("verify_otp", {"method_id": method_id, "code": emulator.outbox()[0].code})
        )
        assert found["next"] in ("", fields["next"])


@pytest.mark.rule("S30")
def test_no_credential_beyond_the_sign_in(program: Visitor, emulator: Emulator) -> None:
    person = emulator.sign_in(email=ME)
    program.usual["session-token"] = person.session_token
    shown = [program.get(route).body.decode() for route in ("session", "sessions", "step_up")]
    assert_no_secret(shown, [person.session_token, person.session_jwt])
    assert "session_token" not in json.dumps(shown)


def test_a_refusal_says_what_can_be_corrected(program: Visitor, emulator: Emulator) -> None:
    """A wrong code is no reason to forget the session that it was to be added to."""
    program.usual["authorization"] = f"Bearer {emulator.sign_in(email=ME).session_token}"
    method_id = json_of(program.post_json("step_up_send_otp", {"which": "email"}))["method_id"]
    wrong = f"{(int(emulator.outbox()[0].code) + 1) % 10**6:06d}"
    for route, fields, status, reason in (
        ("step_up_verify_otp", {"method_id": method_id, "code": wrong}, 401, "login_refused"),
        ("step_up_verify_otp", {"method_id": method_id, "code": "?"}, 400, "code_malformed"),
        ("step_up_verify_otp", {"method_id": "old", "code": wrong}, 400, "no_code_asked_for"),
        ("step_up_send_otp", {"which": "phone_number"}, 400, "no_such_address"),
        ("step_up_totp", {"code": wrong}, 400, "no_such_factor"),
        ("send_otp", {"email": "ada"}, 400, "address_malformed"),
        ("verify_otp", {"method_id": [], "code": wrong}, 400, "fields_malformed"),
        ("magic", {"token": ""}, 400, "link_malformed"),
    ):
        response = program.post_json(route, fields)
        assert (response.status, json_of(response).get("reason")) == (status, reason), route
    assert json_of(program.get("session"))["authenticated"]
