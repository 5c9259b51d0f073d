"""A session's length that the API refuses: it says nothing of the session, nor of a code, link or signature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import InvalidCredentials, MoonKeyError, ProviderRejectedKey, RequestRefused, SignInSettings
from moonkey_core._plan import run
from moonkey_core._sign_in_steps import LoginContext
from moonkey_core.emulator import Emulator
from moonkey_core.flows import OAuthStart
from support import quick
from support.clients import Both
from support.decisions import replied
from support.flow_visits import SESSION, Visitor, flow_client, json_of, shown
from support.scripted_api import KnownToTheApi

DAYS = timedelta(days=60)
SAID = "session_expires_in must be a whole number from 5 to 43200"
LONG = SignInSettings(lifetime=DAYS)
ME = {"address": "me@example.com"}


@pytest.fixture(autouse=True)
def _bound(emulator: Emulator) -> None:
    emulator.max_session_minutes(43_200)


def refusal(call: Both, *args: Any, **kwargs: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        call(*args, **kwargs)
    assert SAID in str(caught.value)
    assert caught.value.code == "invalid_request"
    return caught.value


def raw(emulator: Emulator, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {emulator.secret_key}"}
    found: dict[str, Any] = quick.post(f"{emulator.base_url}/v1/auth/{path}", json=body, headers=headers).json()
    return found


@pytest.mark.rule("S20")
@pytest.mark.parametrize("kind", ["session_token", "session_jwt"])
def test_extending(call: Both, emulator: Emulator, kind: str) -> None:
    person = emulator.sign_in(email="me@example.com")
    given = {kind: getattr(person, kind)}
    assert refusal(call, "sessions.verify", **given, extend=DAYS).reason == "duration_refused"
    assert call("sessions.verify", **given).user.id == person.user_id
    assert call("sessions.verify", **given, extend=timedelta(days=20)).session.id == person.session_id
    emulator.revoke(person.session_id)
    with pytest.raises(InvalidCredentials) as caught:
        call("sessions.verify", **given, extend=DAYS)
    assert caught.value.session_is_over


@pytest.mark.rule("S20")
def test_every_way_to_sign_in(call: Both, emulator: Emulator) -> None:
    sent = call("otps.login_or_create", email="me@example.com")
    code = emulator.outbox()[0].code
    refusal(call, "otps.verify", code, method_id=sent.method_id, session_expires_in=DAYS)
    raw(emulator, "magic_links/email/login_or_create", {"email": "me@example.com"})
    link = emulator.outbox()[0].code
    refusal(call, "magic_links.verify", link, session_expires_in=DAYS)
    token = emulator.oauth_token("me@example.com")
    refusal(call, "oauth.verify", token=token, session_expires_in=DAYS)
    secret = raw(emulator, "totps/create", {"user_id": sent.user_id})["secret"]
    app = emulator.totp_code(secret)
    refusal(call, "totps.verify", app, user_id=sent.user_id, session_expires_in=DAYS)
    wallet = {"wallet_type": "ethereum", "public_address": "0xabc"}
    signature = emulator.sign_wallet(raw(emulator, "wallets/registrations/begin", wallet)["challenge"])
    refusal(call, "wallets.verify", **wallet, signature=signature, session_expires_in=DAYS)
    refusal(call, "sessions.rotate", user_id=sent.user_id, totp=app, session_expires_in=DAYS)
    # All of them are still good, and none is said to be wrong.
    month = timedelta(days=30)
    assert call("otps.verify", code, method_id=sent.method_id, session_expires_in=month).session
    assert call("magic_links.verify", link, session_expires_in=month).session
    assert call("oauth.verify", token=token, session_expires_in=month).session
    assert call("totps.verify", app, user_id=sent.user_id, session_expires_in=month).session
    assert call("wallets.verify", **wallet, signature=signature, session_expires_in=month).session
    # And what is wrong is.
    with pytest.raises(InvalidCredentials) as caught:
        call("otps.verify", code, method_id=sent.method_id, session_expires_in=month)
    assert caught.value.reason == "login_refused"
    assert "invalid_otp" in str(caught.value)


CODES: list[tuple[int, str | None, bool, type[MoonKeyError], str]] = [
    (400, "invalid_otp", True, InvalidCredentials, "login_refused"),
    (400, "INVALID_OTP", True, InvalidCredentials, "login_refused"),
    (400, "otpExpired", True, InvalidCredentials, "login_refused"),
    (400, "code_mismatch", True, InvalidCredentials, "login_refused"),
    (422, "invalid_magic_token", True, InvalidCredentials, "login_refused"),
    (404, "not_found", True, InvalidCredentials, "login_refused"),
    (401, "unauthorized", True, InvalidCredentials, "login_refused"),
    (400, "invalid_session_token", True, InvalidCredentials, "login_refused"),
    (400, "bad_request", True, RequestRefused, "login_unclear"),
    (400, "nope", True, RequestRefused, "login_unclear"),
    (400, None, True, RequestRefused, "login_unclear"),
    (400, "invalid_session_duration", True, RequestRefused, "login_unclear"),
    (422, "session_expires_in_invalid", True, RequestRefused, "login_unclear"),
    (404, "app_not_found", True, RequestRefused, "login_unclear"),
    (409, "conflict", True, RequestRefused, "login_unclear"),
    (409, "otp_already_used", True, InvalidCredentials, "login_refused"),
    (401, None, True, RequestRefused, "login_unclear"),
    (401, None, False, RequestRefused, "login_unclear"),
    (405, "method_not_allowed", True, RequestRefused, "login_unclear"),
    (400, "otp_disabled", True, RequestRefused, "login_unclear"),
    (400, "otp_not_enabled", False, RequestRefused, "login_unclear"),
    (400, "unsupported_method", True, RequestRefused, "login_unclear"),
    (404, "oauth_app_not_found", False, RequestRefused, "login_unclear"),
    (413, "token_too_large", True, RequestRefused, "login_unclear"),
    (402, "not_enabled", True, ProviderRejectedKey, "provider_refused"),
    (403, "forbidden", True, ProviderRejectedKey, "provider_rejected_key"),
    (403, "session_duration_not_allowed", True, RequestRefused, "login_unclear"),
    (400, "bad_request", False, InvalidCredentials, "login_refused"),
    (400, None, False, InvalidCredentials, "login_refused"),
    (400, "maintenance", False, RequestRefused, "login_unclear"),
    (404, "route_not_found", False, RequestRefused, "login_unclear"),
]


@pytest.mark.parametrize(("status", "code", "timed", "kind", "reason"), CODES)
def test_what_a_code_says(
    status: int, code: str | None, timed: bool, kind: type[MoonKeyError], reason: str
) -> None:
    decisions = KnownToTheApi()
    answer = replied(status, {"error": {"message": "no"} if code is None else {"code": code, "message": "no"}})
    accepted = replied(404, {"error_type": "user_not_found"})
    decisions.answer = lambda fetch: accepted if fetch.operation == "key-probe" else answer
    context = LoginContext(60 if timed else None)
    plan = decisions.core.able_to("sign_in").verify_otp(code="123456", method_id="email_1", context=context)
    with pytest.raises(kind) as caught:
        run(plan, decisions.exchange)
    assert caught.value.reason == reason


@pytest.fixture(params=["sync", "async"])
def site(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Both]:
    with flow_client(request.param, emulator, sign_in=LONG) as call:
        yield call


@pytest.mark.rule("S20")
@pytest.mark.parametrize("body", [b"", b"{}", b'{"message":"Unauthorized"}'])
def test_a_401_that_says_nothing_says_nothing_of_the_code(body: bytes) -> None:
    decisions = KnownToTheApi()
    accepted = replied(404, {"error_type": "user_not_found"})
    decisions.answer = lambda fetch: accepted if fetch.operation == "key-probe" else replied(401, body)
    steps = decisions.core.able_to("sign_in")
    with pytest.raises(RequestRefused) as caught:
        run(steps.verify_otp(code="123456", method_id="email_1", context=LoginContext()), decisions.exchange)
    assert caught.value.reason == "login_unclear"


@pytest.mark.rule("S20", "S48")
class TestThePages:
    def test_no_try_is_counted_and_the_page_says_why(
        self, site: Both, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        browser = Visitor(site)
        browser.post("send_otp", ME)
        code = {"code": emulator.outbox()[0].code}
        for _ in range(8):
            page = shown(browser.post("verify_otp", code))
            assert "the code is not the reason" in page.one("main").text
            assert not any("aria-invalid" in one.attributes for one in page.all("input"))
        program = Visitor(site, html=False)
        program.cookies = dict(browser.cookies)
        answer = program.post_json("verify_otp", code)
        assert (answer.status, json_of(answer)["tries_left"]) == (400, 5)
        assert SAID not in answer.body.decode()
        (line, *_) = [one for one in caplog.records if getattr(one, "reason", "") == "sign_in_unclear"]
        assert "sign_in.lifetime asks for 86400 minutes" in line.getMessage()
        assert SAID in line.getMessage()
        emulator.max_session_minutes()
        assert browser.post("verify_otp", code).status == 303
        assert SESSION in browser.cookies

    def test_nobody_can_try_for_ever_by_it(self, site: Both, emulator: Emulator) -> None:
        """An API whose refusals never speak of the code still has no more than 25 codes tried."""
        browser = Visitor(site, html=False)
        browser.post_json("send_otp", ME)
        emulator.clear_requests()
        found = [browser.post_json("verify_otp", {"code": f"{place:06}"}).status for place in range(40)]
        assert found == [400] * 25 + [429] * 15
        assert emulator.requests()["POST /v1/auth/otps/verify"] == 25

    def test_oauth_may_be_tried_again(self, site: Both, emulator: Emulator) -> None:
        browser = Visitor(site)
        start: OAuthStart = site.client.flows.oauth_state()
        browser.keep([start.set_cookie])
        query = {"state": start.state, "token": emulator.oauth_token("me@example.com")}
        answer = browser.get("oauth", query)
        assert answer.status == 400
        assert "The other service is not the reason" in shown(answer).one("main").text
        emulator.max_session_minutes()
        assert browser.get("oauth", query).status == 303
