"""The session endpoints, the session JWT and the key set, as they look on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import jwt
import pytest
import time_machine

from moonkey_core.emulator import Emulator
from support import quick

CLAIM = "https://streambird.io/jwt/session"


def verify(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post("sessions/verify", json=body)


def decode(api: httpx.Client, emulator: Emulator, token: str) -> dict[str, Any]:
    """Check a JWT as an app would, with the published keys alone."""
    keys = jwt.PyJWKSet.from_dict(api.get("jwks/default").raise_for_status().json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], issuer=emulator.issuer)
    return claims


def test_a_verified_session(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in("ada@example.com", minutes=60)
    body = verify(api, session_token=signed_in.session_token).raise_for_status().json()
    session = body["session"]
    assert (session["id"], session["user_id"]) == (signed_in.session_id, signed_in.user_id)
    assert session["expires_at"] == session["started_at"] + 3600
    assert (session["device_fingerprint"].keys(), session["device_info"].keys()) == (
        {"user_agent", "ip"},
        {"user_agent", "ip_address"},
    )
    assert "session_token" not in session
    assert body["session_token"] == signed_in.session_token
    assert len(signed_in.session_token) == 64
    assert (body["user"]["id"], body["user"]["email"]) == (signed_in.user_id, "ada@example.com")


def test_the_jwt_carries_the_session(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    body = verify(api, session_token=signed_in.session_token).json()
    claims = decode(api, emulator, body["session_jwt"])
    assert jwt.get_unverified_header(body["session_jwt"]) == {"alg": "RS256", "kid": emulator.kid, "typ": "JWT"}
    assert (claims["sub"], claims["jti"]) == (signed_in.user_id, signed_in.session_id)
    assert claims["exp"] - claims["iat"] == 300
    assert claims["nbf"] == claims["iat"]
    assert claims[CLAIM] == body["session"]
    assert claims["iss"] == emulator.issuer == f"api.moonkey.fun/{emulator.app_id}"


def test_the_name_of_the_session_claim_can_be_set() -> None:
    with Emulator(session_claim="session", issuer="api.example/app") as emulator:
        claims = jwt.decode(emulator.sign_in().session_jwt, options={"verify_signature": False})
    assert CLAIM not in claims
    assert (claims["session"]["id"], claims["iss"]) == (claims["jti"], "api.example/app")


def test_an_expired_jwt_is_refreshed_while_its_session_lives(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in(minutes=60)
    emulator.set_clock(600)
    body = verify(api, session_jwt=signed_in.session_jwt).raise_for_status().json()
    fresh = jwt.decode(body["session_jwt"], options={"verify_signature": False})
    stale = jwt.decode(signed_in.session_jwt, options={"verify_signature": False})
    assert fresh["iat"] >= stale["iat"] + 600
    emulator.set_clock(3700)
    assert verify(api, session_jwt=signed_in.session_jwt).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"key": "foreign"},
        {"claims": {"iss": "api.moonkey.fun/another"}},
        {"claims": {"sub": "user_another"}},
        {"claims": {"jti": "sess_unknown"}},
        {"claims": {"jti": 5}},
        {"header": {"kid": "jwk_unknown"}},
        {"header": {"alg": "none"}},
        {"drop": ["kid"]},
    ],
)
def test_a_jwt_that_is_not_ours_is_refused(api: httpx.Client, emulator: Emulator, change: dict[str, Any]) -> None:
    session_id = emulator.sign_in().session_id
    assert verify(api, session_jwt=emulator.mint(session_id=session_id)).status_code == 200
    response = verify(api, session_jwt=emulator.mint(session_id=session_id, **change))
    assert (response.status_code, response.json()["error_type"]) == (404, "invalid_session")


def test_a_foreign_signature_under_our_key_id_is_refused(api: httpx.Client, emulator: Emulator) -> None:
    session_id = emulator.sign_in().session_id
    forged = emulator.mint(session_id=session_id, key="foreign", header={"kid": emulator.kid})
    assert verify(api, session_jwt=forged).status_code == 404


@pytest.mark.parametrize("minutes", [5, 527_040])
def test_verifying_can_extend(api: httpx.Client, emulator: Emulator, minutes: int) -> None:
    signed_in = emulator.sign_in(minutes=60)
    session = verify(api, session_token=signed_in.session_token, session_expires_in=minutes).json()["session"]
    assert session["expires_at"] == session["last_active_at"] + minutes * 60


@pytest.mark.parametrize("minutes", [4, 0, -5, 527_041, 10.0, "60", True, [5]])
def test_lifetimes_out_of_range_are_refused(api: httpx.Client, emulator: Emulator, minutes: object) -> None:
    signed_in = emulator.sign_in()
    response = verify(api, session_token=signed_in.session_token, session_expires_in=minutes)
    assert (response.status_code, response.json()["error_type"]) == (400, "invalid_request")


def test_exactly_one_credential(api: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    both = {"session_token": signed_in.session_token, "session_jwt": signed_in.session_jwt}
    for body in ({}, both, {"session_id": signed_in.session_id}):
        assert verify(api, **body).status_code == 400
    assert verify(api, session_token=signed_in.session_token, session_jwt=None).status_code == 200
    for body in ({}, both, {**both, "session_id": signed_in.session_id}):
        assert api.request("DELETE", "sessions/delete", json=body).status_code == 400


@pytest.mark.parametrize("name", ["session_token", "session_jwt", "session_id"])
def test_a_session_is_deleted_once(api: httpx.Client, emulator: Emulator, name: str) -> None:
    signed_in = emulator.sign_in()
    body = {name: getattr(signed_in, name)}
    deleted = api.request("DELETE", "sessions/delete", json=body)
    assert (deleted.status_code, deleted.json()) == (200, {"message": "Successfully deleted session"})
    assert api.request("DELETE", "sessions/delete", json=body).status_code == 404
    assert verify(api, session_token=signed_in.session_token).status_code == 404
    assert verify(api, session_jwt=signed_in.session_jwt).status_code == 404


def test_the_list_shows_active_sessions_of_one_user(api: httpx.Client, emulator: Emulator) -> None:
    long, short = emulator.sign_in("a@x.example", minutes=60), emulator.sign_in("a@x.example", minutes=5)
    emulator.sign_in("b@x.example")

    def listed() -> list[dict[str, Any]]:
        response = api.get("sessions/list", params={"user_id": long.user_id}).raise_for_status()
        found: list[dict[str, Any]] = response.json()["sessions"]
        return found

    assert [one["id"] for one in listed()] == [long.session_id, short.session_id]
    assert listed()[0]["session_token"] == long.session_token
    emulator.set_clock(301)
    assert [one["id"] for one in listed()] == [long.session_id]
    assert api.get("sessions/list").status_code == 400
    assert api.get("sessions/list", params={"user_id": "user_unknown"}).json() == {"sessions": []}


def test_the_key_set(api: httpx.Client, emulator: Emulator) -> None:
    (key,) = api.get("jwks/default").json()["keys"]
    assert key.keys() == {"kty", "n", "e", "alg", "use", "kid", "key_ops"}
    assert (key["alg"], key["use"], key["kid"], key["key_ops"]) == ("RS256", "sig", emulator.kid, ["verify"])
    in_address = quick.get(f"{emulator.base_url}/v1/auth/jwks/default", params={"api_key": emulator.secret_key})
    assert in_address.json()["keys"] == [key]


@pytest.mark.parametrize("header", [None, "Bearer sk_test_wrong", "Bearer", "Basic c2s6", "Bearer \xff", "sk"])
def test_every_path_wants_the_api_key(emulator: Emulator, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    for path in ("sessions/list?user_id=u", "jwks/default", "jwks/default?api_key=no", "users/u", "nowhere"):
        response = quick.get(f"{emulator.base_url}/v1/auth/{path}", headers=headers)
        assert response.status_code == 401
        assert response.json() == {
            "status_code": 401,
            "error_type": "unauthorized",
            "error_message": "Unauthorized",
        }


def test_the_key_in_the_address_opens_the_key_set_alone(emulator: Emulator) -> None:
    response = quick.get(f"{emulator.base_url}/v1/auth/users/u", params={"api_key": emulator.secret_key})
    assert response.status_code == 401


def test_an_unknown_path_is_no_api_answer(api: httpx.Client) -> None:
    response = api.get("v1/auth/sessions/list")
    assert (response.status_code, response.text) == (404, "Not Found")
    assert api.get("sessions/verify").status_code == 405


def test_the_date_of_an_answer_is_that_of_its_moment(api: httpx.Client) -> None:
    """Even where another test has just moved the time of this process."""
    with time_machine.travel(datetime(2027, 3, 1, 12, tzinfo=UTC), tick=False):
        assert api.get("jwks/default").headers.get_list("Date") == ["Mon, 01 Mar 2027 12:00:00 GMT"]
    found = parsedate_to_datetime(api.get("jwks/default").headers["Date"])
    assert abs(found - datetime.now(UTC)) < timedelta(days=1)
