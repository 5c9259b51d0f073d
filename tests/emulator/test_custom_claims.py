"""Claims that a session is given, and factors of any age: over HTTP and in Python."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from moonkey_core.emulator import Emulator
from support import quick

CLAIMS = {"plan": "pro", "roles": ["admin"], "limits": {"seats": 3}}


def verified(api: httpx.Client, token: str) -> dict[str, Any]:
    session: dict[str, Any] = api.post("sessions/verify", json={"session_token": token}).json()["session"]
    return session


def session_in(token: str) -> dict[str, Any]:
    found = jwt.decode(token, options={"verify_signature": False})
    (claim,) = (value for value in found.values() if isinstance(value, dict))
    return claim


def test_they_are_in_answers_and_in_jwts(api: httpx.Client, control: httpx.Client, emulator: Emulator) -> None:
    by_http = control.post("sign-in", json={"claims": CLAIMS}).raise_for_status().json()
    by_name = emulator.sign_in(claims=CLAIMS)
    tokens = (
        (by_http["session_token"], by_http["session_jwt"]),
        (by_name.session_token, by_name.session_jwt),
    )
    for token, first in tokens:
        assert verified(api, token)["custom_claims"] == CLAIMS
        refreshed = api.post("sessions/verify", json={"session_token": token}).json()["session_jwt"]
        assert session_in(first)["custom_claims"] == session_in(refreshed)["custom_claims"] == CLAIMS


def test_without_any_the_session_says_nothing_of_them(api: httpx.Client, emulator: Emulator) -> None:
    nothing: list[dict[str, Any] | None] = [None, {}]
    for claims in nothing:
        person = emulator.sign_in(claims=claims)
        assert "custom_claims" not in verified(api, person.session_token)
        assert "custom_claims" not in session_in(person.session_jwt)


@pytest.mark.parametrize("wrong", ["plan", ["plan"], 1, True])
def test_they_are_an_object(control: httpx.Client, wrong: object) -> None:
    assert control.post("sign-in", json={"claims": wrong}).status_code == 400


def test_they_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    with Emulator(state=file) as emulator:
        token = emulator.sign_in(claims=CLAIMS).session_token
    with Emulator(state=file) as emulator:
        url = f"{emulator.base_url}/v1/auth/"
        headers = {"Authorization": f"Bearer {emulator.secret_key}"}
        with quick.Client(base_url=url, headers=headers, trust_env=False) as api:
            assert verified(api, token)["custom_claims"] == CLAIMS


def test_a_factor_may_be_of_any_age(api: httpx.Client, control: httpx.Client) -> None:
    times = [int(time.time()) - 9000, int(time.time()) + 9000]
    factors = [{"type": "totp", "method": {"method_id": "m", "last_verified_at": at}} for at in times]
    token = control.post("sign-in", json={"factors": factors}).raise_for_status().json()["session_token"]
    assert [factor["method"]["last_verified_at"] for factor in verified(api, token)["factors"]] == times
