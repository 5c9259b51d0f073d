"""Signing in by a code, from the first page to the session, with both clients and the emulator."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from moonkey_core import ConfigurationError, CookieSettings, MoonKey, NotFound, SignInSettings, Stytch
from moonkey_core.emulator import Emulator
from moonkey_core.events import SignedIn
from moonkey_core.flows.otp import code_minutes
from moonkey_core.provider import LoginLimits
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
    path_of,
    shown,
    who,
    wrong,
)

VERIFY = "POST /v1/auth/otps/verify"
REVOKE = "DELETE /v1/auth/sessions/delete"
ME = {"address": "me@example.com"}


class TestThePages:
    def test_the_first_page(self, browser: Visitor) -> None:
        answer = browser.get("sign_in", {"next": "/account?tab=1"})
        page = shown(answer)
        assert answer.status == 200
        assert header(answer, "cache-control") == "no-store"
        assert page.one("form").attributes["action"] == "/auth/sign-in/otp?next=%2Faccount%3Ftab%3D1"
        assert page.fields() == {"address": "", "next": "/account?tab=1"}
        assert not cookies_of(answer)

    @pytest.mark.rule("S47")
    @pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/a b"])
    def test_no_way_out(self, browser: Visitor, emulator: Emulator, target: str) -> None:
        assert shown(browser.get("sign_in", {"next": target})).fields()["next"] == ""
        browser.post("send_otp", {**ME, "next": target})
        assert shown(browser.get("verify_otp")).fields()["next"] == ""
        assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/"

    def test_from_the_first_page_to_the_session(self, browser: Visitor, emulator: Emulator) -> None:
        events = events_of(browser.call)
        page = shown(browser.get("sign_in", {"next": "/account"}))
        sent = browser.post("send_otp", {**page.fields(), **ME})
        assert path_of(sent) == "/auth/sign-in/otp/verify"
        page = shown(browser.get("verify_otp"))
        assert page.all("form")[0].attributes["action"] == "/auth/sign-in/otp/verify"
        assert "me@example.com" in page.one("main").text
        answer = browser.post("verify_otp", {"code": code_of(emulator)})
        assert path_of(answer) == "/account"
        assert set(browser.cookies) == {SESSION, JWT, BINDING}
        assert who(browser) == "me@example.com"
        (event,) = [event for event in events if isinstance(event, SignedIn)]
        assert event.method == "otp"
        verified = browser.call("sessions.verify", session_token=browser.cookies[SESSION])
        assert (event.user_id, event.session_id) == (verified.user.id, verified.session.id)

    def test_the_answer_is_the_same_for_an_address_that_is_known(
        self, browser: Visitor, emulator: Emulator
    ) -> None:
        emulator.sign_in(email="known@example.com")
        known = browser.post("send_otp", {"address": "known@example.com"})
        unknown = browser.post("send_otp", {"address": "never@example.com"})
        assert [name for name, _ in known.headers] == [name for name, _ in unknown.headers]
        assert (known.status, path_of(known)) == (unknown.status, path_of(unknown))
        lengths = {len(cookies_of(answer)[OTP]) - len(cookies_of(known)[OTP]) for answer in (known, unknown)}
        assert max(lengths) <= 4

    @pytest.mark.parametrize("status", [400, 404, 410, 422])
    def test_nor_does_a_refusal_of_the_api_show(
        self, browser: Visitor, emulator: Emulator, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        emulator.fault("/v1/auth/otps/email/login_or_create", status=status)
        assert path_of(browser.post("send_otp", ME)) == "/auth/sign-in/otp/verify"
        assert "send_refused" in [getattr(record, "reason", "") for record in caplog.records]
        assert "If me@example.com can be used" in shown(browser.get("verify_otp")).one("main").text
        answer = browser.post("verify_otp", {"code": "123456"})
        assert answer.status == 401
        assert "4 tries left" in shown(answer).one("main").text

    @pytest.mark.parametrize("ticked", [True, False])
    def test_remember_me(self, browser: Visitor, emulator: Emulator, ticked: bool) -> None:
        browser.post("send_otp", {**ME, **({"remember_me": "on"} if ticked else {})})
        answer = browser.post("verify_otp", {"code": code_of(emulator)})
        assert ("Max-Age" in cookies_of(answer)[SESSION]) is ticked
        verified = browser.call("sessions.verify", session_token=browser.cookies[SESSION])
        assert abs(verified.session.expires_in - timedelta(days=30 if ticked else 7)) < timedelta(minutes=1)

    @pytest.mark.parametrize("address", ["", "nobody", "a@b c", "12345", "+0123456789", "x" * 300 + "@e.example"])
    def test_what_is_no_address(self, browser: Visitor, emulator: Emulator, address: str) -> None:
        emulator.clear_requests()
        answer = browser.post("send_otp", {"address": address, "next": "/x", "remember_me": "on"})
        page = shown(answer)
        assert answer.status == 400
        assert [one.attributes.get("role") for one in page.all("p")].count("alert") == 1
        assert page.fields() == {"address": address[:320], "next": "/x"}
        assert not cookies_of(answer)
        assert not emulator.requests()

    def test_by_phone(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator, sign_in={"methods": ["phone_number"]}) as call:
            browser = Visitor(call)
            assert shown(browser.get("sign_in")).all("label")[0].text == "Phone number"
            browser.post("send_otp", {"address": "+1 (415) 222-2222"})
            message = emulator.outbox()[0]
            assert (message.kind, message.to) == ("sms_otp", "+14152222222")
            assert browser.post("verify_otp", {"code": f"{message.code[:3]} {message.code[3:]}"}).status == 303
            assert SESSION in browser.cookies
            refused = browser.post("send_otp", ME)
        assert refused.status == 400
        assert "not a phone number" in shown(refused).one("main").text

    @pytest.mark.parametrize("name", ["address", "phone_number"])
    def test_by_phone_only_where_it_is_named(self, call: Both, emulator: Emulator, name: str) -> None:
        """Text messages cost money: nobody sends any who has not said so."""
        browser = Visitor(call)
        assert "hone number" not in shown(browser.get("sign_in")).html
        refused = browser.post("send_otp", {name: "+14152222222"})
        assert refused.status == 400
        assert "not an e-mail address" in shown(refused).one("main").text
        assert Visitor(call, html=False).post_json("send_otp", {name: "+14152222222"}).status == 400
        steps = json_of(Visitor(call, html=False).get("sign_in"))["steps"]
        assert steps["send_otp"]["fields"][0] == "address (or email)"
        assert not emulator.outbox()

    def test_without_sign_up(self, kind: str, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever is known signs in; of anybody else there is no account, and nothing to be seen of that."""
        emulator.sign_in(email="me@example.com")
        with flow_client(kind, emulator, sign_in={"sign_up": False}) as call:
            seen = []
            for address in ("me@example.com", "us@example.com"):
                browser = Visitor(call)
                answers = [browser.post("send_otp", {"address": address}) for _ in range(2)]
                kept = dict(browser.cookies)
                for _ in range(3):  # tries of both cookies are counted together
                    browser.cookies = dict(kept)
                    answers.append(browser.post("verify_otp", {"code": "0000"}))
                statuses = [(one.status, len(cookies_of(one).get(OTP, ""))) for one in answers]
                pages = [shown(one).one("main").text.replace(address, "") for one in answers[2:]]
                seen.append((statuses, pages))
            assert seen[0] == seen[1]
            with pytest.raises(NotFound):
                call("otps.send", email="us@example.com")
            assert "send_refused" not in [getattr(record, "reason", "") for record in caplog.records]
            browser = Visitor(call)
            browser.post("send_otp", ME)
            assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303

    def test_the_device_goes_along(self, emulator: Emulator) -> None:
        with flow_client("sync", emulator, trusted_proxies="127.0.0.1") as call:
            browser = Visitor(call)
            browser.usual |= {"user-agent": "Browser/1.0", "x-forwarded-for": "203.0.113.7"}
            browser.post("send_otp", ME)
            browser.post("verify_otp", {"code": code_of(emulator)})
            device = call("sessions.verify", session_token=browser.cookies[SESSION]).session.device
        assert (device.user_agent, device.ip) == ("Browser/1.0", "203.0.113.7")

    @pytest.mark.parametrize("agent", ["x" * 5000, "a\x01b", "ü\x85", ""])
    def test_an_odd_user_agent_is_no_hindrance(self, browser: Visitor, emulator: Emulator, agent: str) -> None:
        browser.usual["user-agent"] = agent
        browser.post("send_otp", ME)
        assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303

    def test_nobody_but_a_proxy_of_ours_is_believed(self, browser: Visitor, emulator: Emulator) -> None:
        browser.usual["x-forwarded-for"] = "203.0.113.7"
        browser.post("send_otp", ME)
        browser.post("verify_otp", {"code": code_of(emulator)})
        device = browser.call("sessions.verify", session_token=browser.cookies[SESSION]).session.device
        assert device is None or device.ip is None

    def test_where_to_go_without_a_wish(self, emulator: Emulator) -> None:
        with flow_client("sync", emulator, sign_in=SignInSettings(after_sign_in="/home")) as call:
            browser = Visitor(call)
            browser.post("send_otp", ME)
            assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/home"

    def test_a_very_long_wish_is_left_out(self, browser: Visitor, emulator: Emulator) -> None:
        answer = browser.post("send_otp", {**ME, "next": "/" + '"' * 2000})
        assert len(cookies_of(answer)[OTP]) <= 4096
        assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/"

    def test_plain_names_in_development(self, emulator: Emulator) -> None:
        with flow_client("sync", emulator, cookies=CookieSettings(insecure_development=True)) as call:
            browser = Visitor(call)
            answer = browser.post("send_otp", ME)
            (cookie,) = cookies_of(answer).values()
            assert cookie.startswith("moonkey_otp=")
            assert "Secure" not in cookie
            browser.post("verify_otp", {"code": code_of(emulator)})
            assert set(browser.cookies) == {"moonkey_session", "moonkey_jwt", "moonkey_jwt_binding"}


