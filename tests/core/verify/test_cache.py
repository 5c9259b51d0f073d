"""The warm path: what is remembered of a verified credential, and until when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, ExpiredCredentials, RevokedCredentials
from moonkey_core.emulator import Emulator
from moonkey_core.gate import Requirements
from moonkey_core.web.request import RequestInfo
from support.cookie_visits import FRESH, GET, JWT, OLD, SESSION, set_after
from support.decisions import NOW, Decisions, replied
from support.jwks_decisions import JwksDecisions
from support.odd_jwts import claims, good, header, public_jwk, sign
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
FAR = 1_000_000


def bearing(credential: str) -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {credential}"]}


def source_of(auth: Auth | None) -> str | None:
    return None if auth is None else auth.source


@pytest.mark.rule("S33")
class TestUntilWhen:
    def test_what_was_verified_once_is_remembered(self) -> None:
        decisions, jwt = Decisions(), good(NOW)
        found = [decisions.known(bearing(jwt)) for _ in range(3)]
        assert [source_of(auth) for auth in found] == ["local", "cache", "cache"]
        assert all(auth and auth.user.id == "user_1" for auth in found)
        assert all(auth and auth.session.id == "sess_1" for auth in found)
        assert all(auth and auth.as_of == NOW for auth in found)
        assert decisions.fetches == []

    @pytest.mark.parametrize(
        ("options", "changes", "end"),
        [
            ({}, {"exp": NOW + 100}, 105),
            ({"leeway": 0}, {"exp": NOW + 100.9}, 100),
            ({"jwt_max_age": 60}, {"exp": NOW + FAR}, 60),
            ({"jwt_max_age": 60}, {"exp": NOW + FAR, "iat": NOW - 50}, 10),
            ({}, {"session": {"expires_at": NOW + 50}}, 55),
            ({"leeway": 0}, {"session": {"expires_at": NOW + 50.5}}, 50.5),
        ],
    )
    def test_a_jwt_until_the_first_of_its_ends(
        self, options: dict[str, Any], changes: dict[str, Any], end: float
    ) -> None:
        decisions = Decisions(refresh_jwt=False, **options)
        jwt = good(NOW, **changes)
        assert decisions.authenticate(jwt).source == "local"
        decisions.now = NOW + end - 0.01
        assert decisions.authenticate(jwt).source == "cache"
        decisions.now = NOW + end
        assert decisions.known(bearing(jwt)) is None
        assert isinstance(decisions.authenticate(jwt).error, ExpiredCredentials)
        decisions.now = NOW + end - 0.01
        assert decisions.authenticate(jwt).source == "local"  # what was refused is not remembered as good

    def test_a_jwt_until_its_key_leaves_the_set(self) -> None:
        decisions = JwksDecisions()
        jwt = sign(header(kid="old"), claims(NOW), "old")
        for source in ("local", "cache"):
            assert decisions.authenticate(jwt).source == source
        decisions.published = replied(200, {"keys": [public_jwk("old"), public_jwk("new")]})
        assert decisions.shown("new").is_authenticated
        assert decisions.authenticate(jwt).source == "cache"  # the same key in the next set
        decisions.published = replied(200, {"keys": [public_jwk("newer")]})
        assert decisions.shown("newer").is_authenticated
        assert decisions.known(bearing(jwt)) is None
        assert decisions.authenticate(jwt).is_rejected

    def test_a_jwt_until_another_key_has_the_name_of_its_key(self) -> None:
        decisions = JwksDecisions()
        jwt = sign(header(kid="old"), claims(NOW), "old")
        assert decisions.authenticate(jwt).is_authenticated
        decisions.published = replied(200, {"keys": [public_jwk("other", kid="old"), public_jwk("new")]})
        assert decisions.shown("new").is_authenticated
        auth = decisions.known(bearing(jwt))
        assert auth is not None
        assert auth.error is not None
        assert auth.error.reason == "jwt_signature"

    def test_a_jwt_until_the_key_set_is_too_old(self) -> None:
        decisions = JwksDecisions(jwks_ttl=60, jwks_max_stale=90)
        jwt = sign(header(kid="old"), claims(NOW), "old")
        assert decisions.authenticate(jwt).is_authenticated
        decisions.published = replied(500)
        decisions.now = NOW + 89
        assert decisions.authenticate(jwt).source == "cache"
        decisions.now = NOW + 90
        assert decisions.known(bearing(jwt)) is None
        assert decisions.authenticate(jwt).is_unavailable

    def test_not_where_the_clock_was_set_back(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60)
        jwt = good(NOW)
        assert decisions.authenticate(jwt).is_authenticated
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.now = NOW - 5
        assert decisions.authenticate(jwt).source == "cache"  # a difference that is allowed
        decisions.now = NOW - 5.01
        auth = decisions.authenticate(jwt)
        assert auth.error is not None
        assert auth.error.reason == "jwt_not_yet_valid"
        assert decisions.authenticate(TOKEN).source == "remote"

    def test_with_its_nbf_too(self) -> None:
        decisions, jwt = Decisions(leeway=0), good(NOW, iat=NOW - 100, nbf=NOW)
        assert decisions.authenticate(jwt).is_authenticated
        decisions.now = NOW - 0.5
        assert decisions.authenticate(jwt).is_rejected


REVOCATIONS: dict[str, dict[str, Any]] = {
    "session": {"session_id": "sess_1"},
    "user": {"user_id": "user_1"},
    "user in its other spelling": {"user_id": "1"},
    "user until a moment": {"user_id": "user_1", "issued_before": NOW},
    "everybody": {"issued_before": NOW},
}
OTHERS: dict[str, dict[str, Any]] = {
    "session": {"session_id": "sess_2"},
    "user": {"user_id": "user_2"},
    "user until earlier": {"user_id": "user_1", "issued_before": NOW - 1},
    "everybody earlier": {"issued_before": NOW - 1},
}
STARTED = {"session": {"started_at": NOW}}


@pytest.mark.rule("S33", "S35")
class TestRevoked:
    @pytest.mark.rule("S33", "S35", "token", "jwt")
    @pytest.mark.parametrize("which", REVOCATIONS.values(), ids=REVOCATIONS)
    @pytest.mark.parametrize("kind", ["jwt", "token"])
    def test_it_is_refused_at_once_and_stays_refused(self, kind: str, which: dict[str, Any]) -> None:
        decisions = KnownToTheApi(session_cache_ttl=60)
        decisions.good[TOKEN] = STARTED
        credential = TOKEN if kind == "token" else good(NOW)
        assert [decisions.authenticate(credential).is_authenticated for _ in range(2)] == [True, True]
        decisions.core.revocations.add(**which)
        at_once = decisions.known(bearing(credential))
        assert at_once is not None
        assert isinstance(at_once.error, RevokedCredentials)
        for _ in range(2):
            assert isinstance(decisions.authenticate(credential).error, RevokedCredentials)

    @pytest.mark.parametrize("which", OTHERS.values(), ids=OTHERS)
    @pytest.mark.parametrize("kind", ["jwt", "token"])
    def test_others_stay_remembered(self, kind: str, which: dict[str, Any]) -> None:
        decisions = KnownToTheApi(session_cache_ttl=60)
        decisions.good[TOKEN] = STARTED
        credential = TOKEN if kind == "token" else good(NOW)
        assert decisions.authenticate(credential).is_authenticated
        decisions.core.revocations.add(**which)
        assert source_of(decisions.known(bearing(credential))) == "cache"

    def test_a_session_that_began_earlier_than_its_jwt_counts_from_its_beginning(self) -> None:
        decisions = Decisions()
        jwt = good(NOW, session={"started_at": NOW - 1000})
        assert decisions.authenticate(jwt).is_authenticated
        decisions.core.revocations.add(user_id="user_1", issued_before=NOW - 500)
        assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)

    def test_an_answer_that_was_under_way_does_not_bring_it_back(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, grace_seconds=60)
        plan, fetch = decisions.begin(TOKEN)
        decisions.core.revocations.add(session_id="sess_1")
        assert isinstance(decisions.end(plan, decisions.by_heart(fetch)).error, RevokedCredentials)
        assert decisions.authenticate(TOKEN).is_rejected
        decisions.down = True
        assert not decisions.authenticate(TOKEN).is_authenticated

    def test_nor_does_a_key_set_that_was_under_way(self) -> None:
        decisions = JwksDecisions()
        plan, fetch = decisions.begin(sign(header(kid="old"), claims(NOW), "old"))
        decisions.core.revocations.add(session_id="sess_1")
        assert isinstance(decisions.end(plan, decisions.usual_or_published(fetch)).error, RevokedCredentials)

    def test_when_there_are_too_many_all_are_refused(self) -> None:
        decisions, jwt = Decisions(max_untold_revocations=3, leeway=0), good(NOW - 1)
        assert decisions.authenticate(jwt).is_authenticated
        for place in range(4):
            decisions.core.revocations.add(session_id=f"another_{place}")
        assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)
        decisions.now += 1
        assert decisions.authenticate(good(decisions.now)).is_authenticated


KINDS = {
    "token": {"session-token": [TOKEN]},
    "jwt": bearing(FRESH),
    "old jwt": bearing(OLD),
    "pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={FRESH}"]},
    "old pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={OLD}"]},
}


@pytest.mark.rule("S35", "token", "jwt", "pair", "connection")
@pytest.mark.parametrize("is_handshake", [False, True])
@pytest.mark.parametrize("lines", KINDS.values(), ids=KINDS.keys())
def test_when_there_are_too_many_it_is_so_of_each_kind(lines: dict[str, list[str]], is_handshake: bool) -> None:
    """And no browser loses its cookies: its session may well go on."""
    partner = "https://partner.example"
    decisions = KnownToTheApi(
        cookies={"trusted_origins": [partner]}, max_untold_revocations=3, session_cache_ttl=60
    )
    started = {"session": {"started_at": int(NOW) - 100}}
    decisions.good = dict.fromkeys((TOKEN, FRESH, OLD), started)
    sent = {**lines, "origin": [partner]}
    info = RequestInfo("GET", "wss", is_websocket=True) if is_handshake else GET
    assert decisions.read(sent, None, info).is_authenticated
    for place in range(4):
        decisions.core.revocations.add(session_id=f"another_{place}")
    for most in (None, 0.0, None):
        auth = decisions.read(sent, Requirements(max_staleness=most), info)
        assert isinstance(auth.error, RevokedCredentials)
        assert set_after(decisions, auth) == {}


@pytest.mark.rule("S34")
def test_a_jwt_that_is_asked_about_is_remembered_no_longer_than_it_is_good() -> None:
    jwt = good(NOW, exp=NOW + 10)
    decisions = KnownToTheApi([jwt], jwt_issuer="", session_cache_ttl=60, refresh_jwt=False)
    assert decisions.authenticate(jwt).source == "remote"
    decisions.now = NOW + 14.9
    assert decisions.authenticate(jwt).source == "cache"
    decisions.now = NOW + 15
    assert decisions.known(bearing(jwt)) is None
    assert isinstance(decisions.authenticate(jwt).error, ExpiredCredentials)


@pytest.mark.rule("S4")
@pytest.mark.parametrize("name", [None, "foreign"])
def test_a_header_with_white_space_in_front_is_one_kind_of_credential(name: str | None) -> None:
    """Cold and warm: never a JWT here and a session token there."""
    raw = b" " * 60 + json.dumps(header()).encode()
    jwt = sign(raw, claims(NOW), name or "jwk_test")
    fetched = JwksDecisions()
    fetched.published = replied(200, {"keys": [public_jwk("jwk_test")]})
    for decisions in (fetched, Decisions()):
        for _ in range(2):
            assert decisions.authenticate(jwt).is_authenticated is (name is None)
        assert decisions.calls("sessions/verify") == 0


def test_outside_an_event_loop_it_is_just_said(emulator: Emulator) -> None:
    """Even when a new key set is due, which nobody can fetch there."""
    person = emulator.sign_in()
    client = AsyncMoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer)
    headers = {"Authorization": f"Bearer {person.session_jwt}"}
    assert asyncio.run(client.authenticate(headers)).is_authenticated
    client._core.keys.refresh_at = 0
    found = client.begin(headers)
    assert isinstance(found, Auth)
    assert found.source == "cache"
    asyncio.run(client.aclose())


@pytest.mark.rule("S31")
@pytest.mark.parametrize("maxsize", [1, 3, 300])
def test_the_oldest_make_room(maxsize: int) -> None:
    """Some at once, but never more than one in 256, and the one that has brought them."""
    memory = Decisions(max_cached_sessions=maxsize).core.cache
    remembered = Decisions()
    assert remembered.known(bearing(good(NOW)))
    (entry,) = remembered.core.cache._entries.values()
    digests = [memory.digest(f"token_{number}") for number in range(4 * maxsize)]
    for count, digest in enumerate(digests, 1):
        memory.put(digest, entry)
        assert min(count, maxsize - maxsize // 256) <= len(memory) <= maxsize
        assert list(memory._entries) == digests[count - len(memory) : count]
