"""What the document on running a fleet says: these rights in Redis are enough, and each reason is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Literal

import pytest

from moonkey_core import MoonKey
from moonkey_core._plan import CountAttempt, Limit, RecordStep
from moonkey_core._reasons import ERROR_REASONS, LOG_REASONS
from moonkey_core.redis.client import check_url
from moonkey_core.redis.rights import COMMANDS as NEEDED
from moonkey_core.redis.rights import Rights
from moonkey_core.settings import Secret
from moonkey_core.settings.redis_address import redis_address
from support.certificates import make_certificate
from support.documents import block, rows
from support.feeds import Process, good, is_published, settings_for, stream_names
from support.patience import PATIENT
from support.ports import quiet_port
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.server_commands import COMMANDS
from support.stores import Store

DOCUMENT = "docs/operations.md"
LAG = 5.0  # so that a busy machine does not lose the feed
COUNT_STEPS: tuple[Literal["count", "read", "undo", "forget"], ...] = ("count", "count", "read", "undo", "forget")
RECORD_STEPS: tuple[Literal["put", "get", "drop"], ...] = ("put", "get", "drop")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as server:
        yield server


def acl() -> list[str]:
    """The command in the document."""
    return block(DOCUMENT, "acl").code.split()


def as_user(server: RedisServer) -> None:
    """Add the user of the document, and have the settings for this server name it."""
    server.client.execute_command(*acl())
    server.url = f"redis://moonkey:change-me@127.0.0.1:{server.port}/0"


def calls(server: RedisServer) -> set[str]:
    """The commands that were called, those in scripts included."""
    found = server.client.info("commandstats")
    return {name.removeprefix("cmdstat_") for name, one in found.items() if one["calls"] or one["rejected_calls"]}


def refused(server: RedisServer) -> list[str]:
    log: object = server.client.acl_log()
    return [str(one["object"]) for one in log] if isinstance(log, list) else []


@pytest.mark.long
def test_the_rights_are_enough_and_none_is_too_many(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonkey_core.redis.snapshot._SEGMENT_ENTRIES", 100)
    monkeypatch.setattr("moonkey_core.redis.snapshot._LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Rights, "check", _nothing)  # it would use each of them
    as_user(server)
    server.client.config_resetstat()
    (epoch,) = use_feed(server)
    use_store(server)
    monkeypatch.setattr("moonkey_core.redis.attempts.MAX_COUNTS", 0)
    use_store(server)
    spoil_epoch(server, epoch)
    granted = {word[1:] for word in acl() if word.startswith("+")}
    assert granted == {*NEEDED, "client|setname"}
    assert refused(server) == []
    own = {
        "acl|setuser",
        "acl|log",
        "acl",
        "config|resetstat",
        "info",
        "keys",
        "flushall",
        "ping",
        "auth",
        "hello",
    }
    assert granted - calls(server) == {"unwatch"}  # redis-py sends it where a transaction is given up
    assert calls(server) - own - granted == set()


async def _nothing(*_: object) -> None:
    """Stands for the look at the rights."""


def use_feed(server: RedisServer) -> list[bytes]:
    """Publish, read, catch up by the snapshot, come back empty, have too many entries; return the epoch's key."""
    options = {"max_revocation_lag": LAG, "max_revocations": 300}
    made = [Process(settings_for(server, **options)) for _ in range(2)]
    try:
        one, other = made
        assert wait_until(lambda: one.is_live and other.is_live)
        for number in range(250):
            one.known.add(session_id=f"sess_{number}")
        assert wait_until(lambda: all(other.refuses(f"sess_{number}") for number in range(250)))
        assert wait_until(lambda: any(name.endswith(b":snapshot") for name in server.client.keys("*")))
        made.append(Process(settings_for(server, **options)))
        assert wait_until(lambda: made[-1].is_live and made[-1].refuses("sess_249"))
        server.client.flushall()
        assert wait_until(lambda: sum(map(server.client.xlen, stream_names(server))) > 250)
        assert wait_until(lambda: one.is_live and other.is_live)
        numbers = count(1000)

        def is_tidied() -> bool:
            for number in islice(numbers, 40):
                one.known.add_session(f"sess_{number}", f"user_{number}", is_ended=True)
            return "xdel" in calls(server)

        assert wait_until(is_tidied)
        made.append(Process(settings_for(server, **options, redis_replicas=1)))
        made[-1].known.add(session_id="sess_replicated")
        assert wait_until(lambda: "wait" in calls(server))
        found: list[bytes] = server.client.keys("*:feed:epoch")
        return found
    finally:
        for process in made:
            process.feed.close()


