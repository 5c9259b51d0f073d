"""How often codes are sent and tried."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moonkey_core import CookieSettings, MoonKey, Settings, SignInSettings
from moonkey_core._operations.sliding_window import AttemptCounter, SlidingWindowCounter
from moonkey_core._plan import CountAttempt, Limit
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator
from moonkey_core.events import SignedIn
from moonkey_core.flows import FlowRequest, FlowResponse
from moonkey_core.flows.limits import code_tries
from moonkey_core.settings.sign_in_settings import Attempt
from moonkey_core.web.origin import warn_if_clients_unknown
from moonkey_core.web.request import RequestInfo, mapped_headers
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
    wrong,
)
from support.patience import PATIENT
from support.together import together

VERIFY = "POST /v1/auth/otps/verify"
REVOKE = "DELETE /v1/auth/sessions/delete"
ME = {"address": "me@example.com"}


@pytest.mark.rule("S48")
class TestTries:
    def test_a_wrong_code(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", {**ME, "next": "/x", "remember_me": "on"})
        answer = browser.post("verify_otp", {"code": wrong(code_of(emulator))})
        page = shown(answer)
        assert answer.status == 401
        assert "4 tries left" in page.one("main").text
        assert page.fields() == {"code": "", "address": "me@example.com", "next": "/x", "remember_me": "on"}
        assert SESSION not in browser.cookies
        assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/x"

    @pytest.mark.parametrize("code", ["", "12", "1" * 13, "12345!", "\u4e00\u4e8c\u4e09\u56db"])
    def test_what_is_no_code_is_not_tried(self, browser: Visitor, emulator: Emulator, code: str) -> None:
        browser.post("send_otp", ME)
        emulator.clear_requests()
        answer = browser.post("verify_otp", {"code": code})
        assert answer.status == 400
        assert "not a code" in shown(answer).one("main").text
        assert not emulator.requests()

    @pytest.mark.parametrize("most", [1, 3])
    def test_no_more_than_so_many(self, emulator: Emulator, most: int) -> None:
        """Neither a copy of the cookie, nor the right code, helps beyond; a new sending does."""
        with flow_client("sync", emulator, sign_in=SignInSettings(max_tries=most)) as call:
            browser = Visitor(call)
            browser.post("send_otp", ME)
            kept, code = dict(browser.cookies), code_of(emulator)
            for _ in range(most):
                browser.cookies = dict(kept)
                answer = browser.post("verify_otp", {"code": wrong(code)})
                assert answer.status == 401
            assert "Ask for a new one" in shown(answer).one("main").text
            assert "Ask for a new one" in shown(browser.get("verify_otp")).one("main").text
            emulator.clear_requests()
            browser.cookies = dict(kept)
            answer = browser.post("verify_otp", {"code": code})
            assert answer.status == 429
            assert not emulator.requests()
            browser.post("send_otp", shown(answer).fields())
            assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303

    def test_many_at_once_are_no_more(self, emulator: Emulator) -> None:
        """Each is counted before its call is made."""
        from moonkey_core import AsyncMoonKey

        with flow_client("sync", emulator) as call:
            browser = Visitor(call)
            browser.post("send_otp", ME)
            code = wrong(code_of(emulator))

        async def work() -> list[int]:
            options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
            async with AsyncMoonKey(cookies=CookieSettings(), **options) as client:
                lines = mapped_headers(
                    {
                        "sec-fetch-site": "same-origin",
                        "cookie": f"{OTP}={browser.cookies[OTP]}",
                        "content-type": "application/json",
                    }
                )
                info = RequestInfo("POST", "https")
                auth = await client.authenticate(lines, None, info)
                request = FlowRequest(
                    route="verify_otp",
                    routes="/auth",
                    info=info,
                    headers=lines,
                    auth=auth,
                    body=f'{{"code": "{code}"}}'.encode(),
                )
                answers = await asyncio.gather(*(client.flows.answer(request) for _ in range(20)))
                return [answer.status for answer in answers]

        emulator.clear_requests()
        statuses = asyncio.run(work())
        assert sorted(statuses) == [401] * 5 + [429] * 15
        assert emulator.requests()[VERIFY] == 5

    def test_a_used_code(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", ME)
        kept = dict(browser.cookies)
        assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303
        browser.cookies = kept
        assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 401


@pytest.mark.rule("S48")
class TestSends:
    def test_no_more_than_so_many_to_one_address(self, call: Both, emulator: Emulator) -> None:
        """Whoever asks, and however it is spelled."""
        spellings = ["me@example.com", "ME@example.com", " me@Example.com ", "Me@example.com", "mE@EXAMPLE.com"]
        for spelling in spellings:
            assert Visitor(call).post("send_otp", {"address": spelling}).status == 303
        emulator.clear_requests()
        answer = Visitor(call).post("send_otp", ME)
        assert answer.status == 429
        assert 890 <= int(header(answer, "retry-after")) <= 900
        assert shown(answer).one("h1").text == "Too many tries"
        assert not cookies_of(answer)
        assert not emulator.requests()
        assert Visitor(call).post("send_otp", {"address": "you@example.com"}).status == 303

    def test_a_program_is_told(self, emulator: Emulator) -> None:
        with flow_client("sync", emulator, sign_in=SignInSettings(max_sends=1)) as call:
            program = Visitor(call, html=False)
            program.post_json("send_otp", ME)
            answer = program.post_json("send_otp", ME)
        assert (answer.status, header(answer, "retry-after")) == (429, "900")
        assert header(answer, "content-type") == "application/problem+json"

    def test_what_was_not_sent_is_not_counted(self, emulator: Emulator, quick_retries: None) -> None:
        with flow_client("sync", emulator, sign_in=SignInSettings(max_sends=1)) as call:
            browser = Visitor(call)
            for _ in range(3):
                emulator.fault("/v1/auth/otps", status=429)
                assert browser.post("send_otp", ME).status == 503
            emulator.clear_faults()
            assert browser.post("send_otp", ME).status == 303
            assert browser.post("send_otp", ME).status == 429


class TestTheAppsOwnLimiter:
    @pytest.mark.parametrize("verdict", [False, None, 1, "yes"])
    def test_only_true_lets_it_go_on(self, emulator: Emulator, verdict: Any) -> None:
        with flow_client("sync", emulator, sign_in=SignInSettings(limiter=lambda attempt: verdict)) as call:
            emulator.clear_requests()
            answer = Visitor(call).post("send_otp", ME)
        assert answer.status == 429
        assert not emulator.requests()

    def test_what_it_is_asked(self, emulator: Emulator) -> None:
        asked: list[Attempt] = []

        def limiter(attempt: Attempt) -> bool:
            asked.append(attempt)
            return len(asked) < 3

        options = {"sign_in": SignInSettings(limiter=limiter), "trusted_proxies": "127.0.0.1"}
        with flow_client("sync", emulator, **options) as call:
            browser = Visitor(call)
            browser.usual["x-forwarded-for"] = "198.51.100.1, 203.0.113.7"
            browser.post("send_otp", {"address": "Me@Example.com"})
            code = code_of(emulator)
            assert browser.post("verify_otp", {"code": wrong(code)}).status == 401
            assert browser.post("verify_otp", {"code": code}).status == 429
        assert asked == [
            Attempt("send", "me@example.com", "203.0.113.7"),
            Attempt("try", "me@example.com", "203.0.113.7"),
            Attempt("try", "me@example.com", "203.0.113.7"),
        ]

    def test_one_that_fails_refuses(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        def limiter(attempt: Attempt) -> bool:
            raise LookupError("the store of the limiter is down")

        with flow_client("sync", emulator, sign_in=SignInSettings(limiter=limiter)) as call:
            answer = Visitor(call).post("send_otp", ME)
        assert answer.status == 429
        assert "limiter_failed" in [getattr(record, "reason", "") for record in caplog.records]

    def test_its_no_is_not_counted_against_the_address(self, emulator: Emulator) -> None:
        says = [False] * 10 + [True]
        with flow_client("sync", emulator, sign_in=SignInSettings(limiter=lambda _: says.pop(0))) as call:
            answers = [Visitor(call).post("send_otp", ME).status for _ in range(11)]
        assert answers == [429] * 10 + [303]


PHONE = {"address": "+1 415 222 2222"}
BY_PHONE = SignInSettings(methods=("email", "phone_number"), max_sms=2)


@pytest.mark.rule("S48")
class TestOneCodeInManyBrowsers:
    def test_the_cookies_of_many_sendings_are_no_more_tries(self, call: Both, emulator: Emulator) -> None:
        """The method id of an address stays the same: each of these cookies is good for the last code."""
        cookies = []
        for _ in range(5):
            browser = Visitor(call)
            browser.post("send_otp", ME)
            cookies.append(dict(browser.cookies))
        code = code_of(emulator)
        emulator.clear_requests()
        statuses = []
        for number in range(25):
            browser = Visitor(call)
            browser.cookies = dict(cookies[number % 5])
            statuses.append(browser.post("verify_otp", {"code": wrong(code)}).status)
        assert statuses == [401] * 5 + [429] * 20
        assert emulator.requests()[VERIFY] == 5

    def test_nor_is_a_step_up(self, call: Both, emulator: Emulator) -> None:
        """It sends the same code to the same address."""
        browser = Visitor(call)
        browser.post("send_otp", ME)
        browser.post("verify_otp", {"code": code_of(emulator)})
        browser.post("step_up_send_otp", {"which": "email"})
        other = Visitor(call)
        other.post("send_otp", {"address": "ME@example.com"})
        code = wrong(code_of(emulator))
        emulator.clear_requests()
        statuses = [other.post("verify_otp", {"code": code}).status for _ in range(3)]
        statuses += [browser.post("step_up_verify_otp", {"code": code}).status for _ in range(4)]
        assert statuses == [401] * 5 + [429] * 2
        assert emulator.requests()[VERIFY] == 5

    def test_one_mailbox_in_several_spellings(self, emulator: Emulator) -> None:
        """Two addresses that are one to the API have one method id."""
        with flow_client("sync", emulator) as call:
            core = call.client._core
            one, other = code_tries(core, "em_1", "me@example.com"), code_tries(core, "em_1", "m.e@example.com")
            assert set(one) & set(other)
            assert set(one) & set(code_tries(core, "em_2", "Me@Example.com"))


@pytest.mark.rule("S48")
class TestOneClient:
    @pytest.mark.parametrize(
        ("addresses", "is_one"),
        [
            (["203.0.113.7"], True),
            (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:DB8:0:1::3"], True),
            (["2001:db8:0:1::1", "2001:db8:0:2::1"], False),
            (["203.0.113.7", "203.0.113.8"], False),
            (["::ffff:203.0.113.7", "203.0.113.7"], True),
        ],
    )
    @pytest.mark.parametrize("proxies", ["none", "127.0.0.1"])
    def test_requests_for_codes(
        self, kind: str, emulator: Emulator, proxies: str, addresses: list[str], is_one: bool
    ) -> None:
        settings = SignInSettings(max_sends_per_client=3)
        with flow_client(kind, emulator, sign_in=settings, trusted_proxies=proxies) as call:
            answers = []
            for number in range(6):
                at = addresses[number % len(addresses)]
                browser = Visitor(call, peer=at if proxies == "none" else "127.0.0.1")
                browser.usual["x-forwarded-for"] = at if proxies != "none" else f"198.51.100.{number}"
                answers.append(browser.post("send_otp", {"address": f"u{number}@example.com"}))
        expected = [303] * 3 + [429] * 3 if is_one else [303] * 6
        assert [one.status for one in answers] == expected
        if is_one:
            assert 890 <= int(header(answers[-1], "retry-after")) <= 900

    def test_tries(self, kind: str, emulator: Emulator) -> None:
        settings = SignInSettings(max_tries_per_client=4)
        with flow_client(kind, emulator, sign_in=settings, trusted_proxies="none") as call:
            answers = []
            for number in range(6):
                browser = Visitor(call)
                browser.post("send_otp", {"address": f"u{number}@example.com"})
                answers.append(browser.post("verify_otp", {"code": wrong(code_of(emulator))}))
            assert [one.status for one in answers] == [401] * 4 + [429] * 2
            assert "retry-after" in dict(answers[-1].headers)
            page = shown(answers[-1])  # a new code would not help
            assert "Too many codes were tried lately from where you are" in page.html
            assert page.fields()["code"] == ""
            browser = Visitor(call, peer="203.0.113.9")
            browser.post("send_otp", ME)
            assert browser.post("verify_otp", {"code": code_of(emulator)}).status == 303

    def test_there_is_a_limit_by_default(self, emulator: Emulator) -> None:
        with flow_client("sync", emulator, trusted_proxies="none") as call:
            most = SignInSettings().max_sends_per_client
            assert most is not None
            statuses = [
                Visitor(call).post("send_otp", {"address": f"u{number}@example.com"}).status
                for number in range(most + 2)
            ]
        assert statuses == [303] * most + [429] * 2

    @pytest.mark.parametrize("proxies", [(), "10.0.0.1"])
    def test_an_address_that_is_not_believed_counts_nobody(self, emulator: Emulator, proxies: Any) -> None:
        settings = SignInSettings(max_sends_per_client=1)
        with flow_client("sync", emulator, sign_in=settings, trusted_proxies=proxies) as call:
            for number in range(3):
                browser = Visitor(call)
                browser.usual["x-forwarded-for"] = "203.0.113.7"
                assert browser.post("send_otp", {"address": f"u{number}@example.com"}).status == 303

    def test_what_was_refused_is_not_counted_for_the_address(self, emulator: Emulator) -> None:
        settings = SignInSettings(max_sends_per_client=1, max_sends=1)
        with flow_client("sync", emulator, sign_in=settings, trusted_proxies="none") as call:
            one = Visitor(call)
            assert one.post("send_otp", {"address": "first@example.com"}).status == 303
            assert one.post("send_otp", ME).status == 429
            assert Visitor(call, peer="203.0.113.9").post("send_otp", ME).status == 303

    @pytest.mark.parametrize(
        ("options", "warns"),
        [
            ({}, True),
            ({"trusted_proxies": "none"}, False),
            ({"trusted_proxies": "unix"}, False),
            ({"trusted_proxies": "10.0.0.1"}, False),
            ({"trusted_proxies": "0.0.0.0/0"}, True),
            ({"cookies": None}, True),
            ({"sign_in": {"max_sends_per_client": None, "max_tries_per_client": None}}, False),
        ],
    )
    def test_the_warning(self, options: Any, warns: bool, caplog: pytest.LogCaptureFixture) -> None:
        settings = Settings.load({"secret_key": "sk_test_x", "cookies": True, **options}, {})
        warn_if_clients_unknown(settings)
        assert ("clients_unknown" in [getattr(record, "reason", "") for record in caplog.records]) is warns


@pytest.mark.rule("S48")
class TestTextMessages:
    def test_the_app_sends_so_many(self, kind: str, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        with flow_client(kind, emulator, sign_in=BY_PHONE) as call:
            statuses = [
                Visitor(call).post("send_otp", {"address": f"+1415222000{number}"}).status for number in range(4)
            ]
            assert statuses == [303, 303, 429, 429]
            assert len(emulator.outbox()) == 2
            alarms = [record for record in caplog.records if getattr(record, "reason", "") == "sms_limit"]
            assert alarms[0].levelname == "ERROR"
            assert "1415222" not in caplog.text
            assert Visitor(call).post("send_otp", ME).status == 303  # mail costs nothing

    def test_step_up_sends_them_too(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        with flow_client("sync", emulator, sign_in=BY_PHONE) as call:
            browser = Visitor(call)
            browser.post("send_otp", PHONE)
            browser.post("verify_otp", {"code": code_of(emulator)})
            statuses = [browser.post("step_up_send_otp", {"which": "phone_number"}).status for _ in range(2)]
        assert statuses == [303, 429]
        assert "sms_limit" in [getattr(record, "reason", "") for record in caplog.records]

    def test_one_that_was_not_sent_is_not_counted(self, emulator: Emulator, quick_retries: None) -> None:
        with flow_client("sync", emulator, sign_in=BY_PHONE) as call:
            emulator.fault("/v1/auth/otps", status=429)
            assert [Visitor(call).post("send_otp", PHONE).status for _ in range(3)] == [503] * 3
            emulator.clear_faults()
            assert Visitor(call).post("send_otp", PHONE).status == 303

    def test_nothing_pushes_that_count_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moonkey_core._operations.sliding_window._COUNTED", 10)
        counter = AttemptCounter(SlidingWindowCounter())
        sms = CountAttempt("count", (Limit("sms", "app", 1, 60.0, is_of_app=True),), "1")
        assert counter(sms).reached is None
        for number in range(50):
            counter(CountAttempt("count", (Limit("send", str(number), 1, 60.0),), "2"))
        assert counter(sms).reached == sms.limits[0]


class TestADoubleClick:
    @pytest.mark.parametrize("html", [True, False])
    def test_after_the_answer(self, call: Both, emulator: Emulator, html: bool) -> None:
        """The browser has the cookies of the session by then, and no other one."""
        browser = Visitor(call, html=html)
        browser.post("send_otp", {**ME, "next": "/x"})
        code = code_of(emulator)
        first = browser.post("verify_otp", {"code": code, "next": "/x"})
        before = dict(browser.cookies)
        second = browser.post("verify_otp", {"code": code, "next": "/x"})
        assert second.status == first.status
        if html:
            assert path_of(second) == "/x"
        else:
            assert json_of(second) == json_of(first)
        assert browser.cookies == before

    def test_with_all_cookies(self, browser: Visitor, emulator: Emulator) -> None:
        browser.post("send_otp", {**ME, "next": "/x"})
        kept = browser.cookies[OTP]
        code = code_of(emulator)
        browser.post("verify_otp", {"code": code})
        browser.cookies[OTP] = kept
        assert path_of(browser.post("verify_otp", {"code": code})) == "/x"
        assert OTP not in browser.cookies
        assert {SESSION, JWT} <= set(browser.cookies)

    def test_another_account_is_told_of_its_wrong_code(self, call: Both, emulator: Emulator) -> None:
        browser = Visitor(call)
        browser.post("send_otp", ME)
        browser.post("verify_otp", {"code": code_of(emulator)})
        browser.post("send_otp", {"address": "you@example.com"})
        assert browser.post("verify_otp", {"code": wrong(code_of(emulator))}).status == 401

    def test_long_after(self, call: Both, emulator: Emulator) -> None:
        emulator.set_clock(-70)
        browser = Visitor(call)
        browser.post("send_otp", ME)
        browser.post("verify_otp", {"code": code_of(emulator)})
        assert browser.post("verify_otp", {"code": "123456"}).status == 400

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_both_at_once(self, kind: str, emulator: Emulator) -> None:
        """Whichever answer the browser takes, it is signed in, into one session."""
        with flow_client(kind, emulator) as call:
            browser, seen = Visitor(call), events_of(call)
            browser.post("send_otp", {**ME, "next": "/x"})
            request = verify_request(browser.cookies[OTP], code_of(emulator))
            emulator.fault("/v1/auth/otps/verify", delay=0.5)  # all have begun before the first is over
            answers = at_once(call, request, 3)
        assert [path_of(one) for one in answers] == ["/x"] * 3
        assert len({cookies_of(one)[SESSION] for one in answers}) == 1
        assert len([event for event in seen if isinstance(event, SignedIn)]) == 1

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_a_wrong_code_at_once(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator) as call:
            browser = Visitor(call)
            browser.post("send_otp", ME)
            request = verify_request(browser.cookies[OTP], wrong(code_of(emulator)))
            assert [one.status for one in at_once(call, request, 3)] == [401] * 3


def verify_request(sealed: str, code: str) -> FlowRequest:
    lines = {
        "sec-fetch-site": "same-origin",
        "accept": "text/html",
        "cookie": f"{OTP}={sealed}",
        "content-type": "application/x-www-form-urlencoded",
    }
    return FlowRequest(
        route="verify_otp",
        routes="/auth",
        info=RequestInfo("POST", "https"),
        headers=mapped_headers(lines),
        auth=new_auth(),
        body=f"code={code}".encode(),
    )


def at_once(call: Both, request: FlowRequest, many: int) -> list[FlowResponse]:
    if isinstance(call.client, MoonKey):
        return list(together(many, lambda _: call.client.flows.answer(request)))

    async def ask() -> list[FlowResponse]:
        return list(await asyncio.gather(*(call.client.flows.answer(request) for _ in range(many))))

    assert call._runner is not None
    return call._runner.run(ask())
