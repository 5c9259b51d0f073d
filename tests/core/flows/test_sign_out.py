"""Signing out: the page, the POST, whatever the cookies hold, and an API that does not answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    Auth,
    ConfigurationError,
    CookieSettings,
    MoonKey,
    RevokedCredentials,
    Settings,
    SignInSettings,
    _clock,
)
from moonkey_core._plan import Fetch, step
from moonkey_core._transport.retries import CallMonitor, SendRequest, Sleep, call_steps
from moonkey_core._verify.cache import VerificationCache
from moonkey_core.auth import fresh_jwt, new_auth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Event, Revoked, SignedOut
from moonkey_core.flows import FlowRequest
from moonkey_core.web.request import RequestInfo, asgi_headers
from support.bindings import BINDING, bound_line
from support.clients import Both
from support.flow_visits import Visitor, cookies_of, flow_client, json_of, path_of, shown
from support.patience import PATIENCE, PATIENT
from support.scripted import wait_until
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries", "soon_again")

SESSION, JWT = CookieSettings().names
DELETE = "DELETE /v1/auth/sessions/delete"
VERIFY = "POST /v1/auth/sessions/verify"


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try comes at once."""
    monkeypatch.setattr("moonkey_core._operations.ending_retries._FIRST_PAUSE", 0.001)


def visitor(call: Both, person: SignedIn | None, *, html: bool = True, **cookies: str) -> Visitor:
    found = Visitor(call, html=html)
    if person is not None:
        found.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    names = {"session": SESSION, "jwt": JWT, "binding": BINDING}
    found.cookies |= {names[name]: value for name, value in cookies.items()}
    return found


def old(emulator: Emulator) -> SignedIn:
    """Somebody whose JWT is past its time."""
    emulator.set_clock(-400)
    person = emulator.sign_in()
    emulator.set_clock(0)
    return person


def events_of(call: Both) -> list[Event]:
    found: list[Event] = []
    call.client.hooks.add(lambda event: found.append(event) if isinstance(event, Revoked | SignedOut) else None)
    return found


def comes_true(call: Both, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true in time, while the client's own loop runs."""
    if call._runner is None:
        return wait_until(condition)

    async def wait() -> bool:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.005)
        return True

    return call._runner.run(wait())


def caplog_reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records]


def is_alive(emulator: Emulator, person: SignedIn) -> bool:
    """Whether the API itself still knows a session."""
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        return person.session_id in {session.id for session in client.sessions.list(person.user_id)}


class TestThePage:
    @pytest.mark.rule("S49")
    def test_asking_signs_nobody_out(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = visitor(call, person)
        page = shown(browser.get("sign_out", {"next": "/bye"}))
        assert page.one("form").attributes["action"] == "/auth/sign-out"
        assert page.fields() == {"next": "/bye"}
        assert browser.send("HEAD", "sign_out").status == 200
        assert json_of(visitor(call, person, html=False).get("sign_out")) == {"authenticated": True}
        assert browser.cookies
        assert is_alive(emulator, person)

    @pytest.mark.rule("S47")
    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"]
    )
    def test_it_leads_nowhere_else(self, call: Both, emulator: Emulator, target: str) -> None:
        browser = visitor(call, emulator.sign_in())
        assert shown(browser.get("sign_out", {"next": target})).fields() == {"next": ""}
        assert path_of(browser.post("sign_out", {"next": target})) == "/"

    def test_for_nobody(self, call: Both) -> None:
        assert shown(Visitor(call).get("sign_out")).one("button").text == "Sign out"


