"""The rights in Redis are looked at when a process connects: what is missing is named, and the app goes on."""

from __future__ import annotations

import asyncio
import logging

import pytest

from moonkey_core.redis.rights import COMMANDS, Rights
from moonkey_core.redis.topology import FeedServer
from support.feeds import MakeProcess, Process, settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

LAG = 5.0  # so that a busy machine does not lose the feed
ROOT = "moonkey:{test}:feed"
NAMED = "redis_rights_missing"


def grant(server: RedisServer, *rights: str) -> str:
    """Give a user these rights beside all of a process's own, and return the URL of that user."""
    own = (f"+{command}" for command in COMMANDS)
    server.client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">x", "~moonkey:*", *own, *rights)
    return server.url.replace("//", "//app:x@")


def missing(server: RedisServer, url: str, replicas: int = 1) -> str:
    """What is found to be missing."""
    rights = Rights(ROOT, 10.0, replicas)
    settings = settings_for(server, redis_url=url)
    assert settings.redis_url is not None
    asyncio.run(rights.check(FeedServer(settings.redis_url, ROOT, 10.0).connect_once))
    return rights.sentence


def told(caplog: pytest.LogCaptureFixture, reason: str = NAMED) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.__dict__.get("reason") == reason]


class TestTheCheck:
    def test_nothing_is_missing_and_nothing_changed(self, server: RedisServer) -> None:
        assert missing(server, grant(server)) == ""
        assert server.client.keys("*") == []

    def test_each_command(self, server: RedisServer) -> None:
        for command in sorted(COMMANDS):
            found = missing(server, grant(server, f"-{command}"))
            refused = f"Redis refuses {command.upper()} to the user of redis_url"
            assert found == f"{refused}: grant it by ACL SETUSER, with +{command}"

    def test_several(self, server: RedisServer) -> None:
        found = missing(server, grant(server, "-xdel", "-time", "-exec"))
        assert "refuses TIME, XDEL, EXEC to" in found
        assert found.endswith("with +time +xdel +exec")

    def test_waiting_for_replicas_is_only_needed_with_them(self, server: RedisServer) -> None:
        assert missing(server, grant(server, "-wait"), replicas=0) == ""

    def test_each_kind_of_key(self, server: RedisServer) -> None:
        for kind in ("moonkey:store:*", "moonkey:record:*", "moonkey:{*", "other:*"):
            others = {"moonkey:store:*", "moonkey:record:*", "moonkey:{*"} - {kind}
            found = missing(server, grant(server, "resetkeys", *(f"~{one}" for one in others)))
            assert ("with ~moonkey:*" in found) is (kind != "other:*")

    def test_a_server_without_a_command(self, server: RedisServer) -> None:
        server.kill()
        server.start("--rename-command", "XDEL", "")
        assert missing(server, server.url) == "the server does not know XDEL: enable them, or use another server"

    def test_what_cannot_be_seen_is_no_trouble(self, server: RedisServer) -> None:
        rights = Rights(ROOT, 10.0, 0)
        settings = settings_for(server)
        assert settings.redis_url is not None
        server.kill()
        asyncio.run(rights.check(FeedServer(settings.redis_url, ROOT, 10.0).connect_once))
        assert rights.sentence == ""


class TestAProcess:
    def test_a_right_that_saves_work_only(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = grant(server, "-xdel", "-zadd")
        one, other = (make_process(redis_url=url, max_revocation_lag=LAG) for _ in range(2))
        assert wait_until(lambda: one.is_live and other.is_live)
        assert wait_until(lambda: "XDEL, ZADD" in str(one.feed.trouble))
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1"))
        assert wait_until(lambda: len(told(caplog)) == 2)  # one line of each process

    @pytest.mark.parametrize("command", ["time", "get", "xadd", "xread"])
    def test_a_right_without_which_there_is_no_feed(
        self, command: str, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = grant(server, f"-{command}", "-zpopmin")
        process = make_process(redis_url=url, max_revocation_lag=LAG)
        process.feed.start()
        assert wait_until(lambda: bool(told(caplog)) and bool(told(caplog, "feed_lost")))
        assert f"with +{command} +zpopmin" in told(caplog)[0]
        assert f"refuses {command.upper()} to" in told(caplog, "feed_lost")[0]
        assert f"refuses {command.upper()} to" in str(process.feed.trouble)
        grant(server)
        assert wait_until(lambda: process.is_live)
        assert wait_until(lambda: process.feed.trouble is None)

    def test_a_right_that_is_taken_away_later(
        self,
        make_process: MakeProcess,
        server: RedisServer,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("moonkey_core.redis.rights._CHECK_SECONDS", 0.05)
        monkeypatch.setattr("moonkey_core.redis.rights._SECONDS_WHILE_MISSING", 0.05)
        process = make_process(redis_url=grant(server), max_revocation_lag=LAG)
        assert wait_until(lambda: process.is_live)
        assert told(caplog) == []
        grant(server, "-xtrim")
        assert wait_until(lambda: "XTRIM" in str(process.feed.trouble))
        grant(server, "-xtrim", "-xadd")
        assert wait_until(lambda: "XADD, XTRIM" in str(process.feed.trouble))
        process.known.add(session_id="sess_1")
        assert wait_until(lambda: "refuses XADD to" in " ".join(told(caplog, "feed_publish_failed")))
        grant(server)
        assert wait_until(lambda: process.feed.trouble is None and not process.feed.unsent)
        assert len(told(caplog)) == 2

    def test_what_a_lease_is_refused_is_named(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="moonkey")
        first = make_process(redis_url=grant(server, "-zrangebyscore"), max_revocation_lag=LAG)
        assert wait_until(lambda: first.is_live)
        assert wait_until(lambda: any("ZRANGEBYSCORE" in one for one in told(caplog, "feed_command_refused")))


def test_a_look_at_the_rights_delays_nothing(make_process: MakeProcess, server: RedisServer) -> None:
    """It has a connection of its own, which is closed again."""
    process: Process = make_process(max_revocation_lag=LAG)
    assert wait_until(lambda: process.is_live)
    assert wait_until(lambda: "zpopmin" in str(server.client.info("commandstats")))
    assert wait_until(
        lambda: (
            [one["name"].split(":")[0] for one in server.client.client_list() if one["name"]]
            == ["moonkey-feed"] * 2
        )
    )
