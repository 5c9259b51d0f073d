"""docs/doctor.md: the view runs, its tables name all checks, and what it shows is what the commands say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core._doctor.explaining import explain
from moonkey_core.emulator import Emulator
from support.documents import block, rows
from support.patience import PATIENT

DOCUMENT = "docs/doctor.md"


def test_the_view_inside_of_a_worker(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_TIMEOUT", "30")
    app = block(DOCUMENT, "Inside of a worker").run()["app"]
    signed_in = emulator.sign_in(claims={"scope": "admin"})
    found = app.test_client().get("/admin/doctor", headers={"session-token": signed_in.session_token})
    assert found.status_code == 200
    assert found.json["ok"] is True
    assert {line["check"] for line in found.json["lines"]} == {"server", "proxies", "key set"}
    assert app.test_client().get("/admin/doctor").status_code == 401


def test_the_explanation_is_the_one_that_is_shown(emulator: Emulator) -> None:
    options: dict[str, Any] = {"base_url": emulator.base_url, "jwt_issuer": emulator.issuer, **PATIENT}
    with MoonKey(emulator.secret_key, **options) as client:
        found = str(explain(client, emulator.mint({"iss": f"{emulator.issuer}/"})))
    shown = block(DOCUMENT, "moonkey explain 2").code

    def alike(text: str) -> str:
        text = re.sub(r"jwk_\w+", "KID", text).replace(emulator.issuer, "ISSUER")
        return re.sub(r"\d+", "N", text.replace("api.moonkey.fun/app_1", "ISSUER")).strip()

    assert alike(found) == alike(shown)


def test_all_checks_are_in_its_tables() -> None:
    cells = [row[0] for heading in ("check", "inside") for row in rows(DOCUMENT, heading)]
    named = {name for cell in cells for name in re.findall(r"`([a-z ]+)`", cell)}
    assert named == {
        "variables", "settings", "key", "key set", "discovery", "credential", "issuer", "audience", "lifetimes",
        "clock", "cookies", "proxies", "redis", "feed", "stack", "cors", "users", "gates", "server", "api",
    }  # fmt: skip
