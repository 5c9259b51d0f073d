"""The session of a remembered credential is built once, and no request can change what the next one sees of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from moonkey_core import MoonKey, Session, User, _verified
from moonkey_core.emulator import Emulator, SignedIn
from support.changes import CLAIMS, refused_changes
from support.clients import MakeClient


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    _verified._have_sessions.clear()
    yield
    _verified._have_sessions.clear()


@pytest.fixture
def client(make_client: MakeClient, emulator: Emulator) -> MoonKey:
    return make_client(jwt_issuer=emulator.issuer, session_cache_ttl=60)


def session_of(client: MoonKey, person: SignedIn, credential: str = "session_jwt") -> Session:
    session = client.authenticate({"authorization": f"Bearer {getattr(person, credential)}"}).session
    assert session is not None
    return session


@pytest.mark.parametrize("credential", ["session_jwt", "session_token"])
def test_it_is_built_once(client: MoonKey, emulator: Emulator, credential: str) -> None:
    person = emulator.sign_in()
    first, second, third = (session_of(client, person, credential) for _ in range(3))
    assert first == second
    assert second is third


@pytest.mark.parametrize("credential", ["session_jwt", "session_token"])
def test_nothing_in_it_can_be_changed(client: MoonKey, emulator: Emulator, credential: str) -> None:
    person = emulator.sign_in(claims=CLAIMS)
    before = session_of(client, person, credential)
    text, plain = repr(before), (before.to_dict(), repr(before.claims))
    assert refused_changes(before) + refused_changes(before.claims) > 100
    after = session_of(client, person, credential)
    assert (repr(after), (after.to_dict(), repr(after.claims))) == (text, plain)
    assert after == before


def test_its_claims_are_made_anew(client: MoonKey, emulator: Emulator) -> None:
    person = emulator.sign_in(claims=CLAIMS)
    assert session_of(client, person).claims is not session_of(client, person).claims
    assert session_of(client, person).claims["teams"][0]["roles"] == ("a", "b")


def test_a_moved_end_is_seen(client: MoonKey, emulator: Emulator) -> None:
    person = emulator.sign_in()
    before = session_of(client, person)
    (entry,) = client._core.cache._entries.values()
    entry.move_end(entry.ends_at + 60)
    after = session_of(client, person)
    assert (after.expires_at - before.expires_at).total_seconds() == 60
    assert session_of(client, person) is after


def test_few_of_them_are_kept(client: MoonKey, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verified, "_MAX_BUILT_SESSIONS", 3)
    people = [emulator.sign_in() for _ in range(5)]
    for person in people:
        session_of(client, person)
    entries = list(client._core.cache._entries.values())
    assert [entry.built_session is not None for entry in entries] == [False, False, True, True, True]
    assert len(_verified._have_sessions) == 3
    assert [session_of(client, person).user_id for person in people] == [person.user_id for person in people]


def test_an_entry_that_is_gone_is_kept_alive_by_nobody(client: MoonKey, emulator: Emulator) -> None:
    person = emulator.sign_in()
    session_of(client, person)
    client._core.cache._entries.clear()
    (reference,) = _verified._have_sessions
    assert reference() is None


def test_few_users_are_kept(client: MoonKey, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user goes with the session, is made again when it is read, and is the same then."""
    monkeypatch.setattr(_verified, "_MAX_BUILT_SESSIONS", 3)
    people = [emulator.sign_in() for _ in range(5)]

    def user_of(person: SignedIn) -> User:
        user = client.authenticate({"authorization": f"Bearer {person.session_jwt}"}).user
        assert user is not None
        return user

    before = [user_of(person) for person in people]
    for person in people[-2:]:
        session_of(client, person)  # takes no place of its own
    entries = list(client._core.cache._entries.values())
    assert [entry.simple_user is not None for entry in entries] == [False, False, True, True, True]
    assert len(_verified._have_sessions) == 3
    assert [user_of(person) for person in people] == before


def test_a_user_that_was_loaded_is_not_forgotten(
    make_client: MakeClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To load it again takes a call."""
    monkeypatch.setattr(_verified, "_MAX_BUILT_SESSIONS", 1)
    client = make_client(jwt_issuer=emulator.issuer)
    first, second = emulator.sign_in("ada@example.com"), emulator.sign_in()
    session_of(client, first)
    (entry,) = client._core.cache._entries.values()
    entry.simple_user, entry.user_until = entry.user().replace(email="ada@example.com"), math.inf
    session_of(client, second)
    assert entry.built_session is None
    assert entry.user().email == "ada@example.com"
