"""The official Python client, unchanged, against the emulator."""

from __future__ import annotations

from typing import Any

import pytest
from streambird import Client  # type: ignore[import-untyped]
from streambird.exceptions import (  # type: ignore[import-untyped]
    StreambirdInvalidRequest,
    StreambirdResourceNotFound,
    StreambirdUnauthorized,
)

from moonkey_core.emulator import Emulator

# It leaves the closing of its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

EMAIL = "ada@example.com"


@pytest.fixture
def client(emulator: Emulator) -> Any:
    return Client(emulator.secret_key, api_instance_url=f"{emulator.base_url}/v1")


def sign_in(client: Any, emulator: Emulator, **session: Any) -> Any:
    sent = client.otps.email.login_or_create(EMAIL)
    return client.otps.verify(emulator.outbox()[0].code, sent["email_id"], **session)


def test_sign_in_verify_list_delete(client: Any, emulator: Emulator) -> None:
    login = sign_in(
        client, emulator, session_expires_in=60, device_fingerprint={"ip": "192.0.2.1", "user_agent": "x"}
    )
    assert login["session"]["device_fingerprint"] == {"ip": "192.0.2.1", "user_agent": "x"}

    verified = client.sessions.verify(session_token=login["session_token"])
    assert verified["session"]["id"] == login["session"]["id"]
    assert verified["user"] == {**verified["user"], "id": login["user_id"], "email": EMAIL}
    by_jwt = client.sessions.verify(session_jwt=verified["session_jwt"], session_expires_in=120)
    assert by_jwt["session"]["expires_at"] > verified["session"]["expires_at"]

    (listed,) = client.sessions.list(login["user_id"])["sessions"]
    assert listed["id"] == login["session"]["id"]

    client.sessions.delete(session_id=listed["id"])
    with pytest.raises(StreambirdResourceNotFound, match="Session not found or has expired"):
        client.sessions.verify(session_token=login["session_token"])
    assert client.sessions.list(login["user_id"]) == {"sessions": []}


def test_login_without_a_session(client: Any, emulator: Emulator) -> None:
    login = sign_in(client, emulator)
    assert (login["session"], login["session_token"], login["session_jwt"]) == (None, "", "")


def test_sms_codes(client: Any, emulator: Emulator) -> None:
    sent = client.otps.sms.login_or_create("+14152222222", expires_in=10)
    assert client.otps.sms.send("+14152222222")["phone_number_id"] == sent["phone_number_id"]
    login = client.otps.verify(emulator.outbox()[0].code, sent["phone_number_id"], session_expires_in=5)
    (factor,) = login["session"]["factors"]
    assert (factor["delivery_channel"], factor["method"]["phone_number"]) == ("sms", "+14152222222")


def test_magic_links(client: Any, emulator: Emulator) -> None:
    sent = client.magic_links.email.login_or_create(EMAIL, login_redirect_url="https://app.example/in?a=1")
    message = emulator.outbox()[0]
    assert message.link == f"https://app.example/in?a=1&token={message.code}"
    login = client.magic_links.verify(message.code, session_expires_in=60)
    assert (login["user_id"], login["method_id"]) == (sent["user_id"], sent["email_id"])
    made = client.magic_links.create(sent["user_id"])
    assert client.magic_links.verify(made["token"])["session"] is None


def test_oauth(client: Any, emulator: Emulator) -> None:
    login = client.oauth.verify(emulator.oauth_token(EMAIL, "github"), session_expires_in=60)
    assert (login["provider"], login["session"]["factors"][0]["type"]) == ("github", "oauth")


def test_totp_and_its_recovery_codes(client: Any, emulator: Emulator) -> None:
    user_id = client.users.create(email=EMAIL)["user_id"]
    made = client.totps.create(user_id)
    login = client.totps.verify(emulator.totp_code(made["secret"]), user_id, session_expires_in=60)
    assert (login["totp_id"], login["session"]["user_id"]) == (made["totp_id"], user_id)
    (left,) = client.totps.recovery_codes(user_id)["totps"]
    assert left["recovery_codes"] == made["recovery_codes"]
    assert client.totps.recovery(made["recovery_codes"][0], user_id)["totp_id"] == made["totp_id"]
    with pytest.raises(StreambirdInvalidRequest):
        client.totps.recovery(made["recovery_codes"][0], user_id)


def test_wallets(client: Any, emulator: Emulator) -> None:
    begun = client.wallets.begin_registration("ethereum", "0xabc")
    signature = emulator.sign_wallet(begun["challenge"])
    login = client.wallets.verify("ethereum", "0xabc", signature, session_expires_in=60)
    assert (login["user_id"], login["public_address"]) == (begun["user_id"], "0xabc")
    assert client.users.delete_wallet(login["id"])["user_id"] == begun["user_id"]


def test_users(client: Any) -> None:
    made = client.users.create(email=EMAIL, phone_number="+14152222222", first_name="Ada")
    updated = client.users.update(made["user_id"], emails=["ada2@example.com"], last_name="Lovelace")
    assert [one["email"] for one in updated["emails"]] == [EMAIL, "ada2@example.com"]
    client.users.delete_email(made["email_id"])
    client.users.delete_phone_number(made["phone_number_id"])
    user = client.users.get(made["user_id"])
    assert (user["first_name"], user["last_name"], user["phone_numbers"]) == ("Ada", "Lovelace", [])
    assert client.users.delete(made["user_id"])["user_id"] == made["user_id"]
    with pytest.raises(StreambirdResourceNotFound, match="User not found"):
        client.users.get(made["user_id"])


def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    client = Client("sk_test_wrong", api_instance_url=f"{emulator.base_url}/v1")
    with pytest.raises(StreambirdUnauthorized, match="Unauthorized"):
        client.sessions.list("user_x")
