"""What errors and the log say was found: enough to mend it, bounded, printable, never a secret (rule S32)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import MoonKeyError, RequestRefused
from moonkey_core._evidence import quoted, shown
from moonkey_core._operations import arguments
from moonkey_core._plan import Plan, run
from moonkey_core._sign_in_steps import LoginContext
from moonkey_core.web.responses import refuse
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import ISSUER, good
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "Ab3" * 20
KEY = "sk_live_0123456789abcdef"


def logged(error: MoonKeyError, decisions: Decisions, caplog: pytest.LogCaptureFixture) -> str:
    """The log line of a refusal; what goes to the caller holds no evidence."""
    caplog.set_level(logging.INFO, "moonkey")
    caplog.clear()
    answer = refuse(error, decisions.settings)
    assert error.evidence
    assert error.evidence not in answer.body.decode()
    assert not any(error.evidence in value for _, value in answer.headers)
    (record,) = caplog.records
    line = record.getMessage()
    assert error.evidence in line
    assert error.evidence in str(error)
    assert line.isprintable()
    assert len(line) < 1000
    return line


CLAIMS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "issuer": ({"iss": "api.elsewhere.example/1"}, {}, ["'api.elsewhere.example/1'", repr(ISSUER)]),
    "issuer with a slash": ({"iss": ISSUER + "/"}, {}, [repr(ISSUER + "/"), repr(ISSUER)]),
    "no issuer": ({"iss": None}, {}, ["iss is none", repr(ISSUER)]),
    "issuers": ({"iss": [ISSUER, "b"]}, {}, [f"{ISSUER!r}, 'b'"]),
    "issuer as number": ({"iss": 7}, {}, ["wrong type (int)"]),
    "a forged line": ({"iss": "x\nrefused with 401"}, {}, [r"'x\nrefused with 401'"]),
    "an endless issuer": ({"iss": "é" * 500}, {}, [r"\xe9"]),
    "audience": ({"aud": ["somebody"]}, {"jwt_audience": "us"}, ["'somebody'", "'us'"]),
    "many audiences": ({"aud": ["x" * 99] * 40}, {"jwt_audience": "us"}, ["'us'"]),
    "issued ahead": ({"iat": NOW + 65, "nbf": NOW}, {}, ["iat is 65 s ahead", "leeway: 5 s"]),
    "not before": ({"nbf": NOW + 65}, {}, ["nbf is 65 s ahead", "leeway: 5 s"]),
    "far ahead": ({"nbf": 1e300}, {}, ["nbf is 1000000000 s ahead"]),
    "expired": ({"exp": NOW - 17, "iat": NOW - 200, "nbf": NOW - 200}, {}, ["exp 17 s ago", "iat is 200 s ago"]),
    "too old": ({"iat": NOW - 400, "nbf": NOW - 400, "exp": NOW + 60}, {}, ["iat is 400 s ago", "exp in 60 s"]),
}


@pytest.mark.rule("S32", "jwt")
@pytest.mark.parametrize(("claims", "options", "expected"), CLAIMS.values(), ids=CLAIMS.keys())
def test_a_jwt(
    claims: dict[str, Any], options: dict[str, Any], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    decisions = Decisions(refresh_jwt=False, max_credential_length=16_384, **options)
    token = good(NOW, **claims)
    error = decisions.authenticate(token).error
    assert error is not None
    line = logged(error, decisions, caplog)
    for part in expected:
        assert part in line
    assert token not in line


def test_a_session_past_its_end(caplog: pytest.LogCaptureFixture) -> None:
    decisions = KnownToTheApi([TOKEN])
    decisions.good[TOKEN] = {"session": {"expires_at": int(NOW) - 45}}
    error = decisions.authenticate(TOKEN).error
    assert error is not None
    assert "It ended 45 s ago" in logged(error, decisions, caplog)


def refused(decisions: Decisions, plan: Plan[Any]) -> MoonKeyError:
    with pytest.raises(MoonKeyError) as caught:
        run(plan, decisions.exchange)
    return caught.value


MESSAGES = {
    "plain": ("session_expires_in must be from 5 to 43200", "session_expires_in must be from 5 to 43200"),
    "the token": (f"no session {TOKEN} here", "no session *** here"),
    "the token without its prefix": (f"no session {TOKEN[8:]} here", "no session *** here"),
    "the token in capitals": (f"no session {TOKEN.upper()} here", "no session *** here"),
    "the token in a URL": (f"no session {TOKEN}%2B{TOKEN}%2F here", "no session *** here"),
    "a token cut short": (f"no session {TOKEN[:18]}... here", "no session *** here"),
    "the end of a token": (f"no session …{TOKEN[-12:]} here", "no session …*** here"),
    "our key without its prefix": (f"no key {KEY[8:]} here", "no key *** here"),
    "the start of our key": (f"no key {KEY[8:18]}... here", "no key *** here"),
    "an address in other letters": ("ME@Example.com was not found", "*** was not found"),
    "an address": ("me@example.com was not found", "*** was not found"),
    "a code": ("the code 123456 is wrong", "the code *** is wrong"),
    "our key": (f"{KEY} may not do that", "*** may not do that"),
    "a JWT": ("not eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl", "not ***"),
    "a forged line": ("no\r\nfaked line\x1b[31m\u202e", "no  faked line"),
    "endless": ("no such thing " * 10_000, "no such thing no such"),
}


@pytest.mark.rule("S32", "token")
@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_what_the_api_says(message: str, expected: str, shape: str, caplog: pytest.LogCaptureFixture) -> None:
    decisions = Decisions(secret_key=KEY)
    flat = {"error_type": "invalid_request", "error_message": message}
    nested = {"error": {"code": "invalid_request", "message": message}}
    decisions.answer = lambda _: replied(400, flat if shape == "flat" else nested)
    steps, context = decisions.core.able_to("sign_in"), LoginContext(60, TOKEN)
    for plan in (
        steps.begin_wallet(wallet_type="123456", public_address="me@example.com", user_id=TOKEN),
        steps.verify_otp(code="123456", email="me@example.com", context=context),
    ):
        error = refused(decisions, plan)
        assert isinstance(error, RequestRefused)
        assert error.code == "invalid_request"
        line = logged(error, decisions, caplog)
        assert "It answered 400, 'invalid_request: " in line
        assert expected in line
        for secret in (TOKEN, TOKEN[8:], TOKEN[8:20], KEY, KEY[8:18], "123456", "me@example.com", "eyj"):
            assert secret.lower() not in line.lower()


def test_a_length_that_is_refused_says_what_the_api_said(caplog: pytest.LogCaptureFixture) -> None:
    decisions = Decisions()
    flat = {"error_type": "invalid_request", "error_message": f"{TOKEN}: 43200 minutes at most"}
    decisions.answer = lambda fetch: (
        replied(400, flat) if "session_expires_in" in (fetch.json or {}) else replied(200, verified_body())
    )
    plan = decisions.core.authenticator.verify(arguments.given("session_token", TOKEN), 86_400)
    line = logged(refused(decisions, plan), decisions, caplog)
    assert "***: 43200 minutes at most" in line


@pytest.mark.rule("S32")
def test_a_token_that_comes_back_as_the_code(caplog: pytest.LogCaptureFixture) -> None:
    decisions, token = Decisions(), "Ab3" * 20
    decisions.answer = lambda _: replied(400, {"error_type": token, "error_message": "no"})
    steps = decisions.core.able_to("sign_in")
    error = refused(decisions, steps.send_otp(channel="email", address="me@example.com", create=False))
    assert token not in logged(error, decisions, caplog)


@pytest.mark.rule("S32")
def test_a_token_that_was_sent_is_no_code(caplog: pytest.LogCaptureFixture) -> None:
    decisions, token = Decisions(), "Ab3" * 20
    decisions.answer = lambda _: replied(400, {"error_type": token, "error_message": "no"})
    steps = decisions.core.able_to("sign_in")
    error = refused(decisions, steps.send_otp(channel="email", address=token, create=False))
    assert isinstance(error, RequestRefused)
    assert error.code is None
    assert token not in logged(error, decisions, caplog)


def test_our_own_trouble_says_it_too(caplog: pytest.LogCaptureFixture) -> None:
    decisions = Decisions()
    decisions.answer = lambda _: replied(402, {"error_type": "not_enabled", "error_message": "sessions are off"})
    error = decisions.authenticate(TOKEN).error
    assert error is not None
    assert "402, 'not_enabled: sessions are off'" in logged(error, decisions, caplog)


@pytest.mark.rule("S32")
@given(st.text(max_size=3000), st.lists(st.text(min_size=3, max_size=40), max_size=4))
def test_a_saying_is_bounded_and_printable(message: str, sent: list[str]) -> None:
    for text in (quoted("code", message, sent), shown(message), shown([message] * 9)):
        assert len(text) < 2500
        assert text.isprintable()
