"""Session tokens are written with and without `session_`: both are taken, and either is issued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support import quick


@pytest.mark.parametrize("on", [True, False])
def test_both_are_taken_and_either_is_issued(control: httpx.Client, api: httpx.Client, on: bool) -> None:
    control.post("token-prefix", json={"on": on}).raise_for_status()
    person: dict[str, Any] = control.post("sign-in", json={"email": "a@b.example"}).raise_for_status().json()
    bare = person["session_token"].removeprefix("session_")
    issued = f"session_{bare}" if on else bare
    assert (person["session_token"], len(bare)) == (issued, 64)
    for spelling in (bare, f"session_{bare}"):
        answer = api.post("sessions/verify", json={"session_token": spelling}).raise_for_status().json()
        assert answer["session_token"] == issued
        assert answer["session"]["id"] == person["session_id"]
    for none in ("session_", f"session_session_{bare}", bare[:-1], f"Session_{bare}"):
        assert api.post("sessions/verify", json={"session_token": none}).status_code == 404
    listed = api.get("sessions/list", params={"user_id": person["user_id"]}).json()["sessions"]
    assert [session["session_token"] for session in listed] == [issued]
    other = bare if on else f"session_{bare}"
    delete = api.request("DELETE", "sessions/delete", json={"session_token": other})
    assert delete.status_code == 200
    assert api.post("sessions/verify", json={"session_token": issued}).status_code == 404


def test_a_login_adds_its_factor_to_either(emulator: Emulator, api: httpx.Client) -> None:
    emulator.token_prefix()
    person = emulator.sign_in(email="a@b.example")
    api.post("otps/email/send", json={"email": "a@b.example"}).raise_for_status()
    body = {"email": "a@b.example", "code": emulator.outbox()[0].code}
    token = person.session_token.removeprefix("session_")
    answer = api.post("otps/verify", json={**body, "session_token": token}).raise_for_status().json()
    assert answer["session"]["id"] == person.session_id
    assert answer["session_token"] == answer["session"]["session_token"]
    assert answer["session_token"].startswith("session_")
    assert answer["session_token"] != person.session_token


def test_a_state_file_keeps_sessions_whatever_is_issued(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    with Emulator(state=path) as first:
        first.token_prefix()
        token = first.sign_in().session_token
    with Emulator(state=path) as again:
        headers = {"authorization": f"Bearer {again.secret_key}"}
        url = f"{again.base_url}/v1/auth/sessions/verify"
        answer = quick.post(url, json={"session_token": token}, headers=headers).raise_for_status().json()
        assert f"session_{answer['session_token']}" == token
