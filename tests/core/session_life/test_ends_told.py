"""The end of a session that was moved: who hears of it, with ``load_user`` as without."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from moonkey_core.events import DeviceChanged, Event
from moonkey_core.revocations import Revocations
from moonkey_core.web.request import RequestInfo
from moonkey_core.web.responses import ResponseFacts, response_effects
from support.clients import MakeClient
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted import wait_until
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
MINUTE, WEEK = 60, 604_800
both = pytest.mark.parametrize("load_user", [False, True])


def short(now: float = NOW) -> dict[str, Any]:
    return {"session": {"started_at": int(now) - MINUTE, "expires_at": int(now) + 10 * MINUTE}}


def site(*credentials: str, **options: Any) -> KnownToTheApi:
    """An API with a ten-minute session, that extends it when it is told to."""
    chosen = {"extend_on_activity": WEEK, "cookies": True, "expires_in_header": True, **options}
    decisions = KnownToTheApi(credentials, **chosen)
    decisions.good = dict.fromkeys(credentials, short())
    by_heart = decisions.answer

    def answer(fetch: Any) -> Any:
        minutes = (fetch.json or {}).get("session_expires_in")
        if minutes is not None:
            session = {**short()["session"], "expires_at": int(decisions.now) + minutes * 60}
            decisions.good = {credential: {"session": session} for credential in credentials}
        return by_heart(fetch)

    decisions.answer = answer
    return decisions


def extensions(decisions: KnownToTheApi) -> int:
    return sum("session_expires_in" in (fetch.json or {}) for fetch in decisions.fetches)


def presented(kind: str, jwt: str) -> dict[str, list[str]]:
    if kind == "pair":
        return {"cookie": [f"__Host-moonkey_session={TOKEN}; __Host-moonkey_jwt={jwt}"]}
    return {"session-token": [TOKEN if kind == "token" else jwt]}


@both
@pytest.mark.parametrize("kind", ["token", "jwt", "pair"])
def test_it_is_extended_once_and_each_later_request_knows(kind: str, load_user: bool) -> None:
    jwt = good(NOW, **short())
    decisions = site(TOKEN, jwt, load_user=load_user)
    auths = [decisions.read(presented(kind, jwt), None, RequestInfo("GET", "https")) for _ in range(5)]
    assert extensions(decisions) == 1
    for auth in auths[1:]:
        assert auth.user is not None
        assert auth.session is not None
        assert (auth.user.complete, auth.session.expires_at.timestamp()) == (load_user, NOW + WEEK)


@both
def test_what_another_credential_of_the_session_has_brought_about(load_user: bool) -> None:
    jwt = good(NOW, **short())
    decisions = site(TOKEN, jwt, load_user=load_user)
    first = decisions.authenticate(jwt)
    assert first.session is not None  # built, and kept for later requests
    decisions.authenticate(TOKEN)
    for auth in (decisions.authenticate(jwt), decisions.authenticate(good(NOW, jti="again", **short()))):
        assert auth.session is not None
        assert auth.session.expires_at.timestamp() == NOW + WEEK


@pytest.mark.parametrize("extend_on_activity", [None, WEEK])
def test_an_extension_by_the_app_itself(
    make_client: MakeClient, emulator: Any, extend_on_activity: float | None
) -> None:
    client = make_client(
        jwt_issuer=emulator.issuer,
        expires_in_header=True,
        extend_on_activity=extend_on_activity,
        extend_every=None,
    )
    person = emulator.sign_in(minutes=WEEK / 60 - 1)
    headers = {"session-token": person.session_jwt}
    assert client.authenticate(headers).session is not None  # built, and kept for later requests
    client.sessions.verify(session_token=person.session_token, extend=timedelta(days=30))
    for auth in (client.authenticate(headers), client.authenticate(headers)):
        assert auth.session is not None
        assert auth.session.expires_in > timedelta(days=29)
    found = client.sessions.verify(session_jwt=person.session_jwt)
    assert found.session.expires_in > timedelta(days=29)


@both
def test_the_clients_of_a_real_api(make_client: MakeClient, emulator: Any, load_user: bool) -> None:
    client = make_client(
        jwt_issuer=emulator.issuer, load_user=load_user, extend_on_activity=WEEK, expires_in_header=True
    )
    headers = {"session-token": emulator.sign_in(minutes=10).session_jwt}

    def seconds_told() -> int:
        auth, facts = client.authenticate(headers), ResponseFacts(200, is_streamed=False)
        found = response_effects(auth, facts, lambda _: (), client.settings, client.revocations, is_asked_for=True)
        return int(dict(found.headers)["session-expires-in"])

    assert seconds_told() <= WEEK
    assert wait_until(lambda: WEEK - MINUTE < seconds_told() <= WEEK)


@both
def test_a_change_of_device_is_reported(load_user: bool) -> None:
    device = {"user_agent": "Here/1.0", "ip": "203.0.113.9"}
    about = {"session": {**short()["session"], "device_info": device}}
    decisions = site(load_user=load_user, extend_on_activity=None)
    events: list[Event] = []
    decisions.core.hooks.add(events.append)
    for _ in range(2):
        decisions.read({"session-token": [good(NOW, **about)], "user-agent": ["There/1.0"]})
    assert [event.user_agent_changed for event in events if isinstance(event, DeviceChanged)] == [True]


class TestTheResponse:
    def effects(
        self, decisions: KnownToTheApi, auth: Any, *, cookies: tuple[str, ...] = (), over: str = ""
    ) -> Any:
        revocations = Revocations(retention=300)
        if over:
            revocations.add(session_id=over)
        facts = ResponseFacts(200, is_streamed=False, set_cookies=cookies)
        return response_effects(auth, facts, lambda _: (), decisions.settings, revocations, is_asked_for=True)

    def test_it_says_nothing_of_a_session_that_has_ended_meanwhile(self) -> None:
        jwt = good(NOW)
        decisions = site(jwt)
        auth = decisions.authenticate(jwt)
        assert "session-expires-in" in dict(self.effects(decisions, auth).headers)
        assert "session-expires-in" not in dict(self.effects(decisions, auth, over="sess_1").headers)

    @pytest.mark.parametrize("name", ["__Host-moonkey_session", "__Host-moonkey_jwt"])
    def test_it_says_nothing_where_the_app_sets_the_cookies(self, name: str) -> None:
        jwt = good(NOW)
        decisions = site(jwt)
        auth = decisions.authenticate(jwt)
        found = self.effects(decisions, auth, cookies=(f"{name}=; Max-Age=0", "theme=dark"))
        assert "session-expires-in" not in dict(found.headers)

    @pytest.mark.rule("S46")
    def test_a_renewed_jwt_of_a_session_that_has_ended_meanwhile_is_kept_back(self) -> None:
        old, new = good(NOW - 400), good(NOW)
        decisions = site(old, fresh_jwt_header="x-fresh", extend_on_activity=None)
        decisions.good[old] = {**short(), "session_jwt": new}
        auth = decisions.authenticate(old)
        assert dict(self.effects(decisions, auth).headers)["x-fresh"] == new
        found = dict(self.effects(decisions, auth, over="sess_1").headers)
        assert found.keys() == {"vary", "cache-control"}
