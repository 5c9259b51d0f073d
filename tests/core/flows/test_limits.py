"""How often codes are sent and tried."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import CookieSettings, SignInSettings
from moonkey_core.emulator import Emulator
from moonkey_core.settings.sign_in_settings import Attempt
from support.clients import Both
from support.flow_visits import (
    OTP,
    SESSION,
    Visitor,
    code_of,
    cookies_of,
    flow_client,
    header,
    path_of,
    shown,
    wrong,
)
from support.patience import PATIENT

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

    @pytest.mark.parametrize("code", ["", "12", "1" * 13, "12345!", "\uff11\uff12\uff13\uff14\uff15\uff16"])
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
        import asyncio

        from moonkey_core import AsyncMoonKey
        from moonkey_core.flows import FlowRequest
        from moonkey_core.web.request import RequestInfo, mapped_headers

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
