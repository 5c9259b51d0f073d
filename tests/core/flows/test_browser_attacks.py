"""Attacks on browser sessions, each as it was tried: by other sites, by thieves, by unlucky timing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moonkey_core import SignInSettings
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.errors import MissingCredentials, StepUpRequired
from moonkey_core.settings import Settings
from moonkey_core.web.origin import client_address
from moonkey_core.web.pages import Visit, refuse_visit
from moonkey_core.web.request import RequestInfo, asgi_headers, mapped_headers
from support.bindings import bound
from support.clients import Both
from support.flow_visits import JWT, OTP, SESSION, Visitor, code_of, flow_client, path_of, who, wrong

GET = RequestInfo("GET", "https")
HTML = {"accept": "text/html"}
TRIES = 5


@pytest.fixture
def call(emulator: Emulator) -> Iterator[Both]:
    with flow_client("sync", emulator) as both:
        yield both


def browser_of(call: Both, person: SignedIn, **options: Any) -> Visitor:
    visitor = Visitor(call, **options)
    visitor.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    return visitor


def identity(call: Both, cookies: dict[str, str]) -> Any:
    line = "; ".join(f"{name}={value}" for name, value in bound(cookies).items())
    return call("authenticate", mapped_headers({"cookie": line}), None, GET)


def old(emulator: Emulator, email: str = "ada@example.com") -> SignedIn:
    """Somebody whose JWT is too old."""
    emulator.set_clock(-400)
    person = emulator.sign_in(email=email)
    emulator.set_clock(0)
    return person


def sign_in(browser: Visitor, emulator: Emulator, address: str) -> None:
    browser.post("send_otp", {"address": address})
    assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/"


class TestAnAnswerThatComesLate:
    """A tab that polls must not undo what another tab of the same browser has just done."""

    @pytest.mark.rule("S45", "S46")
    def test_a_refusal_of_the_former_session_leaves_the_new_cookies(self, call: Both, emulator: Emulator) -> None:
        browser = browser_of(call, emulator.sign_in(email="ada@example.com"))
        former = dict(browser.cookies)
        sign_in(browser, emulator, "ben@example.com")
        late = identity(call, former)
        assert late.is_rejected
        browser.keep(list(call.client.cookies_after(late)))
        assert who(browser) == "ben@example.com"

    @pytest.mark.rule("S46")
    def test_nor_does_a_refresh_of_the_former_session_touch_them(self, call: Both, emulator: Emulator) -> None:
        browser = browser_of(call, old(emulator))
        late = identity(call, browser.cookies)
        assert fresh_jwt(late)
        sign_in(browser, emulator, "ben@example.com")
        browser.keep(list(call.client.cookies_after(late)))
        assert who(browser) == "ben@example.com"
        assert identity(call, browser.cookies).user.id == call("sessions.verify", **held(browser)).user.id

    def test_a_refresh_during_a_step_up_brings_no_jwt_without_the_factor(
        self, call: Both, emulator: Emulator
    ) -> None:
        browser = Visitor(call)
        emulator.set_clock(-400)
        sign_in(browser, emulator, "ada@example.com")
        emulator.set_clock(0)
        former = dict(browser.cookies)
        browser.post("step_up_send_otp", {"which": "email"})
        assert fresh_jwt(identity(call, former))  # the answer is shared for a moment, with the old factors in it
        browser.post("step_up_verify_otp", {"code": code_of(emulator)})
        assert browser.cookies[SESSION] != former[SESSION]
        assert len(identity(call, browser.cookies).session.factors) == 2
        assert call.client.cookies_after(identity(call, former)) == ()


def held(browser: Visitor) -> dict[str, str]:
    return {"session_token": browser.cookies[SESSION]}


class TestTakenForAnother:
    def test_what_is_remembered_of_a_pair_is_no_header(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = browser_of(call, person)
        assert identity(call, browser.cookies).is_authenticated
        both = f"{person.session_token};{person.session_jwt}"
        for headers in ({"session-token": both}, {"authorization": f"Bearer {both}"}):
            assert call("authenticate", headers, None, GET).error.reason == "malformed_credentials"

    @pytest.mark.rule("S4", "pair")
    @pytest.mark.rule("S40")
    def test_a_jwt_that_is_remembered_from_a_header_is_no_token(self, call: Both, emulator: Emulator) -> None:
        jwt = emulator.sign_in().session_jwt
        for _ in range(2):
            assert identity(call, {SESSION: jwt}).error.reason == "malformed_cookie"
            assert call("authenticate", {"session-token": jwt}, None, GET).is_authenticated


class TestWhatAnAnswerGivesAway:
    @pytest.mark.parametrize("status", [400, 404])
    def test_the_length_of_the_sealed_cookie_does_not_tell_who_gets_no_code(
        self, call: Both, emulator: Emulator, status: int
    ) -> None:
        browser = Visitor(call)
        lengths = []
        for address in ("somebody@example.com", "a-nobody@example.com", "somebody@example.com"):
            if address.startswith("a-"):
                emulator.fault("/v1/auth/otps/email/login_or_create", status=status, times=1)
            assert browser.post("send_otp", {"address": address}).status == 303
            lengths.append(len(browser.cookies[OTP]))
        assert len(set(lengths)) == 1

    def test_a_stored_identity_holds_no_new_jwt(self, call: Both, emulator: Emulator) -> None:
        auth = identity(call, browser_of(call, old(emulator)).cookies)
        stored = pickle.dumps(auth)
        fresh = fresh_jwt(auth)
        assert fresh is not None
        assert fresh.encode() not in stored
        again = pickle.loads(stored)
        assert (again.user, again.session, fresh_jwt(again)) == (auth.user, auth.session, None)


@pytest.mark.rule("S48")
class TestCodes:
    def test_many_tries_at_once_are_no_more_tries(self, call: Both, emulator: Emulator) -> None:
        browser = Visitor(call, html=False)
        browser.post("send_otp", {"address": "ada@example.com"})
        code, sealed = code_of(emulator), browser.cookies[OTP]
        emulator.clear_requests()

        def guess(_: int) -> int:
            thief = Visitor(call, html=False)
            thief.cookies = {OTP: sealed}
            return thief.post("verify_otp", {"code": wrong(code)}).status

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(guess, range(16)))
        assert sorted(statuses) == [401] * TRIES + [429] * 11
        assert emulator.requests()["POST /v1/auth/otps/verify"] == TRIES
        assert browser.post("verify_otp", {"code": code}).status == 429


@pytest.mark.rule("S47")
class TestRedirects:
    """A sign-in page that is itself behind a gate must not be sent to itself for ever."""

    @pytest.mark.parametrize("page", ["/login", "/login?from=gate"])
    @pytest.mark.parametrize("target", ["/login", "/login?next=%2Faccount", "/login?from=gate&next=%2F"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_gated_sign_in_page(self, emulator: Emulator, page: str, target: str, method: str) -> None:
        settings = of(emulator, sign_in=SignInSettings(page=page))
        view = mapped_headers(HTML)
        refusal = refuse_visit(MissingCredentials(), settings, view, Visit(method, target, "/auth"))
        assert refusal.status == 401
        assert refusal.page is not None
        assert "location" not in dict(refusal.headers)
        other = refuse_visit(MissingCredentials(), settings, view, Visit(method, "/account", "/auth"))
        assert other.status == 303

    def test_a_gated_step_up_page(self, emulator: Emulator) -> None:
        settings = of(emulator, sign_in=SignInSettings(step_up_page="/prove"))
        error = StepUpRequired(acr_values=("totp",))
        refusal = refuse_visit(error, settings, mapped_headers(HTML), Visit("GET", "/prove?next=%2F", "/auth"))
        assert refusal.status == 401

    def test_the_mounted_page(self, emulator: Emulator) -> None:
        """Behind a gate for the whole app."""
        visit = Visit("GET", "/auth/sign-in?next=%2F", "/auth")
        assert refuse_visit(MissingCredentials(), of(emulator), mapped_headers(HTML), visit).status == 401

    @pytest.mark.parametrize(
        "target", ["/.//evil.example", "/..//evil.example", "/a/../..//evil.example", "/a//b"]
    )
    def test_two_slashes_after_dots(self, call: Both, emulator: Emulator, target: str) -> None:
        """A browser stays here, and asks for ``//evil.example``, which others than browsers take for a host."""
        browser = Visitor(call)
        browser.post("send_otp", {"address": "ada@example.com", "next": target})
        assert path_of(browser.post("verify_otp", {"code": code_of(emulator)})) == "/"


