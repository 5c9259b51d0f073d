"""Users and sessions are the same JSON everywhere."""

from __future__ import annotations

import re

import httpx
import pytest
from contract.stacks import Site

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.mark.parametrize("kind", ["session_token", "session_jwt"])
def test_to_dict_is_what_arrives(site: Site, browser: httpx.Client, emulator: Emulator, kind: str) -> None:
    ada = emulator.sign_in(email="ada@example.com", factors=["email", "totp"])
    headers = {"Authorization": f"Bearer {getattr(ada, kind)}"}
    with MoonKey(emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer) as client:
        auth = client.authenticate(headers)
    assert auth.user is not None
    assert auth.session is not None
    found = browser.get(site.url + "/models", headers=headers).json()
    assert found["user"] == auth.user.to_dict()
    assert found["session"].keys() == auth.session.to_dict().keys()
    changing = ("last_active_at",)
    for name, value in auth.session.to_dict().items():
        assert name in changing or found["session"][name] == value, name
    for name in ("expires_at", "started_at", "last_active_at"):
        assert TIME.fullmatch(found["session"][name])
    assert [factor["type"] for factor in found["session"]["factors"]] == ["otp", "totp"]
    assert TIME.fullmatch(found["session"]["factors"][0]["last_verified_at"])
