"""What all ready-made routes have in common: the table, the methods, the origin check, errors, headers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core import ConfigurationError, CookieSettings
from moonkey_core.auth import from_cookies
from moonkey_core.emulator import Emulator
from moonkey_core.flows import ROUTES, TEMPLATES, FlowRequest, Route
from moonkey_core.flows.dispatch import HANDLERS
from moonkey_core.web.request import RequestInfo, mapped_headers
from support.clients import Both
from support.flow_visits import SESSION, Visitor, cookies_of, flow_client, header, json_of, shown

POSTS = [route for route in ROUTES if "POST" in route.methods]
OWN = "https://app.example.com"


@pytest.fixture
def call(emulator: Emulator) -> Iterator[Both]:
    with flow_client("sync", emulator) as both:
        yield both


def posted(visitor: Visitor, route: Route, **headers: str | None) -> int:
    kind = {"content-type": "application/x-www-form-urlencoded", **headers}
    return visitor.send("POST", route.name, kind, session_id="sess_1").status


def test_every_route_has_a_handler() -> None:
    assert list(HANDLERS) == [route.name for route in ROUTES]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_without_cookies_there_are_no_routes(emulator: Emulator, kind: str) -> None:
    with (
        flow_client(kind, emulator, cookies=None) as call,
        pytest.raises(ConfigurationError, match="MOONKEY_COOKIES"),
    ):
        Visitor(call).get("sign_in")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_methods(call: Both, route: Route, method: str) -> None:
    answer = Visitor(call).send(method, route.name, session_id="sess_1")
    if method in route.methods or (method == "HEAD" and "GET" in route.methods and route.name != "oauth"):
        assert answer.status != 405
    else:
        assert answer.status == 405
        assert header(answer, "allow") == ", ".join(route.methods)


@pytest.mark.rule("S43")
class TestTheOriginOfEveryPost:
    @pytest.mark.long
    @pytest.mark.parametrize("route", POSTS, ids=lambda route: route.name)
    @pytest.mark.parametrize(
        "headers",
        [
            {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
            {"sec-fetch-site": "same-site", "origin": "https://other.example.com"},
            {"sec-fetch-site": "cross-site", "origin": OWN},
            {"sec-fetch-site": None, "origin": "https://evil.example"},
            {"sec-fetch-site": None, "origin": "http://app.example.com"},
            {"sec-fetch-site": None, "origin": "null"},
            {"sec-fetch-site": None},
            {"sec-fetch-site": "cross-site", "authorization": "Basic bWU6cGFzcw=="},
            {"sec-fetch-site": "cross-site", "authorization": "Bearer made-up"},
        ],
    )
    @pytest.mark.parametrize("signed_in", [False, True])
    def test_another_site(
        self, call: Both, emulator: Emulator, route: Route, headers: dict[str, str | None], signed_in: bool
    ) -> None:
        visitor = Visitor(call)
        person = emulator.sign_in()
        if signed_in:
            visitor.cookies = {SESSION: person.session_token}
        emulator.clear_requests()
        assert posted(visitor, route, **headers) == 403
        made_up = "Bearer" in (headers.get("authorization") or "")  # which the API is asked about, and no more
        assert set(emulator.requests()) <= ({"POST /v1/auth/sessions/verify"} if made_up else set())
        assert call("sessions.verify", session_token=person.session_token).session.id == person.session_id

    @pytest.mark.parametrize("route", POSTS, ids=lambda route: route.name)
    @pytest.mark.parametrize(
        "headers",
        [
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
            {"sec-fetch-site": None, "origin": OWN},
            {"sec-fetch-site": "cross-site", "origin": "https://trusted.example"},
        ],
    )
    def test_our_own(self, emulator: Emulator, route: Route, headers: dict[str, str | None]) -> None:
        cookies = CookieSettings(trusted_origins=("https://trusted.example",))
        with flow_client("sync", emulator, cookies=cookies) as call:
            visitor = Visitor(call)
            visitor.cookies = {SESSION: emulator.sign_in().session_token}
            assert posted(visitor, route, **headers) != 403

    def test_a_credential_in_a_header_is_nobody_elses_doing(self, call: Both, emulator: Emulator) -> None:
        """No page of another site can make a browser send one; and it is believed while nobody can be asked."""
        token = emulator.sign_in().session_token
        program = Visitor(call, html=False)
        headers = {"authorization": f"Bearer {token}", "sec-fetch-site": None}
        assert program.post("send_otp", {"email": "me@example.com"}, **headers).status == 200
        emulator.fault("/v1/auth/sessions/verify", status=500)
        assert program.post("send_otp", {"email": "me@example.com"}, **headers).status == 200

    def test_an_identity_from_cookies_is_judged_here_again(self, call: Both, emulator: Emulator) -> None:
        """Even where a framework has worked it out without knowing where the request comes from."""
        person = emulator.sign_in()
        own = {"sec-fetch-site": "same-origin", "cookie": f"{SESSION}={person.session_token}"}
        auth = call("authenticate", own)
        assert from_cookies(auth)
        assert auth.is_authenticated
        info, view = RequestInfo("POST", "https"), mapped_headers({**own, "sec-fetch-site": "cross-site"})
        request = FlowRequest(route="sign_out", routes="/auth", info=info, headers=view, auth=auth)
        assert call("flows.answer", request).status == 403

    def test_the_problem(self, call: Both) -> None:
        program = Visitor(call, html=False)
        found = json_of(program.post("send_otp", {"email": "me@example.com"}, **{"sec-fetch-site": "cross-site"}))
        assert (found["status"], found["error"]) == (403, "cross_site_request")
        page = shown(Visitor(call).post("send_otp", {}, **{"sec-fetch-site": "cross-site"}))
        assert page.one("h1").text == "You may not do that"


class TestHeaders:
    @pytest.mark.parametrize("route", ["sign_in", "magic", "oauth", "verify_otp"])
    @pytest.mark.parametrize("html", [True, False])
    def test_nothing_is_stored(self, call: Both, route: str, html: bool) -> None:
        answer = Visitor(call, html=html).get(route)
        assert header(answer, "cache-control") == "no-store"
        names = [name.strip().lower() for name in header(answer, "vary").split(",")]
        assert {"accept", "cookie"} <= set(names)
        policies = [value for name, value in answer.headers if name == "content-security-policy"]
        assert len(policies) == (1 if html else 0)
        assert all("script" not in policy and "unsafe" not in policy for policy in policies)
        assert len({name for name, _ in answer.headers} - {"set-cookie"}) == len(
            [name for name, _ in answer.headers if name != "set-cookie"]
        )

    def test_the_style(self, call: Both) -> None:
        answer = Visitor(call).get("style")
        assert answer.body == (TEMPLATES / "moonkey" / "style.css").read_bytes()
        assert header(answer, "content-type") == "text/css; charset=utf-8"
        assert header(answer, "cache-control") == "public, max-age=3600"
        assert not cookies_of(answer)


def test_who_presents_a_header_gets_json(call: Both, emulator: Emulator) -> None:
    """Whatever it accepts, it is no browser that somebody sits at."""
    program = Visitor(call)
    token = emulator.sign_in().session_token
    for headers in ({"authorization": f"Bearer {token}"}, {"session-token": token}):
        assert json_of(program.get("sign_in", **headers))["authenticated"] is True
        assert json_of(program.get("magic", **headers))["status"] == 400


class TestUnderAnotherPath:
    @pytest.mark.parametrize("routes", ["", "/app/auth", "/a/b/c"])
    def test_every_path_begins_with_it(self, call: Both, emulator: Emulator, routes: str) -> None:
        browser = Visitor(call, routes=routes)
        page = shown(browser.get("sign_in"))
        assert page.one("form").attributes["action"] == f"{routes}/sign-in/otp"
        links = [one.attributes["href"] for one in page.all("link")]
        assert links == [f"{routes}/style.css", f"{routes}/icon.svg"]
        sent = browser.post("send_otp", {"address": "me@example.com"})
        assert header(sent, "location") == f"{routes}/sign-in/otp/verify"

    def test_the_way_back_after_signing_in(self, call: Both) -> None:
        answer = Visitor(call, routes="/app/auth").get("sessions", "page=1")
        assert header(answer, "location") == "/app/auth/sign-in?next=%2Fapp%2Fauth%2Fsessions%3Fpage%3D1"


def test_bodies_of_other_kinds(call: Both, emulator: Emulator) -> None:
    program = Visitor(call, html=False)
    emulator.clear_requests()
    form = b"address=me%40example.com"
    for kind, body in [
        ("text/plain", form),
        ("multipart/form-data; boundary=x", form),
        ("application/json", form),
        ("application/json", b'{"address": "a@b.c", "address": "d@e.f"}'),
        ("application/x-www-form-urlencoded", b'{"address": "a@b.c"}'),
        ("application/x-www-form-urlencoded", b"address=a%40b.c&address=d%40e.f"),
        ("application/x-www-form-urlencoded", b"address=%ff"),
        ("application/x-www-form-urlencoded", "address=ä@b.c".encode()),
        ("", form),
    ]:
        expected = 400 if kind.startswith("application/") else 415
        assert program.send("POST", "send_otp", {"content-type": kind}, body=body).status == expected, kind
    kind, body = "application/x-www-form-urlencoded", b"address=" + b"a" * 20_000
    assert program.send("POST", "send_otp", {"content-type": kind}, body=body).status == 413
    assert not emulator.requests()
