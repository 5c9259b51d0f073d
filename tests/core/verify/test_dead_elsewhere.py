"""A token that one process has found dead, in another process which alone knows whose it was."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials
from moonkey_core._operations.logins import verify_otp
from moonkey_core._plan import run
from moonkey_core._session_life.watchers import SessionWatcher
from moonkey_core._verified import CacheEntry
from moonkey_core.revocations import Revocation
from support.cookie_visits import FRESH, OLD, TOKEN, visit
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

FEED = {"redis_url": "redis://127.0.0.1:1"}  # never connected to: what goes through it is handed over here
GRACE = {"grace_seconds": 60, "session_cache_ttl": 30}


class Two:
    """Two processes of one app, and the entries that went from one to the other."""

    def __init__(self, **options: Any) -> None:
        self.one, self.other = (KnownToTheApi([TOKEN], cookies=True, **FEED, **options) for _ in range(2))
        self.entries: list[Revocation] = []
        for sender, receiver in ((self.one, self.other), (self.other, self.one)):
            sender.core.revocations.listeners = (self.entries.append, receiver.core.revocations.receive)

    def end(self) -> None:
        """Other software ends the session; one process learns it by the token alone, which it has never seen."""
        for process in (self.one, self.other):
            del process.good[TOKEN]
        assert self.one.authenticate(TOKEN).is_rejected


def is_over(two: Two, auth: Auth) -> bool:
    watcher = SessionWatcher(two.other.core.revocations, clock=lambda: NOW)
    with watcher.watching(auth, can_verify=False) as watched:
        return watcher.is_over(watched, None)


@pytest.mark.rule("S40", "S52")
@pytest.mark.parametrize("outage", [False, True], ids=["the API answers", "outage"])
@pytest.mark.parametrize("options", [{}, GRACE], ids=["plain", "grace"])
def test_the_jwt_beside_it_is_not_accepted_again(options: dict[str, Any], outage: bool) -> None:
    two = Two(**options)
    auth = visit(two.other, jwt=FRESH)
    assert auth.source == "local"
    assert not is_over(two, auth)
    two.end()
    two.other.down = outage
    assert not visit(two.other, jwt=FRESH).is_authenticated
    assert is_over(two, auth)


@pytest.mark.rule("S52")
@pytest.mark.parametrize("options", [{}, GRACE, {"jwt_issuer": ""}], ids=["plain", "remembered", "no issuer"])
def test_nor_is_the_token_where_it_was_good(options: dict[str, Any]) -> None:
    two = Two(**options)
    auth = two.other.authenticate(TOKEN)
    assert auth.is_authenticated
    two.end()
    assert two.other.authenticate(TOKEN).is_rejected
    assert is_over(two, auth)


@pytest.mark.rule("S40", "S52")
@pytest.mark.parametrize("jwt", [FRESH, OLD], ids=["good", "old"])
def test_a_login_step_learns_it_by_the_jwt_alone(jwt: str) -> None:
    two = Two()
    pair, in_header = visit(two.other, jwt=FRESH), two.other.authenticate(FRESH)
    del two.one.good[TOKEN]
    with pytest.raises(InvalidCredentials):
        run(verify_otp(two.one.core, "123456", email="me@example.com", session_jwt=jwt), two.one.exchange)
    two.other.down = True
    assert not visit(two.other, jwt=FRESH).is_authenticated
    assert not two.other.authenticate(FRESH).is_authenticated
    assert is_over(two, pair)
    assert is_over(two, in_header)


@pytest.mark.rule("S52")
def test_each_process_learns_the_session_once() -> None:
    two = Two()
    visit(two.other, jwt=FRESH)
    two.end()
    for _ in range(3):
        assert two.one.authenticate(TOKEN, max_staleness=0).is_rejected
    assert [entry.session_id for entry in two.entries if entry.session_id is not None] == ["sess_1"]
    assert two.one.core.revocations.reported_until("sess_1") > NOW - 1


def test_what_goes_on_with_another_token_goes_on() -> None:
    two = Two()
    auth = visit(two.other, jwt=FRESH)
    two.other.good[FRESH] = {}
    two.end()
    assert two.other.authenticate(FRESH).source == "remote"  # the API is asked, and confirms it
    assert is_over(two, auth)  # nothing but its session is known of this one


class SlowlyNoted(CacheEntry):
    """An entry about which another thread notes, late and in between, what it saw before a report."""

    __slots__ = ("before",)
    before: int | None

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "needs_introspection" and value and self.before is not None:
            super().__setattr__("needs_introspection", False)
            super().__setattr__("revocations_version", self.before)
            self.before = None


@pytest.mark.rule("S52")
def test_what_another_thread_saw_before_does_not_stay() -> None:
    process, jwt = KnownToTheApi([TOKEN]), good(NOW)
    assert process.authenticate(jwt).source == "local"
    ((digest, known),) = process.core.cache._entries.items()
    entry: Any = SlowlyNoted.__new__(SlowlyNoted)
    entry.before = known.revocations_version
    for name in CacheEntry.__slots__:
        if name != "__weakref__":
            setattr(entry, name, getattr(known, name))
    process.core.cache._entries[digest] = entry
    process.core.revocations.add_report(session_id=known.session_id)
    process.authenticate(jwt)  # while the other thread notes it
    assert entry.before is None
    assert process.authenticate(jwt).is_rejected  # it has to be confirmed, and the API does not know it
