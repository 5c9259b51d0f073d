"""A Redis that refuses the commands which only save work: the feed goes on without them, and the log says so."""

from __future__ import annotations

import pytest

from support.feeds import MakeProcess
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

LAG = 5.0  # so that a busy machine does not lose the feed


def forbid(server: RedisServer, *commands: str) -> None:
    server.client.execute_command("ACL", "SETUSER", "default", *(f"-{command}" for command in commands))


def reasons(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {getattr(record, "reason", "") for record in caplog.records}


def test_what_processes_share_work_by(
    make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    forbid(server, "zadd", "zrangebyscore", "zrem", "xdel")
    one, other = (make_process(max_revocation_lag=LAG) for _ in range(2))
    assert wait_until(lambda: one.is_live and other.is_live)
    one.known.add(session_id="sess_1")
    assert wait_until(lambda: other.refuses("sess_1"))
    late = make_process(max_revocation_lag=LAG)
    assert wait_until(lambda: late.is_live)
    assert late.refuses("sess_1")
    assert "feed_command_refused" in reasons(caplog)


def test_the_snapshot(
    make_process: MakeProcess,
    server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moonkey_core.redis.snapshot._SEGMENT_ENTRIES", 100)
    monkeypatch.setattr("moonkey_core.redis.snapshot._LOOK_SECONDS", 0.05)
    forbid(server, "xrevrange", "xrange")
    one = make_process(max_revocation_lag=LAG)
    assert wait_until(lambda: one.is_live)
    for number in range(250):
        one.known.add(session_id=f"sess_{number}")
    assert wait_until(lambda: one.feed.unsent == 0)
    assert wait_until(lambda: "feed_snapshot_failed" in reasons(caplog))
    late = make_process(max_revocation_lag=LAG)
    assert wait_until(lambda: late.is_live)
    assert all(late.refuses(f"sess_{number}") for number in range(250))
