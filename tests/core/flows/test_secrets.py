"""No code, token, cookie or address of a sign-in stands in a log line, a repr or an error."""

from __future__ import annotations

import logging

import pytest

from moonkey_core import SignInSettings
from moonkey_core.emulator import Emulator
from moonkey_core.settings.sign_in_settings import Attempt
from support import quick
from support.flow_visits import Visitor, code_of, events_of, flow_client, wrong
from support.secrets import assert_no_secret

pytestmark = pytest.mark.rule("S30")

ADDRESS = "somebody.special@example.com"


def failing(attempt: Attempt) -> bool:
    if attempt.kind == "try":
        raise LookupError("the limiter's store is down")
    return True


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_all_the_ways(
    kind: str, emulator: Emulator, caplog: pytest.LogCaptureFixture, quick_retries: None
) -> None:
    caplog.set_level(logging.DEBUG, "moonkey")
    secrets: set[str] = {ADDRESS}
    shown: list[object] = []
    with flow_client(kind, emulator) as call:
        events = events_of(call)
        browser = Visitor(call)

        def note(*answers: object) -> None:
            shown.extend(answers)
            secrets.update(browser.cookies.values())

        note(browser.post("send_otp", {"address": ADDRESS}))
        code = code_of(emulator)
        note(browser.post("verify_otp", {"code": wrong(code)}), browser.get("verify_otp"))
        emulator.fault("/v1/auth/otps", status=500)
        note(browser.post("verify_otp", {"code": code}), browser.post("send_otp", {"address": ADDRESS}))
        emulator.clear_faults()
        note(browser.post("verify_otp", {"code": code}), browser.get("sign_in"))
        headers = {"authorization": f"Bearer {emulator.secret_key}"}
        url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
        quick.post(url, json={"email": ADDRESS}, headers=headers).raise_for_status()
        link = {"token": code_of(emulator)}
        note(browser.get("magic", link), browser.post("magic", link), browser.post("magic", link))
        start = call.client.flows.oauth_state()
        browser.keep([start.set_cookie])
        back = {"state": start.state, "token": emulator.oauth_token(ADDRESS)}
        note(start, browser.get("oauth", {**back, "state": "x"}), browser.get("oauth", back))
        secrets |= {link["token"], *back.values(), emulator.secret_key}
        things = [*shown, *events, *caplog.records, call.client, call.client.flows]
    with flow_client(kind, emulator, sign_in=SignInSettings(limiter=failing)) as call:
        browser = Visitor(call)
        browser.post("send_otp", {"address": ADDRESS})
        things.append(browser.post("verify_otp", {"code": code_of(emulator)}))
    things += caplog.records
    assert {getattr(record, "reason", None) for record in caplog.records} >= {"limiter_failed", "login_refused"}
    assert code not in caplog.text
    # What goes into a page or a header is there on purpose; how it shows itself is what is searched.
    assert_no_secret(
        [repr(thing) for thing in things] + [record.getMessage() for record in caplog.records], secrets
    )
    assert_no_secret(list(caplog.records), secrets)
