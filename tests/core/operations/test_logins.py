"""Every way to sign in, blocking and asynchronous, against the emulator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import (
    Device,
    InvalidCredentials,
    Login,
    MoonKey,
    NotFound,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
)
from moonkey_core.emulator import Emulator
from support import quick
from support.clients import Both, answering
from support.scripted import reply, scripted

DELETE = "DELETE /v1/auth/sessions/delete"


def raw(emulator: Emulator, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the core has no method for."""
    headers = {"authorization": f"Bearer {emulator.secret_key}"}
    found: dict[str, Any] = quick.post(f"{emulator.base_url}/v1/auth/{path}", json=body, headers=headers).json()
    return found


def check_session(call: Both, login: Login, minutes: int) -> None:
    """A login that asked for a session has one, and both its credentials are good."""
    assert login.session is not None
    assert login.session.user_id == login.user.id
    assert abs(login.session.expires_in - timedelta(minutes=minutes)) < timedelta(seconds=30)
    assert login.session_token
    assert login.session_jwt
    assert call("sessions.verify", session_token=login.session_token).session.id == login.session.id
    assert call("sessions.verify", session_jwt=login.session_jwt).user.id == login.user.id


def check_no_session(login: Login) -> None:
    assert (login.session, login.session_token, login.session_jwt) == (None, None, None)
    assert login.user.id.startswith("user_")


class TestOtps:
    @pytest.mark.parametrize("where", [{"email": "New@Example.com"}, {"phone_number": "+14152222222"}])
    def test_sent_and_verified_by_method(self, call: Both, emulator: Emulator, where: dict[str, str]) -> None:
        sent = call("otps.login_or_create", **where, expires_in=10, device=Device("browser", "10.0.0.1"))
        code = emulator.outbox()[0].code
        login = call("otps.verify", code, method_id=sent.method_id, session_expires_in=60)
        assert login.user.id == sent.user_id
        check_session(call, login, 60)
        with pytest.raises(InvalidCredentials, match="used up"):
            call("otps.verify", code, method_id=sent.method_id)

    def test_by_email(self, call: Both, emulator: Emulator) -> None:
        sent = call("otps.login_or_create", email="me@example.com")
        login = call("otps.verify", emulator.outbox()[0].code, email="me@example.com")
        assert login.user.id == sent.user_id
        check_no_session(login)

    def test_to_somebody_who_is_not_known(self, call: Both) -> None:
        with pytest.raises(NotFound) as caught:
            call("otps.send", email="nobody@example.com")
        assert caught.value.code == "user_not_found"

    def test_to_no_address_at_all(self, call: Both) -> None:
        with pytest.raises(RequestRefused) as caught:
            call("otps.send", email="no address")
        assert (caught.value.code, caught.value.status) == ("invalid_request", 400)

    @pytest.mark.parametrize("code", ["000000", "abc", "1" * 200])
    def test_a_wrong_code(self, call: Both, emulator: Emulator, code: str) -> None:
        sent = call("otps.login_or_create", email="me@example.com")
        if emulator.outbox()[0].code != code:
            with pytest.raises(InvalidCredentials) as caught:
                call("otps.verify", code, method_id=sent.method_id)
            assert caught.value.reason == "login_refused"
            assert code not in str(caught.value)

    def test_both_bodies_go_out_as_documented(self) -> None:
        with scripted(reply(200, {"user_id": "user_1"})) as server:
            with MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
                client.otps.verify("123456", method_id="em_1")
                client.otps.verify("123456", email="a@b.c", session_expires_in=timedelta(hours=1))
                client.otps.verify("123456", email="a@b.c", device=Device(ip="10.0.0.1"), session_token="t")
            assert [request.json for request in server.received] == [
                {"method_id": "em_1", "otp": "123456"},
                {"email": "a@b.c", "code": "123456", "session_expires_in": 60},
                {
                    "email": "a@b.c",
                    "code": "123456",
                    "device_fingerprint": {"ip": "10.0.0.1", "user_agent": ""},
                    "session_token": "t",
                },
            ]

    @pytest.mark.parametrize("name", ["method_id", "email_id", "phone_number_id"])
    def test_the_id_of_the_address_in_each_spelling(self, name: str) -> None:
        with answering({name: "one_1", "user_id": "user_1"}) as (client, _):
            sent = client.otps.send(email="a@b.c")
            assert (sent.method_id, sent.user_id) == ("one_1", "user_1")


