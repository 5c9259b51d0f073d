"""Whatever strangers send to the routes: an answer that is theirs to bear, and never one that leads elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from moonkey_core import CookieSettings, RequestRefused
from moonkey_core._plan import Fetch, Outcome, run
from moonkey_core.auth import new_auth
from moonkey_core.flows import ROUTES, FlowRequest, FlowResponse
from moonkey_core.flows.dispatch import answer
from moonkey_core.flows.forms import body_fields, is_checked, parse_address, query_fields
from moonkey_core.flows.oauth import oauth_state
from moonkey_core.flows.sealed_cookies import seal_cookie
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.pages import wants_page
from moonkey_core.web.request import RequestInfo, asgi_headers
from support.any_json import JSON as ANY_JSON
from support.decisions import Decisions, replied, verified_body
from support.pages import read_page

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
NAMES = ["address", "email", "phone_number", "next", "remember_me", "code", "token", "state", "error", "other"]
ODD_PATHS = [
    "/",
    "//",
    "/\\",
    "/a",
    "http:",
    "https://",
    "\t",
    "\n",
    "evil.example",
    "@",
    "?",
    "#",
    "%2f",
    ".",
    ";",
    ":",
]
latin = st.text(st.characters(max_codepoint=255), max_size=200)
values = st.one_of(
    st.text(max_size=40), latin, st.sampled_from(["on", "me@example.com", "+14152222222", "123456", "/a"])
)
forms = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
targets = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(ODD_PATHS), max_size=8).map("".join))


def request_of(route: str, method: str = "POST", **changes: Any) -> FlowRequest:
    lines: dict[str, str] = {"sec-fetch-site": "same-origin", **changes.pop("headers", {})}
    headers = asgi_headers([(name.encode(), value.encode("latin-1")) for name, value in lines.items()])
    info = RequestInfo(method, "https", "127.0.0.1")
    return FlowRequest(route=route, routes="/auth", info=info, headers=headers, auth=new_auth(), **changes)


class Api(Decisions):
    """The deciding half, with an API that says yes to everything, or no."""

    def __init__(self, says_yes: bool) -> None:
        super().__init__(cookies=CookieSettings())
        self.answer = self.by_rote
        self.says_yes = says_yes

    def by_rote(self, fetch: Fetch) -> Outcome:
        if not self.says_yes:
            return replied(400, {"error_type": "invalid_request", "error_message": "no"})
        if fetch.url.endswith("login_or_create"):
            return replied(200, {"method_id": "em_1", "user_id": "user_1"})
        return replied(
            200, {**verified_body(), "session_token": "token", "session_jwt": "a.b.c", "user_id": "user_1"}
        )

    def ask(self, request: FlowRequest) -> FlowResponse:
        plan: Any = answer(self.core, request)  # without Redis it yields nothing but calls
        found: FlowResponse = run(plan, self.exchange)
        return found


APIS = [Api(says_yes=True), Api(says_yes=False)]
START = APIS[0].core


@pytest.mark.rule("S47")
class TestTargets:
    @given(targets)
    def test_a_target_stays_here(self, text: str) -> None:
        found = safe_target(text, "/fallback")
        assert found in (text, "/fallback")
        for base in ("https://app.example.com/auth/sign-in", "http://app.example.com"):
            there, here = urlsplit(urljoin(base, found)), urlsplit(base)
            assert (there.scheme, there.netloc) == (here.scheme, here.netloc)
        # What browsers drop or turn around before they look (WHATWG URL section 4.4).
        assert re.match(r"/(?![/\\])", re.sub(r"[\t\n\r]", "", found.strip("".join(map(chr, range(33))))))
        assert found.isprintable()

    @given(targets)
    def test_it_is_stable(self, text: str) -> None:
        assert safe_target(safe_target(text)) == safe_target(text)


class TestAddresses:
    @given(forms)
    def test_what_is_read_is_one(self, fields: dict[str, str]) -> None:
        found = parse_address(fields)
        if found is None:
            return
        assert found.value not in repr(found)
        again = parse_address({found.kind: found.value})
        assert again == found
        assert found.value.isascii()
        assert found.value.isprintable()
        assert not set(found.value) & set(' <>"\\,;:\r\n')

    @pytest.mark.long
    @given(st.emails())
    def test_ordinary_ones(self, email: str) -> None:
        found = parse_address({"address": f" {email}\t"})
        assert (found is not None) is (len(email) <= 254 and len(email.partition("@")[0]) <= 64)
        if found is not None:
            assert (found.kind, found.value) == ("email", email.lower())

    @given(st.integers(10**6, 10**15 - 1), st.lists(st.sampled_from(" -.()/"), max_size=8))
    def test_numbers(self, number: int, fillers: list[str]) -> None:
        spelled = "".join(a + b for a, b in zip(f"+{number}", [*fillers, *[""] * 20], strict=False))
        spelled += f"+{number}"[len(spelled.translate(str.maketrans("", "", " -.()/"))) :]
        assume("(0)" not in spelled.translate(str.maketrans("", "", " -./")))
        found = parse_address({"phone_number": spelled})
        assert found is not None
        assert found.value == f"+{number}"

    @pytest.mark.parametrize(
        ("spelled", "number"),
        [
            ("+49 (0) 151 2345678", "+491512345678"),
            ("+49(0)151/234 56-78", "+491512345678"),
            ("+49 ( 0 ) 151 2345678", "+491512345678"),
            ("+49-(0)151-2345678", "+491512345678"),
            ("+49\u00a0(0)\u202f151\u20112345678", "+491512345678"),
            ("+49 151 2345678", "+491512345678"),
            ("+44 (0)20 7946 0000", "+442079460000"),
            ("+358 (0)40 123 4567", "+358401234567"),
            ("+1 (415) 222-0000", "+14152220000"),
            ("+1 (0415) 222-0000", "+104152220000"),
            ("+49 151 (0) 2345678", "+4915102345678"),
            ("+39 (0)6 1234 5678", "+390612345678"),
        ],
    )
    def test_the_zero_that_is_dialled_at_home(self, spelled: str, number: str) -> None:
        found = parse_address({"address": spelled})
        assert found is not None
        assert (found.kind, found.value) == ("phone_number", number)

    @pytest.mark.parametrize("spelled", ["0151 2345678", "+(0)49 151", "+0 151 2345678", "(0)151", "+49 (0)"])
    def test_what_is_no_number(self, spelled: str) -> None:
        assert parse_address({"address": spelled}) is None


class TestReading:
    @given(st.binary(max_size=300), st.sampled_from([FORM, JSON, "text/plain", "", f"{JSON}; charset=utf-8"]))
    def test_any_body(self, body: bytes, kind: str) -> None:
        try:
            found = body_fields(request_of("send_otp", body=body, headers={"content-type": kind}))
        except RequestRefused:
            return
        assert not any("\0" in value for value in found.values())

    @given(ANY_JSON)
    def test_any_json(self, value: Any) -> None:
        try:
            found = body_fields(
                request_of("send_otp", body=json.dumps(value).encode(), headers={"content-type": JSON})
            )
        except RequestRefused:
            return
        assert isinstance(value, dict)
        assert set(found) == set(value)

    @given(forms)
    def test_forms_and_json_and_queries_mean_the_same(self, fields: dict[str, str]) -> None:
        encoded = urlencode(fields)
        sent = request_of("send_otp", body=encoded.encode(), headers={"content-type": FORM})
        in_json = request_of("send_otp", body=json.dumps(fields).encode(), headers={"content-type": JSON})
        asked = request_of("sign_in", "GET", query=encoded)
        if any("\0" in value for value in fields.values()):
            for read, request in ((body_fields, sent), (body_fields, in_json), (query_fields, asked)):
                with pytest.raises(RequestRefused):
                    read(request)
            return
        assert body_fields(sent) == body_fields(in_json) == query_fields(asked) == fields

    @given(latin)
    def test_any_accept_header(self, accept: str) -> None:
        line = accept.replace("\r", "").replace("\n", "")
        assert wants_page(request_of("sign_in", headers={"accept": line}).headers) in (True, False)

    @pytest.mark.parametrize("value", ["on", "ON", "true", "1", "yes"])
    def test_a_ticked_box(self, value: str) -> None:
        assert is_checked(value)

    @given(st.text(max_size=10).filter(lambda text: text.lower() not in ("on", "true", "1", "yes")))
    def test_anything_else(self, value: str) -> None:
        assert not is_checked(value)
        assert not is_checked(None)


@pytest.mark.long
@example("hydrate", "POST", {}, None, "", "text/html", APIS[0])
@given(
    route=st.sampled_from([route.name for route in ROUTES]),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    fields=forms,
    raw=st.one_of(st.none(), st.binary(max_size=80)),
    cookie=st.one_of(latin, st.sampled_from(["otp", "oauth", "step_up"])),
    accept=st.sampled_from(["text/html", "application/json", ""]),
    api=st.sampled_from(APIS),
)
def test_whatever_is_sent(
    route: str, method: str, fields: dict[str, str], raw: bytes | None, cookie: str, accept: str, api: Api
) -> None:
    """No exception, nothing that would be ours to mend, no way to another site, a page that can be rendered."""
    line = cookie.replace("\r", "").replace("\n", "")
    if cookie in ("otp", "oauth", "step_up"):
        line = f"__Host-moonkey_{cookie}={line}"
    if cookie == "otp":
        asked = dict.fromkeys(("user_id", "next", "remember_me"), "")
        asked |= {"method_id": "em_1", "address": "me@example.com", "sending": repr(fields)}
        line = seal_cookie(START.settings, "otp", asked).split("; ")[0]
    if cookie == "oauth":
        start = oauth_state(START, next=fields.get("next"))
        fields, line = {**fields, "state": start.state}, start.set_cookie.split("; ")[0]
    request = request_of(
        route,
        method,
        query=urlencode(fields) if raw is None else raw.decode("latin-1"),
        body=urlencode(fields).encode() if raw is None else raw,
        headers={"accept": accept, "cookie": line, "content-type": FORM},
        session_id=fields.get("other"),
    )
    response = api.ask(request)
    not_able_to = (501,) if route == "hydrate" else ()  # this provider cannot
    assert response.status in (200, 303, 400, 401, 403, 404, 405, 429, *not_able_to)
    for name, value in response.headers:
        assert value.isprintable()
        assert value.isascii()
        if name == "location":
            assert re.match(r"/(?![/\\])", value)
    if response.page is not None:
        read_page(response.page)
