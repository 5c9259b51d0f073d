"""One-time passcodes, magic links, OAuth, authenticator apps and wallets, and the sessions they start."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moonkey_core.emulator import Emulator, Sent
from moonkey_core.emulator.totp import totp_code

EMAIL = "ada@example.com"


def send(api: httpx.Client, path: str = "otps/email/login_or_create", **body: Any) -> dict[str, Any]:
    sent: dict[str, Any] = api.post(path, json={"email": EMAIL, **body}).raise_for_status().json()
    return sent


def test_a_code_in_either_body(api: httpx.Client, emulator: Emulator) -> None:
    sent = send(api)
    assert sent["user_created"] is True
    by_id = {"method_id": sent["method_id"], "otp": emulator.outbox()[0].code, "session_expires_in": 60}
    first = api.post("otps/verify", json=by_id).raise_for_status().json()
    assert (first["method_type"], first["user_id"]) == ("email", sent["user_id"])
    assert first["session"]["session_token"] == first["session_token"]

    assert send(api, "otps/email/send")["user_id"] == sent["user_id"]
    by_email = {"code": emulator.outbox()[0].code, "email": EMAIL.upper(), "session_expires_in": 60}
    second = api.post("otps/verify", json=by_email).raise_for_status().json()
    assert second["session"]["id"] != first["session"]["id"]
    assert second["user"]["email"] == EMAIL
    assert api.get(f"users/{sent['user_id']}").json()["emails"][0]["verified"] is True


def test_a_code_works_once(api: httpx.Client, emulator: Emulator) -> None:
    send(api)
    body = {"code": emulator.outbox()[0].code, "email": EMAIL}
    assert [api.post("otps/verify", json=body).status_code for _ in range(2)] == [200, 400]


def test_a_code_ends_after_its_minutes(api: httpx.Client, emulator: Emulator) -> None:
    send(api, expires_in=10)
    message = emulator.outbox()[0]
    assert message.expires_at - message.sent_at == 600
    emulator.set_clock(601)
    assert api.post("otps/verify", json={"code": message.code, "email": EMAIL}).status_code == 400


def test_a_code_ends_after_five_wrong_tries(api: httpx.Client, emulator: Emulator) -> None:
    send(api)
    right = emulator.outbox()[0].code
    wrong = "000000" if right != "000000" else "000001"
    for _ in range(5):
        response = api.post("otps/verify", json={"code": wrong, "email": EMAIL})
        assert response.json()["error_type"] == "invalid_otp"
    assert api.post("otps/verify", json={"code": right, "email": EMAIL}).status_code == 400


def test_the_newest_code_counts(api: httpx.Client, emulator: Emulator) -> None:
    send(api)
    send(api)
    new, old = (message.code for message in emulator.outbox())
    if old != new:
        assert api.post("otps/verify", json={"code": old, "email": EMAIL}).status_code == 400
    assert api.post("otps/verify", json={"code": new, "email": EMAIL}).status_code == 200


@pytest.mark.parametrize("minutes", [0, 11, "1", 1.5])
def test_code_lifetimes_out_of_range(api: httpx.Client, minutes: object) -> None:
    response = api.post("otps/email/login_or_create", json={"email": EMAIL, "expires_in": minutes})
    assert response.status_code == 400


def test_sending_to_an_unknown_address(api: httpx.Client, emulator: Emulator) -> None:
    for path in ("otps/email/send", "magic_links/email/send"):
        response = api.post(path, json={"email": EMAIL})
        assert (response.status_code, response.json()["error_type"]) == (404, "user_not_found")
    assert emulator.outbox() == []


def test_a_factor_is_added_to_a_session(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in(EMAIL, minutes=60)
    send(api)
    body = {"code": emulator.outbox()[0].code, "email": EMAIL, "session_token": signed_in.session_token}
    added = api.post("otps/verify", json=body).raise_for_status().json()
    assert added["session"]["id"] == signed_in.session_id
    assert len(added["session"]["factors"]) == 2
    assert added["session"]["expires_at"] == added["session"]["started_at"] + 3600
    old = api.post("sessions/verify", json={"session_token": signed_in.session_token})
    new = api.post("sessions/verify", json={"session_token": added["session_token"]})
    assert (old.status_code, new.status_code) == (404, 200)


def test_a_factor_added_by_jwt_can_extend(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in(EMAIL, minutes=60)
    body = {"token": emulator.oauth_token(EMAIL), "session_jwt": signed_in.session_jwt, "session_expires_in": 600}
    added = api.post("oauth/verify", json=body).raise_for_status().json()
    assert added["session"]["id"] == signed_in.session_id
    assert added["session"]["expires_at"] >= added["session"]["started_at"] + 36_000


def test_a_factor_is_not_added_to_the_session_of_another(api: httpx.Client, emulator: Emulator) -> None:
    other = emulator.sign_in("eve@example.com")
    token = emulator.oauth_token(EMAIL)
    refused = api.post("oauth/verify", json={"token": token, "session_token": other.session_token})
    assert (refused.status_code, refused.json()["error_type"]) == (404, "invalid_session")
    assert api.post("oauth/verify", json={"token": token}).status_code == 200


def test_oauth_takes_a_token_or_a_code_once(api: httpx.Client, emulator: Emulator) -> None:
    login = api.post("oauth/verify", json={"token": emulator.oauth_token(EMAIL, "apple")}).json()
    assert (login["provider"], login["session"], login["session_token"]) == ("apple", None, "")
    code = {"code": emulator.oauth_token(EMAIL, "apple")}
    again = api.post("oauth/verify", json=code).json()
    assert again["provider_subject"] == login["provider_subject"]
    assert api.post("oauth/verify", json=code).status_code == 400
    assert api.post("oauth/verify", json={**code, "token": "x"}).status_code == 400


def test_a_magic_link_works_once_and_in_time(api: httpx.Client, emulator: Emulator) -> None:
    send(api, "magic_links/email/login_or_create")
    (message,) = emulator.outbox()
    assert isinstance(message, Sent)
    assert message.link == f"http://localhost/authenticate?token={message.code}"
    verified = api.post("magic_links/verify", json={"token": message.code, "session_expires_in": 5})
    assert verified.json()["session"]["factors"][0]["type"] == "magic_link"
    again = api.post("magic_links/verify", json={"token": message.code})
    assert (again.status_code, again.json()["error_type"]) == (400, "invalid_magic_token")
    send(api, "magic_links/email/send", login_expires_in=1)
    emulator.set_clock(61)
    assert api.post("magic_links/verify", json={"token": emulator.outbox()[0].code}).status_code == 400


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (20000000000, "353130"),
    ],
)
def test_totp_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    assert totp_code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", at) == code


@pytest.mark.parametrize(("steps", "status"), [(0, 200), (1, 200), (-1, 200), (3, 400), (-3, 400)])
def test_totp_codes_are_good_one_step_around(
    api: httpx.Client, emulator: Emulator, steps: int, status: int
) -> None:
    user_id = api.post("users/create", json={"email": EMAIL}).json()["user_id"]
    secret = api.post("totps/create", json={"user_id": user_id}).json()["secret"]
    # In the middle of a step, so that the code is still its own when it arrives.
    emulator.set_clock(15 - emulator.now() % 30)
    body = {"user_id": user_id, "totp": totp_code(secret, emulator.now() + 30 * steps)}
    assert api.post("totps/verify", json=body).status_code == status
    assert api.post("totps/verify", json=body).status_code == 400


def test_one_authenticator_app_a_user(api: httpx.Client, emulator: Emulator) -> None:
    user_id = api.post("users/create", json={"email": EMAIL}).json()["user_id"]
    first = api.post("totps/create", json={"user_id": user_id}).json()
    second = api.post("totps/create", json={"user_id": user_id}).json()
    for made, status in ((first, 400), (second, 200)):
        body = {"user_id": user_id, "totp": emulator.totp_code(made["secret"])}
        assert api.post("totps/verify", json=body).status_code == status
    assert api.post("totps/create", json={"user_id": user_id}).status_code == 409
    assert "secret" not in api.get(f"users/{user_id}").json()["totps"][0]


def test_a_wallet_signs_its_own_challenge_only(api: httpx.Client, emulator: Emulator) -> None:
    wallet = {"wallet_type": "solana", "public_address": "9xQe"}
    challenge = api.post("wallets/registrations/begin", json=wallet).json()["challenge"]
    signature = emulator.sign_wallet(challenge)
    other = {**wallet, "public_address": "other", "signature": signature}
    assert api.post("wallets/verify", json=other).status_code == 400
    assert api.post("wallets/verify", json={**wallet, "signature": "0x00"}).status_code == 400
    verified = api.post("wallets/verify", json={**wallet, "signature": signature, "session_expires_in": 5})
    assert verified.json()["session"]["factors"][0]["delivery_channel"] == "sol_wallet"
    assert api.post("wallets/verify", json={**wallet, "signature": signature}).status_code == 400
    again = api.post("wallets/registrations/begin", json=wallet).json()
    assert again["user_id"] == verified.json()["user_id"]


def test_two_users_cannot_share_an_address(api: httpx.Client) -> None:
    assert api.post("users/create", json={"email": EMAIL}).status_code == 200
    assert api.post("users/create", json={"email": EMAIL}).status_code == 409
    assert api.post("users/create", json={"first_name": "Nobody"}).status_code == 400


def test_the_sessions_of_a_deleted_user_end(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in(EMAIL)
    assert api.delete(f"users/{signed_in.user_id}/delete").status_code == 200
    dead = api.post("sessions/verify", json={"session_token": signed_in.session_token})
    assert dead.status_code == 404