class TestPrograms:
    def test_what_to_send(self, call: Both) -> None:
        said = json_of(Visitor(call, html=False).get("sign_in"))
        assert said["authenticated"] is False
        assert said["steps"]["send_otp"]["path"] == "/auth/sign-in/otp"

    @pytest.mark.parametrize("fields", [{"email": "me@example.com"}, ME])
    def test_all_the_way(self, call: Both, emulator: Emulator, fields: dict[str, Any]) -> None:
        program = Visitor(call, html=False)
        sent = program.post_json("send_otp", {**fields, "next": "/x", "remember_me": True})
        assert (sent.status, json_of(sent)) == (200, {"sent": True})
        assert json_of(program.get("verify_otp"))["tries_left"] == 5
        refused = program.post_json("verify_otp", {"code": wrong(code_of(emulator))})
        problem = json_of(refused)
        assert (refused.status, problem["tries_left"]) == (401, 4)
        assert "code" in problem["detail"]
        answer = program.post_json("verify_otp", {"code": code_of(emulator)})
        said = json_of(answer)
        assert said["authenticated"] is True
        assert said["next"] == "/x"
        assert "Max-Age=25" in cookies_of(answer)[SESSION]
        for secret in (program.cookies[SESSION], program.cookies[JWT]):
            assert secret not in str(said)

    def test_without_a_cookie_there_is_no_code(self, call: Both, emulator: Emulator) -> None:
        emulator.clear_requests()
        answer = Visitor(call, html=False).post_json("verify_otp", {"code": "123456"})
        assert answer.status == 400
        assert header(answer, "content-type") == "application/problem+json"
        assert not emulator.requests()

    @pytest.mark.parametrize(
        "fields",
        [
            {"address": 7},
            {"address": ["me@example.com"]},
            {"email": "me@example.com", "address": "you@example.com"},
            {"email": "+14152222222"},
            {"phone_number": "me@example.com"},
            {"address": "me@example.com\0"},
            [],
            "me@example.com",
            None,
        ],
    )
    def test_odd_bodies(self, call: Both, emulator: Emulator, fields: Any) -> None:
        emulator.clear_requests()
        answer = Visitor(call, html=False).post_json("send_otp", fields)
        assert answer.status == 400
        assert "credential" not in json_of(answer)["detail"]
        assert not emulator.requests()


