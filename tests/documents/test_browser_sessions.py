"""The document on browser sessions shows what is there."""

from __future__ import annotations

import re

import pytest

from moonkey_core import CookieSettings, MoonKey, Settings, SignInSettings
from moonkey_core._operations.sliding_window import _COUNTED
from moonkey_core.emulator import Emulator
from moonkey_core.flows import ROUTES, TEMPLATES
from moonkey_core.settings.sign_in_settings import Attempt
from moonkey_core.web.pages import Page, complete_page
from moonkey_core.web.request import RequestInfo, mapped_headers
from support.documents import rows, run, text
from support.page_contexts import STATES

DOCUMENT = "docs/browser-sessions.md"


@pytest.fixture(autouse=True)
def an_app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)


def test_switching_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with run(DOCUMENT, "settings")["client"] as client:
        assert client.settings.cookies.names == ("__Host-moonkey_session", "__Host-moonkey_jwt")
    monkeypatch.setenv("MOONKEY_COOKIES", "true")
    assert Settings.load().cookies == CookieSettings()


def test_every_route_is_in_the_table() -> None:
    table = "\n".join(" | ".join(row) for row in rows(DOCUMENT, "route"))
    for route in ROUTES:
        path = route.path.replace("{session_id}", "<id>")
        if route.name.startswith("step_up_") or route.name == "style":
            continue
        assert f"/auth{path}`" in table or f"…{path.removeprefix('/sessions')}`" in table, route


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
        assert said in " ".join(text(DOCUMENT).split())


def test_the_limiter() -> None:
    shown = run(DOCUMENT, "limiter")
    assert shown["limiter"](Attempt("send", "me@example.com", "203.0.113.7")) is True
    shown["blocked"].add("203.0.113.7")
    assert shown["sign_in"].limiter(Attempt("send", "me@example.com", "203.0.113.7")) is False


def test_beginning_with_another_provider() -> None:
    with MoonKey(cookies=True) as client:
        status, headers = run(DOCUMENT, "oauth")["begin"](client, "https://provider.example/authorize")
    found = dict(headers)
    assert status == 303
    assert found["location"].startswith("https://provider.example/authorize?state=")
    assert found["set-cookie"].startswith("__Host-moonkey_oauth=")


def test_a_link_of_this_browser() -> None:
    with MoonKey(cookies=True) as client:
        url, (name, cookie) = run(DOCUMENT, "magic link")["send_link"](client, "ada@example.com")
    assert url.startswith("https://app.example.com/auth/sign-in/magic?state=")
    assert (name, cookie.partition("=")[0]) == ("set-cookie", "__Host-moonkey_magic")


def test_the_pages() -> None:
    sign_in = run(DOCUMENT, "pages")["sign_in"]
    assert (sign_in.page_language, sign_in.home) == ("de", "/start")
    page = complete_page(Page("moonkey/sign_in.html", {}), Settings.load({"sign_in": sign_in}))
    assert page.context["texts"]["sign_in"] == "Anmelden"
    assert page.context["texts"]["send_code"] == "Send the code"


def test_any_other_framework() -> None:
    with MoonKey(cookies=True) as client:
        info, headers = RequestInfo("GET", "https"), mapped_headers({"accept": "text/html"})
        auth = client.authenticate(headers, None, info)
        response = run(DOCUMENT, "Any other", client=client, info=info, headers=headers, auth=auth)["response"]
    assert (response.status, response.page.template) == (200, "moonkey/sign_in.html")
    assert response.page.context["next"] == "/account"


@pytest.mark.parametrize("name", ["flask", "starlette", "fastapi"])
def test_mounting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_COOKIES", "true")
    assert run(DOCUMENT, name)["app"]


def test_a_gate_for_a_whole_flask_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_COOKIES", "true")
    app = run(DOCUMENT, "flask")["app"]
    run(DOCUMENT, "whole app", app=app)
    app.get("/me")(lambda: "me")
    browser = app.test_client()
    asked = [browser.get(path, headers={"Accept": "text/html"}) for path in ("/me", "/auth/sign-in")]
    assert [response.status_code for response in asked] == [303, 200]
    assert browser.options("/me").status_code == 200
    assert browser.get("/none").status_code == 401


def test_what_templates_are_given() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\.html` \| (.*) \|$", text(DOCUMENT), re.MULTILINE))
    assert set(rows) <= {path.stem for path in (TEMPLATES / "moonkey").glob("*.html")}
    assert set(rows) >= {"sign_in", "verify_otp", "magic", "error"}
    shared = set(re.findall(r"`(\w+)`", re.findall(r"^\| all \| (.*) \|$", text(DOCUMENT), re.MULTILINE)[0]))
    for state in STATES:
        if state.template in rows:
            assert set(state.context) - shared <= set(re.findall(r"`(\w+)`", rows[state.template]))


def test_the_blocks() -> None:
    base = (TEMPLATES / "moonkey" / "base.html").read_text()
    assert re.findall(r"{% block (\w+) %}", base) == ["title", "head", "header", "content", "footer"]
