"""What a process that starts learns from the snapshot beside the stream, and that it is believed nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moonkey_core import _clock
from moonkey_core.redis.lease import Lease
from support.feeds import MakeProcess, Process, stream_names
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = [pytest.mark.long, pytest.mark.rule("S36")]

SEGMENT = 100
LAG = 5.0  # so that a busy machine does not lose the feed


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonkey_core.redis.snapshot._SEGMENT_ENTRIES", SEGMENT)
    monkeypatch.setattr("moonkey_core.redis.snapshot._LOOK_SECONDS", 0.05)


@pytest.fixture
def sender(make_process: MakeProcess) -> Process:
    process = make_process(max_revocation_lag=LAG)
    assert wait_until(lambda: process.is_live)
    return process


def add(process: Process, first: int, last: int) -> None:
    for number in range(first, last):
        process.known.add(session_id=f"sess_{number}")
    assert wait_until(lambda: process.feed.unsent == 0)


def segments(server: RedisServer) -> list[tuple[bytes, dict[bytes, bytes]]]:
    (name,) = stream_names(server)
    found: list[tuple[bytes, dict[bytes, bytes]]] = server.client.xrange(name + b":snapshot")
    return found


def calls(server: RedisServer, command: str) -> int:
    return int(server.client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def knows(process: Process, count: int) -> bool:
    assert wait_until(lambda: process.is_live)
    return all(process.refuses(f"sess_{number}") for number in range(count))


def test_it_grows_with_the_stream_and_is_read_at_the_start(
    sender: Process, make_process: MakeProcess, server: RedisServer
) -> None:
    add(sender, 0, 450)
    assert wait_until(lambda: len(segments(server)) == 4)
    (name,) = stream_names(server)
    assert 0 < server.client.pttl(name + b":snapshot") <= server.client.pttl(name) + 1000
    late = make_process(max_revocation_lag=LAG)
    late.known.add(user_id="user_2")
    assert knows(late, 450)
    worker = late.feed._worker
    assert worker.reader.last_read_at is not None
    assert wait_until(lambda: late.feed.unsent == 0)
    add(sender, 450, 700)
    assert wait_until(lambda: len(segments(server)) >= 6)
    assert knows(make_process(max_revocation_lag=LAG), 700)
    assert knows(late, 700)


def test_only_the_rest_is_read_from_the_stream(
    sender: Process, make_process: MakeProcess, monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    add(sender, 0, 450)
    assert wait_until(lambda: len(segments(server)) == 4)
    opened: list[object] = []
    monkeypatch.setattr(
        "moonkey_core.redis.reader.open_entry", _noting(opened, "moonkey_core.redis.entries", "open_entry")
    )
    assert knows(make_process(max_revocation_lag=LAG), 450)
    assert len(opened) <= 60  # 450 and the mark at the beginning are 451


def _noting(calls: list[object], module: str, name: str) -> Callable[..., object]:
    from importlib import import_module

    function = getattr(import_module(module), name)

    def noted(*arguments: object) -> object:
        calls.append(arguments)
        return function(*arguments)

    return noted


@pytest.mark.parametrize("how", ["torn", "forged", "of another place", "empty"])
def test_a_segment_that_cannot_be_opened(
    how: str, sender: Process, make_process: MakeProcess, server: RedisServer
) -> None:
    add(sender, 0, 450)
    assert wait_until(lambda: len(segments(server)) == 4)
    (name,) = stream_names(server)
    rows = segments(server)
    server.client.delete(name + b":snapshot")
    for place, (entry_id, fields) in enumerate(rows):
        sealed = fields[b"entry"]
        if place == 1:
            changed = {"torn": sealed[:-20], "forged": b"\x01" + b"x" * 200, "empty": b""}
            sealed = changed.get(how, rows[0][1][b"entry"])
        server.client.xadd(name + b":snapshot", {"entry": sealed}, id=entry_id)
    assert knows(make_process(max_revocation_lag=LAG), 450)


def test_what_is_newer_is_read_from_the_stream(
    sender: Process, make_process: MakeProcess, server: RedisServer
) -> None:
    """Redis has an old snapshot only, as where no process has added to it for long."""
    add(sender, 0, 450)
    assert wait_until(lambda: len(segments(server)) == 4)
    (name,) = stream_names(server)
    for entry_id, _ in segments(server)[1:]:
        server.client.xdel(name + b":snapshot", entry_id)
    assert knows(make_process(max_revocation_lag=LAG), 450)


def test_one_in_the_middle_is_missing(sender: Process, make_process: MakeProcess, server: RedisServer) -> None:
    add(sender, 0, 450)
    assert wait_until(lambda: len(segments(server)) == 4)
    (name,) = stream_names(server)
    for entry_id, _ in (segments(server)[0], segments(server)[2]):
        server.client.xdel(name + b":snapshot", entry_id)
    assert knows(make_process(max_revocation_lag=LAG), 450)


def test_a_stream_that_has_gone_back_in_time_is_repaired(
    sender: Process, make_process: MakeProcess, server: RedisServer
) -> None:
    """The snapshot still has what the stream has lost: it proves nothing, and what is missing is added again."""
    add(sender, 0, 401)
    assert wait_until(lambda: len(segments(server)) == 4)
    (name,) = stream_names(server)
    sent_at = _clock.elapsed()
    # It notices only the loss of what it has read.
    assert wait_until(lambda: (sender.feed.lag() or sent_at) < _clock.elapsed() - sent_at)
    lost = [entry_id for entry_id, _ in server.client.xrevrange(name, count=150)]
    server.client.xdel(name, *lost)
    assert wait_until(lambda: server.client.xlen(name) >= 402)
    server.client.delete(name + b":snapshot")
    assert knows(make_process(max_revocation_lag=LAG), 401)


def test_it_is_dropped_with_the_repeats(make_process: MakeProcess, server: RedisServer) -> None:
    one = make_process(max_revocation_lag=LAG, max_revocations=300)
    assert wait_until(lambda: one.is_live)
    add(one, 0, 250)
    (name,) = stream_names(server)
    rows = server.client.xrange(name)[1:]
    for _, fields in rows:
        server.client.xadd(name, fields)
    add(one, 250, 251)
    assert wait_until(lambda: server.client.xlen(name) < 300)
    assert knows(make_process(max_revocation_lag=LAG, max_revocations=300), 251)


def test_it_is_made_once_the_process_that_began_it_is_gone(
    sender: Process, monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    monkeypatch.setattr("moonkey_core.redis.snapshot._LEASE_SECONDS", 0.5)
    taken, acquire = list[bool](), Lease.acquire

    async def noted(self: Lease) -> bool:
        taken.append(await acquire(self))
        return taken[-1]

    monkeypatch.setattr(Lease, "acquire", noted)
    (name,) = stream_names(server)
    lease = name.rpartition(b":")[0] + b":snapshot"
    server.client.set(lease, b"of a process that is no more")
    add(sender, 0, 450)
    assert wait_until(lambda: False in taken)
    assert segments(server) == []
    server.client.delete(lease)
    assert wait_until(lambda: len(segments(server)) == 4)
