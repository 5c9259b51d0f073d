"""What the doctor says of Redis: a whole one, and each fault that it may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import _clock
from moonkey_core._doctor.lines import Report
from moonkey_core.emulator import Emulator
from support.redis_server import RedisServer, need_redis
from support.secrets import assert_no_secret
from support.set_ups import report_on, wrongs

pytestmark = pytest.mark.long
LAG = 5.0  # so that a busy machine does not lose the feed


@pytest.fixture
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as running:
        yield running


@pytest.fixture
def doctor(emulator: Emulator, server: RedisServer) -> Any:
    """``doctor(url=…, **settings)``: the report on an app with this Redis."""

    def report(url: str = "", **more: Any) -> Report:
        options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
        return report_on(
            {
                **options,
                "redis_url": url or server.url,
                "max_revocation_lag": LAG,
                "publish_timeout": 10,
                **more,
            }
        )

    return report


def test_a_whole_one(doctor: Any) -> None:
    report = doctor()
    assert wrongs(report) == {}
    texts = " ".join(line.text for line in report.of("redis"))
    for said in ("noeviction", " ms (", "The clock of this machine is that of Redis"):
        assert said in texts
    assert "behind (max_revocation_lag" in report.of("feed")[0].text
    assert not [line for line in report.of("redis") if line.verdict != "ok"]


def test_it_evicts(doctor: Any, server: RedisServer) -> None:
    server.client.config_set("maxmemory", "100mb")
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    found = wrongs(doctor())
    assert found.keys() == {"redis"}
    assert "maxmemory-policy noeviction" in found["redis"]


def test_it_is_down(doctor: Any, server: RedisServer) -> None:
    server.kill()
    found = wrongs(doctor())
    assert found.keys() == {"redis"}
    assert "Nothing listens at the host and port" in found["redis"]


def test_the_password_is_wrong(doctor: Any, server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "moonkey", "on", ">right", "~*", "+@all")
    report = doctor(f"redis://moonkey:wrongwrong12345@127.0.0.1:{server.port}/0")
    assert wrongs(report).keys() == {"redis"}
    assert "refuses the user name or password" in wrongs(report)["redis"]
    assert_no_secret([report, report.to_json()], ["wrongwrong12345"])


def test_there_is_no_such_database(doctor: Any, server: RedisServer) -> None:
    found = wrongs(doctor(f"redis://127.0.0.1:{server.port}/99"))
    assert found.keys() == {"redis"}
    assert "no database of the number" in found["redis"]


def test_it_is_a_replica(doctor: Any, server: RedisServer) -> None:
    with RedisServer() as primary:
        server.client.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        assert "read-only replica" in wrongs(doctor())["redis"]


def test_it_has_too_few_replicas(doctor: Any) -> None:
    assert "redis_replicas is 1" in wrongs(doctor(redis_replicas=1))["redis"]


def test_the_clocks_differ(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = _clock.wall
    monkeypatch.setattr("moonkey_core._doctor.redis._clock.wall", lambda: wall() + 60)
    found = wrongs(doctor())
    assert {"redis", "clock"} <= found.keys()
    assert "ahead of that of Redis" in found["redis"]


def test_the_rights_of_the_document_are_enough(doctor: Any, server: RedisServer) -> None:
    from support.documents import block

    server.client.execute_command(*block("docs/operations.md", "acl").code.split())
    report = doctor(f"redis://moonkey:change-me@127.0.0.1:{server.port}/0")
    assert wrongs(report) == {}
    unseen = [line.text for line in report.of("redis") if line.verdict == "cannot be seen from here"]
    assert len(unseen) == 2  # version and eviction: the user may not run INFO


@pytest.mark.parametrize("command", ["getrange", "eval", "xtrim", "zcard"])
def test_one_command_is_refused(doctor: Any, server: RedisServer, command: str) -> None:
    server.client.execute_command(
        "ACL", "SETUSER", "almost", "on", ">almost-password", "~moonkey:*", "+@all", f"-{command}"
    )
    report = doctor(f"redis://almost:almost-password@127.0.0.1:{server.port}/0")
    assert wrongs(report).keys() == {"redis"}
    assert f"Redis refuses {command.upper()} to the user" in wrongs(report)["redis"]
    assert not server.client.keys("*check*")


def test_the_keys_are_refused(doctor: Any, server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "other", "on", ">other-password", "~other:*", "+@all")
    report = doctor(f"redis://other:other-password@127.0.0.1:{server.port}/0", max_revocation_lag=0.3)
    assert "~moonkey:*" in wrongs(report)["redis"]


def test_too_few_rights_for_the_feed(doctor: Any, server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "little", "on", ">little-password", "~*", "+time", "+get")
    report = doctor(f"redis://little:little-password@127.0.0.1:{server.port}/0", max_revocation_lag=0.3)
    assert "feed" in wrongs(report)
    assert "XADD" in wrongs(report)["redis"]
    assert "+xadd" in wrongs(report)["redis"]
    assert_no_secret([report, report.to_json()], ["little-password"])
