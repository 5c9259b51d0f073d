"""What stands in the memory of verified credentials: never a credential, so many entries, whole under threads."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable

import pytest

from moonkey_core import Auth
from moonkey_core._verify.authenticator import Pending
from moonkey_core.auth import fresh_jwt, new_auth
from moonkey_core.events import Event
from moonkey_core.gate import Requirements
from support.bindings import binding
from support.cookie_visits import FRESH, NEW, OLD, visit
from support.decisions import NOW, Decisions, verified_body
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import DEAD, KnownToTheApi
from support.secrets import assert_no_secret
from support.together import together

TOKEN, OTHER, UNKNOWN = ("session_" + letter * 40 for letter in "tou")
FORGED = sign(header(), claims(NOW), "foreign")


def again(auth: Auth) -> Auth:
    found = pickle.loads(pickle.dumps(auth))
    assert isinstance(found, Auth)
    return found


def bearing(credential: str) -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {credential}"]}


def source_of(auth: Auth | None) -> str | None:
    return None if auth is None else auth.source


class TestWhatStandsThere:
    @pytest.mark.rule("S31", "token", "jwt")
    @pytest.mark.rule("S33")
    def test_never_the_credential(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, grace_seconds=60)
        decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": good(NOW), "user": {"id": "user_1"}}
        jwt = good(NOW)
        for credential in (TOKEN, jwt, UNKNOWN):
            decisions.authenticate(credential)
        memory = decisions.core.cache
        tables = (memory._entries, memory._denied_briefly, memory._seen)
        assert [len(table) for table in tables] == [2, 1, 1]
        assert all(type(key) is bytes and len(key) == 16 for table in tables for key in table)
        bodies = b"".join(bytes(known.body) for known in memory._entries.values() if isinstance(known.body, bytes))
        assert bodies.count(b"user_1") >= 2
        for credential in (TOKEN, jwt, jwt.rsplit(".", 1)[1]):
            assert credential.encode() not in bodies
        texts = [repr(memory), *(repr(known) for known in memory._entries.values())]
        assert not any(secret in text for text in texts for secret in (TOKEN, jwt, "user_1", "sess_1"))

    @pytest.mark.rule("S31", "pair")
    def test_nor_that_of_a_browser(self) -> None:
        decisions = KnownToTheApi([TOKEN, OTHER], cookies=True, session_cache_ttl=60, grace_seconds=60)
        decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
        for token, jwt in ((TOKEN, FRESH), (TOKEN, OLD), (OTHER, None), (UNKNOWN, OLD)):
            visit(decisions, token, jwt)
        memory = decisions.core.cache
        tables = (memory._entries, memory._denied_briefly, memory._seen)
        assert all(tables)
        assert all(type(key) is bytes and len(key) == 16 for table in tables for key in table)
        bodies = b"".join(bytes(known.body) for known in memory._entries.values() if isinstance(known.body, bytes))
        held = binding(TOKEN, FRESH, decisions.settings)
        for secret in (TOKEN, OTHER, UNKNOWN, FRESH, OLD, NEW, held):
            assert secret.encode() not in bodies
            assert secret not in repr(memory)

    @pytest.mark.rule("S31", "S33")
    def test_two_memories_never_mean_the_same(self) -> None:
        usual = Decisions().core.cache
        for options in ({}, {"leeway": 6}, {"jwt_issuer": "another"}, {"secret_key": "sk_test_another"}):
            other = Decisions(**options).core.cache
            assert other.digest(TOKEN) != usual.digest(TOKEN)
        assert usual.digest(TOKEN) == usual.digest(TOKEN)
        assert len({usual.digest(text) for text in (TOKEN, TOKEN[:-1], TOKEN + "t", OTHER)}) == 4

    @pytest.mark.rule("S30")
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
        found += [decisions.authenticate(TOKEN), new_auth()]
        assert {auth.source for auth in found} == {"none", "remote", "cache", "local", "grace"}
        for auth in found:
            for _ in range(2):  # before and after somebody has looked at all of it
                other = copied(auth)
                assert (other.state, other.user, other.session) == (auth.state, auth.user, auth.session)
                assert (other.source, other.as_of, fresh_jwt(other)) == (auth.source, auth.as_of, None)
                assert other.accessed

    @pytest.mark.rule("S30")
    def test_what_is_presented_shows_no_credential(self) -> None:
        presented = Decisions(jwt_issuer="").core.begin(
            lambda name: [TOKEN] if name == "session-token" else [], None
        )
        assert isinstance(presented, Pending)
        assert presented.presented.value == TOKEN
        assert_no_secret([repr(presented), repr(presented.presented), repr(presented.headers)], [TOKEN])
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
                assert not auth.accessed
        assert len(seen) == 10


class TestBounds:
    def test_the_good_ones(self) -> None:
        tokens = [f"session_{place:060}" for place in range(10)]
        decisions = KnownToTheApi(tokens, session_cache_ttl=60, max_cached_sessions=3)
        for token in tokens:
            assert decisions.authenticate(token).source == "remote"
        assert len(decisions.core.cache) == 3
        assert [decisions.authenticate(token).source for token in tokens[-3:]] == ["cache"] * 3
        assert decisions.authenticate(tokens[0]).source == "remote"
        assert len(decisions.core.cache) == 3

    @pytest.mark.long
    def test_strangers_push_nothing_out(self) -> None:
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, max_cached_sessions=2)
        jwt = good(NOW)
        assert decisions.authenticate(TOKEN).is_authenticated
        assert decisions.authenticate(jwt).is_authenticated
        for place in range(4200):
            assert decisions.authenticate(f"session_{place:060}").is_rejected
        for place in range(20):
            decisions.authenticate(sign(header(), claims(NOW, x=place), "foreign"))
        assert len(decisions.core.cache._denied_briefly) <= 4096
        assert [decisions.authenticate(one).source for one in (TOKEN, jwt)] == ["cache", "cache"]

    def test_the_lines_of_cookies(self) -> None:
        memory = Decisions().core.cache
        for place in range(16_384 + 10):
            memory.note_pair(place.to_bytes(16, "big"), bytes(16))
        assert 16_000 < len(memory._pairs) <= 16_384

    def test_those_that_go_first(self) -> None:
        memory = Decisions().core.cache
        for place in range(65_536 + 10):
            memory.mark_seen(place.to_bytes(16, "big"))
            if place == 60_000:
                memory.mark_seen((1).to_bytes(16, "big"))  # it was good again
        assert 65_000 < len(memory._seen) <= 65_536
        assert not memory.is_seen(bytes(16))
        assert memory.is_seen((1).to_bytes(16, "big"))
        assert memory.is_seen((65_545).to_bytes(16, "big"))


def test_a_fork_in_the_middle_of_a_change_leaves_a_memory_that_works() -> None:
    decisions = KnownToTheApi([TOKEN], session_cache_ttl=60, max_cached_sessions=1)
    assert decisions.authenticate(TOKEN).is_authenticated
    memory = decisions.core.cache
    memory._lock.acquire()  # as another thread of the parent may have done; it is not in the child
    memory.reset_lock()
    assert len(memory) == 0  # what was half changed is not looked at again
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


@pytest.mark.long
@pytest.mark.rule("S25")
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
    assert len(decisions.core.cache) <= 5


@pytest.mark.long
@pytest.mark.rule("S33", "S35")
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
