"""The session check, the page of devices and the ends of sessions, with both clients and the emulator."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Device, Session
from moonkey_core._values import utc_text
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Event, Revoked, SignedOut
from moonkey_core.flows.views import describe_device, session_list_views, time_in_words
from support.clients import Both
from support.decisions import verified_body
from support.documents import block
from support.flow_visits import Visitor, cookies_of, header, json_of, path_of, shown
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries")

SESSION, JWT = "__Host-moonkey_session", "__Host-moonkey_jwt"
DELETE = "DELETE /v1/auth/sessions/delete"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
)


def visitor(call: Both, person: SignedIn, *, html: bool = True) -> Visitor:
    """Somebody whose browser has the cookies of a session."""
    found = Visitor(call, html=html)
    found.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    return found


def with_header(call: Both, person: SignedIn) -> Visitor:
    """A program that presents its session in a header."""
    found = Visitor(call, html=False)
    found.usual |= {"authorization": f"Bearer {person.session_jwt}", "sec-fetch-site": None}
    return found


def events_of(call: Both, *kinds: type[Event]) -> list[Event]:
    found: list[Event] = []
    call.client.hooks.add(lambda event: found.append(event) if isinstance(event, kinds) else None)
    return found


def shape(value: object) -> object:
    """The names in a JSON object, at any depth."""
    return {name: shape(one) for name, one in value.items()} if isinstance(value, dict) else None


class TestTheSessionCheck:
    def test_somebody(self, call: Both, emulator: Emulator) -> None:
        call("otps.login_or_create", email="me@example.com")
        call("otps.verify", emulator.outbox()[0].code, email="me@example.com")  # the address is a verified one now
        person = emulator.sign_in(email="me@example.com", minutes=60)
        found = json_of(visitor(call, person).get("session"))
        assert found["authenticated"] is True
        assert (found["user"]["id"], found["user"]["email"]) == (person.user_id, "me@example.com")
        assert found["user"]["complete"] is True
        session = found["session"]
        assert session["id"] == person.session_id
        assert 3500 < session["expires_in"] <= 3600
        (factor,) = session["factors"]
        assert (factor["type"], factor["delivery_channel"]) == ("otp", "email")
        assert found["user"] == call("users.get", person.user_id).to_dict()
        (listed,) = call("sessions.list", person.user_id)
        for name, value in listed.to_dict().items():
            assert name in ("last_active_at", "device") or session[name] == value
        assert session["device"]["name"] == "Unknown device"

    def test_it_is_as_documented(self, call: Both, emulator: Emulator) -> None:
        example = json.loads(block("docs/browser-sessions.md", "session").code)
        found = json_of(visitor(call, emulator.sign_in()).get("session"))
        for one in (example, found):
            one["session"]["factors"] = one["session"]["factors"][0]
        assert shape(found) == shape(example)

    def test_a_browser_gets_json_as_well(self, call: Both, emulator: Emulator) -> None:
        response = visitor(call, emulator.sign_in()).get("session")
        assert header(response, "content-type") == "application/json"
        assert header(response, "cache-control") == "no-store"

    def test_nobody(self, call: Both, emulator: Emulator) -> None:
        response = Visitor(call).get("session")
        assert (response.status, json_of(response)) == (200, {"authenticated": False})
        assert cookies_of(response) == {}

    @pytest.mark.rule("S45")
    def test_a_dead_session_loses_its_cookies(self, call: Both, emulator: Emulator) -> None:
        emulator.set_clock(-400)  # its JWT is too old to count
        person = emulator.sign_in()
        emulator.set_clock(0)
        emulator.revoke(person.session_id)
        browser = visitor(call, person)
        response = browser.get("session")
        assert (response.status, json_of(response)) == (200, {"authenticated": False})
        assert browser.cookies == {}

    def test_whoever_cannot_be_known(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.fault("/v1/auth", status=500)
        browser = visitor(call, person)
        browser.cookies.pop(JWT)
        response = browser.get("session", accept="application/json")
        assert response.status == 503
        assert browser.cookies == {SESSION: person.session_token}
        assert shown(browser.get("session")).one("h1").text

    def test_known_without_the_api_but_not_completely(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = visitor(call, person)
        browser.get("session")  # the keys are here now
        other = visitor(call, emulator.sign_in(email="other@example.com"))
        emulator.fault("/v1/auth/users", status=500)
        found = json_of(other.get("session"))
        assert found["authenticated"] is True
        assert found["user"]["complete"] is False
        assert found["user"]["email"] is None

    def test_a_user_who_is_no_more(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        browser = visitor(call, person)
        emulator.fault("/v1/auth/users", status=404, body='{"error_type": "user_not_found", "status_code": 404}')
        response = browser.get("session")
        assert (response.status, json_of(response)) == (200, {"authenticated": False})
        assert browser.cookies == {}

    @pytest.mark.rule("S30")
    def test_no_credential_is_in_it(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        responses = [visitor(call, person, html=False).get(route) for route in ("session", "sessions")]
        assert_no_secret(responses, [person.session_token, person.session_jwt])
        assert_no_secret([one.body for one in responses], [person.session_token, person.session_jwt])


class TestTheDevices:
    @pytest.mark.rule("S51")
    def test_all_of_them(self, call: Both, emulator: Emulator) -> None:
        first, mine, last = (emulator.sign_in() for _ in range(3))
        somebody = emulator.sign_in(email="other@example.com")
        found = json_of(visitor(call, mine, html=False).get("sessions"))["sessions"]
        assert {one["id"] for one in found} == {first.session_id, mine.session_id, last.session_id}
        assert somebody.session_id not in str(found)
        assert found[0]["id"] == mine.session_id
        assert [one["current"] for one in found] == [True, False, False]
        assert set(found[0]) == {"id", "device", "started_at", "last_active_at", "expires_at", "current"}

    def test_the_page(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        response = visitor(call, mine).get("sessions")
        page = shown(response)
        assert page.one("h1").text == "Your devices"
        assert [one.text.count("This device") for one in page.all("h2")] == [1, 0]
        actions = [one.attributes["action"] for one in page.all("form")]
        assert actions == [
            f"/auth/sessions/{mine.session_id}/revoke",
            f"/auth/sessions/{other.session_id}/revoke",
            "/auth/sessions/revoke-others",
        ]
        for secret in (mine.session_token, mine.session_jwt, other.session_token):
            assert secret not in page.html

    def test_what_a_sign_in_says_of_its_device(self, call: Both, emulator: Emulator) -> None:
        sent = call("otps.login_or_create", email="me@example.com")
        login = call(
            "otps.verify",
            emulator.outbox()[0].code,
            method_id=sent.method_id,
            session_expires_in=60,
            device=Device(CHROME, "192.0.2.7"),
        )
        browser = Visitor(call)
        browser.cookies = {SESSION: login.session_token, JWT: login.session_jwt}
        (device,) = [one.text for one in shown(browser.get("sessions")).all("li")]
        assert "Chrome on Windows" in device
        assert "192.0.2.7" in device

    def test_only_one(self, call: Both, emulator: Emulator) -> None:
        page = shown(visitor(call, emulator.sign_in()).get("sessions"))
        assert len(page.all("form")) == 1
        assert "nowhere else" in page.html

    def test_nobody(self, call: Both) -> None:
        assert path_of(Visitor(call).get("sessions")) == "/auth/sign-in?next=%2Fauth%2Fsessions"
        assert Visitor(call, html=False).get("sessions").status == 401

    def test_a_list_that_cannot_be_had(self, call: Both, emulator: Emulator) -> None:
        browser = visitor(call, emulator.sign_in())
        emulator.fault("/v1/auth/sessions/list", status=500)
        response = browser.get("sessions")
        assert response.status == 503
        assert shown(response).one("h1").text
        assert browser.cookies

    @pytest.mark.rule("S23", "S51")
    @pytest.mark.parametrize(
        "item", [{"user_id": "user_9"}, {"expires_at": "soon"}, {"id": ""}, {"id": None}, {"started_at": "x"}]
    )
    def test_a_list_that_is_none_of_ours(self, call: Both, emulator: Emulator, item: dict[str, Any]) -> None:
        browser = visitor(call, emulator.sign_in(), html=False)
        browser.get("session")
        emulator.fault(
            "/v1/auth/sessions/list", body=json.dumps({"sessions": [verified_body(session=item)["session"]]})
        )
        assert browser.get("sessions").status == 503


class TestEndingOne:
    @pytest.mark.rule("S51")
    def test_another_of_mine(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        seen = events_of(call, Revoked, SignedOut)
        browser, elsewhere = visitor(call, mine), visitor(call, other)
        assert json_of(elsewhere.get("session"))["authenticated"]
        response = browser.send("POST", "revoke", session_id=other.session_id)
        assert path_of(response) == "/auth/sessions"
        assert seen == [Revoked(mine.user_id, other.session_id)]
        assert json_of(elsewhere.get("session")) == {"authenticated": False}
        assert elsewhere.cookies == {}
        assert json_of(browser.get("session"))["authenticated"]

    def test_as_json(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        response = with_header(call, mine).send("POST", "revoke", session_id=other.session_id)
        assert json_of(response) == {"revoked": [other.session_id], "revocation": "local"}

    def test_a_page_says_what_was_done_while_the_api_fails(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        browser, elsewhere = visitor(call, mine), visitor(call, other)
        emulator.fault("/v1/auth/sessions/delete", status=500)
        response = browser.send("POST", "revoke", session_id=other.session_id)
        page = shown(response)
        assert response.status == 503
        assert "Perhaps still signed in: 1" in page.html
        assert page.all("form") == []  # it is tried again by itself; "Try again" would end all others
        assert [one.attributes["href"] for one in page.all("a")] == ["/auth/sessions", "/"]
        assert json_of(elsewhere.get("session")) == {"authenticated": False}

    @pytest.mark.rule("S51")
    @pytest.mark.parametrize("whose", ["foreign", "unknown", "odd", "empty"])
    def test_not_mine(self, call: Both, emulator: Emulator, whose: str) -> None:
        mine, foreign = emulator.sign_in(), emulator.sign_in(email="other@example.com")
        ids = {"foreign": foreign.session_id, "unknown": "sess_0", "odd": "x" * 5000, "empty": ""}
        answers = []
        for html in (True, False):
            browser = visitor(call, mine, html=html)
            response = browser.send("POST", "revoke", session_id=ids[whose], x_request_id="same")
            answers.append((response.status, response.body, response.page))
        unknown = visitor(call, mine, html=False).send("POST", "revoke", session_id="sess_1", x_request_id="same")
        assert answers[0][0] == answers[1][0] == 404
        assert answers[0][2] is not None
        assert answers[1][1] == unknown.body
        assert emulator.requests()[DELETE] == 0
        assert json_of(visitor(call, foreign).get("session"))["authenticated"]

    def test_this_one_is_signing_out(self, call: Both, emulator: Emulator) -> None:
        mine = emulator.sign_in()
        seen = events_of(call, SignedOut)
        browser = visitor(call, mine)
        assert path_of(browser.send("POST", "revoke", session_id=mine.session_id)) == "/"
        assert browser.cookies == {}
        assert seen == [SignedOut(mine.user_id, mine.session_id, True)]
        browser = visitor(call, emulator.sign_in(), html=False)
        own = json_of(browser.get("session"))["session"]["id"]
        found = json_of(browser.send("POST", "revoke", session_id=own))
        assert found == {"signed_out": True, "complete": True, "revocation": "local"}

    @pytest.mark.rule("S35")
    def test_when_the_api_is_down_it_is_refused_all_the_same(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        browser = visitor(call, mine)
        emulator.fault(DELETE.split()[1], status=500)
        assert browser.send("POST", "revoke", session_id=other.session_id).status == 503
        emulator.clear_faults()
        assert not json_of(visitor(call, other).get("session"))["authenticated"]
        assert json_of(visitor(call, mine).get("session"))["authenticated"]

    def test_by_nobody_and_from_elsewhere(self, call: Both, emulator: Emulator) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        for route in ("revoke", "revoke_others"):
            assert Visitor(call, html=False).send("POST", route, session_id="sess_1").status == 401
            for html in (True, False):
                browser = visitor(call, mine, html=html)
                cross: dict[str, Any] = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
                assert browser.send("POST", route, session_id=other.session_id, **cross).status == 403
            read = visitor(call, mine).send("GET", route, session_id=other.session_id)
            assert path_of(read) == "/auth/sessions"  # a GET ends nothing
        assert emulator.requests()[DELETE] == 0


class TestEndingTheOthers:
    @pytest.mark.rule("S51")
    def test_all_but_this(self, call: Both, emulator: Emulator) -> None:
        mine, *others = (emulator.sign_in() for _ in range(4))
        foreign = emulator.sign_in(email="other@example.com")
        seen = events_of(call, Revoked)
        browser = visitor(call, mine)
        assert path_of(browser.post("revoke_others")) == "/auth/sessions"
        assert {event.session_id for event in seen if isinstance(event, Revoked)} == {
            one.session_id for one in others
        }
        assert len(shown(browser.get("sessions")).all("li")) == 1
        for one in others:
            assert json_of(visitor(call, one).get("session")) == {"authenticated": False}
        assert json_of(visitor(call, foreign).get("session"))["authenticated"]

    def test_as_json(self, call: Both, emulator: Emulator) -> None:
        mine, *others = (emulator.sign_in() for _ in range(3))
        found = json_of(with_header(call, mine).post("revoke_others"))
        assert set(found["revoked"]) == {one.session_id for one in others}
        assert json_of(with_header(call, mine).post("revoke_others")) == {"revoked": [], "revocation": "local"}

    @pytest.mark.parametrize("html", [True, False])
    def test_in_part(self, call: Both, emulator: Emulator, html: bool) -> None:
        mine, *others = (emulator.sign_in() for _ in range(4))
        browser = visitor(call, mine, html=html)
        emulator.fault("/v1/auth/sessions/delete", status=500)
        emulator.fault("/v1/auth/sessions/delete", body="{}", times=1)
        response = browser.post("revoke_others")
        assert response.status == 503
        if html:
            page = shown(response)
            assert "Signed out: 1" in page.html
            assert "Perhaps still signed in: 2" in page.html
            assert [one.attributes["action"] for one in page.all("form")] == ["/auth/sessions/revoke-others"]
        else:
            found = json_of(response)
            assert (len(found["revoked"]), len(found["failed"])) == (1, 2)
            assert {*found["revoked"], *found["failed"]} == {one.session_id for one in others}
        emulator.clear_faults()
        again = browser.post("revoke_others")
        assert again.status == (303 if html else 200)


AGENTS = [
    (CHROME, "Chrome on Windows"),
    (CHROME + " Edg/130.0.0.0", "Edge on Windows"),
    (CHROME + " OPR/115.0", "Opera on Windows"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Linux"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
        "Safari/605.1.15",
        "Safari on Mac",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.0 Mobile/15E148 Safari/604.1",
        "Safari on iPhone",
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/130.0 "
        "Mobile/15E148 Safari/604.1",
        "Chrome on iPad",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 "
        "Chrome/122.0 Mobile Safari/537.36",
        "Samsung Internet on Android",
    ),
    (
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36",
        "Chrome on ChromeOS",
    ),
    ("curl/8.9.1", "curl/8.9.1"),
    ("Chrome/1 on Windows", "Chrome/1 on Windows"),
    ("", "Unknown device"),
    (" \t\r\n", "Unknown device"),
    (None, "Unknown device"),
    ("x" * 100, "x" * 59 + "…"),
    ("odd\x00\x1b[31m thing\u202e", "odd [31m thing"),
]


@pytest.mark.parametrize(("agent", "name"), AGENTS, ids=[name[:20] for _, name in AGENTS])
def test_devices_in_words(agent: str | None, name: str) -> None:
    assert describe_device(agent) == name


@given(st.one_of(st.text(max_size=2000), st.text("Mozila/5.0 (;)ChromeSafrWindwsEdg/", max_size=300)))
def test_whatever_a_browser_calls_itself(agent: str) -> None:
    name = describe_device(agent)
    assert 0 < len(name) <= 60
    assert name.isprintable()
    assert name == name.strip()


MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_times_are_the_same_in_words(moment: datetime) -> None:
    text = utc_text(moment)
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
    assert time_in_words(text).endswith(f"{moment.year}, {moment:%H:%M} UTC")


@pytest.mark.long
@given(st.lists(st.tuples(st.none() | MOMENTS, st.none() | MOMENTS), max_size=8), st.integers(0, 8))
def test_this_device_first_then_the_last_used(
    times: list[tuple[datetime | None, datetime | None]], mine: int
) -> None:
    ends = datetime(9999, 1, 1, tzinfo=UTC)
    sessions = tuple(
        Session(f"sess_{number}", "user_1", ends, started_at=started, last_active_at=active)
        for number, (started, active) in enumerate(times)
    )
    views = session_list_views(sessions, f"sess_{mine}")
    assert sorted(view["id"] for view in views) == sorted(one.id for one in sessions)
    assert [view["current"] for view in views[1:]] == [False] * len(views[1:])
    assert not views or views[0]["current"] is (mine < len(times))
    used = [view["last_active_at"] or view["started_at"] or "" for view in views if not view["current"]]
    assert used == sorted(used, reverse=True)
