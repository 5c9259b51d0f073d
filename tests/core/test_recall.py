"""The warm path: what is remembered of a verified credential, until when, and that it never says anything else."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cachetools import Cache
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, Auth, ExpiredCredentials, RevokedCredentials
from moonkey_core._recall import Presented
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event
from moonkey_core.gate import Requirements
from support.decisions import NOW, Decisions, replied, verified_body
from support.key_ring import Ring
from support.odd_jwts import claims, good, header, public_jwk, sign
from support.scripted_api import DEAD, KnownToTheApi
from support.secrets import assert_no_secret
from support.together import together

TOKEN, OTHER, UNKNOWN = ("session_" + letter * 40 for letter in "tou")
FORGED = sign(header(), claims(NOW), "foreign")
FAR = 1_000_000


def again(auth: Auth) -> Auth:
    found = pickle.loads(pickle.dumps(auth))
    assert isinstance(found, Auth)
    return found


def bearing(credential: str) -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {credential}"]}


def source_of(auth: Auth | None) -> str | None:
    return None if auth is None else auth.source


class TestUntilWhen:
    def test_what_was_verified_once_is_remembered(self) -> None:
        decisions, jwt = Decisions(), good(NOW)
        found = [decisions.known(bearing(jwt)) for _ in range(3)]
        assert [source_of(auth) for auth in found] == ["local", "cache", "cache"]
        assert all(auth and auth.user and auth.user.id == "user_1" for auth in found)
        assert all(auth and auth.session and auth.session.id == "sess_1" for auth in found)
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
        ring = Ring()
        jwt = sign(header(kid="old"), claims(NOW), "old")
        for source in ("local", "cache"):
            assert ring.authenticate(jwt).source == source
        ring.published = replied(200, {"keys": [public_jwk("old"), public_jwk("new")]})
        assert ring.shown("new").is_authenticated
        assert ring.authenticate(jwt).source == "cache"  # the same key in the next set
        ring.published = replied(200, {"keys": [public_jwk("newer")]})
        assert ring.shown("newer").is_authenticated
        assert ring.known(bearing(jwt)) is None
        assert ring.authenticate(jwt).is_rejected

    def test_a_jwt_until_another_key_has_the_name_of_its_key(self) -> None:
        ring = Ring()
        jwt = sign(header(kid="old"), claims(NOW), "old")
        assert ring.authenticate(jwt).is_authenticated
        ring.published = replied(200, {"keys": [public_jwk("other", kid="old"), public_jwk("new")]})
        assert ring.shown("new").is_authenticated
        auth = ring.known(bearing(jwt))
        assert auth is not None
        assert auth.error is not None
        assert auth.error.reason == "jwt_signature"

    def test_a_jwt_until_the_key_set_is_too_old(self) -> None:
        ring = Ring(jwks_ttl=60, jwks_max_stale=90)
        jwt = sign(header(kid="old"), claims(NOW), "old")
        assert ring.authenticate(jwt).is_authenticated
        ring.published = replied(500)
        ring.now = NOW + 89
        assert ring.authenticate(jwt).source == "cache"
        ring.now = NOW + 90
        assert ring.known(bearing(jwt)) is None
        assert ring.authenticate(jwt).is_unavailable

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


class TestRevoked:
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
        ring = Ring()
        plan, fetch = ring.begin(sign(header(kid="old"), claims(NOW), "old"))
        ring.core.revocations.add(session_id="sess_1")
        assert isinstance(ring.end(plan, ring.usual_or_published(fetch)).error, RevokedCredentials)

    def test_when_there_are_too_many_all_are_refused(self) -> None:
        decisions, jwt = Decisions(max_revocations=3, leeway=0), good(NOW - 1)
        assert decisions.authenticate(jwt).is_authenticated
        for place in range(4):
            decisions.core.revocations.add(session_id=f"another_{place}")
        assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)
        decisions.now += 1
        assert decisions.authenticate(good(decisions.now)).is_authenticated


class TestWhatStandsThere:
    def test_never_the_credential(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, grace_seconds=60)
        decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": good(NOW), "user": {"id": "user_1"}}
        jwt = good(NOW)
        for credential in (TOKEN, jwt, UNKNOWN):
            decisions.authenticate(credential)
        memory = decisions.core.recall.credentials
        tables = (memory._good, memory._refused, memory._acquainted)
        assert [len(table) for table in tables] == [2, 1, 1]
        assert all(type(key) is bytes and len(key) == 16 for table in tables for key in table)
        bodies = b"".join(known.body for known in memory._good.values())
        for credential in (TOKEN, jwt, jwt.rsplit(".", 1)[1]):
            assert credential.encode() not in bodies
        texts = [repr(memory), *(repr(known) for known in memory._good.values())]
        assert not any(secret in text for text in texts for secret in (TOKEN, jwt, "user_1", "sess_1"))

    def test_two_memories_never_mean_the_same(self) -> None:
        usual = Decisions().core.recall.credentials
        for options in ({}, {"leeway": 6}, {"jwt_issuer": "another"}, {"secret_key": "sk_test_another"}):
            other = Decisions(**options).core.recall.credentials
            assert other.digest(TOKEN) != usual.digest(TOKEN)
        assert usual.digest(TOKEN) == usual.digest(TOKEN)
        assert len({usual.digest(text) for text in (TOKEN, TOKEN[:-1], TOKEN + "t", OTHER)}) == 4

    def test_a_pickle_holds_no_credential(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60)
        jwt = good(NOW)
        for credential in (TOKEN, jwt):
            auth = [decisions.authenticate(credential) for _ in range(2)][-1]
            assert auth.source == "cache"
            data = pickle.dumps(auth)
            for piece in (credential, *credential.split(".")[1:]):
                assert piece.encode() not in data

    @pytest.mark.parametrize("copied", [again, copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"])
    def test_a_copy_says_what_the_original_says(self, copied: Callable[[Auth], Auth]) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=30, grace_seconds=60)
        jwt = good(NOW)
        found = [decisions.authenticate(one) for one in (TOKEN, TOKEN, jwt, jwt, FORGED)]
        decisions.down = True
        decisions.now += 31
        found += [decisions.authenticate(TOKEN), Auth()]
        assert {auth.source for auth in found} == {"none", "remote", "cache", "local", "grace"}
        for auth in found:
            for _ in range(2):  # before and after somebody has looked at all of it
                other = copied(auth)
                assert (other.state, other.user, other.session) == (auth.state, auth.user, auth.session)
                assert (other.source, other.as_of, other.fresh) == (auth.source, auth.as_of, None)
                assert other.looked_at

    def test_what_is_presented_shows_no_credential(self) -> None:
        presented = Decisions(jwt_issuer="").core.start(
            lambda name: [TOKEN] if name == "session-token" else [], None
        )
        assert isinstance(presented, Presented)
        assert presented.value == TOKEN
        assert_no_secret([repr(presented), repr(presented.headers)], [TOKEN])
        assert str(presented.digest) not in repr(presented)

    def test_nobody_has_looked_at_it(self) -> None:
        seen: list[Event] = []
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, grace_seconds=60)
        decisions.core.hooks.add(seen.append)
        requirements = Requirements(max_staleness=100, grace_seconds=10)
        for headers in (bearing(TOKEN), bearing(good(NOW)), bearing(FORGED), bearing(UNKNOWN), {}):
            for _ in range(2):
                auth = decisions.read(headers, requirements)
                requirements.are_met_by(auth)
                assert not auth.looked_at
        assert len(seen) == 10


class TestBounds:
    def test_the_good_ones(self) -> None:
        tokens = [f"session_{place:060}" for place in range(10)]
        decisions = KnownToTheApi(tokens, session_cache_ttl=60, max_cached_sessions=3)
        for token in tokens:
            assert decisions.authenticate(token).source == "remote"
        assert len(decisions.core.recall.credentials) == 3
        assert [decisions.authenticate(token).source for token in tokens[-3:]] == ["cache"] * 3
        assert decisions.authenticate(tokens[0]).source == "remote"
        assert len(decisions.core.recall.credentials) == 3

    def test_strangers_push_nothing_out(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, max_cached_sessions=2)
        jwt = good(NOW)
        assert decisions.authenticate(TOKEN).is_authenticated
        assert decisions.authenticate(jwt).is_authenticated
        for place in range(4200):
            assert decisions.authenticate(f"session_{place:060}").is_rejected
        for place in range(20):
            decisions.authenticate(sign(header(), claims(NOW, x=place), "foreign"))
        assert len(decisions.core.recall.credentials._refused) <= 4096
        assert [decisions.authenticate(one).source for one in (TOKEN, jwt)] == ["cache", "cache"]

    def test_those_that_go_first(self) -> None:
        memory = Decisions().core.recall.credentials
        for place in range(65_536 + 10):
            memory.acquaint(place.to_bytes(16, "big"))
        assert len(memory._acquainted) == 65_536
        assert not memory.is_acquainted(bytes(16))
        assert memory.is_acquainted((65_545).to_bytes(16, "big"))


JWT = good(NOW, sub="user_3", jti="sess_3", session={"id": "sess_3", "user_id": "user_3"})
ABOUT: dict[str, dict[str, Any]] = {
    TOKEN: {"session": {"started_at": NOW}},
    OTHER: {"session": {"id": "sess_2", "user_id": "user_2"}},
    JWT: {"session": {"id": "sess_3", "user_id": "user_3"}},
}
VALUES = st.sampled_from(
    [TOKEN, OTHER, JWT, UNKNOWN, FORGED, JWT[:-1], JWT + "A", TOKEN.upper(), "", "=", "a.b.c"]
)
BEFORE = st.sampled_from(
    ["", "Bearer ", "bearer ", "BEARER  ", "Bearer", "Bearer\t", " Bearer ", "Basic ", "\x00"]
)
AFTER = st.sampled_from(
    ["", " ", "\t", "=", ",", f", Bearer {TOKEN}", f" {JWT}", "\u00e9", "\u0661", "\r\n", "\x00"]
)
LINES = st.builds(lambda before, value, after: before + value + after, BEFORE, VALUES, AFTER) | st.text(max_size=8)
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "session-token", "x-session", "x-other"]),
    st.lists(LINES, max_size=2),
    max_size=3,
)
ASKING = st.sampled_from([None, Requirements(), Requirements(max_staleness=0), Requirements(max_staleness=20)])


def with_them(after: float, revoked: bool, seen: bool, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi(
        session_cache_ttl=30,
        credential_headers=("x-session", "authorization", "session-token"),
        leeway=2,
        **options,
    )
    decisions.good.update(ABOUT)
    for credential in (TOKEN, OTHER, JWT, UNKNOWN, FORGED) if seen else ():
        decisions.authenticate(credential)
    decisions.now += after
    if revoked:
        decisions.core.revocations.add(session_id="sess_1")
        decisions.core.revocations.add(user_id="user_3")
    return decisions


def said(auth: Auth) -> tuple[object, ...]:
    reason = auth.error.reason if auth.error else None
    who = (auth.user and auth.user.id, auth.session and auth.session.id)
    return (auth.state, type(auth.error), reason, *who)


@given(
    headers=HEADERS,
    requirements=ASKING,
    after=st.sampled_from([-10.0, 0.0, 10.0, 29.0, 250.0, 400.0]),
    revoked=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "jwt_issuer": st.just(""),
            "refresh_jwt": st.just(False),
            "grace_seconds": st.just(60),
            "jwt_max_age": st.just(20),
        },
    ),
)
@settings(max_examples=400)
def test_it_says_nothing_else_than_an_empty_memory(
    headers: dict[str, list[str]],
    requirements: Requirements | None,
    after: float,
    revoked: bool,
    options: dict[str, Any],
) -> None:
    warm, cold = with_them(after, revoked, seen=True, **options), with_them(after, revoked, seen=False, **options)
    expected = said(cold.read(headers, requirements))
    calls = len(warm.fetches)
    known = warm.known(headers, requirements)
    assert len(warm.fetches) == calls
    assert known is None or said(known) == expected
    assert said(warm.read(headers, requirements)) == expected


@pytest.mark.parametrize("credential", [TOKEN, JWT])
def test_a_remembered_credential_is_as_wrong_in_a_wrong_place_as_any(credential: str) -> None:
    decisions = with_them(0, revoked=False, seen=True)
    wrong: list[dict[str, list[str]]] = [
        {"authorization": [f"Bearer {credential}"] * 2},
        {"authorization": [f"Bearer {credential}"], "session-token": [credential]},
        {"session-token": [credential], "x-session": [credential]},
        {"session-token": [f"Bearer {credential}"]},
        {"authorization": [f"Bearer {credential}, Bearer {credential}"]},
        {"authorization": [f"Bearer {credential} "], "session-token": [OTHER]},
        {"session-token": [credential, ""]},
    ]
    for headers in wrong:
        assert not decisions.known(headers)
        auth = decisions.read(headers)
        assert auth.is_rejected, headers
        assert auth.error is not None
        assert auth.error.status == 400, headers
    assert decisions.read({"authorization": ["Basic QQ=="], "session-token": [credential]}).is_authenticated


def test_a_jwt_that_is_asked_about_is_remembered_no_longer_than_it_is_good() -> None:
    jwt = good(NOW, exp=NOW + 10)
    decisions = KnownToTheApi([jwt], jwt_issuer="", session_cache_ttl=60, refresh_jwt=False)
    assert decisions.authenticate(jwt).source == "remote"
    decisions.now = NOW + 14.9
    assert decisions.authenticate(jwt).source == "cache"
    decisions.now = NOW + 15
    assert decisions.known(bearing(jwt)) is None
    assert isinstance(decisions.authenticate(jwt).error, ExpiredCredentials)


@pytest.mark.parametrize("name", [None, "foreign"])
def test_a_header_with_white_space_in_front_is_one_kind_of_credential(name: str | None) -> None:
    """Cold and warm: never a JWT here and a session token there."""
    raw = b" " * 60 + json.dumps(header()).encode()
    jwt = sign(raw, claims(NOW), name or "jwk_test")
    fetched = Ring()
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
    client._core.keys.ahead_at = 0
    assert source_of(client.known(headers)) == "cache"
    asyncio.run(client.aclose())


def test_a_fork_in_the_middle_of_a_change_leaves_a_memory_that_works() -> None:
    decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, max_cached_sessions=1)
    assert decisions.authenticate(TOKEN).is_authenticated
    memory = decisions.core.recall.credentials
    memory._lock.acquire()  # as another thread of the parent may have done; it is not in the child
    Cache.__delitem__(memory._good, memory.digest(TOKEN))  # gone from one of the two tables of a FIFOCache
    decisions.core.reset_locks()
    decisions.good[OTHER] = {}
    for credential in (TOKEN, OTHER, good(NOW), TOKEN):
        assert decisions.authenticate(credential).is_authenticated
    assert len(memory) == 1


def hammer(count: int, work: Callable[[int], None]) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        together(count, work)
    finally:
        sys.setswitchinterval(interval)


def test_threads_never_get_each_others_identity() -> None:
    people = {f"session_{place:060}": f"user_{place}" for place in range(12)}
    decisions = KnownToTheApi(session_cache_ttl=60, max_cached_sessions=5)
    for token, user in people.items():
        decisions.good[token] = {"session": {"id": user.replace("user", "sess"), "user_id": user}}
    wrong: list[object] = []

    def work(place: int) -> None:
        for turn in range(300):
            token, user = list(people.items())[(place * 5 + turn) % 12]
            auth = decisions.authenticate(token)
            if not auth.user or auth.user.id != user:
                wrong.append(auth)
            if turn % 50 == place:
                decisions.core.revocations.add(session_id=f"another_{place}_{turn}")

    hammer(8, work)
    assert wrong == []
    assert len(decisions.core.recall.credentials) <= 5


def test_no_thread_accepts_after_a_revocation_has_returned() -> None:
    tokens = [f"session_{place:060}" for place in range(20)]
    decisions = KnownToTheApi(session_cache_ttl=60)
    for place, token in enumerate(tokens):
        decisions.good[token] = {"session": {"id": f"sess_{place}"}}
    gone = [threading.Event() for _ in tokens]
    wrong: list[int] = []

    def work(thread: int) -> None:
        for _ in range(40):
            for place, token in enumerate(tokens):
                if thread == 0 and not gone[place].is_set():
                    decisions.core.revocations.add(session_id=f"sess_{place}")
                    gone[place].set()
                was_gone = gone[place].is_set()
                if decisions.authenticate(token).is_authenticated and was_gone:
                    wrong.append(place)

    hammer(6, work)
    assert wrong == []


def test_the_scripted_api_refuses_what_it_does_not_know() -> None:
    decisions = KnownToTheApi([TOKEN])
    assert decisions.authenticate(TOKEN).is_authenticated
    assert decisions.authenticate(OTHER).is_rejected
    assert DEAD.status == 404
    assert verified_body()["session"]["id"] == "sess_1"