@pytest.mark.parametrize(
    ("allowed", "minutes", "words"),
    [
        (range(1, 11), 10, "for 10 minutes"),
        (range(1, 61), 10, "for 10 minutes"),
        (range(1, 6), 5, "for 5 minutes"),
        (range(1, 2), 1, "for a minute"),
    ],
)
def test_a_code_lives_as_long_as_the_provider_allows(
    browser: Visitor, emulator: Emulator, allowed: range, minutes: int, words: str
) -> None:
    provider: Any = browser.call.client._core.provider
    provider.limits = replace(provider.limits, otp_minutes=allowed)
    browser.post("send_otp", ME)
    sent = emulator.outbox()[0]
    assert sent.expires_at - sent.sent_at == minutes * 60
    assert f"It is valid {words}." in shown(browser.get("verify_otp")).one("main").text


def test_a_code_that_lives_longer_than_its_cookie_is_asked_for_as_short_as_possible() -> None:
    core: Any = SimpleNamespace(able_to=lambda _: SimpleNamespace(limits=LoginLimits(**LONG)))
    assert code_minutes(core) == 15


LONG = {"otp_minutes": range(15, 61), "link_minutes": range(5, 6), "session_minutes": range(5, 61)}


def test_a_session_lives_as_long_as_the_provider_allows(browser: Visitor, emulator: Emulator) -> None:
    provider: Any = browser.call.client._core.provider
    provider.limits = replace(provider.limits, session_minutes=range(5, 61))
    browser.post("send_otp", {**ME, "remember_me": "on"})
    browser.post("verify_otp", {"code": code_of(emulator)})
    session = browser.call("sessions.verify", session_token=browser.cookies[SESSION]).session
    assert timedelta(minutes=59) < session.expires_at - session.started_at <= timedelta(minutes=61)


def test_a_chosen_length_of_sessions_that_the_provider_does_not_allow_is_refused() -> None:
    class Short(Stytch):
        limits = LoginLimits(**LONG)

    made = Short("project-test-1", "secret-test-1")
    for name in ("lifetime", "remember_me"):
        with pytest.raises(ConfigurationError, match=f"{name} is 120 minutes.*live 5 to 60 minutes"):
            MoonKey(provider=made, sign_in=SignInSettings(**{name: timedelta(hours=2)}))  # type: ignore[arg-type]
        MoonKey(provider=made, sign_in=SignInSettings(**{name: timedelta(hours=1)})).close()  # type: ignore[arg-type]
    MoonKey(provider=made).close()
