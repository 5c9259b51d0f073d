"""Whatever ends a session says who knows of it: methods, routes and pages, blocking and asynchronous alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import MoonKeyError, ProviderUnavailable, RevocationIncomplete, Settings
from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.clients import Both
from support.feeds import begin_long_ago
from support.flow_visits import JWT, SESSION, Visitor, flow_client, json_of
from support.patience import PATIENT_LAG
from support.redis_server import RedisServer
from support.scripted import wait_until

ME = "me@example.com"
DELETE = "/v1/auth/sessions/delete"


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, emulator: Emulator, server: RedisServer) -> Iterator[Both]:
    """A client with a feed. It may wait for long, as the machine may be busy."""
    with opened(request.param, emulator, server) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def unhurried(request: pytest.FixtureRequest, emulator: Emulator, server: RedisServer) -> Iterator[Both]:
    """The same where Redis is not away: however late its replies are, it is not taken for lost."""
    app = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "redis_url": server.url}
    begin_long_ago(server, Settings.load(app, {}))
    with opened(request.param, emulator, server, max_revocation_lag=PATIENT_LAG) as made:
        yield made


@contextmanager
def opened(kind: str, emulator: Emulator, server: RedisServer, **more: Any) -> Iterator[Both]:
    options = {"redis_url": server.url, "publish_timeout": 10.0, "mfa_lifetime": timedelta(hours=1), **more}
    with flow_client(kind, emulator, **options) as made:
        assert wait_until(lambda: feed_of(made).is_live)
        yield made


def revoke(call: Both, emulator: Emulator, person: SignedIn) -> str:
    return str(call("sessions.revoke", session_id=person.session_id))


def revoke_by_token(call: Both, emulator: Emulator, person: SignedIn) -> str:
    return str(call("sessions.revoke", session_token=person.session_token))


def revoke_by_jwt(call: Both, emulator: Emulator, person: SignedIn) -> str:
    return str(call("sessions.revoke", session_jwt=person.session_jwt))


def revoke_all(call: Both, emulator: Emulator, person: SignedIn) -> str:
    ended = call("sessions.revoke_all", person.user_id)
    assert ended == (person.session_id,)
    assert repr(ended) == f"RevokedSessions(({person.session_id!r},), state={ended.state!r})"
    return str(ended.state)


def rotate(call: Both, emulator: Emulator, person: SignedIn) -> str:
    api = {"authorization": f"Bearer {emulator.secret_key}"}
    url = f"{emulator.base_url}/v1/auth/totps/create"
    secret = quick.post(url, json={"user_id": person.user_id}, headers=api).json()["secret"]
    code = emulator.totp_code(secret)
    found = call("sessions.rotate", user_id=person.user_id, totp=code, session_expires_in=60)
    assert found.revoked == (person.session_id,)
    return str(found.state)


def mfa_end(call: Both, emulator: Emulator, person: SignedIn) -> str:
    auth = call("authenticate", {"authorization": f"Bearer {person.session_jwt}"})
    call("mfa.record", auth)
    return str(call("mfa.end", auth))


def mfa_drop(call: Both, emulator: Emulator, person: SignedIn) -> str:
    auth = call("authenticate", {"authorization": f"Bearer {person.session_jwt}"})
    call("mfa.record", auth)
    return str(call("mfa.drop", auth))


def visitor(call: Both, person: SignedIn, *, html: bool = False) -> Visitor:
    found = Visitor(call, html=html)
    found.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    return found


def sign_out(call: Both, emulator: Emulator, person: SignedIn) -> str:
    return str(json_of(visitor(call, person).post("sign_out"))["revocation"])


def sign_out_by_header(call: Both, emulator: Emulator, person: SignedIn) -> str:
    program = Visitor(call, html=False, mode="header")
    return str(json_of(program.post("sign_out", authorization=f"Bearer {person.session_token}"))["revocation"])


def one_device(call: Both, emulator: Emulator, person: SignedIn) -> str:
    mine = visitor(call, emulator.sign_in(user_id=person.user_id))
    return str(json_of(mine.send("POST", "revoke", session_id=person.session_id))["revocation"])


def other_devices(call: Both, emulator: Emulator, person: SignedIn) -> str:
    mine = visitor(call, emulator.sign_in(user_id=person.user_id))
    return str(json_of(mine.post("revoke_others"))["revocation"])


End = Callable[[Both, Emulator, SignedIn], str]
ENDS: list[End] = [
    *(revoke, revoke_by_token, revoke_by_jwt, revoke_all, rotate, mfa_end, mfa_drop),
    *(sign_out, sign_out_by_header, one_device, other_devices),
]


def feed_of(call: Both) -> Any:
    return call.client._core.feed


@pytest.mark.parametrize("end", ENDS)
def test_redis_has_it_before_the_answer(unhurried: Both, emulator: Emulator, end: End) -> None:
    assert end(unhurried, emulator, emulator.sign_in(email=ME)) == "published"


@pytest.mark.long
@pytest.mark.parametrize("end", [one for one in ENDS if one not in (mfa_end, mfa_drop)])
def test_redis_is_away(call: Both, emulator: Emulator, server: RedisServer, end: End) -> None:
    person = emulator.sign_in(email=ME)
    server.kill()
    assert wait_until(lambda: not feed_of(call).is_live)
    assert end(call, emulator, person) == "pending"  # a second factor in the scope of users is kept in Redis
    with pytest.raises(MoonKeyError):
        call("sessions.verify", session_token=person.session_token)


def test_the_api_is_away(unhurried: Both, emulator: Emulator) -> None:
    """The error is raised when Redis has the revocation: the app may answer, and end, right after."""
    call = unhurried
    person, other = emulator.sign_in(email=ME), emulator.sign_in(email=ME)
    emulator.fault(DELETE, status=500)
    with pytest.raises(ProviderUnavailable):
        call("sessions.revoke", session_id=person.session_id)
    assert feed_of(call).unsent == 0
    with pytest.raises(RevocationIncomplete) as caught:
        call("sessions.revoke_all", person.user_id)
    assert caught.value.state == "published"
    assert json_of(visitor(call, other).post("sign_out")) == {
        "signed_out": True,
        "complete": False,
        "revocation": "published",
    }


def test_an_error_of_a_route_says_it_too(unhurried: Both, emulator: Emulator) -> None:
    call = unhurried
    person, other = emulator.sign_in(email=ME), emulator.sign_in(email=ME)
    emulator.fault(DELETE, status=500)
    one = visitor(call, person).send("POST", "revoke", session_id=other.session_id)
    assert (one.status, json_of(one)["revocation"]) == (503, "published")
    all_others = visitor(call, person).post("revoke_others")
    assert (all_others.status, json_of(all_others)["revocation"]) == (503, "published")


def test_a_browser_gets_a_page_where_others_may_not_know(
    call: Both, emulator: Emulator, server: RedisServer
) -> None:
    person, *others = (emulator.sign_in(email=ME) for _ in range(3))
    known = visitor(call, others[1], html=True).post("sign_out")
    assert known.status == 303
    server.kill()
    assert wait_until(lambda: not feed_of(call).is_live)
    browser = visitor(call, person, html=True)
    device = browser.send("POST", "revoke", session_id=others[0].session_id)
    left = browser.post("sign_out", {"next": "/start"})
    for response, template in ((device, "sessions"), (left, "signed_out")):
        assert response.status == 200
        assert response.page is not None
        assert response.page.template == f"moonkey/{template}.html"
        assert response.page.context["is_pending"] is True
    assert left.page is not None
    assert (left.page.context["next"], left.page.context["is_complete"]) == ("/start", True)
    assert browser.cookies == {}
