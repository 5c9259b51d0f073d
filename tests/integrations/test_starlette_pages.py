"""What a browser gets that a lazy app refuses: a way to sign in, or a page; and whose templates win."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integrations.starlette_cookie_site import app_of, visiting
from integrations.starlette_visits import options
from starlette.templating import Jinja2Templates

from moonkey_core import ConfigurationError
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware
from support.visitors import (
    FOREIGN,
    PAGE,
    SESSION,
    pair,
)


@pytest.fixture
def browser(emulator: Emulator) -> Iterator[httpx.Client]:
    with visiting(app_of(emulator, lazy=True)) as browser:
        yield browser


def test_a_page_needs_no_script_and_nobody_else_s_content(browser: httpx.Client, ada: SignedIn) -> None:
    page = browser.post("/me", headers={**pair(ada), **PAGE, **FOREIGN})
    assert page.status_code == 403
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers.get_list("content-type") == ["text/html; charset=utf-8"]
    assert int(page.headers["content-length"]) == len(page.content)
    assert "<script" not in page.text
    assert "stylesheet" not in page.text  # which is one of the routes, and those are not mounted
    assert page.text.count("<h1") == 1
    for secret in (ada.session_token, ada.session_jwt):
        assert secret not in page.text


def layout(folder: Path, text: str) -> None:
    (folder / "moonkey").mkdir()
    (folder / "moonkey" / "error.html").write_text(text)


def test_pages_of_the_app_s_own(emulator: Emulator, tmp_path: Path) -> None:
    layout(tmp_path, "<b>{{ request.url.path }} {{ brand }} {{ status }} {{ request.query_params.x }}</b>")
    with_more = Jinja2Templates(tmp_path, context_processors=[lambda request: {"brand": "Acme", "status": 1}])
    with_more.env.autoescape = False
    with visiting(app_of(emulator, templates=with_more)) as browser:
        assert browser.post("/me?x=<b>", headers=PAGE).text == "<b>/me Acme 401 &lt;b&gt;</b>"
    for directories in (tmp_path, str(tmp_path), [tmp_path]):
        with visiting(app_of(emulator, templates=directories)) as browser:
            assert browser.post("/me", headers=PAGE).text == "<b>/me  401 </b>"


def test_a_page_is_shown_although_the_layout_asks_for_the_user(emulator: Emulator, tmp_path: Path) -> None:
    layout(tmp_path, "{% if request.user.is_authenticated %}<p>of the app</p>{% endif %}")
    with visiting(app_of(emulator, templates=tmp_path)) as browser:
        assert browser.post("/me", headers=PAGE).text == ""
        emulator.stop()
        page = browser.get("/me", headers={"Cookie": f"{SESSION}=some-token", **PAGE})
    assert page.status_code == 503
    assert "not available" in page.text


def test_templates_in_another_dialect(emulator: Emulator, tmp_path: Path) -> None:
    templates = Jinja2Templates(tmp_path)
    templates.env.variable_start_string, templates.env.variable_end_string = "[[", "]]"
    (tmp_path / "moonkey").mkdir()
    base = "<title>[[ title ]] {{ of_vue }}</title>{% block content %}{% endblock %}"
    (tmp_path / "moonkey" / "base.html").write_text(base)
    with visiting(app_of(emulator, templates=templates)) as browser:
        page = browser.post("/me", headers=PAGE)
    assert page.text.startswith("<title>Sign in to continue {{ of_vue }}</title>")
    assert "[[" not in page.text


def test_templates_that_are_not_there(emulator: Emulator, tmp_path: Path) -> None:
    async def app(*_: Any) -> None:
        raise AssertionError

    wrongs: list[Any] = [tmp_path / "nowhere", [tmp_path, str(tmp_path / "nowhere")], []]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError, match="there is no directory"):
            MoonKeyMiddleware(app, **options(emulator), templates=wrong)
    with pytest.raises(TypeError, match="one or several directories"):
        MoonKeyMiddleware(app, **options(emulator), templates=5)  # type: ignore[arg-type]


def test_without_jinja_a_browser_gets_a_problem(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moonkey_core.web.jinja", None)
    with visiting(app_of(emulator, sign_in={"page": "/welcome"})) as browser:
        page = browser.post("/me", headers=PAGE)
        assert (page.status_code, page.json()["status"]) == (401, 401)
        assert page.headers["content-type"] == "application/problem+json"
        assert browser.get("/me", headers=PAGE).status_code == 303