class TestOtherLogins:
    def test_a_magic_link(self, call: Both, emulator: Emulator) -> None:
        raw(emulator, "magic_links/email/login_or_create", {"email": "me@example.com"})
        token = emulator.outbox()[0].code
        check_session(call, call("magic_links.verify", token, session_expires_in=5), 5)
        with pytest.raises(InvalidCredentials):
            call("magic_links.verify", token)

    @pytest.mark.parametrize("name", ["token", "code"])
    def test_oauth(self, call: Both, emulator: Emulator, name: str) -> None:
        value = emulator.oauth_token("me@example.com")
        login = call("oauth.verify", **{name: value}, session_expires_in=timedelta(days=366))
        check_session(call, login, 527_040)
        assert login.extra["provider"] == "google"
        assert "access_token" not in login.extra["idp_session"]
        check_no_session(call("oauth.verify", token=emulator.oauth_token("me@example.com")))
        with pytest.raises(InvalidCredentials):
            call("oauth.verify", **{name: value})

    def test_totp(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        secret = raw(emulator, "totps/create", {"user_id": person.user_id})["secret"]
        code = emulator.totp_code(secret)
        login = call("totps.verify", code, user_id=person.user_id, session_expires_in=30)
        assert login.user.id == person.user_id
        check_session(call, login, 30)
        with pytest.raises(InvalidCredentials):
            call("totps.verify", code, user_id=person.user_id)

    def test_a_wallet(self, call: Both, emulator: Emulator) -> None:
        wallet = {"wallet_type": "ethereum", "public_address": "0xabc"}
        challenge = raw(emulator, "wallets/registrations/begin", wallet)["challenge"]
        signature = emulator.sign_wallet(challenge)
        login = call("wallets.verify", **wallet, signature=signature, session_expires_in=10)
        check_session(call, login, 10)
        with pytest.raises(InvalidCredentials):
            call("wallets.verify", **wallet, signature=signature)

    @pytest.mark.parametrize("credential", ["session_token", "session_jwt"])
    def test_a_factor_is_added_to_a_session(self, call: Both, emulator: Emulator, credential: str) -> None:
        person = emulator.sign_in(email="me@example.com")
        call("otps.send", email="me@example.com")
        given = {credential: getattr(person, credential)}
        login = call("otps.verify", emulator.outbox()[0].code, email="me@example.com", **given)
        assert login.session is not None
        assert login.session.id == person.session_id
        assert len(login.session.factors) == 2
        assert login.session_token != person.session_token
        with pytest.raises(InvalidCredentials):
            call("sessions.verify", session_token=person.session_token)

    def test_an_uncoded_401_is_told_apart_here_too(self, call: Both, emulator: Emulator) -> None:
        emulator.fault("/v1/auth/otps/verify", status=401)
        with pytest.raises(InvalidCredentials):
            call("otps.verify", "123456", method_id="em_1")
        emulator.fault("/v1/auth/users", status=401)
        with pytest.raises((ProviderRejectedKey, InvalidCredentials)):
            call("otps.verify", "123456", method_id="em_1")

    def test_with_a_wrong_api_key(self, emulator: Emulator) -> None:
        with MoonKey(secret_key="sk_test_wrong", base_url=emulator.base_url) as client:
            with pytest.raises(ProviderRejectedKey, match="MOONKEY_SECRET_KEY"):
                client.otps.verify("123456", method_id="em_1")
            with pytest.raises(ProviderRejectedKey):
                client.users.get("user_1")
            with pytest.raises(ProviderRejectedKey):
                client.sessions.revoke(session_id="sess_1")
            with pytest.raises(ProviderRejectedKey):
                client.sessions.list("user_1")


ANSWERS: dict[str, dict[str, Any]] = {
    "nobody": {"session": None},
    "a session without a credential": {
        "user_id": "user_1",
        "session": {"id": "s", "user_id": "user_1", "expires_at": 9},
    },
    "a credential without a session": {"user_id": "user_1", "session": None, "session_token": "t"},
    "somebody else's session": {
        "user_id": "user_1",
        "session": {"id": "s", "user_id": "user_2", "expires_at": 4_000_000_000},
        "session_token": "t",
    },
    "a token with a line break": {
        "user_id": "user_1",
        "session": {"id": "s", "user_id": "user_1", "expires_at": 4_000_000_000},
        "session_token": "t\r\nx: y",
    },
    "two users": {"user_id": "user_1", "user": {"id": "user_2"}},
    "a user and no name": {"user_id": 7, "user": {"id": "user_2"}},
    "a user as text": {"user": "user_1"},
    "an id as number": {"user_id": 7},
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_login_answer_that_is_not_sound(answer: dict[str, Any]) -> None:
    with answering(answer) as (client, _), pytest.raises(ProviderUnavailable):
        client.otps.verify("123456", method_id="em_1")
