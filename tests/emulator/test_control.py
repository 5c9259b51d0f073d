"""The control interface, over HTTP and in Python."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import httpx
import jwt
import pytest

from moonkey_core.emulator import Emulator
from support import quick


def verify(api: httpx.Client, token: str) -> httpx.Response:
    return api.post("sessions/verify", json={"session_token": token})


def post(control: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = control.post(path, json=body).raise_for_status().json()
    return answer


def test_help_names_every_control(control: httpx.Client, emulator: Emulator) -> None:
    text = control.get(f"{emulator.base_url}/_emulator").raise_for_status().json()
    assert text["issuer"] == emulator.issuer
    assert {"POST /_emulator/sign-in", "DELETE /_emulator/faults"} <= text.keys()
    assert emulator.secret_key not in str(text)


def test_sign_in_over_http(control: httpx.Client, api: httpx.Client) -> None:
    first = post(control, "sign-in", email="ada@example.com", minutes=30, factors=["email", "github_oauth"])
    assert first.keys() == {"user_id", "session_id", "session_token", "session_jwt"}
    session = verify(api, first["session_token"]).json()["session"]
    assert [factor["delivery_channel"] for factor in session["factors"]] == ["email", "github_oauth"]
    assert session["expires_at"] - session["started_at"] == 1800
    assert post(control, "sign-in", user_id=first["user_id"])["user_id"] == first["user_id"]
    post(control, "revoke", session_id=first["session_id"])
    assert verify(api, first["session_token"]).status_code == 404


def test_sign_in_refuses_what_makes_no_sense(emulator: Emulator) -> None:
    wrong: list[dict[str, Any]] = [
        {"user_id": "user_unknown"},
        {"email": "not an address"},
        {"email": "a@b.example", "user_id": "user_x"},
        {"minutes": 0},
        {"factors": ["pigeon"]},
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r".{10}"):
            emulator.sign_in(**arguments)


def test_sign_in_takes_any_factor(emulator: Emulator, api: httpx.Client) -> None:
    channels = ["sms", "totp_authenticator", "totp_recovery_code", "eth_wallet", "webauthn_credential"]
    own = {"delivery_channel": "new_kind", "type": "new"}
    session = verify(api, emulator.sign_in(factors=[*channels, own]).session_token).json()["session"]
    assert [factor["delivery_channel"] for factor in session["factors"]] == [*channels, "new_kind"]
    assert verify(api, emulator.sign_in(factors=[]).session_token).json()["session"]["factors"] == []


def test_secrets_stay_out_of_the_repr(emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    assert signed_in.session_token not in repr(signed_in)
    assert signed_in.session_jwt not in repr(signed_in)


@pytest.mark.long
def test_the_outbox_is_newest_first_and_bounded(control: httpx.Client, api: httpx.Client) -> None:
    for number in range(205):
        api.post("otps/email/login_or_create", json={"email": f"u{number % 3}@example.com"})
    messages = control.get("outbox").json()["messages"]
    assert len(messages) == 200
    assert (messages[0]["to"], messages[1]["to"], messages[0]["kind"]) == (
        "u0@example.com",
        "u2@example.com",
        "email_otp",
    )


@pytest.mark.parametrize("keep_old", [True, False])
def test_key_rotation(control: httpx.Client, api: httpx.Client, emulator: Emulator, keep_old: bool) -> None:
    before, signed_in = emulator.kid, emulator.sign_in()
    after = post(control, "keys/rotate", keep_old=keep_old)["kid"]
    assert after == emulator.kid != before
    published = [key["kid"] for key in api.get("jwks/default").json()["keys"]]
    assert published == ([after, before] if keep_old else [after])
    old = api.post("sessions/verify", json={"session_jwt": signed_in.session_jwt})
    assert old.status_code == (200 if keep_old else 404)
    fresh = verify(api, signed_in.session_token).json()["session_jwt"]
    assert jwt.get_unverified_header(fresh)["kid"] == after


def test_the_clock(control: httpx.Client, api: httpx.Client, emulator: Emulator) -> None:
    assert abs(post(control, "clock", offset=-5000.5)["now"] - time.time() + 5000.5) < 60
    claims = jwt.decode(emulator.sign_in().session_jwt, options={"verify_signature": False})
    assert abs(claims["iat"] - time.time() + 5000) < 60
    for offset in (1e300, True, "1"):
        assert control.post("clock", json={"offset": offset}).status_code == 400


@pytest.mark.parametrize(
    ("status", "coded", "body"),
    [
        (404, True, {"error_type": "invalid_session", "error_message": "Session not found or has expired"}),
        (400, True, {"error_type": "invalid_session", "error_message": "Session not found or has expired"}),
        (401, True, {"error_type": "invalid_session", "error_message": "Session not found or has expired"}),
        (401, False, {"error_type": "unauthorized", "error_message": "Unauthorized"}),
    ],
)
def test_what_a_dead_session_gets(
    control: httpx.Client, api: httpx.Client, emulator: Emulator, status: int, coded: bool, body: Any
) -> None:
    post(control, "dead-session", status=status, coded=coded)
    for response in (
        verify(api, "x" * 64),
        api.post("sessions/verify", json={"session_jwt": emulator.mint()}),
        api.request("DELETE", "sessions/delete", json={"session_id": "sess_gone"}),
    ):
        assert (response.status_code, response.json()) == (status, {"status_code": status, **body})


def test_an_uncoded_401_is_the_answer_to_a_wrong_key(api: httpx.Client, emulator: Emulator) -> None:
    emulator.dead_session(401, coded=False)
    wrong_key = api.get("users/x", headers={"Authorization": "Bearer sk_test_wrong"})
    dead = verify(api, "x" * 64)
    assert (dead.status_code, dead.content) == (wrong_key.status_code, wrong_key.content)
    assert api.get("users/user_random").status_code == 404


def test_errors_in_either_shape(control: httpx.Client, api: httpx.Client) -> None:
    post(control, "error-shape", shape="A")
    assert verify(api, "x").json()["error_type"] == "invalid_session"
    assert api.get("users/x").json()["error_type"] == "user_not_found"
    post(control, "error-shape", shape="B")
    assert api.get("users/x").json()["error"]["code"] == "user_not_found"
    said = {"code": "invalid_session", "message": "Session not found or has expired"}
    assert verify(api, "x").json() == {"error": said}
    post(control, "error-shape", shape=None)
    assert api.get("users/x").json()["error_type"] == "user_not_found"
    assert verify(api, "x").json()["error_type"] == "invalid_session"


def test_calls_are_counted(control: httpx.Client, api: httpx.Client, emulator: Emulator) -> None:
    for user in ("u1", "u2"):
        api.get(f"users/{user}")
    api.get("nowhere")
    assert control.get("requests").json() == {"GET /v1/auth/users/{id}": 2, "(other)": 1, "in_flight_max": 1}
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0
    control.delete("requests")
    assert emulator.requests() == {}


def test_minting(control: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    token = post(
        control,
        "mint",
        session_id=signed_in.session_id,
        claims={"exp": 1, "odd": None},
        header={"typ": "odd"},
        drop=["iat"],
    )["session_jwt"]
    public_key = emulator.private_key.public_key()
    claims = jwt.decode(token, public_key, algorithms=["RS256"], options={"verify_exp": False})
    assert (claims["exp"], claims["odd"], claims["jti"]) == (1, None, signed_in.session_id)
    assert "iat" not in claims
    assert jwt.get_unverified_header(token)["typ"] == "odd"
    foreign = post(control, "mint", key="foreign")["session_jwt"]
    assert jwt.get_unverified_header(foreign)["kid"] != emulator.kid
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(foreign, public_key, algorithms=["RS256"])
    assert control.post("mint", json={"session_id": "sess_gone"}).status_code == 400


def test_oauth_tokens_and_the_wallet_key(control: httpx.Client, api: httpx.Client, emulator: Emulator) -> None:
    token = post(control, "oauth-token", email="ada@example.com", provider="slack")["token"]
    assert api.post("oauth/verify", json={"token": token}).json()["provider"] == "slack"
    key = bytes.fromhex(control.get("wallet-key").json()["wallet_key"])
    assert emulator.sign_wallet("hello") == "0x" + hmac.new(key, b"hello", hashlib.sha256).hexdigest()


def test_reset_starts_over(control: httpx.Client, api: httpx.Client, emulator: Emulator) -> None:
    signed_in, kid = emulator.sign_in(), emulator.kid
    api.post("otps/email/login_or_create", json={"email": "ada@example.com"})
    emulator.set_clock(1000)
    emulator.fault(status=503)
    emulator.dead_session(400)
    emulator.error_shape("B")
    post(control, "reset")
    dead = verify(api, signed_in.session_token)
    assert (dead.status_code, dead.json()["error_type"]) == (404, "invalid_session")
    assert (emulator.outbox(), emulator.kid) == ([], kid)
    assert abs(emulator.now() - time.time()) < 60


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sign-in", {"emial": "typo@example.com"}),
        ("sign-in", {"minutes": True}),
        ("sign-in", {"factors": [5]}),
        ("faults", {"status": 99}),
        ("faults", {"delay": 1e9}),
        ("faults", {"times": 0}),
        ("faults", {"headers": {"a b": "c"}}),
        ("faults", {"headers": {"a": "b\r\nc: d"}}),
        ("faults", {"headers": {"a": 1}}),
        ("dead-session", {"status": 410}),
        ("error-shape", {"shape": "C"}),
        ("mint", {"key": "other"}),
        ("mint", {"drop": "iss"}),
        ("mint", {"drop": [{}]}),
        ("oauth-token", {"provider": "a b"}),
        ("revoke", {}),
        ("reset", {"all": True}),
    ],
)
def test_wrong_orders_are_refused(control: httpx.Client, path: str, body: dict[str, Any]) -> None:
    response = control.post(path, json=body)
    assert (response.status_code, response.json()["error_type"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
    ],
)
def test_web_pages_are_kept_out(control: httpx.Client, emulator: Emulator, headers: dict[str, str]) -> None:
    for response in (control.get("outbox", headers=headers), control.post("sign-in", headers=headers)):
        assert response.status_code == 403
    assert control.get("outbox", headers={"Host": "localhost:1", "Sec-Fetch-Site": "none"}).status_code == 200


def test_the_control_interface_is_no_part_of_the_api(api: httpx.Client, emulator: Emulator) -> None:
    assert api.get("_emulator/outbox").status_code == 404
    emulator.fault(status=503)
    assert quick.get(f"{emulator.base_url}/_emulator/requests").json() == {"(other)": 1, "in_flight_max": 1}


def test_a_bound_of_its_own_for_sessions(api: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    body = {"session_token": person.session_token, "session_expires_in": 43_201}
    assert api.post("sessions/verify", json=body).status_code == 200
    emulator.max_session_minutes(43_200)
    refused = api.post("sessions/verify", json=body)
    assert (refused.status_code, refused.json()["error_type"]) == (400, "invalid_request")
    assert api.post("sessions/verify", json={**body, "session_expires_in": 43_200}).status_code == 200
    emulator.max_session_minutes()
    assert api.post("sessions/verify", json=body).status_code == 200
    for wrong in (4, 527_041):
        with pytest.raises(ValueError, match="minutes must be from 5 to 527040"):
            emulator.max_session_minutes(wrong)
