"""The feed of each provider: its own stream, scopes in its entries, and nothing dropped that is not over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, MoonKey, RevocationsFull, Settings
from moonkey_core.redis import shared as redis_shared
from moonkey_core.revocations import Revocation
from support import foreign_tokens
from support.feeds import Process, begin_long_ago, settings_for, stream_names
from support.patience import PATIENT_LAG
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until

ONE, TWO = "https://one.example", "https://two.example"
OIDC: dict[str, Any] = {
    "provider": "oidc",
    "scopes": {ONE: ONE, TWO: TWO},
    "key_of_user": lambda user_id: user_id,
    "raises_when_full": True,
    "retention": 86_400.0,
}


class Fleet:
    """Processes of one server, closed in the end."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.processes: list[Process] = []

    def start(self, table: dict[str, Any] | None = None, **options: Any) -> Process:
        process = Process(settings_for(self.server, **options), table)
        self.processes.append(process)
        assert wait_until(lambda: process.is_live)
        return process

    def stop(self, process: Process) -> None:
        self.processes.remove(process)
        process.feed.close()


@pytest.fixture
def fleet(server: RedisServer) -> Iterator[Fleet]:
    made = Fleet(server)
    yield made
    for process in made.processes:
        process.feed.close()


def streams(server: RedisServer) -> set[str]:
    names = [key.decode() if isinstance(key, bytes) else key for key in server.client.keys("*:feed:*")]
    return {name.rpartition(":")[0] for name in names}


def test_equal_ids_of_two_providers_never_meet(fleet: Fleet) -> None:
    ours, other = fleet.start(), fleet.start(OIDC)
    assert len(streams(fleet.server)) == 2
    ours.known.add(session_id="1")
    ours.known.add(user_id="1")
    other.known.add(session_id="2", issuer=ONE)
    late_ours, late_other = fleet.start(), fleet.start(OIDC)
    assert late_ours.known.refuses("1", "x", None)
    assert late_ours.known.refuses("x", "user_1", None)
    assert late_other.known.refuses("2", "x", None, ONE)
    for scope in (ONE, TWO, "moonkey"):
        assert not late_other.known.refuses("1", "1", None, scope)
    assert not late_ours.known.refuses("2", "2", None)
    assert not late_other.known.refuses("2", "2", None, TWO)
    assert [len(one.known) for one in (late_ours, late_other)] == [2, 1]


def test_all_users_of_one_issuer(fleet: Fleet) -> None:
    one, other = fleet.start(OIDC), fleet.start(OIDC)
    one.known.add(issued_before=one.known.now() - 10, issuer=TWO)
    assert wait_until(lambda: other.known.refuses("1", "1", 0.0, TWO))
    assert not other.known.refuses("1", "1", 0.0, ONE)


def test_moonkeys_names_and_entries_are_as_ever(fleet: Fleet) -> None:
    """So processes of the version before read them, and are read."""
    ours = fleet.start()
    names = streams(fleet.server)
    before = fleet.start({"provider": "moonkey"})  # as its tables are made now
    assert streams(fleet.server) == names
    before.known.add(session_id="1")
    assert wait_until(lambda: ours.refuses("1"))


def test_a_restarted_process_knows_before_it_is_live(fleet: Fleet) -> None:
    first = fleet.start(OIDC)
    first.known.add(session_id="1", issuer=ONE)
    first.known.add(user_id="2", issuer=TWO)
    assert wait_until(lambda: first.feed.unsent == 0)
    fleet.stop(first)  # there is no other process
    again = Process(settings_for(fleet.server), OIDC)
    fleet.processes.append(again)
    assert not again.is_live  # so no JWT is accepted yet
    assert not again.known.refuses("1", "x", None, ONE)
    assert wait_until(lambda: again.is_live)
    assert again.known.refuses("1", "x", None, ONE)
    assert again.known.refuses("x", "2", None, TWO)


def test_redis_keeps_entries_for_their_whole_life(fleet: Fleet) -> None:
    process = fleet.start(OIDC)
    process.known.add(session_id="1", issuer=ONE)
    assert wait_until(lambda: process.feed.unsent == 0)
    day_ms = 86_400_000
    for key in fleet.server.client.keys("*:feed:*"):
        assert fleet.server.client.pttl(key) > day_ms - 60_000
    assert process.feed._worker._retention == 86_400  # what is trimmed is older


def test_a_stream_is_not_filled_by_repeats(fleet: Fleet) -> None:
    process = fleet.start({**OIDC, "maxsize": 3})
    for _ in range(20):  # again and again, as by a script: each time, the others are told
        process.known.add(session_id="1", issuer=ONE)
        assert wait_until(lambda: process.feed.unsent == 0)
    process.known.add(session_id="2", issuer=ONE)
    (name,) = stream_names(fleet.server)
    assert wait_until(lambda: process.feed.unsent == 0)
    assert fleet.server.client.xlen(name) < 10
    assert not process.known.is_feed_full
    late = fleet.start({**OIDC, "maxsize": 3})
    assert all(late.known.refuses(session, "x", None, ONE) for session in "12")