@pytest.mark.rule("S44")
class TestAddresses:
    @pytest.mark.parametrize("zone", ["eth0", "<script>", "1%2", " x"])
    def test_a_zone_is_not_told_to_anybody(self, emulator: Emulator, zone: str) -> None:
        """It may be any text, a new one for each request that a limiter counts by address."""
        settings, info = of(emulator, trusted_proxies="10.0.0.1"), RequestInfo("GET", "https", "10.0.0.1")
        view = mapped_headers({"x-forwarded-for": f"fe80::1%{zone}"})
        assert client_address(info, view, settings) is None
        assert client_address(info, mapped_headers({"x-forwarded-for": "fe80::1"}), settings) == "fe80::1"


@pytest.mark.parametrize(
    "line",
    [
        "; ".join(f"a{number}=b" for number in range(10_000)),
        f"{SESSION}=" * 5_000,
        ", " * 60_000 + f"{SESSION}=x",
        "; ".join([f"{SESSION}=a", f"{SESSION}=b"] * 3_000),
        ";" * 200_000 + SESSION,
        f'{SESSION}="' + "\\" * 100_000,
        f"x={SESSION};" * 4_000,
    ],
    ids=["many", "one name", "commas", "twice", "empty", "backslashes", "as a value"],
)
def test_huge_cookies_are_read_once(call: Both, emulator: Emulator, line: str) -> None:
    """What takes time that grows with the square of the length would take minutes; and nobody is asked."""
    auth = call("authenticate", asgi_headers([(b"cookie", line.encode())]), None, GET)
    assert not auth.is_authenticated
    assert emulator.requests() == {}


def of(emulator: Emulator, **options: Any) -> Settings:
    return Settings.load(
        {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "cookies": True, **options}, {}
    )
