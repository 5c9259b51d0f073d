"""The document on browser sessions shows what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from moonkey_core import CookieSettings, MoonKey, Settings, SignInSettings
from moonkey_core._operations.sliding_window import _COUNTED
from moonkey_core.emulator import Emulator
from moonkey_core.flows import ROUTES, TEMPLATES
from moonkey_core.settings.sign_in_settings import Attempt
from support.page_contexts import STATES

DOCUMENT = (Path(__file__).parent.parent / "docs" / "browser-sessions.md").read_text()


def block(name: str) -> str:
    (shown,) = re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", DOCUMENT, re.DOTALL)
    return str(shown)


def run(name: str) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": "shown"}
    exec(block(name), module)
    return module


@pytest.fixture(autouse=True)
def an_app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)


def test_switching_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with run("settings")["client"] as client:
        assert client.settings.cookies.names == ("__Host-moonkey_session", "__Host-moonkey_jwt")
    monkeypatch.setenv("MOONKEY_COOKIES", "true")
    assert Settings.load().cookies == CookieSettings()


def test_every_route_is_in_the_table() -> None:
    table = re.search(r"^\| route \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    assert table is not None
    for route in ROUTES:
        path = route.path.replace("{session_id}", "<id>")
        if route.name.startswith("step_up_") or route.name == "style":
            continue
        assert f"/auth{path}`" in table[1] or f"…{path.removeprefix('/sessions')}`" in table[1], route


def test_the_numbers() -> None:
    settings = SignInSettings()
    window = settings.send_window.seconds // 60
    for said in (
        f"`max_tries` times ({settings.max_tries})",
        f"`max_sends` codes ({settings.max_sends}) within `send_window` ({window} minutes)",
        f"`lifetime` ({settings.lifetime.days} days)",
        f"`remember_me` ({settings.remember_me.days} days)",
        f"{_COUNTED:,} addresses and codes",
    ):
        assert said in " ".join(DOCUMENT.split())


def test_the_limiter() -> None:
    shown = run("limiter")
    assert shown["limiter"](Attempt("send", "me@example.com", "203.0.113.7")) is True
    shown["blocked"].add("203.0.113.7")
    assert shown["sign_in"].limiter(Attempt("send", "me@example.com", "203.0.113.7")) is False


def test_beginning_with_another_provider() -> None:
    with MoonKey(cookies=True) as client:
        status, headers = run("oauth")["begin"](client, "https://provider.example/authorize")
    found = dict(headers)
    assert status == 303
    assert found["location"].startswith("https://provider.example/authorize?state=")
    assert found["set-cookie"].startswith("__Host-moonkey_oauth=")


@pytest.mark.parametrize("name", ["flask", "starlette", "fastapi"])
def test_mounting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_COOKIES", "true")
    assert run(name)["app"]


def test_what_templates_are_given() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\.html` \| (.*) \|$", DOCUMENT, re.MULTILINE))
    assert set(rows) <= {path.stem for path in (TEMPLATES / "moonkey").glob("*.html")}
    assert set(rows) >= {"sign_in", "verify_otp", "magic", "error"}
    for state in STATES:
        if state.template in rows:
            assert set(state.context) - {"urls"} <= set(re.findall(r"`(\w+)`", rows[state.template]))


def test_the_blocks() -> None:
    base = (TEMPLATES / "moonkey" / "base.html").read_text()
    assert re.findall(r"{% block (\w+) %}", base) == ["title", "head", "header", "content", "footer"]
