"""The pages: both engines show the same, nothing breaks out, everybody can use them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from moonkey_core.flows import TEMPLATES
from moonkey_core.web.pages import Page
from support.page_contexts import HOSTILE, STATES, URLS, State
from support.pages import Read, by_django, by_jinja, read_page, texts

TAGS = (
    "html head meta title link body header main footer section nav h1 h2 h3 p a strong span form label input"
    " button ul ol li dl dt dd div time fieldset legend"
)
ATTRIBUTES = (
    "lang charset name content rel href class id role type value for action method required autofocus autocomplete"
    " autocapitalize spellcheck inputmode maxlength checked datetime"
)
NAMES = [f"{state.template}: {state.state}"[:60] for state in STATES]
SHEET = (TEMPLATES / "moonkey" / "style.css").read_text()


@pytest.fixture(params=STATES, ids=NAMES)
def state(request: pytest.FixtureRequest) -> State:
    found: State = request.param
    return found


@pytest.fixture
def shown(state: State) -> Read:
    return read_page(Page(f"moonkey/{state.template}.html", state.context))


def test_every_page_is_here() -> None:
    pages = {path.stem for path in (TEMPLATES / "moonkey").glob("*.html")} - {"base"}
    assert {state.template for state in STATES} == pages


def test_nothing_breaks_out(shown: Read) -> None:
    for element in shown.elements:
        assert element.tag in TAGS.split()
        for name in element.attributes:
            assert name in ATTRIBUTES.split() or name.startswith("aria-"), (element.tag, name)


def test_hostile_text_is_shown_as_it_is(state: State, shown: Read) -> None:
    whole = " ".join(HOSTILE.split())
    found = [one for one in shown.normal if isinstance(one, str) and whole in one]
    found += [
        value for element in shown.elements for value in element.attributes.values() if value and HOSTILE in value
    ]
    assert found or HOSTILE not in texts(state.context)


def test_text_is_marked_up_for_everybody(shown: Read) -> None:
    assert shown.one("html").attributes["lang"] == "en"
    assert shown.one("title").text
    assert shown.one("h1").text
    shown.one("main")
    assert "width=device-width" in str([meta.attributes for meta in shown.all("meta")])
    ids = [element.attributes["id"] for element in shown.elements if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    for element in shown.elements:
        if described := element.attributes.get("aria-describedby"):
            assert described in ids
    assert sum("autofocus" in element.attributes for element in shown.elements) <= 1


def test_every_field_has_a_label(shown: Read) -> None:
    labels = {label.attributes.get("for") for label in shown.all("label")}
    for one in shown.all("input"):
        if one.attributes["type"] != "hidden":
            assert one.attributes["id"] in labels
    for button in shown.all("button"):
        assert button.attributes["type"] == "submit"
        assert button.text or button.attributes.get("aria-label")
    for label in shown.all("label"):
        assert label.text


def test_forms_stay_here(state: State, shown: Read) -> None:
    """Under the policy ``form-action 'self'`` and without any script or style of its own."""
    for form in shown.all("form"):
        assert form.attributes["method"] == "post"
        action = form.attributes["action"]
        assert action == HOSTILE or str(action).startswith("/auth/")
    links = [(link.attributes["rel"], link.attributes["href"]) for link in shown.all("link")]
    ours = [("stylesheet", URLS["style"]), ("icon", URLS["icon"])]
    assert links == (ours if state.context["urls"] else [])


def test_errors_are_announced(state: State, shown: Read) -> None:
    alerts = [element.text for element in shown.elements if element.attributes.get("role") == "alert"]
    wrong = state.template == "error" or bool(state.context.get("error"))
    assert state.template == "error" or shown.one("title").text.startswith("Error:") is state.context["has_error"]
    assert bool(alerts) is wrong or state.template not in ("sign_in", "verify_otp", "magic", "error")
    assert all(alerts)


@pytest.mark.parametrize("render", [by_jinja, by_django])
def test_escaping_is_real(render: Any) -> None:
    (state,) = [one for one in STATES if one[:2] == ("magic", "remembered")]
    html = render(Page("moonkey/magic.html", state.context))
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in html
    assert "49" not in html


def test_overriding_a_block_of_the_base() -> None:
    import jinja2

    loader = jinja2.ChoiceLoader(
        [
            jinja2.DictLoader(
                {
                    "moonkey/sign_in.html": '{% extends "moonkey/base.html" %}{% block title %}T{% endblock %}'
                    '{% block head %}<meta name="a" content="b">{% endblock %}'
                    "{% block header %}<p>H</p>{% endblock %}"
                    "{% block content %}<h1>C</h1>{% endblock %}{% block footer %}<p>F</p>{% endblock %}"
                }
            ),
            jinja2.FileSystemLoader(TEMPLATES),
        ]
    )
    environment = jinja2.Environment(loader=loader, autoescape=True)
    found = Read(environment.get_template("moonkey/sign_in.html").render(urls=URLS))
    assert found.one("title").text == "T"
    assert [one.text for one in found.all("p")] == ["H", "F"]
    assert found.one("h1").text == "C"


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class TestStyle:
    @pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
    @pytest.mark.parametrize(
        ("front", "back", "least"),
        [
            ("text", "card", 7),
            ("text", "soft", 7),
            ("muted", "card", 4.5),
            ("accent", "card", 4.5),
            ("accent", "soft", 4.5),
            ("accent-text", "accent", 4.5),
            ("accent-text", "accent-over", 4.5),
            ("bad", "bad-soft", 4.5),
            ("field", "card", 3),
        ],
    )
    def test_contrast(self, scheme: int, front: str, back: str, least: float) -> None:
        """WCAG 2.2, 1.4.3 and 1.4.11."""
        found = {name: re.findall(rf"--{name}: (#[0-9a-f]{{6}});", SHEET)[scheme] for name in (front, back)}
        assert contrast(found[front], found[back]) >= least

    def test_it_asks_nobody_else(self) -> None:
        assert not re.search(r"@import|url\(|https?:", SHEET)

    def test_every_class_is_known(self) -> None:
        used = {
            name
            for path in (TEMPLATES / "moonkey").glob("*.html")
            for value in re.findall(r'class="([^"]*)"', path.read_text())
            for name in value.split()
        }
        assert used <= set(re.findall(r"\.([a-z][a-z\-]*)", SHEET))
