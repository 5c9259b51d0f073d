"""Our pages in Django's template engine: the project's own templates win, whatever engines it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import RequestFactory, modify_settings
from integrations.django_visits import Configure, Visit

from moonkey_core import ProviderUnavailable
from moonkey_core.emulator import SignedIn
from moonkey_core.web.pages import Page
from moonkey_django.pages import rendered
from support.visitors import FOREIGN, PAGE, pair

DJANGO = "django.template.backends.django.DjangoTemplates"
LAYOUT = (
    '{% extends "moonkey/base.html" %}{% block header %}<b>{{ brand }}</b>{% endblock %}'
    "{% block content %}<h1>{{ title }}</h1><i>{{ sign_in_url }}</i>{% endblock %}"
)
ERROR = Page(
    "moonkey/error.html", {"title": "<No>", "status": 401, "reason": "sign_in", "sign_in_url": None, "urls": {}}
)

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def site(configure: Configure, settings: Any) -> Configure:
    settings.ROOT_URLCONF = "integrations.django_browsing_site"
    configure(COOKIES={})
    return configure


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a template of the project's own: ``write("error.html", text)``."""
    (tmp_path / "moonkey").mkdir()

    def write(name: str, text: str) -> None:
        (tmp_path / "moonkey" / name).write_text(text)

    return write


def brand(request: HttpRequest) -> dict[str, Any]:
    return {"brand": "Acme & Co", "title": "not this one"}


def users(request: HttpRequest) -> dict[str, Any]:
    """A context processor that asks the database."""
    return {"brand": f"{get_user_model().objects.count()} users"}


def nobody(request: HttpRequest) -> dict[str, Any]:
    raise ProviderUnavailable


def engine(*dirs: Path, processor: str = "brand", **options: Any) -> dict[str, Any]:
    processors = [f"integrations.test_django_pages.{processor}"]
    return {"BACKEND": DJANGO, "DIRS": dirs, "OPTIONS": {"context_processors": processors, **options}}


def page(page: Page = ERROR) -> str:
    return rendered(RequestFactory().get("/"), page)


def test_without_any_engine(settings: Any) -> None:
    settings.TEMPLATES = []
    assert "<h1>&lt;No&gt;</h1>" in page()


def test_with_another_engine_only(settings: Any, write: Write, tmp_path: Path) -> None:
    write("error.html", "{{ brand() }}")
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.jinja2.Jinja2", "DIRS": [tmp_path]}]
    assert "<h1>&lt;No&gt;</h1>" in page()


def test_a_template_of_the_projects_own(settings: Any, write: Write, tmp_path: Path) -> None:
    write("error.html", LAYOUT)
    settings.TEMPLATES = [engine(tmp_path)]
    html = page()
    assert "<b>Acme &amp; Co</b>" in html
    assert "<h1>&lt;No&gt;</h1>" in html
    assert html.count("<main>") == 1


def test_a_template_that_extends_the_one_that_it_overrides(settings: Any, write: Write, tmp_path: Path) -> None:
    write("base.html", '{% extends "moonkey/base.html" %}{% block footer %}<hr>{{ brand }}{% endblock %}')
    settings.TEMPLATES = [engine(tmp_path)]
    assert "<hr>Acme &amp; Co" in page()
    assert "<h1>&lt;No&gt;</h1>" in page()


def test_values_are_escaped_whatever_the_project_does(settings: Any, write: Write, tmp_path: Path) -> None:
    write("error.html", LAYOUT)
    settings.TEMPLATES = [engine(tmp_path, autoescape=False)]
    assert "<h1>&lt;No&gt;</h1>" in page()


def test_a_template_of_an_app(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "brand_app"
    (app / "templates").mkdir(parents=True)
    (app / "__init__.py").write_text("")
    write("error.html", LAYOUT)
    (tmp_path / "moonkey").rename(app / "templates" / "moonkey")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "<i>" not in page()
    with modify_settings(INSTALLED_APPS={"append": "brand_app"}):
        assert "<i>" in page()
    assert "<i>" not in page()


def test_loaders_tags_and_filters_of_the_project(settings: Any) -> None:
    text = "{% load static %}{% get_static_prefix %}{{ title|intcomma }}{{ brand }}"
    loaders = [("django.template.loaders.locmem.Loader", {"moonkey/error.html": text})]
    builtins = ["django.contrib.humanize.templatetags.humanize"]
    settings.STATIC_URL = "/static/"
    settings.TEMPLATES = [engine(loaders=loaders, builtins=builtins)]
    assert page(Page(ERROR.template, {"title": 12345})) == "/static/12,345Acme &amp; Co"


def test_templates_are_read_anew_only_while_they_are_written(settings: Any, write: Write, tmp_path: Path) -> None:
    for debug in (True, False):
        settings.DEBUG = debug
        settings.TEMPLATES = [engine(tmp_path)]
        write("error.html", "before")
        assert page() == "before"
        write("error.html", "after")
        assert page() == ("after" if debug else "before")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/me", "/ame", "/auth/sign-in"])
def test_a_context_processor_may_ask_the_database(
    visit: Visit, settings: Any, write: Write, tmp_path: Path, ada: SignedIn, path: str
) -> None:
    for name in ("error.html", "sign_in.html"):
        write(name, LAYOUT)
    settings.TEMPLATES = [engine(tmp_path, processor="users")]
    get_user_model().objects.create(username="ada")
    # What has no page to go to shows one of its own.
    headers = (
        {**PAGE, **pair(ada)} if path.startswith("/auth") else {**PAGE, "Cookie": "__Host-moonkey_session=a b"}
    )
    response = visit(path, **{name.lower(): value for name, value in headers.items()})
    assert response.status_code == (200 if path.startswith("/auth") else 400)
    assert "<b>1 users</b>" in response.content.decode()


@pytest.mark.parametrize("path", ["/me", "/ame"])
def test_a_page_that_cannot_be_shown_is_no_further_trouble(
    visit: Visit, settings: Any, ada: SignedIn, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    settings.TEMPLATES = [engine(processor="nobody")]
    headers = {**PAGE, **pair(ada), **FOREIGN}
    response = visit(path, method="POST", **{name.lower(): value for name, value in headers.items()})
    assert (response.status_code, response.json()["error"]) == (403, "cross_site_request")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "no page for a refusal" in caplog.text
    assert "Traceback" not in caplog.text
    for secret in (ada.session_token, ada.session_jwt):
        assert secret not in caplog.text