def use_store(server: RedisServer) -> None:
    """Store a reply and a record, and count attempts."""
    for kind in ("sync", "async"):
        store = Store(kind, settings_for(server))
        store.put(good())
        assert store.get() is not None
        limits = (Limit("send", "a", 1, 60.0), Limit("sms", "app", 9, 60.0, is_of_app=True))
        for step in COUNT_STEPS:
            assert store.count(CountAttempt(step, limits, "id")) is not None
        for action in RECORD_STEPS:
            record = RecordStep(action, ("moonkey:record:a",), (b"sealed",), 60.0)
            assert not store.record(record).is_lost
        store.close()


def spoil_epoch(server: RedisServer, epoch: bytes) -> None:
    """Put something foreign in the place of the epoch: a process that starts removes it."""
    server.client.set(epoch, b"foreign")
    process = Process(settings_for(server, max_revocation_lag=LAG))
    assert wait_until(lambda: process.is_live)
    process.feed.close()


@pytest.mark.long
def test_the_app_works_with_these_rights(server: RedisServer, emulator: object) -> None:
    as_user(server)
    with MoonKey("sk_test_acl", redis_url=server.url, **PATIENT) as client:  # type: ignore[arg-type]
        assert is_published(client.revocations.add(session_id="sess_1"))


@pytest.mark.parametrize("name", ["sentinel", "cluster"])
def test_urls_of_several_servers(name: str) -> None:
    for url in block(DOCUMENT, name).code.split():
        address = redis_address(url)
        assert address.kind == name
        check_url(Secret(url))


def shown_urls() -> list[str]:
    return block(DOCUMENT, "tls").code.split()


@pytest.mark.long
def test_tls_with_a_private_authority(
    server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both, port = make_certificate(tmp_path), quiet_port()
    server.kill()
    server.start(
        *("--tls-port", str(port), "--tls-cert-file", str(both), "--tls-key-file", str(both)),
        *("--tls-ca-cert-file", str(both), "--tls-auth-clients", "optional"),
    )
    server.client.execute_command(*acl())
    for shown in shown_urls()[:2]:
        url = shown.replace("host:6379", f"127.0.0.1:{port}")
        url = re.sub(r"/etc/redis/\w+\.\w+", str(both), url)
        process = Process(settings_for(server, redis_url=url, max_revocation_lag=LAG))
        assert wait_until(lambda process=process: process.is_live), url  # type: ignore[misc]
        process.feed.close()
    unknown = Process(settings_for(server, redis_url=f"rediss://127.0.0.1:{port}/0", max_revocation_lag=LAG))
    unknown.feed.start()
    assert wait_until(lambda: "feed_lost" in {getattr(one, "reason", "") for one in caplog.records})
    assert not unknown.is_live
    unknown.feed.close()


@pytest.mark.long
def test_a_unix_socket(server: RedisServer, tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    server.kill()
    server.start("--unixsocket", str(socket))
    server.client.execute_command(*acl())
    for shown in shown_urls()[2:]:
        url = shown.replace("/run/redis/redis.sock", str(socket))
        process = Process(settings_for(server, redis_url=url, max_revocation_lag=LAG))
        assert wait_until(lambda process=process: process.is_live), url  # type: ignore[misc]
        process.feed.close()


def test_every_reason_has_something_to_do() -> None:
    found = rows(DOCUMENT, "reasons")
    named = Counter(code for row in found for code in re.findall(r"`(\w+)`", row[0]))
    assert [code for code, times in named.items() if times > 1] == []
    assert set(named) == {*LOG_REASONS, *ERROR_REASONS}
    assert all(len(row) == 2 and len(row[1].strip(" |")) > 5 for row in found)


def test_every_server_that_is_tested_is_there() -> None:
    shown = " ".join(row[0] for row in rows(DOCUMENT, "server"))
    for name in COMMANDS:
        kind = name.removesuffix("-preload").removesuffix("-forked")
        assert kind.split("-")[0].lower() in shown.lower(), name
