"""The texts of the pages: each stands once, and an app can translate them; titles; the reader's time zone."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from moonkey_core import Settings, SignInSettings
from moonkey_core.emulator import Emulator
from moonkey_core.errors import ConfigurationError
from moonkey_core.flows import TEMPLATES
from moonkey_core.flows.views import time_in_words
from moonkey_core.web.pages import Page, complete_page
from moonkey_core.web.texts import TEXTS
from support.clients import Both
from support.flow_visits import Visitor, flow_client, shown
from support.page_contexts import STATES
from support.pages import Read, read_page

ALL = [text for texts in TEXTS.values() for text in texts.values()]


def _settings(sign_in: SignInSettings) -> Settings:
    return Settings.load({"secret_key": "sk_test_pages", "sign_in": sign_in}, {})


def german(text: str) -> str:
    return f"[de] {text}"


@pytest.fixture
def call(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Both]:
    sign_in = getattr(request, "param", SignInSettings(site_name="Ada & Co"))
    with flow_client("sync", emulator, sign_in=sign_in) as both:
        yield both


def in_words(page: Read) -> list[str]:
    found = [
        element.text for tag in ("title", "h1", "p", "label", "button", "dt", "a") for element in page.all(tag)
    ]
    return [text for text in found if re.search("[a-z]", text)]


def test_templates_have_no_words_of_their_own() -> None:
    for path in (TEMPLATES / "moonkey").glob("*.html"):
        bare = re.sub(r"{[{%].*?[}%]}|<[^>]*>", " ", path.read_text())
        assert re.findall(r"\w+", bare) == [], path.name


def test_every_text_is_used_and_every_text_exists() -> None:
    pages = {path.stem: path.read_text() for path in (TEMPLATES / "moonkey").glob("*.html")}
    for name, html in pages.items():
        used = set(re.findall(r"texts\.(\w+)", html))
        assert used <= {*TEXTS["all"], *TEXTS.get(name, {})}, name
        if name not in ("error", "base"):
            assert set(TEXTS[name]) - used == set() or name in ("verify_otp", "step_up", "step_up_verify")
    everywhere = set(re.findall(r"texts\.(\w+)", " ".join(pages.values())))
    assert set(TEXTS["all"]) <= everywhere


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.template}: {state.state}"[:60])
def test_all_of_them_can_be_translated(state: Any) -> None:
    settings = _settings(sign_in=SignInSettings(translate=german, language="de"))
    page = read_page(complete_page(Page(f"moonkey/{state.template}.html", state.bare), settings))
    assert page.one("html").attributes["lang"] == "de"
    words = [text for text in in_words(page) if "[de]" not in text]
    assert all("alert(" in text for text in words)  # what stands there is data
    assert page.one("title").text.startswith("[de] ")


@pytest.mark.parametrize(
    "translate",
    [lambda text: 1 / 0, lambda text: text.replace("{", "{wrong_"), lambda text: None, lambda text: "{"],
    ids=["raises", "other names", "nothing", "broken"],
)
def test_a_bad_translation_is_no_bad_page(translate: Any, caplog: pytest.LogCaptureFixture) -> None:
    bare = {"address": "me@example.com", "next": "", "remember_me": False, "tries_left": 3, "error": "code"}
    settings = _settings(sign_in=SignInSettings(translate=translate))
    context = complete_page(Page("moonkey/verify_otp.html", {**bare, "urls": {}}), settings).context
    assert "me@example.com" in context["texts"]["code_sent"]
    assert context["texts"]["tries_left"] == "You have 3 tries left."
    reasons = {record.reason for record in caplog.records}  # type: ignore[attr-defined]
    assert reasons <= {"translation_failed"}


def test_a_lazy_text_is_a_text() -> None:
    from django.utils.functional import lazystr

    settings = _settings(sign_in=SignInSettings(translate=lambda text: lazystr("Ja")))  # type: ignore[arg-type, return-value]
    page = complete_page(Page("moonkey/sign_out.html", {"next": "", "urls": {}}), settings)
    assert page.context["texts"]["question"] == "Ja"


@pytest.mark.parametrize("language", ["", "de_DE", '"><x>', lambda: 1 / 0, lambda: None, lambda: "de-AT"])
def test_the_language(language: Any) -> None:
    if not callable(language):
        with pytest.raises(ConfigurationError, match="language"):
            SignInSettings(language=language)
        return
    assert SignInSettings(language=language).page_language in ("en", "de-AT")


@pytest.mark.parametrize(
    "arguments",
    [{"home": "//evil"}, {"site_name": 7}, {"translate": "de"}, {"time_zone_cookie": "a b"}, {"bound_links": 1}],
    ids=repr,
)
def test_wrong_settings(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        SignInSettings(**arguments)


def test_placeholders_are_values_of_their_page() -> None:
    names = {name for text in ALL for _, name, _, _ in string.Formatter().parse(text) if name}
    assert names <= {
        "tries_left", "code_minutes", "address", "ended", "failed", "minutes", "email", "phone_number", "to",
        "browser", "system", "day", "month", "year", "time", "zone",
    }  # fmt: skip


def test_titles_name_the_site_and_say_what_was_wrong(call: Both) -> None:
    browser = Visitor(call)
    assert shown(browser.get("sign_in")).one("title").text == "Sign in \u2013 Ada & Co"
    refused = shown(browser.post("send_otp", {"address": "x"}))
    assert refused.one("title").text == "Error: Sign in \u2013 Ada & Co"
    browser.post("send_otp", {"address": "me@example.com"})
    refused = shown(browser.post("verify_otp", {"code": "x"}))
    assert refused.one("title").text == "Error: Enter the code \u2013 Ada & Co"


ZONES = [
    ("Europe/Berlin", "CE"),
    ("Asia%2FTokyo", "JST"),
    ("America/Argentina/Buenos_Aires", "UTC-03"),
    ("Etc/GMT+5", "UTC-05"),
    ("Nowhere/Land", "UTC"),
    ("../../etc/passwd", "UTC"),
    ("Europe", "UTC"),
    ("x" * 300, "UTC"),
    ("", "UTC"),
]


@pytest.mark.parametrize("call", [SignInSettings(time_zone_cookie="tz")], indirect=True)
@pytest.mark.parametrize(("value", "shown_as"), ZONES)
def test_times_are_those_of_the_reader(call: Both, emulator: Emulator, value: str, shown_as: str) -> None:
    person = emulator.sign_in()
    browser = Visitor(call)
    browser.cookies = {"__Host-moonkey_session": person.session_token, "tz": value}
    times = [one.text for one in shown(browser.get("sessions")).all("time")]
    assert times
    assert all(re.search(rf", \d\d:\d\d {re.escape(shown_as)}", text) for text in times), times


def test_without_a_zone_they_are_in_utc(call: Both, emulator: Emulator) -> None:
    browser = Visitor(call)
    browser.cookies = {"__Host-moonkey_session": emulator.sign_in().session_token, "tz": "Europe/Berlin"}
    assert all(one.text.endswith(" UTC") for one in shown(browser.get("sessions")).all("time"))


def test_a_time_in_words() -> None:
    moment = "2025-07-01T22:30:00Z"
    assert time_in_words(moment) == "1 July 2025, 22:30 UTC"
    assert time_in_words(moment, ZoneInfo("Europe/Berlin")) == "2 July 2025, 00:30 CEST"
    assert time_in_words(moment, ZoneInfo("Europe/Berlin"), german) == "[de] 2 [de] July 2025, 00:30 CEST"
    assert time_in_words("9999-12-31T23:59:59Z", ZoneInfo("Asia/Tokyo")).startswith("31 December 9999")
    assert time_in_words(None) == ""