class TestSigningOut:
    def test_a_browser(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        seen = events_of(call)
        browser = visitor(call, person)
        response = browser.post("sign_out", {"next": "/bye?x=1"})
        assert path_of(response) == "/bye?x=1"
        for name in (SESSION, JWT, BINDING):
            assert cookies_of(response)[name] == f"{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        assert browser.cookies == {}
        assert not is_alive(emulator, person)
        assert emulator.requests()[DELETE] == 1
        ids = (person.user_id, person.session_id)
        assert seen == [Revoked(*ids), SignedOut(*ids, True)]
        assert json_of(visitor(call, person).get("session")) == {"authenticated": False}

    @pytest.mark.parametrize("html", [True, False])
    @pytest.mark.parametrize("complete", [True, False])
    def test_what_the_browser_stores(self, kind: str, emulator: Emulator, html: bool, complete: bool) -> None:
        for clear_storage in (True, False):
            with flow_client(kind, emulator, sign_in=SignInSettings(clear_storage=clear_storage)) as call:
                browser = visitor(call, emulator.sign_in(), html=html)
                assert "clear-site-data" not in dict(browser.get("sign_out").headers)
                if not complete:
                    emulator.fault("/v1/auth/sessions/delete", status=500)
                found = dict(browser.post("sign_out").headers)
                assert found.get("clear-site-data") == ('"storage"' if clear_storage else None)
            emulator.clear_faults()
        with pytest.raises(ConfigurationError, match="clear_storage"):
            SignInSettings(clear_storage="storage")  # type: ignore[arg-type]

    def test_where_to_afterwards(self, kind: str, emulator: Emulator) -> None:
        with flow_client(kind, emulator, sign_in=SignInSettings(after_sign_out="/welcome")) as call:
            assert path_of(visitor(call, emulator.sign_in()).post("sign_out")) == "/welcome"

    def test_as_json(self, call: Both, emulator: Emulator) -> None:
        browser = visitor(call, emulator.sign_in(), html=False)
        response = browser.post_json("sign_out", {})
        assert (response.status, json_of(response)) == (
            200,
            {"signed_out": True, "complete": True, "revocation": "local"},
        )
        assert browser.cookies == {}

    @pytest.mark.parametrize("which", ["session_token", "session_jwt"])
    @pytest.mark.parametrize("is_old", [True, False])
    def test_by_a_header(self, call: Both, emulator: Emulator, which: str, is_old: bool) -> None:
        person = old(emulator) if is_old else emulator.sign_in()
        program = Visitor(call, html=False)
        program.usual |= {"authorization": f"Bearer {getattr(person, which)}", "sec-fetch-site": None}
        assert json_of(program.post("sign_out")) == {"signed_out": True, "complete": True, "revocation": "local"}
        assert not is_alive(emulator, person)

    @pytest.mark.rule("S43")
    def test_a_page_of_another_site_signs_nobody_out(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = visitor(call, person)
        for headers in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": None}, {"origin": "null"}):
            site: dict[str, Any] = {"sec_fetch_site": "same-site", **headers}
            assert browser.post("sign_out", **site).status == 403
        assert browser.cookies
        assert is_alive(emulator, person)

    def test_a_body_that_cannot_be_read_keeps_nobody_signed_in(self, call: Both, emulator: Emulator) -> None:
        for kind, body in (("text/plain", b"x"), ("application/json", b"{"), ("", b"next=/%FF&next=/")):
            person = emulator.sign_in()
            browser = visitor(call, person)
            assert path_of(browser.send("POST", "sign_out", body=body, content_type=kind)) == "/"
            assert not is_alive(emulator, person)

    def test_the_session_ends_although_its_token_was_changed_meanwhile(
        self, call: Both, emulator: Emulator
    ) -> None:
        person = emulator.sign_in()
        call("otps.login_or_create", email="demo@example.com")
        code = emulator.outbox()[0].code
        changed = call("otps.verify", code, email="demo@example.com", session_token=person.session_token)
        assert changed.session_token != person.session_token
        visitor(call, person).post("sign_out")
        assert not is_alive(emulator, person)


HELD = {
    "nothing": {},
    "junk": {"session": "x" * 40},
    "no token": {"session": "no token!"},
    "a JWT for a token": {"session": "eyJhbGciOiJSUzI1NiJ9.e30.x"},
    "a junk JWT": {"session": "x" * 40, "jwt": "e30.e30.e30"},
    "too long": {"session": "x" * 9000},
    "only a JWT": {"jwt": "e30.e30.e30"},
}


class TestWhateverTheCookiesHold:
    @pytest.mark.parametrize("held", HELD.values(), ids=list(HELD))
    @pytest.mark.parametrize("html", [True, False])
    def test_it_goes(self, call: Both, emulator: Emulator, held: dict[str, str], html: bool) -> None:
        browser = visitor(call, None, html=html, **held)
        response = browser.post("sign_out")
        assert response.status == (303 if html else 200)
        assert set(cookies_of(response)) == {SESSION, JWT, BINDING}
        assert browser.cookies == {}

    def test_dead_already(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.revoke(person.session_id)
        browser = visitor(call, person, jwt="")
        assert path_of(browser.post("sign_out")) == "/"
        assert browser.cookies == {}

    def test_twice_the_same_name(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = Visitor(call)
        planted = f"{SESSION}={person.session_token}; {SESSION}={'x' * 40}"
        response = browser.post("sign_out", cookie=planted)
        assert path_of(response) == "/"
        assert set(cookies_of(response)) == {SESSION, JWT, BINDING}
        assert emulator.requests()[DELETE] == 0

    def test_a_bad_header_does_not_keep_them(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = visitor(call, person, html=False)
        response = browser.post("sign_out", authorization="Bearer not a credential")
        assert json_of(response) == {"signed_out": True, "complete": True, "revocation": "local"}
        assert browser.cookies == {}
        assert not is_alive(emulator, person)

    @pytest.mark.long
    @given(st.text(st.characters(codec="ascii", exclude_characters="\r\n\0"), max_size=60))
    def test_any_cookie_line(self, line: str) -> None:
        with MoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:9", cookies=CookieSettings()) as client:
            view = asgi_headers([(b"cookie", f"{SESSION}={line}".encode()), (b"sec-fetch-site", b"same-origin")])
            request = FlowRequest(
                route="sign_out", routes="/a", info=RequestInfo("POST", "https"), headers=view, auth=new_auth()
            )
            found = client.flows.answer(request)
            assert found.status == 200
            assert set(cookies_of(found)) == {SESSION, JWT, BINDING}


class TestWithoutTheApi:
    @pytest.mark.parametrize("trouble", [{"status": 500}, {"reset": True}, {"body": "<html>", "status": 404}])
    def test_a_browser_is_told(self, call: Both, emulator: Emulator, trouble: dict[str, Any]) -> None:
        person = emulator.sign_in()
        seen = events_of(call)
        browser = visitor(call, person)
        browser.get("session")
        emulator.fault("/v1/auth", **trouble)
        response = browser.post("sign_out", {"next": "/bye"})
        assert response.status == 200
        page = shown(response)
        assert "may still be active elsewhere" in page.html
        assert "/bye" in [one.attributes["href"] for one in page.all("a")]
        assert browser.cookies == {}
        assert seen == [SignedOut(person.user_id, person.session_id, False)]
        emulator.clear_faults()
        assert json_of(visitor(call, person).get("session")) == {"authenticated": False}

    def test_a_program_is_told(self, call: Both, emulator: Emulator) -> None:
        browser = visitor(call, emulator.sign_in(), html=False)
        emulator.fault("/v1/auth/sessions/delete", status=500)
        response = browser.post("sign_out")
        assert (response.status, json_of(response)) == (
            200,
            {"signed_out": True, "complete": False, "revocation": "local"},
        )
        assert browser.cookies == {}

    @pytest.mark.rule("S35")
    def test_all_credentials_of_the_session_are_refused_here_and_in_the_fleet(
        self, call: Both, emulator: Emulator
    ) -> None:
        person = emulator.sign_in()
        told: list[Any] = []
        call.client.revocations.listeners += (told.append,)
        emulator.fault("/v1/auth/sessions/delete", status=500)
        visitor(call, person).post("sign_out")
        assert {entry.session_id for entry in told} == {person.session_id}
        for value in (person.session_token, person.session_jwt):
            found = call("authenticate", {"authorization": f"Bearer {value}"})
            assert isinstance(found.error, RevokedCredentials)

    def test_it_is_tried_until_the_api_has_it(
        self, call: Both, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        person = emulator.sign_in()
        seen = events_of(call)
        browser = visitor(call, person)
        emulator.fault("/v1/auth/sessions/delete", status=500, times=6)  # each call is made of two tries
        browser.post("sign_out")
        ended = Revoked(person.user_id, person.session_id)
        assert is_alive(emulator, person) or comes_true(call, lambda: ended in seen)
        assert comes_true(call, lambda: not is_alive(emulator, person))
        assert comes_true(call, lambda: ended in seen)
        assert caplog_reasons(caplog) == ["sign_out_incomplete"]

    def test_and_then_no_more(
        self,
        call: Both,
        emulator: Emulator,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("moonkey_core._operations.ending_queue._LONGEST", 0.0)
        person = emulator.sign_in()
        emulator.fault("/v1/auth/sessions/delete", status=500)
        visitor(call, person).post("sign_out")
        reasons = ["sign_out_incomplete", "session_end_given_up"]
        assert comes_true(call, lambda: caplog_reasons(caplog) == reasons)
        assert [one.levelname for one in caplog.records] == ["WARNING", "ERROR"]
        assert emulator.requests()[DELETE] == 4
        assert_no_secret(caplog.records, [person.session_token, person.session_jwt])

    @pytest.mark.parametrize("source", ["cookies", "header"])
    def test_a_token_whose_session_nobody_knows(
        self,
        kind: str,
        emulator: Emulator,
        source: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("moonkey_core._operations.ending_queue._LONGEST", 0.0)
        person = emulator.sign_in()
        with flow_client(kind, emulator, session_cache_ttl=60, grace_seconds=300) as call:
            browser = visitor(call, None, html=False, session=person.session_token)
            if source == "header":
                browser.cookies = {}
                browser.usual["session-token"] = person.session_token
            emulator.fault("/v1/auth", status=500)
            assert json_of(browser.post("sign_out")) == {
                "signed_out": True,
                "complete": False,
                "revocation": "local",
            }
            assert comes_true(call, lambda: "session_end_given_up" in caplog_reasons(caplog))
            emulator.clear_faults()
            for headers in (
                {"session-token": person.session_token},
                {"cookie": f"{SESSION}={person.session_token}"},
                {"cookie": f"{SESSION}={person.session_token}; {JWT}=x.y.z"},
            ):
                assert call("authenticate", headers, None, RequestInfo("GET", "https")).is_rejected
            assert is_alive(emulator, person)  # which is why the page says so

    def test_an_old_jwt_beside_it_names_the_session(self, call: Both, emulator: Emulator) -> None:
        person, neighbour = old(emulator), emulator.sign_in(email="other@example.com")
        assert json_of(visitor(call, neighbour).get("session"))["authenticated"]  # the keys are here now
        fresh = call("sessions.verify", session_token=person.session_token)
        emulator.fault("/v1/auth/sessions", status=500)
        visitor(call, person).post("sign_out")
        found = call("authenticate", {"authorization": f"Bearer {fresh.session_jwt}"})
        assert isinstance(found.error, RevokedCredentials)
        assert json_of(visitor(call, neighbour).get("session"))["authenticated"]

    def test_one_that_is_not_bound_to_it_names_nothing(self, call: Both, emulator: Emulator) -> None:
        person, neighbour = emulator.sign_in(), old(emulator)
        assert json_of(visitor(call, emulator.sign_in()).get("session"))["authenticated"]  # the keys are here now
        emulator.fault("/v1/auth/sessions", status=500)
        browser = visitor(call, person, jwt=neighbour.session_jwt, binding="0" * 64)
        browser.post("sign_out")
        emulator.clear_faults()
        assert json_of(visitor(call, neighbour).get("session"))["authenticated"]

    def test_an_old_jwt_alone_ends_nothing(self, call: Both, emulator: Emulator) -> None:
        """With a token that the API calls dead, an old JWT, from a log perhaps, must not end anybody's session."""
        person = old(emulator)
        visitor(call, person, session="x" * 40).post("sign_out")
        assert is_alive(emulator, person)
        assert json_of(visitor(call, person).get("session"))["authenticated"]


@pytest.mark.long
@pytest.mark.rule("S46")
def test_an_answer_on_its_way_brings_nothing_back(emulator: Emulator) -> None:
    """A refresh began before the sign-out and ends after it: its response may not set the JWT."""
    person = old(emulator)
    options: dict[str, Any] = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        **PATIENT,
        "jwt_issuer": emulator.issuer,
        "cookies": CookieSettings(),
    }
    cookie = bound_line(f"{SESSION}={person.session_token}; {JWT}={person.session_jwt}")
    get = RequestInfo("GET", "https")
    found: list[Auth] = []
    with MoonKey(**options) as early, MoonKey(**options) as late:
        emulator.fault("/v1/auth/sessions/verify", drip=0.001, times=1)  # the right answer, slow on its way back
        slow = threading.Thread(target=lambda: found.append(early.authenticate({"cookie": cookie}, None, get)))
        slow.start()
        assert wait_until(lambda: emulator.requests()[VERIFY] == 1)
        refreshed = late.authenticate({"cookie": cookie}, None, get)
        assert fresh_jwt(refreshed)  # worked out, and not yet written
        view = asgi_headers([(b"cookie", cookie.encode()), (b"sec-fetch-site", b"same-origin")])
        post = RequestInfo("POST", "https")
        late.flows.answer(FlowRequest(route="sign_out", routes="/auth", info=post, headers=view, auth=refreshed))
        slow.join(PATIENCE)
        (auth,) = found
        for client, one in ((early, auth), (late, refreshed)):
            assert all("Max-Age=0" in value for value in client.cookies_after(one))


def test_the_second_try_waits() -> None:
    """What comes at once would meet the same trouble."""
    end = _clock.elapsed() + PATIENCE
    call = call_steps(Fetch("DELETE", "https://api.example", pause=2.0), end, False, CallMonitor(None, None))
    first = step(call, None)
    assert isinstance(first, Sleep)
    assert first.seconds == 2.0
    assert isinstance(step(call, None), SendRequest)


class TestWhatIsGivenBack:
    def test_it_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moonkey_core._verify.cache._MAX_DENIED", 3)
        known = VerificationCache(Settings.load({"secret_key": "sk_test_x"}, {}))
        digests = [known.digest(f"token{number}") for number in range(10)]
        for digest in digests:
            known.deny(digest)
        assert sum(isinstance(known.denial(digest), RevokedCredentials) for digest in digests) == 3
        assert known.denial(digests[-1]) is not None

    def test_nothing_good_can_be_remembered_of_it(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        known = call.client._core.cache
        digest = known.digest(person.session_jwt)
        assert call("authenticate", {"authorization": f"Bearer {person.session_jwt}"}).is_authenticated
        good = known.get(digest)
        known.deny(digest)
        known.put(digest, good)
        assert known.get(digest) is None
