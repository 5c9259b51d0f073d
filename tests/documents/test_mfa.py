"""The document on second factors: its apps run, and its words are those of the settings."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core.emulator import Emulator
from support.documents import run, text

DOCUMENT = "docs/mfa.md"


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> Emulator:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_JWT_ISSUER", emulator.issuer)
    return emulator


def app_of(name: str) -> Any:
    return run(DOCUMENT, name)["app"].test_client()


def test_the_vault(usual: Emulator) -> None:
    browser = app_of("Second factors that your app records")
    ada = {"Authorization": f"Bearer {usual.sign_in().session_jwt}"}
    assert browser.get("/vault", headers=ada).get_json()["mfa"] is True
    handle = browser.post("/mfa/verified", headers=ada).headers["MFA-Handle"]
    assert browser.get("/vault", headers={**ada, "MFA-Handle": handle}).status_code == 200


def test_the_start(usual: Emulator) -> None:
    browser = app_of("Starts of sessions")
    ada = {"Authorization": f"Bearer {usual.sign_in().session_jwt}"}
    handle = browser.post("/signed-in", headers=ada).headers["Session-Start"]
    found = browser.get("/account", headers={**ada, "Session-Start": handle})
    assert found.get_json() == {"soon": False}
    assert "Session-Expires-In" in found.headers


def test_the_names_are_those_of_the_settings() -> None:
    for name in ("mfa_lifetime", "mfa_scope", "mfa_single_process", "mfa_handles", "mfa_header", "mfa_unenrolled"):
        assert f"`{name}" in text(DOCUMENT), name
