"""No page is a dead end: after each error there is something to press, and every address can be opened."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import Settings, SignInSettings, StepUpRequired
from moonkey_core.emulator import Emulator
from moonkey_core.errors import (
    AuthenticationError,
    BodyTooLong,
    ConfigurationError,
    MissingCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
    RequestRefused,
    TooManyAttempts,
)
from moonkey_core.flows import ROUTES
from moonkey_core.provider import OIDC, Stytch, StytchB2B
from moonkey_core.web.pages import Visit, refuse_visit
from moonkey_core.web.request import asgi_headers
from support.clients import Both
from support.flow_visits import Visitor, code_of, flow_client, header, json_of, path_of, shown, wrong
from support.pages import Read, read_page
from support.visitors import with_app

HOME = SignInSettings(home="/welcome", methods=("email", "phone_number"))
SETTINGS = Settings.load({"secret_key": "sk_test_pages", "cookies": True, "sign_in": HOME}, {})
BROWSER = asgi_headers([(b"accept", b"text/html")])
POST_ONLY = {
    "send_otp": "/auth/sign-in",
    "revoke": "/auth/sessions",
    "revoke_others": "/auth/sessions",
    "step_up_send_otp": "/auth/step-up",
    "step_up_totp": "/auth/step-up",
}
ERRORS: list[MoonKeyError] = [
    RequestRefused(),
    BodyTooLong(),
    NotFound(),
    PermissionDenied(),
    ProviderUnavailable(),
    ConfigurationError("wrong"),
    TooManyAttempts(),
    MissingCredentials(),
    StepUpRequired(),
]


@pytest.fixture
def call(kind: str, emulator: Emulator) -> Any:
    with flow_client(kind, emulator, sign_in=HOME) as both:
        yield both


def signed_in(call: Both, emulator: Emulator, **options: Any) -> Visitor:
    person = emulator.sign_in(email="me@example.com")
    browser = Visitor(call, **options)
    browser.cookies = {"__Host-moonkey_session": person.session_token, "__Host-moonkey_jwt": person.session_jwt}
    return browser


def hrefs(page: Read) -> list[str | None]:
    return [one.attributes["href"] for one in page.all("a")]


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_address_of_a_post_leads_to_its_form(call: Both, emulator: Emulator, method: str, html: bool) -> None:
    """There a browser stands after an error, and reloads."""
    browser = signed_in(call, emulator, html=html)
    emulator.clear_requests()
    assert {route.name for route in ROUTES if route.form not in (None, route.path)} == POST_ONLY.keys()
    for route, form in POST_ONLY.items():
        there = browser.send(method, route, session_id="sess_1", query="next=%2Fx")
        assert path_of(there) == f"{form}?next=%2Fx"
        assert path_of(browser.send(method, route, session_id="sess_1")) == form
        for odd in ("a=\r\nset-cookie: b", "\0", "é", "x" * 3000):
            assert path_of(browser.send(method, route, session_id="sess_1", query=odd)) == form
    assert all(call.startswith("GET ") for call in emulator.requests())  # of keys and of the page's user


def test_after_each_error_of_a_form_the_browser_can_reload(call: Both, emulator: Emulator) -> None:
    browser = signed_in(call, emulator)
    with_app(emulator, json_of(browser.get("session"))["user"]["id"])
    emulator.fault("/v1/auth/sessions/delete", status=500)
    emulator.sign_in(email="me@example.com")
    for route, fields, status in (
        ("send_otp", {"address": "no address"}, 400),
        ("step_up_totp", {"code": "123456", "next": "/vault"}, 401),
        ("revoke_others", {}, 503),
    ):
        refused = browser.post(route, fields)
        assert refused.status == status
        assert shown(refused).one("title").text.startswith("Error: ")
        again = browser.get(route)
        assert path_of(again) == POST_ONLY[route]
        assert shown(
            browser.get({"/auth/sign-in": "sign_in", "/auth/sessions": "sessions"}.get(path_of(again), "step_up"))
        ).all("form")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("routes", ["/auth", None])
def test_every_error_page_has_something_to_press(error: MoonKeyError, method: str, routes: str | None) -> None:
    refusal = refuse_visit(error, SETTINGS, BROWSER, Visit(method, "/report?year=1", routes))
    if refusal.status == 303:
        return
    assert refusal.page is not None
    links = hrefs(read_page(refusal.page))
    assert links
    if not isinstance(error, AuthenticationError) or routes is None:
        assert "/welcome" in links
    assert ("/report?year=1" in links) == (refusal.status == 503 and method == "GET")


def _options(provider: Any) -> dict[str, Any]:
    return {"provider": provider, "cookies": True, "cache_secret": "c" * 32, "sign_in": {"home": "/welcome"}}


@pytest.mark.parametrize(
    ("provider", "leads_to"),
    [
        (Stytch("project-test-1", "secret-test-1"), ("/auth/sign-in", "/auth/step-up")),
        (Stytch("project-test-1", "secret-test-1", cookies_by="browser"), (None, "/auth/step-up")),
        (StytchB2B("project-test-1", "secret-test-1"), (None, None)),
        (OIDC("https://id.example", "api"), (None, None)),
    ],
    ids=["stytch", "stytch, by its script", "stytch_b2b", "oidc"],
)
def test_no_browser_is_sent_to_a_page_that_cannot_help(provider: Any, leads_to: tuple[Any, Any]) -> None:
    settings = Settings.load(_options(provider), {})
    for error, leads in zip((MissingCredentials(), StepUpRequired()), leads_to, strict=True):
        refusal = refuse_visit(error, settings, BROWSER, Visit("GET", "/report", "/auth"))
        target = dict(refusal.headers).get("location")
        assert (target and target.partition("?")[0]) == leads
        assert refusal.status == (401 if leads is None else 303)
        if leads is None:
            assert refusal.page is not None
            assert hrefs(read_page(refusal.page)) == ["/welcome"]
    own = Settings.load({**_options(provider), "sign_in": {"page": "/login"}}, {})
    refusal = refuse_visit(MissingCredentials(), own, BROWSER, Visit("GET", "/report", "/auth"))
    assert dict(refusal.headers)["location"] == "/login?next=%2Freport"


def test_what_failed_for_the_moment_can_be_tried_again(call: Both, emulator: Emulator) -> None:
    browser = signed_in(call, emulator)
    emulator.fault("/v1/auth/users", status=500)
    page = shown(browser.get("step_up", {"next": "/vault"}))
    assert "/auth/step-up?next=%2Fvault" in hrefs(page)
    emulator.fault("/v1/auth/otps", status=503)
    page = shown(browser.post("send_otp", {"address": "you@example.com"}))
    assert "/auth/sign-in" in hrefs(page)


def test_a_link_too(call: Both, emulator: Emulator) -> None:
    emulator.fault("/v1/auth/magic_links/verify", status=503)
    answer = Visitor(call).post("magic", {"token": "a-token", "next": "/x"})
    assert (answer.status, shown(answer).one("title").text) == (503, "Error: Sign in")
    assert shown(answer).fields() == {"token": "a-token", "state": "", "next": "/x", "remember_me": ""}


def test_nobody_is_sent_to_another_site_to_try_again() -> None:
    visit = Visit("GET", "//evil.example/x", "/auth")
    refusal = refuse_visit(ProviderUnavailable(), SETTINGS, BROWSER, visit)
    assert refusal.page is not None
    assert hrefs(read_page(refusal.page)) == ["/welcome"]


@pytest.mark.parametrize("route", [route for route in ROUTES if "POST" in route.methods], ids=lambda one: one.name)
def test_what_is_too_long(call: Both, emulator: Emulator, route: Any) -> None:
    emulator.clear_requests()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    refused = Visitor(call).send("POST", route.name, kind, body=None, session_id="sess_1")  # type: ignore[arg-type]
    page = shown(refused)
    assert (refused.status, page.one("h1").text) == (413, "That was too long")
    assert hrefs(page)[-1] == "/welcome"
    program = Visitor(call, html=False).send("POST", route.name, kind, body=None, session_id="x")  # type: ignore[arg-type]
    assert (program.status, json_of(program)["status"]) == (413, 413)
    assert emulator.requests() == {}


@pytest.mark.parametrize(("route", "title"), [("sessions", "Your devices"), ("step_up", "Confirm that it is you")])
def test_the_way_back(call: Both, emulator: Emulator, route: str, title: str) -> None:
    page = shown(signed_in(call, emulator).get(route))
    assert page.one("h1").text == title
    assert "/welcome" in hrefs(page)


def test_a_code_that_no_cookie_came_for(call: Both, emulator: Emulator) -> None:
    page = shown(Visitor(call).get("verify_otp"))
    assert "more than ten minutes ago" not in page.html
    assert "cookies" in page.all("p")[0].text


def test_a_code_that_is_too_old(call: Both, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from moonkey_core import _clock

    browser = Visitor(call)
    browser.post("send_otp", {"address": "me@example.com"})
    now = _clock.wall()
    monkeypatch.setattr(_clock, "wall", lambda: now + 601)
    assert "more than ten minutes ago" in shown(browser.get("verify_otp")).html


@pytest.mark.parametrize(
    "write",
    [
        lambda code: code.translate({ord("0") + place: 0xFF10 + place for place in range(10)}),
        lambda code: code.translate({ord("0") + place: 0x0660 + place for place in range(10)}),
        lambda code: f"\u3000{code[:3]}\u2013{code[3:]}\u200b",
        lambda code: f"{code[:3]}\u00a0{code[3:]}",
    ],
    ids=["full-width", "Arabic", "dash", "space"],
)
def test_the_digits_of_all_scripts_are_digits(call: Both, emulator: Emulator, write: Any) -> None:
    browser = Visitor(call)
    browser.post("send_otp", {"address": "me@example.com"})
    code = code_of(emulator)
    assert browser.post("verify_otp", {"code": write(wrong(code))}).status == 401
    assert browser.post("verify_otp", {"code": write(code)}).status == 303


def test_a_phone_number_too(call: Both, emulator: Emulator) -> None:
    number = "+14155550100".translate({ord("0") + place: 0xFF10 + place for place in range(10)})
    assert Visitor(call).post("send_otp", {"address": number}).status == 303
    assert emulator.outbox()[0].to == "+14155550100"


def test_the_icon(call: Both) -> None:
    page = shown(Visitor(call).get("sign_in"))
    (icon,) = [one.attributes["href"] for one in page.all("link") if one.attributes["rel"] == "icon"]
    answer = Visitor(call).get("icon")
    assert (icon, answer.status, header(answer, "content-type")) == ("/auth/icon.svg", 200, "image/svg+xml")
    assert answer.body.startswith(b"<svg")


def test_json_is_not_sniffed(call: Both, emulator: Emulator) -> None:
    program = signed_in(call, emulator, html=False)
    for route in ("session", "sessions", "step_up", "sign_in", "magic", "verify_otp"):
        assert header(program.get(route), "x-content-type-options") == "nosniff"
    for route in ("send_otp", "step_up_totp", "revoke", "sign_out"):
        answer = program.send("POST", route, session_id="sess_0")
        assert header(answer, "x-content-type-options") == "nosniff"


def test_the_way_back_is_kept_where_a_form_is_opened_again(call: Both, emulator: Emulator) -> None:
    """A browser that was shown an error stands at the address that the form was posted to."""
    browser = Visitor(call)
    page = shown(browser.get("sign_in", {"next": "/vault?tab=1&x=2", "remember_me": "on"}))
    query = "next=%2Fvault%3Ftab%3D1%26x%3D2&remember_me=on"
    assert page.one("form").attributes["action"] == f"/auth/sign-in/otp?{query}"
    assert path_of(browser.get("send_otp", query)) == f"/auth/sign-in?{query}"
    refused = browser.send("POST", "send_otp", query=query, body=b"x" * 20_000)
    assert f"/auth/sign-in?{query}" in hrefs(shown(refused))
    browser.post("send_otp", {"address": "ada@example.com", "next": "/vault"})
    page = shown(browser.get("verify_otp"))
    assert "/auth/sign-in?next=%2Fvault" in hrefs(page)
    assert [one.attributes["action"] for one in page.all("form")] == [
        "/auth/sign-in/otp/verify",
        "/auth/sign-in/otp?next=%2Fvault",
    ]
    late = Visitor(call)
    for purpose, fields in (("verify_otp", {"code": "123456"}), ("magic", {"token": ""})):
        assert hrefs(shown(late.post(purpose, {**fields, "next": "/vault"})))[0] == "/auth/sign-in?next=%2Fvault"
        assert hrefs(shown(late.post(purpose, {**fields, "next": "//evil.example"})))[0] == "/auth/sign-in"


def test_the_way_back_is_kept_in_a_step_up(call: Both, emulator: Emulator) -> None:
    ada = signed_in(call, emulator)
    query = "next=%2Fvault&acr_values=otp&max_age=60"
    page = shown(ada.get("step_up", query))
    assert {one.attributes["action"] for one in page.all("form")} == {f"/auth/step-up/otp?{query}"}
    assert path_of(ada.get("step_up_send_otp", query)) == f"/auth/step-up?{query}"
    early = shown(ada.post("step_up_verify_otp", {"code": "123456", "next": "/vault"}))
    assert hrefs(early)[0] == "/auth/step-up?next=%2Fvault"  # not to sign in: the user is signed in


def test_a_broken_cookie_is_removed_and_the_page_can_be_tried_again(call: Both, emulator: Emulator) -> None:
    browser = Visitor(call)
    browser.cookies = {"__Host-moonkey_session": "a b", "__Host-moonkey_jwt": "c"}
    refused = browser.get("sessions", "x=1")
    assert refused.status == 400
    assert hrefs(shown(refused)) == ["/auth/sessions?x=1", "/welcome"]
    assert browser.cookies == {}
    assert path_of(browser.get("sessions", "x=1")).startswith("/auth/sign-in?next=")
