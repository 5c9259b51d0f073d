"""The steps of a sign-in at Stytch: what is called, what a reply means, and what is not offered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from contract.stytch_sites import provider

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core._plan import Plan, Reply
from moonkey_core._sign_in_steps import LinkPage, LoginContext
from moonkey_core.emulator import StytchEmulator
from moonkey_core.errors import (
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    NotSupported,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
)
from moonkey_core.models import Device, Login
from moonkey_core.provider import Stytch

USER = {"user_id": "user-test-1", "emails": [{"email": "ada@example.com", "verified": True}]}
SESSION = {
    "session_id": "session-test-1",
    "user_id": "user-test-1",
    "started_at": "2026-05-01T10:00:00.123456789Z",
    "expires_at": "2999-05-01T10:00:00Z",
    "authentication_factors": [],
}
GOOD = {
    "status_code": 200,
    "request_id": "r",
    "user_id": "user-test-1",
    "user": USER,
    "method_id": "email-test-1",
    "session": SESSION,
    "session_token": "t" * 44,
    "session_jwt": "a.b.c",
}
TOKEN = LoginContext(session_token="s" * 44)

Step = Callable[[Stytch], Plan[Any]]


def made(**more: Any) -> Stytch:
    return Stytch("project-test-1", "secret-test-1", "public-test-1", **more)


def answered(step: Plan[Any], body: Mapping[str, Any], status: int = 200) -> tuple[dict[str, Any], str, Any]:
    """Run a step whose call gets this answer: the body and the URL of the call, and the result."""
    fetch = next(step)
    try:
        step.send(Reply(status, {}, json.dumps(body).encode()))
    except StopIteration as stop:
        assert fetch.json is not None
        assert not fetch.idempotent
        return dict(fetch.json), fetch.url, stop.value
    raise AssertionError("a second call")


def refusal(step: Plan[Any], status: int, kind: str, message: str = "No.") -> MoonKeyError:
    body = {"status_code": status, "request_id": "r", "error_type": kind, "error_message": message}
    with pytest.raises(MoonKeyError) as raised:
        answered(step, body, status)
    return raised.value


def verify(context: LoginContext = LoginContext()) -> Plan[Login]:  # noqa: B008 it is frozen
    return made().verify_otp(code="123456", method_id="email-test-1", context=context)


DEVICE = Device(user_agent="Mozilla/5.0", ip="203.0.113.7")
ATTRIBUTES = {"ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0"}


@pytest.mark.parametrize(
    ("step", "path", "body"),
    [
        (
            lambda one: one.verify_otp(code="1", method_id="m", context=LoginContext(60, device=DEVICE)),
            "/v1/otps/authenticate",
            {"code": "1", "method_id": "m", "session_duration_minutes": 60, "attributes": ATTRIBUTES},
        ),
        (
            lambda one: one.verify_magic_link(token="t", context=LoginContext(None, "s")),
            "/v1/magic_links/authenticate",
            {"token": "t", "session_token": "s"},
        ),
        (
            lambda one: one.verify_oauth(token="t", context=LoginContext(5, device=DEVICE)),
            "/v1/oauth/authenticate",
            {"token": "t", "session_duration_minutes": 5},
        ),
        (
            lambda one: one.verify_totp(code="1", user_id="user-test-1", context=LoginContext(None, None, "j")),
            "/v1/totps/authenticate",
            {"totp_code": "1", "user_id": "user-test-1", "session_jwt": "j"},
        ),
        (
            lambda one: one.recover_totp(recovery_code="r", user_id="user-test-1", context=LoginContext()),
            "/v1/totps/recover",
            {"recovery_code": "r", "user_id": "user-test-1"},
        ),
    ],
)
def test_what_is_called(step: Step, path: str, body: dict[str, Any]) -> None:
    sent, url, login = answered(step(made()), GOOD)
    assert (url, sent) == (f"https://test.stytch.com{path}", body)
    assert (login.user.id, login.session.id, login.session_token) == ("user-test-1", "session-test-1", "t" * 44)
    assert login.user.email == "ada@example.com"
    assert "t" * 44 not in repr(login)


@pytest.mark.parametrize("create", [False, True])
def test_what_is_sent(create: bool) -> None:
    end = "login_or_create" if create else "send"
    answer = {"status_code": 200, "request_id": "r", "user_id": "user-test-1", "user_created": create}
    step = made().send_otp(channel="email", address="ada@example.com", create=create, minutes=7, device=DEVICE)
    sent, url, result = answered(step, {**answer, "email_id": "email-test-1"})
    assert url == f"https://test.stytch.com/v1/otps/email/{end}"
    assert sent == {"email": "ada@example.com", "expiration_minutes": 7, "attributes": ATTRIBUTES}
    assert (result.method_id, result.user_id, result.extra) == (
        "email-test-1",
        "user-test-1",
        {"user_created": create},
    )
    step = made().send_otp(channel="sms", address="+14155550100", create=create)
    sent, url, result = answered(step, {**answer, "phone_id": "phone-number-test-1"})
    assert (url, sent) == (f"https://test.stytch.com/v1/otps/sms/{end}", {"phone_number": "+14155550100"})
    assert result.method_id == "phone-number-test-1"
    page, sign_up = LinkPage("https://app.example.com/in", 5), LinkPage("https://app.example.com/new")
    link = made().send_magic_link(email="ada@example.com", create=create, login=page, registration=sign_up)
    sent, url, result = answered(link, {**answer, "email_id": "email-test-1"})
    assert url == f"https://test.stytch.com/v1/magic_links/email/{end}"
    assert sent == {
        "email": "ada@example.com",
        "login_magic_link_url": "https://app.example.com/in",
        "login_expiration_minutes": 5,
        "signup_magic_link_url": "https://app.example.com/new",
    }
    assert result.method_id == "email-test-1"


def test_the_session_of_oauth_has_another_name() -> None:
    secret = "a" * 40
    answer = {**GOOD, "user_session": SESSION, "provider_values": {"access_token": secret, "scopes": ["email"]}}
    del answer["session"]
    _, _, login = answered(made().verify_oauth(token="t", context=LoginContext(60)), answer)
    assert login.session.id == "session-test-1"
    assert login.extra == {"provider_values": {"scopes": ("email",)}}
    assert secret not in repr(login) + str(login.extra)


def test_without_a_session() -> None:
    answer = {**GOOD, "session": None, "session_token": "", "session_jwt": ""}
    _, _, login = answered(verify(), answer)
    assert (login.session, login.session_token, login.session_jwt) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": "user-test-2"}, "api_mismatch"),
        ({"user": {"user_id": "user-test-2"}}, "api_mismatch"),
        ({"session": {**SESSION, "user_id": "user-test-2"}}, "api_mismatch"),
        ({"session": {**SESSION, "expires_at": "soon"}}, "api_content"),
        ({"session": {**SESSION, "session_id": ""}}, "api_content"),
        ({"session": "yes"}, "api_content"),
        ({"user": "ada"}, "api_content"),
        ({"session_token": "a b"}, "api_content"),
        ({"session_jwt": "a\r\nb"}, "api_content"),
        ({"session_jwt": 7}, "api_content"),
        ({"error_type": "otp_code_not_found"}, "api_content"),
        ({"status_code": 401}, "api_content"),
    ],
)
def test_replies_that_are_not_about_this_login(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProviderUnavailable) as raised:
        answered(verify(), {**GOOD, **changes})
    assert raised.value.reason == reason
    with pytest.raises(ProviderUnavailable):  # the user of the app is known before
        answered(made().verify_totp(code="1", user_id="user-test-3", context=LoginContext()), GOOD)


@pytest.mark.parametrize(
    "kind", ["otp_code_not_found", "unable_to_auth_otp_code", "pkce_mismatch", "expired_totp"]
)
@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_wrong_proof(kind: str, status: int) -> None:
    for context in (LoginContext(60), TOKEN):
        error = refusal(verify(context), status, kind)
        assert (type(error), error.reason) == (InvalidCredentials, "login_refused")
        assert isinstance(error, InvalidCredentials)
        assert not error.session_is_over


@pytest.mark.parametrize(
    ("status", "kind", "context", "expected", "reason"),
    [
        (404, "session_not_found", TOKEN, InvalidCredentials, "session_unknown"),
        (404, "session_not_found", LoginContext(60), RequestRefused, "login_unclear"),
        (400, "invalid_session_token", TOKEN, RequestRefused, "login_unclear"),
        (400, "invalid_session_duration_minutes", LoginContext(60), RequestRefused, "duration_refused"),
        (400, "bad_request", LoginContext(60), RequestRefused, "login_unclear"),
        (404, "user_not_found", LoginContext(), NotFound, "not_found"),
        (401, "unauthorized_credentials", LoginContext(), ProviderRejectedKey, "provider_rejected_key"),
        (400, "too_many_session_arguments", TOKEN, ProviderRejectedKey, "provider_refused"),
        (429, "too_many_requests", LoginContext(), ProviderUnavailable, "api_rate_limited"),
        (500, "internal_server_error", LoginContext(), ProviderUnavailable, "api_status"),
        (402, "otp_code_not_found", LoginContext(), RequestRefused, "login_unclear"),
    ],
)
def test_other_refusals(
    status: int, kind: str, context: LoginContext, expected: type[MoonKeyError], reason: str
) -> None:
    error = refusal(verify(context), status, kind)
    assert (type(error), error.reason) == (expected, reason)


def test_no_refusal_repeats_what_was_sent() -> None:
    error = refusal(verify(TOKEN), 401, "unable_to_auth_otp_code", f"The code 123456 of {'s' * 44} is wrong.")
    assert "123456" not in f"{error!r} {error.evidence}"
    assert "s" * 44 not in f"{error!r} {error.evidence}"


def test_what_the_browser_brings() -> None:
    steps = made()
    assert steps.magic_link_token({"token": "t", "stytch_token_type": "magic_links"}) == "t"
    assert steps.magic_link_token({"token": "t"}) == "t"
    assert steps.oauth_proof({"token": "t", "stytch_token_type": "oauth"}) == ("token", "t")
    assert steps.oauth_proof({"token": "t"}) == ("token", "t")
    for other in ("oauth", "login", "reset_password", "multi_tenant_magic_links", "", "MAGIC_LINKS"):
        assert steps.magic_link_token({"token": "t", "stytch_token_type": other}) is None
    for other in ("magic_links", "login", "discovery_oauth", ""):
        assert steps.oauth_proof({"token": "t", "stytch_token_type": other}) is None
    assert steps.oauth_proof({"code": "t"}) is None
    assert steps.magic_link_token({"token": ""}) is None


def test_where_oauth_begins() -> None:
    page = "https://app.example.com/back?a=b"
    assert made().oauth_start_url("google", login_redirect_url=page, state="s") == (
        "https://test.stytch.com/v1/public/oauth/google/start?public_token=public-test-1"
        "&login_redirect_url=https%3A%2F%2Fapp.example.com%2Fback%3Fa%3Db%26state%3Ds"
        "&signup_redirect_url=https%3A%2F%2Fapp.example.com%2Fback%3Fa%3Db%26state%3Ds"
    )
    other = made().oauth_start_url("github", login_redirect_url=page, registration_redirect_url=f"{page}c")
    assert other.endswith("signup_redirect_url=https%3A%2F%2Fapp.example.com%2Fback%3Fa%3Dbc")
    with pytest.raises(ConfigurationError, match="MOONKEY_STYTCH_PUBLIC_TOKEN"):
        Stytch("project-test-1", "secret-test-1").oauth_start_url("google")


def test_what_is_not_offered_says_what_to_do() -> None:
    with MoonKey(provider=made()) as client:
        with pytest.raises(NotSupported, match=r"cannot begin a sign-in with a wallet\. .*SDK"):
            client.wallets.begin(wallet_type="ethereum", public_address="0x0")
        with pytest.raises(NotSupported, match="SDK"):
            client.wallets.verify(wallet_type="ethereum", public_address="0x0", signature="0x0")
        with pytest.raises(NotSupported, match=r"cannot verify such a code\. .*method_id"):
            client.otps.verify("123456", email="ada@example.com")
        with pytest.raises(NotSupported, match="token"):
            client.oauth.verify(code="abc")
        with pytest.raises(ValueError, match="5 to 527040"):
            client.otps.verify("123456", method_id="m", session_expires_in=timedelta(days=367))


def test_an_authenticator_app(stytch: StytchEmulator) -> None:
    person = stytch.sign_in("ada@example.com")
    with MoonKey(provider=provider(stytch), timeout=30) as client:
        made = client.totps.create(user_id=person.user_id)
        assert made.qr_base64
        assert made.secret not in repr(made)
        client.totps.verify(stytch.totp_code(made.secret), user_id=person.user_id)
        login = client.totps.recover(made.recovery_codes[0], user_id=person.user_id, session_expires_in=60)
        assert login.session is not None
        assert [one.type for one in login.session.factors] == ["recovery_codes"]
        with pytest.raises(InvalidCredentials):
            client.totps.recover(made.recovery_codes[0], user_id=person.user_id, session_expires_in=60)
        with pytest.raises(RequestRefused):
            client.totps.create(user_id=person.user_id)


def test_the_same_awaited(stytch: StytchEmulator) -> None:
    async def journey() -> None:
        async with AsyncMoonKey(provider=provider(stytch), timeout=30) as client:
            sent = await client.otps.login_or_create(email="ada@example.com")
            login = await client.otps.verify(
                stytch.outbox()[0].code, method_id=sent.method_id, session_expires_in=timedelta(days=7)
            )
            assert login.session_jwt is not None
            verified = await client.sessions.verify(session_jwt=login.session_jwt)
            assert verified.user.id == sent.user_id

    asyncio.run(journey())
