"""Stepping up: a code or an authenticator app, verified into the session that is there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moonkey_core import CookieSettings, Session, Settings, SignInSettings, StepUpRequired, User
from moonkey_core._session_life.watch_policy import WatchedSession
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, SignedIn
from moonkey_core.flows.step_up import Demand, available_options, is_remembered, mask_address, parse_demand
from moonkey_core.gate import Requirements, check
from moonkey_core.models import fits_challenge
from moonkey_core.settings.sign_in_settings import Attempt, safe_target
from moonkey_core.web.request import RequestInfo
from support import quick
from support.bindings import BINDING
from support.clients import Both
from support.decisions import Decisions
from support.flow_visits import Visitor, cookies_of, flow_client, header, json_of, path_of, shown
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries")

SESSION, JWT = CookieSettings().names
SEALED = "__Host-moonkey_step_up"
ME, MASKED = "me@example.com", "m•••@example.com"
FRESH = Requirements(factors={"totp"}, factor_max_age=timedelta(minutes=10))
TWO = Requirements(factor_count=2)


class Person(Visitor):
    """Somebody who has signed in with a code; a program presents the session token in a header."""

    def __init__(
        self, call: Both, emulator: Emulator, email: str = ME, *, html: bool = True, by_header: bool = False
    ) -> None:
        super().__init__(call, html=html and not by_header)
        self.emulator = emulator
        call("otps.login_or_create", email=email)
        code = emulator.outbox()[0].code
        login = call("otps.verify", code, email=email, session_expires_in=60)
        self.user_id: str = login.user.id
        self.session_id: str = login.session.id
        self.old = (login.session_token, login.session_jwt)
        if by_header:
            self.usual |= {"session-token": login.session_token, "sec-fetch-site": None}
        else:
            self.cookies = {SESSION: login.session_token, JWT: login.session_jwt}

    def add_app(self) -> str:
        """Register an authenticator app; its secret."""
        self.emulator.set_clock(-90)  # the code that proves it is not one that a test wants
        secret = str(self._api("totps/create", {"user_id": self.user_id})["secret"])
        self._api("totps/verify", {"user_id": self.user_id, "totp": self.emulator.totp_code(secret)})
        self.emulator.set_clock(0)
        return secret

    def add_phone(self, number: str) -> None:
        path = f"users/{self.user_id}/update"
        self._api(path, {"phone_numbers": [{"phone_number": number}]}, "PUT")
        self.call("otps.send", phone_number=number)
        sent = self.emulator.outbox()[0]
        self.call("otps.verify", sent.code, method_id=sent.method_id)

    def _api(self, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.emulator.secret_key}"}
        answer = quick.request(method, f"{self.emulator.base_url}/v1/auth/{path}", json=body, headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = json_of(self.get("session"))["session"]
        return found

    def ask(self, **fields: str) -> str:
        """Have a code sent; returns it."""
        self.post("step_up_send_otp", {"which": "email", **fields})
        return self.emulator.outbox()[0].code

    def credentials(self) -> list[str]:
        return [*self.old, *self.cookies.values()]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def events_of(call: Both) -> list[Event]:
    found: list[Event] = []
    call.client.hooks.add(lambda event: found.append(event) if isinstance(event, SignedIn) else None)
    return found


class TestThePage:
    def test_what_there_is(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        page = shown(me.get("step_up", {"next": "/pay", "max_age": "600", "acr_values": "otp"}))
        assert page.one("button").text == f"Send a code to {MASKED}"
        assert page.fields() == {"which": "email", "next": "/pay", "acr_values": "otp", "max_age": "600"}
        assert "not older than 10 minutes" in page.html
        assert ME not in page.html
        me.add_app()
        me.add_phone("+14155550123")
        buttons = [one.text for one in shown(me.get("step_up")).all("button")]
        assert buttons == ["Confirm", f"Send a code to {MASKED}", "Send a code by text message to •••23"]

    def test_for_a_program(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator, by_header=True)
        assert json_of(me.get("step_up")) == {"options": [{"which": "email", "to": MASKED}]}
        me.add_app()
        assert json_of(me.get("step_up", {"acr_values": "totp webauthn"})) == {"options": [{"which": "totp"}]}

    @pytest.mark.parametrize("names", ["webauthn", "totp", "sms"])
    def test_what_would_not_do_is_not_offered(self, call: Both, emulator: Emulator, names: str) -> None:
        page = shown(Person(call, emulator).get("step_up", {"acr_values": names, "next": "/pay"}))
        assert page.all("form") == []
        assert [one.attributes["href"] for one in page.all("a")] == ["/auth/sign-in?next=%2Fpay", "/"]

    def test_an_unverified_address_is_none(self, call: Both, emulator: Emulator) -> None:
        url, headers = (
            f"{emulator.base_url}/v1/auth/users/create",
            {"authorization": f"Bearer {emulator.secret_key}"},
        )
        made = quick.post(url, json={"email": "new@example.com"}, headers=headers).raise_for_status().json()
        person = emulator.sign_in(user_id=made["user_id"], factors=["totp"])
        browser = Visitor(call)
        browser.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
        assert shown(browser.get("step_up")).all("form") == []
        assert browser.post("step_up_send_otp", {"which": "email"}).status == 400
        assert emulator.outbox() == []

    def test_nobody(self, call: Both) -> None:
        browser = Visitor(call)
        target = "/auth/step-up?next=%2Fpay&max_age=600"
        assert (
            path_of(browser.get("step_up", "next=%2Fpay&max_age=600"))
            == f"/auth/sign-in?{urlencode({'next': target})}"
        )
        for route in ("step_up_send_otp", "step_up_verify_otp", "step_up_totp"):
            assert Visitor(call, html=False).post(route, {"code": "123456"}).status == 401
            assert browser.post(route, {"code": "123456"}).status == 401
        assert path_of(browser.get("step_up_verify_otp")).startswith("/auth/sign-in?next=")

    @pytest.mark.parametrize(
        "query", ["next=//evil.example", "next=https://evil.example", "max_age=x&acr_values=%22"]
    )
    def test_a_query_of_somebody_else(self, call: Both, emulator: Emulator, query: str) -> None:
        fields = shown(Person(call, emulator).get("step_up", query)).fields()
        assert fields == {"which": "email", "next": "", "acr_values": "", "max_age": ""}

    @pytest.mark.parametrize("query", ["next=/a&next=/b", "a=%FF", "&".join(f"x{n}=1" for n in range(100))])
    def test_a_query_that_cannot_be_read(self, call: Both, emulator: Emulator, query: str) -> None:
        assert Person(call, emulator).get("step_up", query).status == 400


class TestByACode:
    def test_there_and_back(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        seen = events_of(call)
        response = me.post("step_up_send_otp", {"which": "email", "next": "/pay", "max_age": "60"})
        assert path_of(response) == "/auth/step-up/otp/verify"
        sent = emulator.outbox()[0]
        assert sent.to == ME
        page = shown(me.get("step_up_verify_otp"))
        assert MASKED in page.html
        assert page.one("a").attributes["href"] == "/auth/step-up?max_age=60&next=%2Fpay"
        response = me.post("step_up_verify_otp", {"code": f" {sent.code[:3]} {sent.code[3:]}"})
        assert path_of(response) == "/pay"
        assert set(cookies_of(response)) == {SESSION, JWT, BINDING, SEALED}
        assert set(me.cookies) == {SESSION, JWT, BINDING}
        assert not set(me.old) & set(me.cookies.values())
        assert seen == [SignedIn(me.user_id, me.session_id, "otp")]
        found = me.session()
        assert found["id"] == me.session_id
        assert len(found["factors"]) == 2

    def test_the_new_factor_counts_at_once(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator, session_cache_ttl=60, grace_seconds=60) as call:
            for by_header in (True, False):
                me = Person(call, emulator, f"{by_header}@example.com".lower(), by_header=by_header)
                secret = me.add_app()
                assert isinstance(self._refusal(me), StepUpRequired)
                assert isinstance(self._refusal(me), StepUpRequired)  # remembered
                response = me.post("step_up_totp", {"code": emulator.totp_code(secret)})
                if by_header:
                    me.usual["session-token"] = json_of(response)["session_token"]
                assert self._refusal(me) is None
                assert check(self._auth(me), TWO) is None

    def test_where_the_token_stays_the_same(self, kind: str, emulator: Emulator) -> None:
        """Nothing that is remembered under the token may hide the new factor."""
        with flow_client(kind, emulator, session_cache_ttl=60) as call:
            me = Person(call, emulator, by_header=True)
            secret = me.add_app()
            token = me.usual["session-token"]
            assert isinstance(self._refusal(me), StepUpRequired)
            answer = me._api(
                "totps/verify", {"user_id": me.user_id, "totp": emulator.totp_code(secret), "session_token": token}
            )
            emulator.fault("/v1/auth/totps/verify", body=json.dumps({**answer, "session_token": token}))
            assert me.post("step_up_totp", {"code": "123456"}).status == 200
            emulator.fault("/v1/auth/sessions/verify", body=json.dumps({**answer, "session_token": token}))
            assert self._refusal(me) is None

    def _auth(self, me: Person) -> Any:
        return me.call("authenticate", me._headers({}), None, RequestInfo("GET", "https"))

    def _refusal(self, me: Person) -> Any:
        return check(self._auth(me), FRESH)

    def test_a_browser_that_speaks_json(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator, html=False)
        response = me.post_json("step_up_send_otp", {"which": "email", "next": "/pay"})
        assert json_of(response) == {"sent": True, "to": MASKED}
        assert json_of(me.get("step_up_verify_otp")) == {"to": MASKED, "tries_left": 5}
        response = me.post_json("step_up_verify_otp", {"code": emulator.outbox()[0].code})
        found = json_of(response)
        assert (found["stepped_up"], found["session"]["id"], found["next"]) == (True, me.session_id, "/pay")
        assert set(found) == {"stepped_up", "session", "next"}
        assert_no_secret([response.body], me.credentials())

    @pytest.mark.parametrize("which", ["session_token", "session_jwt"])
    def test_a_program_is_handed_the_new_credentials(self, call: Both, emulator: Emulator, which: str) -> None:
        me = Person(call, emulator, by_header=True)
        if which == "session_jwt":
            me.usual |= {"session-token": None, "authorization": f"Bearer {me.old[1]}"}
        code = me.ask()
        response = me.post("step_up_verify_otp", {"code": code})
        assert set(cookies_of(response)) == {SEALED}
        assert header(response, "cache-control") == "no-store"
        found = json_of(response)
        assert found["session_token"] not in me.old
        for name in ("session_token", "session_jwt"):
            verified = call("sessions.verify", **{name: found[name]})
            assert len(verified.session.factors) == 2

    def test_by_text_message(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        me.add_phone("+14155550123")
        code = me.ask(which="phone_number")
        assert emulator.outbox()[0].to == "+14155550123"
        assert "•••23" in shown(me.get("step_up_verify_otp")).html
        assert path_of(me.post("step_up_verify_otp", {"code": code})) == "/"
        assert [one["delivery_channel"] for one in me.session()["factors"]] == ["email", "sms"]

    def test_only_to_an_address_of_ones_own(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        before = len(emulator.outbox())
        for which in ("", "phone_number", "totp", "evil@example.com"):
            assert me.post("step_up_send_otp", {"which": which, "email": "evil@example.com"}).status == 400
        assert len(emulator.outbox()) == before
        me.post("step_up_send_otp", {"which": "email", "email": "evil@example.com", "address": "evil@example.com"})
        assert emulator.outbox()[0].to == ME

    @pytest.mark.rule("S48")
    def test_wrong_codes(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        code = me.ask(next="/pay")
        before = dict(me.cookies)
        assert "is not a code" in shown(me.post("step_up_verify_otp", {"code": "?"})).html
        for left in (4, 3, 2):
            response = me.post("step_up_verify_otp", {"code": wrong(code)})
            assert response.status == 401
            assert f"You have {left} tries left." in shown(response).html
        assert "one try left" in shown(me.post("step_up_verify_otp", {"code": wrong(code)})).html
        for tried in (wrong(code), code):
            response = me.post("step_up_verify_otp", {"code": tried})
            assert shown(response).one("h1").text == "Too many tries"
        assert me.cookies == before
        assert len(me.session()["factors"]) == 1
        new = me.ask(next="/pay")
        assert path_of(me.post("step_up_verify_otp", {"code": new})) == "/pay"

    @pytest.mark.parametrize("by_header", [False, True])
    @pytest.mark.parametrize("way", ["code", "app", "too many", "refused", "not sent"])
    def test_one_that_fails_leaves_the_renewal_of_the_jwt_on(
        self, kind: str, emulator: Emulator, way: str, by_header: bool
    ) -> None:
        with flow_client(kind, emulator, sign_in=SignInSettings(max_tries=2)) as call:
            emulator.set_clock(-400)  # the JWT is too old, the session goes on
            me = Person(call, emulator, by_header=by_header)
            old = me._api("sessions/verify", {"session_token": me.old[0]})["session_jwt"]
            emulator.set_clock(0)
            if by_header:
                me.usual |= {"session-token": None, "authorization": f"Bearer {old}"}
            if way == "app":
                me.post("step_up_totp", {"code": wrong(emulator.totp_code(me.add_app()))})
            else:
                code = wrong(me.ask())
                if way in ("refused", "not sent"):
                    emulator.fault("/v1/auth/otps/verify", status=400 if way == "refused" else 429)
                for _ in range(3 if way == "too many" else 1):
                    me.post("step_up_verify_otp", {"code": code})
                emulator.clear_faults()
            assert self._is_renewed(me)

    def test_where_it_may_have_been_replaced_there_is_no_renewal(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator) as call:
            me = Person(call, emulator)
            code = me.ask()
            emulator.fault("/v1/auth/otps/verify", status=500)
            assert me.post("step_up_verify_otp", {"code": code}).status == 503
            emulator.clear_faults()
            assert not self._is_renewed(me)

    def _is_renewed(self, me: Person) -> bool:
        """Whether the token alone, as beside a JWT that is too old, is given a new JWT."""
        me.cookies.pop(JWT, None)
        return fresh_jwt(self._auth(me)) is not None

    def test_a_wrong_code_as_json(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator, html=False)
        response = me.post("step_up_verify_otp", {"code": wrong(me.ask())})
        assert response.status == 401
        assert json_of(response)["tries_left"] == 4
        assert "wrong" in json_of(response)["detail"]

    def test_a_code_works_once(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        code = me.ask()
        sealed = me.cookies[SEALED]
        assert me.post("step_up_verify_otp", {"code": code}).status == 303
        after = dict(me.cookies)
        me.cookies[SEALED] = sealed
        assert me.post("step_up_verify_otp", {"code": code}).status == 401
        assert {**me.cookies, SEALED: sealed} == {**after, SEALED: sealed}
        assert len(me.session()["factors"]) == 2

    def test_a_double_click(self, call: Both, emulator: Emulator) -> None:
        """After the answer to the first one, the browser has no cookie of the code any more."""
        me = Person(call, emulator)
        code = me.ask(next="/pay")
        for _ in range(2):
            assert path_of(me.post("step_up_verify_otp", {"code": code, "next": "/pay"})) == "/pay"
        assert me.post("step_up_verify_otp", {"code": wrong(code)}).status == 400

    @pytest.mark.rule("S48")
    def test_the_cookie_of_another_session(self, call: Both, emulator: Emulator) -> None:
        """A code that was sent for one session is of no use in any other, of whomever."""
        me, again, other = (
            Person(call, emulator),
            Person(call, emulator),
            Person(call, emulator, "other@example.com"),
        )
        code = me.ask()
        for browser in (again, other):
            browser.cookies[SEALED] = me.cookies[SEALED]
            for response in (
                browser.get("step_up_verify_otp"),
                browser.post("step_up_verify_otp", {"code": code}),
            ):
                assert response.status == 400
                assert shown(response).one("h1").text == "Ask for a new code"
            assert len(browser.session()["factors"]) == 1
        assert path_of(me.post("step_up_verify_otp", {"code": code})) == "/"

    @pytest.mark.parametrize("value", ["", "x", "A" * 200, "é", "A" * 5000])
    def test_no_cookie_of_ours(self, call: Both, emulator: Emulator, value: str) -> None:
        me = Person(call, emulator)
        code = me.ask()
        me.cookies[SEALED] = value
        assert me.post("step_up_verify_otp", {"code": code}).status == 400

    @pytest.mark.rule("S48")
    def test_the_cookie_of_a_sign_in(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        me.post("send_otp", {"address": ME})
        me.cookies[SEALED] = me.cookies["__Host-moonkey_otp"]
        assert me.post("step_up_verify_otp", {"code": emulator.outbox()[0].code}).status == 400


class TestByAnApp:
    def test_there_and_back(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        secret, seen = me.add_app(), events_of(call)
        page = shown(me.get("step_up", {"acr_values": "totp", "next": "/pay"}))
        assert page.one("form").attributes["action"] == "/auth/step-up/totp?next=%2Fpay&acr_values=totp"
        response = me.post("step_up_totp", {"code": emulator.totp_code(secret), "next": "/pay"})
        assert path_of(response) == "/pay"
        assert seen == [SignedIn(me.user_id, me.session_id, "totp")]
        assert [one["type"] for one in me.session()["factors"]] == ["otp", "totp"]
        assert me.session()["id"] == me.session_id

    @pytest.mark.rule("S48")
    def test_wrong_codes(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        secret = me.add_app()
        fields = {"next": "/pay", "acr_values": "totp", "max_age": "60"}
        malformed = me.post("step_up_totp", {**fields, "code": "?"})
        assert malformed.status == 400
        assert "is not a code" in shown(malformed).html
        for left in (4, 3, 2, 1, 0):
            response = me.post("step_up_totp", {**fields, "code": wrong(emulator.totp_code(secret))})
            assert response.status == 401
            page = shown(response)
            assert page.fields() == {"code": "", **fields}
            told = "one try left" if left == 1 else f"{left} tries left" if left else "Too many wrong codes"
            assert told in page.html
        again = Person(call, emulator)  # another browser of the same user is no way around it
        response = again.post("step_up_totp", {"code": emulator.totp_code(secret)})
        assert response.status == 429
        assert "Too many wrong codes" in shown(response).html

    def test_right_ones_do_not_count(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator, sign_in=SignInSettings(max_tries=1)) as call:
            me = Person(call, emulator, html=False)
            secret = me.add_app()
            for ahead in (-30, 0, 30):
                emulator.set_clock(ahead)
                code = emulator.totp_code(secret)
                emulator.set_clock(0)
                assert me.post("step_up_totp", {"code": code}).status == 200
            assert me.post("step_up_totp", {"code": code}).status == 401  # used before

    def test_a_double_click(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        code = emulator.totp_code(me.add_app())
        for _ in range(2):
            assert path_of(me.post("step_up_totp", {"code": code, "next": "/pay"})) == "/pay"
        assert len(me.session()["factors"]) == 2
        assert me.post("step_up_totp", {"code": wrong(code), "next": "/pay"}).status == 401

    def test_without_one(self, call: Both, emulator: Emulator) -> None:
        response = Person(call, emulator, html=False).post("step_up_totp", {"code": "123456"})
        assert response.status == 400

    def test_one_that_was_never_proved(self, call: Both, emulator: Emulator) -> None:
        """Who has got hold of a session, and may begin a registration with it, has no second factor thereby."""
        thief = Person(call, emulator, html=False)
        secret = str(thief._api("totps/create", {"user_id": thief.user_id})["secret"])
        response = thief.post("step_up_totp", {"code": emulator.totp_code(secret)})
        assert response.status == 400
        assert emulator.requests()["POST /v1/auth/totps/verify"] == 0
        assert [one["type"] for one in thief.session()["factors"]] == ["otp"]


@pytest.mark.rule("S48")
class TestLimits:
    def test_codes_sent(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator, sign_in=SignInSettings(max_sends=2)) as call:
            me = Person(call, emulator)
            before = len(emulator.outbox())
            statuses = [me.post("step_up_send_otp", {"which": "email"}).status for _ in range(3)]
            assert statuses == [303, 303, 429]
            response = me.post("step_up_send_otp", {"which": "email"})
            assert 1 <= int(header(response, "retry-after")) <= 900
            assert len(emulator.outbox()) == before + 2

    def test_the_apps_own_limiter(self, kind: str, emulator: Emulator) -> None:
        asked: list[Attempt] = []

        def limiter(attempt: Attempt) -> bool:
            asked.append(attempt)
            return len(asked) < 2

        with flow_client(kind, emulator, sign_in=SignInSettings(limiter=limiter)) as call:
            me = Person(call, emulator)
            code = me.ask()
            assert me.post("step_up_verify_otp", {"code": code}).status == 429
            assert [(one.kind, one.address) for one in asked] == [("send", ME), ("try", ME)]


class TestMixUps:
    @pytest.mark.rule("S23")
    @pytest.mark.parametrize(
        "change",
        [
            {"session": {"id": "sess_other"}},
            {"session": {"user_id": "user_other"}, "user": {"id": "user_other"}, "user_id": "user_other"},
            {"user": {"id": "user_other"}},
            {"session": None, "session_token": "", "session_jwt": ""},
            {"session_token": ""},
            {"session_token": "no token; Domain=evil.example"},
            {"session": {"expires_at": "x"}},
        ],
    )
    @pytest.mark.parametrize("html", [True, False])
    def test_another_session_is_not_taken(
        self, call: Both, emulator: Emulator, change: dict[str, Any], html: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        me = Person(call, emulator, html=html)
        code, seen, before = me.ask(), events_of(call), dict(me.cookies)
        other = emulator.sign_in(email="other@example.com")
        answer = {
            "method_id": "em_1",
            "user_id": me.user_id,
            "user": {"id": me.user_id},
            "session": {"id": me.session_id, "user_id": me.user_id, "expires_at": 4_000_000_000},
            "session_token": other.session_token,
            "session_jwt": other.session_jwt,
        }
        changed = {
            name: {**answer[name], **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
            for name, value in change.items()
        }
        emulator.fault("/v1/auth/otps/verify", body=json.dumps({**answer, **changed}))
        response = me.post("step_up_verify_otp", {"code": code})
        assert response.status == 503
        assert cookies_of(response) == {}
        assert me.cookies == before
        assert seen == []
        assert_no_secret(caplog.records, [*me.credentials(), other.session_token, other.session_jwt])
        assert_no_secret([response.body], [other.session_token, other.session_jwt])

    def test_signed_out_meanwhile(self, call: Both, emulator: Emulator) -> None:
        """The answer was on its way when the session was ended elsewhere: it brings nothing back."""
        me = Person(call, emulator)
        code = me.ask()

        def end_it(event: Event) -> None:
            if getattr(event, "operation", "") == "otps/verify":
                call.client.revocations.add(session_id=me.session_id)

        call.client.hooks.add(end_it)
        response = me.post("step_up_verify_otp", {"code": code})
        assert response.status == 401
        assert me.cookies == {}

    def test_the_api_is_down(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        me.session()
        code, before = me.ask(), dict(me.cookies)
        emulator.fault("/v1/auth", status=500)
        for response in (
            me.get("step_up"),
            me.post("step_up_send_otp", {"which": "email"}),
            me.post("step_up_verify_otp", {"code": code}),
            me.post("step_up_totp", {"code": code}),
        ):
            assert response.status == 503
            assert shown(response).one("h1").text
        assert me.cookies == before

    @pytest.mark.rule("S43")
    def test_a_page_of_another_site(self, call: Both, emulator: Emulator) -> None:
        me = Person(call, emulator)
        before = len(emulator.outbox())
        for route in ("step_up_send_otp", "step_up_verify_otp", "step_up_totp"):
            assert me.post(route, {"which": "email", "code": "123456"}, sec_fetch_site="cross-site").status == 403
        assert len(emulator.outbox()) == before

    @pytest.mark.rule("S30")
    def test_no_secret_is_logged(self, call: Both, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        me = Person(call, emulator, "somebody.with.a.name@example.com")
        code = me.ask()
        me.post("step_up_verify_otp", {"code": wrong(code)})
        me.post("step_up_verify_otp", {"code": code})
        ours = [record for record in caplog.records if record.name == "moonkey"]
        assert assert_no_secret(ours, [*me.credentials(), "somebody.with.a.name@example.com"]) == 1
        assert all(code not in record.getMessage() for record in ours)


def settings(**options: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_x", "cookies": CookieSettings(), **options}, {})


@pytest.mark.parametrize(
    ("left", "options", "keeps"),
    [
        (timedelta(days=7), {}, False),
        (timedelta(days=8), {}, True),
        (timedelta(days=29), {}, True),
        (timedelta(days=8), {"extend_on_activity": timedelta(days=14)}, False),
        (timedelta(days=15), {"extend_on_activity": timedelta(days=14)}, True),
        (timedelta(hours=2), {"sign_in": SignInSettings(lifetime=timedelta(hours=1))}, True),
    ],
)
def test_who_is_remembered(left: timedelta, options: dict[str, Any], keeps: bool) -> None:
    session = Session("sess_1", "user_1", datetime.now(UTC) + left)
    assert is_remembered(session, settings(**options)) is keeps


@pytest.mark.parametrize("remember", [True, False])
def test_the_browser_keeps_the_cookie_as_long_as_before(emulator: Emulator, remember: bool) -> None:
    with flow_client("sync", emulator) as call:
        me = Person(call, emulator)
        minutes = 30 * 1440 if remember else 60
        token = call("sessions.verify", session_token=me.old[0], extend=minutes).session_token
        me.cookies = {SESSION: token}
        response = me.post("step_up_verify_otp", {"code": me.ask()})
        assert ("Max-Age" in cookies_of(response)[SESSION]) is remember


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["otp", "totp  sms", "600", "0", "٣", "/a", "//a", "\\", '"', "-1", "9" * 30]
)


@pytest.mark.long
@given(st.dictionaries(st.sampled_from(["acr_values", "max_age", "next", "other"]), TEXTS))
def test_any_demand(fields: dict[str, str]) -> None:
    demand = parse_demand(fields)
    assert all(fits_challenge(name) for name in demand.acr_values)
    assert len(demand.acr_values) == len(set(demand.acr_values)) <= 16
    assert demand.max_age is None or 0 <= demand.max_age <= 34_560_000
    assert demand.target == safe_target(fields.get("next"))
    assert parse_demand(demand.fields()) == demand
    link = urlsplit(demand.link("/auth/step-up"))
    assert link.path == "/auth/step-up"
    assert parse_demand(dict(parse_qsl(link.query))) == demand


@given(st.text(max_size=3000))
def test_any_names(names: str) -> None:
    assert len(parse_demand({"acr_values": names}).acr_values) <= 16


@pytest.mark.long
@given(
    st.from_regex(r"[a-z]{2,20}@[a-z]{1,20}\.example", fullmatch=True),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
)
def test_what_is_shown_of_an_address(email: str, number: str) -> None:
    assert mask_address(email) == f"{email[0]}•••@{email.split('@')[1]}"
    assert mask_address(number) == f"•••{number[-2:]}"


STEPS = Decisions().core.able_to("sign_in")
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.sampled_from(["verified", "id"]), inner)
    ),
    max_leaves=8,
)


@given(JSON_LIKE)
@example(({"verified": True},))
@example(({"verified": False}, {"verified": 1}))
def test_any_apps(totps: Any) -> None:
    user = User("user_1", complete=True, extra={"totps": totps})
    offered = available_options(STEPS, user, Demand())
    is_one = isinstance(totps, tuple) and any(
        isinstance(one, dict) and one.get("verified") is True for one in totps
    )
    assert [one.kind for one in offered] == (["totp"] if is_one else [])


def test_an_address_is_not_in_a_repr() -> None:
    (option,) = available_options(STEPS, User("user_1", email=ME))
    assert ME not in repr(option)


@pytest.mark.rule("S19", "S52")
class TestTheSessionIsGone:
    """Found out by the call that was to verify the code, while the JWT beside the token seems good."""

    @pytest.mark.parametrize("factor", ["code", "app"])
    def test_its_connections_end_and_its_jwt_counts_no_more(
        self, call: Both, emulator: Emulator, factor: str
    ) -> None:
        me = Person(call, emulator)
        token, jwt = me.old
        secret, code = me.add_app(), me.ask()
        auth = call("authenticate", {"session-token": jwt})
        watched = WatchedSession(auth, emulator.now(), can_verify=False)
        emulator.revoke(me.session_id)
        if factor == "code":
            response = me.post("step_up_verify_otp", {"code": code})
        else:
            response = me.post("step_up_totp", {"code": emulator.totp_code(secret)})
        assert response.status == 401
        assert me.cookies.keys().isdisjoint((SESSION, JWT))
        watched.refresh(call.client.revocations)
        assert watched.is_revoked
        for credential in (jwt, token):
            assert call("authenticate", {"session-token": credential}).is_rejected

    def test_not_where_another_step_up_has_replaced_the_token(self, call: Both, emulator: Emulator) -> None:
        """Two tabs: both codes are sent with the same token, and the first one changes it."""
        me = Person(call, emulator)
        code, secret, before = me.ask(), me.add_app(), dict(me.cookies)
        assert me.post("step_up_totp", {"code": emulator.totp_code(secret)}).status == 303
        after, me.cookies = me.cookies, {**me.cookies, **before}
        assert me.post("step_up_verify_otp", {"code": code}).status == 401
        assert call.client.revocations.entries() == ()
        assert call("authenticate", {"session-token": after[SESSION]}).is_authenticated