def test_a_full_stream_takes_no_more_and_drops_nothing(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    process = fleet.start({**OIDC, "maxsize": 3})
    with caplog.at_level(logging.ERROR, "moonkey"):
        for number in range(10):  # as by several processes that are cut off from each other
            entry = Revocation(str(number), None, None, process.known.clock(), scope=ONE)
            process.known.record(entry)
            process.feed._queue.put(entry)
        assert wait_until(lambda: process.known.is_feed_full)
    with pytest.raises(RevocationsFull):
        process.known.add(session_id="10", issuer=ONE)
    errors = [record.__dict__["reason"] for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["feed_takes_no_more"]
    late = fleet.start({**OIDC, "maxsize": 3})
    assert all(late.known.refuses(str(number), "x", None, ONE) for number in range(10))
    assert not late.known.refuses("10", "y", 0.0, ONE)
    assert not late.known.is_precautionary("1", "x", None, ONE)


def test_more_than_fits_into_one_table_is_known_to_all(fleet: Fleet) -> None:
    """Two processes that were cut off from each other have each added as much as they could."""
    table = {**OIDC, "maxsize": 4}
    one = fleet.start(table)
    for number in range(4):
        one.known.add(session_id=f"one{number}", issuer=ONE)
    two = Process(settings_for(fleet.server), table)
    fleet.processes.append(two)
    for number in range(4):
        two.known.record(Revocation(f"two{number}", None, None, two.known.clock(), scope=ONE))
        two.feed._queue.put(Revocation(f"two{number}", None, None, two.known.clock(), scope=ONE))
    assert wait_until(lambda: two.is_live)
    sessions = [f"{name}{number}" for name in ("one", "two") for number in range(4)]
    tables = (one.known, two.known)
    assert wait_until(lambda: all(table.refuses(name, "x", None, ONE) for name in sessions for table in tables))
    assert not any(table.refuses("other", "x", 0.0, ONE) for table in tables)


@pytest.fixture(scope="module")
def lasting_server() -> Iterator[RedisServer]:
    """A server for several tests, with a stream that is old enough to be believed at once."""
    need_redis()
    with RedisServer() as running:
        options = _options(running)
        begin_long_ago(running, Settings.load(options, {}), f"feed of {options['provider'].name}")
        yield running


def _options(server: RedisServer) -> dict[str, Any]:
    """A process that starts waits for its feed for as long as the lag may be: long, for a busy machine."""
    return {
        "provider": foreign_tokens.provider(),
        "redis_url": server.url,
        "cache_secret": "a secret of the fleet, long enough",
        "max_revocation_lag": PATIENT_LAG,
    }


class TestAClientThatCannotAsk:
    """Its first request comes before its feed has read anything."""

    def client(self, server: RedisServer, how: Any) -> MoonKey:
        return MoonKey(on_feed_lost=how, **_options(server))

    def async_client(self, server: RedisServer, how: Any) -> AsyncMoonKey:
        return AsyncMoonKey(on_feed_lost=how, **_options(server))

    def lines(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {foreign_tokens.token(now=time.time(), **claims)}"}

    @pytest.mark.parametrize("how", ["local", "refuse"])
    @pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
    def test_after_a_restart_what_was_revoked_is_refused(
        self, lasting_server: RedisServer, how: str, kind: str
    ) -> None:
        server, session = lasting_server, f"ended {how} {kind}"
        ended, good = self.lines(sid=session), self.lines(sid="good")
        with self.client(server, how) as client:
            feed = client._core.feed
            assert feed is not None
            assert wait_until(lambda: feed.is_live)
            client.revocations.add(session_id=session)
            assert wait_until(lambda: feed.unsent == 0)
        redis_shared._tables.clear()  # as in another process
        redis_shared._feeds.clear()
        if kind == "blocking":
            with self.client(server, how) as client:
                found = [client.authenticate(lines) for lines in (ended, good)]
        else:
            found = asyncio.run(self.answers(server, how, ended, good))
        assert [(auth.state, auth.error and auth.error.reason) for auth in found] == [
            ("rejected", "revoked_credentials"),
            ("authenticated", None),
        ]

    async def answers(self, server: RedisServer, how: str, *lines: dict[str, str]) -> list[Auth]:
        async with self.async_client(server, how) as client:
            return [await client.authenticate(one) for one in lines]

    def test_without_redis_it_goes_on_or_refuses_as_the_settings_say(self, server: RedisServer) -> None:
        lines = self.lines()
        server.stop()
        with self.client(server, "local") as client:
            assert client.authenticate(lines).is_authenticated
        with self.client(server, "refuse") as client:
            auth = client.authenticate(lines)
            assert auth.error is not None
            assert (auth.state, auth.error.reason) == ("unavailable", "feed_refused")
