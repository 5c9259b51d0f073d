"""Pages in the app's own Jinja: whose templates win, what stands in them, what happens when they fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import request
from integrations.flask_visits import make_app, visiting

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import session_routes
from support.visitors import FOREIGN, PAGE, SESSION, pair


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.name == "moonkey"]


def test_pages_need_no_script_and_nobody_elses_content(emulator: Emulator, ada: SignedIn) -> None:
    with visiting(make_app(emulator)) as browser:
        page = browser.post("/me", headers={**pair(ada), **PAGE, **FOREIGN})
    assert page.status_code == 403
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in page.text
    assert "stylesheet" not in page.text  # which would be one of the routes
    assert page.text.count("<h1") == 1
    for secret in (ada.session_token, ada.session_jwt):
        assert secret not in page.text


def test_templates_of_the_apps_own_win(emulator: Emulator, tmp_path: Path) -> None:
    folder = tmp_path / "moonkey"
    folder.mkdir()
    (tmp_path / "layout.html").write_text("<b>[[ brand ]]</b>{% block body %}{% endblock %}")
    (folder / "base.html").write_text(
        '{% extends "layout.html" %}{% block body %}<p>{% block content %}{% endblock %}</p>{% endblock %}'
    )
    app = make_app(emulator)
    app.template_folder = str(tmp_path)
    app.jinja_options = {"variable_start_string": "[[", "variable_end_string": "]]", "autoescape": False}
    app.context_processor(lambda: {"brand": "Acme", "address": "not this one"})
    app.register_blueprint(session_routes())
    with visiting(app) as browser:
        page = browser.get("/auth/sign-in?next=/%22%3E<script>", headers=PAGE)
        assert "<b>Acme</b>" in page.text
        assert 'name="next" value="/&#34;&gt;&lt;script&gt;"' in page.text
        assert "<script>" not in page.text
        assert not re.search(r"\{\{|\}\}|\[\[|not this one", page.text)
        refused = browser.post("/me", headers=PAGE)
        assert (refused.status_code, "<b>Acme</b>" in refused.text) == (401, True)


def test_a_page_is_shown_although_the_apps_context_wants_the_user(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(emulator)

    @app.context_processor
    def user() -> dict[str, object]:
        return {"user": request.user, "title": "of the app"}  # type: ignore[attr-defined]

    with visiting(app) as browser, caplog.at_level("INFO"):
        emulator.stop()
        page = browser.get("/me", headers={"Cookie": f"{SESSION}=some-token", **PAGE})
    assert page.status_code == 503
    assert "not available" in page.text
    assert "page_incomplete" in reasons(caplog)


def test_a_layout_that_wants_the_user_gives_way_to_the_problem(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "moonkey").mkdir()
    (tmp_path / "moonkey" / "base.html").write_text("{{ request.user.id }}{% block content %}{% endblock %}")
    app = make_app(emulator)
    app.template_folder = str(tmp_path)
    with visiting(app) as browser:
        emulator.stop()
        for _ in range(3):
            refused = browser.get("/me", headers={"Cookie": f"{SESSION}=some-token", **PAGE})
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert reasons(caplog).count("page_failed") == 1
