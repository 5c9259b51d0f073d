"""Processes with the old secret, the new one and both hear of each other, and read what the others have stored."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core.emulator import Emulator
from moonkey_core.redis import shared_revocations
from moonkey_core.redis.attempts import AttemptScript
from support.clients import Both
from support.feeds import MakeProcess, Process, settings_for
from support.patience import PATIENCE, PATIENT
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.visitors import verifications

ONE, TWO = "o" * 20, "t" * 20
OLD: dict[str, Any] = {"cache_secret": ONE}
BOTH: dict[str, Any] = {"cache_secret": TWO, "previous_cache_secret": ONE}
NEW: dict[str, Any] = {"cache_secret": TWO}


def live(*processes: Process) -> bool:
    return all(wait_until(lambda one=one: one.is_live) for one in processes)  # type: ignore[misc]


def hears(process: Process, session_id: str) -> bool:
    return wait_until(lambda: process.refuses(session_id))


@pytest.mark.rule("S36", "S37")
def test_a_revocation_reaches_all_of_them(make_process: MakeProcess) -> None:
    """Old and new processes in a deploy, and those of the next deploy, which drops the old secret."""
    old, changing = make_process(**OLD), make_process(**BOTH)
    assert live(old, changing)
    old.known.add(session_id="sess_old")
    assert hears(changing, "sess_old")
    changing.known.add(session_id="sess_changing")
    assert hears(old, "sess_changing")
    old.feed.close()
    new = make_process(**NEW)
    assert live(new)
    assert hears(new, "sess_changing")
    new.known.add(session_id="sess_new")
    assert hears(changing, "sess_new")


@pytest.mark.rule("S36")
def test_without_the_previous_one_they_are_strangers(make_process: MakeProcess) -> None:
    old, new = make_process(**OLD), make_process(**NEW)
    assert live(old, new)
    old.known.add(session_id="sess_old")
    assert wait_until(lambda: old.feed.unsent == 0)
    third = make_process(**OLD)
    assert live(third)
    assert hears(third, "sess_old")
    assert not new.refuses("sess_old")


@pytest.mark.rule("S36")
def test_it_is_live_only_where_both_are(make_process: MakeProcess, server: RedisServer) -> None:
    process = make_process(**BOTH)
    assert process.feed.lag() is None
    assert live(process)
    former = process.feed._former
    assert former is not None
    assert wait_until(lambda: former.is_live)
    assert process.feed.lag() is not None
    process.known.add(session_id="sess_1")
    assert wait_until(lambda: process.feed.unsent == 0)
    former.close()
    assert not process.is_live
    process.feed.close()
    process.feed.acquire(process.hooks)
    assert live(process)


def test_closed_means_both(make_process: MakeProcess) -> None:
    process = make_process(**BOTH)
    assert live(process)
    former = process.feed._former
    assert former is not None
    process.feed.release(process.hooks)
    assert not process.is_live
    assert not former.is_live
    process.feed.acquire(process.hooks)
    process.feed.reset()
    former.reset()  # as after a fork, which resets each
    assert live(process)


def test_one_feed_for_equal_secrets_however_they_are_given(server: RedisServer) -> None:
    _, feed = shared_revocations(settings_for(server, **BOTH))
    assert shared_revocations(settings_for(server, **BOTH))[1] is feed
    for other in (OLD, NEW):
        assert shared_revocations(settings_for(server, **other))[1] is not feed


@pytest.mark.rule("S34", "S37")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("which", ["cache secret", "secret key"])
def test_what_lies_in_the_store(
    server: RedisServer, emulator: Emulator, kind: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", 5.0)
    usual = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "redis_url": server.url,
        "session_cache_ttl": 60,
        "max_revocation_lag": PATIENCE,  # an answer as young as that counts before the feed is live
        **PATIENT,
    }
    before, during, after = OLD, BOTH, NEW
    if which == "secret key":  # the emulator takes one only, so here it is the store that moves back to it
        before, during = {"cache_secret": ONE}, {"previous_cache_secret": ONE}
        after = {}
    person = emulator.sign_in()

    def asked_by(options: dict[str, Any]) -> int:
        emulator.clear_requests()
        call = Both(kind, {**usual, **options})
        try:
            assert call("authenticate", {"session-token": person.session_token}).is_authenticated
            return verifications(emulator)
        finally:
            call.close()

    assert asked_by(before) == 1
    assert asked_by(during) == 0
    assert asked_by(after) == 1  # the old secret is gone
    assert asked_by(after) == 0
    assert asked_by(during) == 0


def test_attempts_are_counted_together(server: RedisServer) -> None:
    roots = [AttemptScript(settings_for(server, **one))._root for one in (OLD, BOTH, NEW)]
    assert roots[0] == roots[1] != roots[2]
