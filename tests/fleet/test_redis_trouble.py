"""What is wrong with Redis is one sentence, in the log and in ``health``: the cause, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from moonkey_core import MoonKey
from support.certificates import make_certificate
from support.feeds import MakeProcess, Process, good, settings_for
from support.patience import PATIENT
from support.ports import quiet_port
from support.redis_groups import Cluster, SentinelServer
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.stores import Store, keeps

pytestmark = pytest.mark.long

LAG = 5.0  # so that a busy machine does not lose the feed
PASSWORD = "hush-hush-4711"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason for a call of the store to end before its cause is known."""
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", 10.0)


def replica(stack: ExitStack, tmp_path: Path) -> str:
    primary, other = stack.enter_context(RedisServer()), stack.enter_context(RedisServer())
    other.client.replicaof("127.0.0.1", primary.port)
    assert wait_until(lambda: other.client.info("replication").get("master_link_status") == "up")
    return other.url


def replica_with_a_feed(stack: ExitStack, tmp_path: Path) -> str:
    """The stream is there, so all can be read and nothing be written."""
    primary, other = stack.enter_context(RedisServer()), stack.enter_context(RedisServer())
    process = Process(settings_for(primary, max_revocation_lag=LAG))
    stack.callback(process.feed.close)
    assert wait_until(lambda: process.is_live)
    other.client.replicaof("127.0.0.1", primary.port)
    assert wait_until(lambda: bool(other.client.keys("*:feed:epoch")))
    return other.url


def sentinel(stack: ExitStack, tmp_path: Path) -> str:
    primary = stack.enter_context(RedisServer())
    return stack.enter_context(SentinelServer(primary.port, 1)).url


def sentinel_and_a_database(stack: ExitStack, tmp_path: Path) -> str:
    return sentinel(stack, tmp_path).replace("/0", "/3")


def sentinel_of_another_service(stack: ExitStack, tmp_path: Path) -> str:
    return sentinel(stack, tmp_path).replace("redis:", "redis+sentinel:").replace("/0", "/other")


def no_sentinel(stack: ExitStack, tmp_path: Path) -> str:
    server = stack.enter_context(RedisServer())
    return server.url.replace("redis:", "redis+sentinel:").replace("/0", "/mymaster")


def wrong_database(stack: ExitStack, tmp_path: Path) -> str:
    return stack.enter_context(RedisServer()).url.replace("/0", "/99")


def cluster_node(stack: ExitStack, tmp_path: Path) -> str:
    """The keys of the feed, and of what the store is asked for, are on no more than two of three nodes."""
    cluster = stack.enter_context(Cluster())
    found = Process(settings_for(cluster, max_revocation_lag=LAG))
    stack.callback(found.feed.close)
    assert wait_until(lambda: found.is_live)
    store = Store("sync", settings_for(cluster))
    stack.callback(store.close)
    assert keeps(store)
    return next(one.url for one in cluster.nodes if not one.client.keys("moonkey:*"))


def cluster_node_and_a_database(stack: ExitStack, tmp_path: Path) -> str:
    return stack.enter_context(Cluster()).nodes[0].url.replace("/0", "/1")


def no_cluster(stack: ExitStack, tmp_path: Path) -> str:
    return stack.enter_context(RedisServer()).url.replace("redis:", "redis+cluster:")


def with_a_password(stack: ExitStack) -> RedisServer:
    server = stack.enter_context(RedisServer())
    server.client.execute_command("ACL", "SETUSER", "moonkey", "on", f">{PASSWORD}", "~*", "+@all")
    server.client.execute_command("ACL", "SETUSER", "default", "off")
    return server


def wrong_password(stack: ExitStack, tmp_path: Path) -> str:
    return with_a_password(stack).url.replace("//", f"//moonkey:{PASSWORD}0@")


def no_password(stack: ExitStack, tmp_path: Path) -> str:
    return with_a_password(stack).url


def needless_password(stack: ExitStack, tmp_path: Path) -> str:
    return stack.enter_context(RedisServer()).url.replace("//", f"//:{PASSWORD}@")


def with_tls(stack: ExitStack, tmp_path: Path) -> int:
    server, both, port = stack.enter_context(RedisServer()), make_certificate(tmp_path), quiet_port()
    server.kill()
    server.start(
        *("--tls-port", str(port), "--tls-cert-file", str(both), "--tls-key-file", str(both)),
        *("--tls-ca-cert-file", str(both), "--tls-auth-clients", "no"),
    )
    return port


def tls_is_needed(stack: ExitStack, tmp_path: Path) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{with_tls(stack, tmp_path)}/0"


def there_is_no_tls(stack: ExitStack, tmp_path: Path) -> str:
    return stack.enter_context(RedisServer()).url.replace("redis:", "rediss:")


def unknown_authority(stack: ExitStack, tmp_path: Path) -> str:
    return f"rediss://127.0.0.1:{with_tls(stack, tmp_path)}/0"


def nothing_there(stack: ExitStack, tmp_path: Path) -> str:
    return f"redis://127.0.0.1:{quiet_port()}/0"


def no_such_host(stack: ExitStack, tmp_path: Path) -> str:
    return "redis://no-such-host.invalid:6379/0"


def no_such_socket(stack: ExitStack, tmp_path: Path) -> str:
    return f"unix://{tmp_path}/none.sock"


SETUPS: dict[Callable[[ExitStack, Path], str], str] = {
    replica: "is a replica, which only reads: name the primary, or the Sentinels",
    replica_with_a_feed: "is a replica, which only reads: name the primary, or the Sentinels",
    sentinel: "for Sentinels, write redis+sentinel://host:26379/service",
    sentinel_and_a_database: "for Sentinels, write redis+sentinel://host:26379/service",
    sentinel_of_another_service: "no Sentinel of redis_url that answers knows a primary of that service",
    no_sentinel: "is a Redis server and no Sentinel: write redis:",
    wrong_database: "has no database of the number in redis_url",
    cluster_node: "is one node of a cluster, and the keys are on another one: write redis+cluster://host:port",
    cluster_node_and_a_database: "has database 0 only: write redis+cluster://host:port, without a database",
    no_cluster: "and the server is no cluster: write redis://",
    wrong_password: "refuses the user name or password of redis_url",
    no_password: "wants a password, and redis_url has none",
    needless_password: "has a password, and the server has none for that user",
    tls_is_needed: "the server speaks TLS, and redis_url does not: begin it with rediss",
    there_is_no_tls: "begins with rediss, and the server speaks no TLS on that port",
    unknown_authority: "the certificate of the server is not trusted",
    nothing_there: "nothing listens at the host and port of redis_url",
    no_such_host: "the host of redis_url is not found",
    no_such_socket: "there is no socket of that name",
}
"""Each wrong set-up, and words of its sentence."""

OF_THE_FEED = {"sentinel", "tls_is_needed", "there_is_no_tls", "replica_with_a_feed"}
"""Where the store has another sentence: it sends other commands, and finds out less as a request waits for it."""


@pytest.mark.parametrize("make", SETUPS, ids=lambda make: make.__name__)
def test_a_wrong_set_up(
    make: Callable[[ExitStack, Path], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    need_redis()
    caplog.set_level(logging.DEBUG, logger="moonkey")
    words = SETUPS[make]
    with ExitStack() as stack:
        url = make(stack, tmp_path)
        caplog.clear()
        with MoonKey("sk_test_fleet", redis_url=url, **{**PATIENT, "max_revocation_lag": LAG}) as client:  # type: ignore[arg-type]
            assert wait_until(lambda: client.health().redis_trouble is not None)
            assert wait_until(lambda: words in str(client.health().redis_trouble)), client.health().redis_trouble
        told = [one for one in caplog.records if words in one.getMessage()]
        assert {one.__dict__["reason"] for one in told} <= {"feed_lost", "redis_trouble", "redis_rights_missing"}
        assert told
        for kind in ("sync", "async"):
            caplog.clear()
            store = Store(kind, settings_for(None, redis_url=url))
            store.put(good())
            store.close()
            lost = [one.getMessage() for one in caplog.records if one.__dict__.get("reason") == "store_lost"]
            assert len(lost) == 1
            assert "Cause: " in lost[0]
            if make.__name__ not in OF_THE_FEED:
                assert words in lost[0]
    assert PASSWORD not in caplog.text


class TestNames:
    def test_connections_carry_a_name(self, make_process: MakeProcess, server: RedisServer) -> None:
        process = make_process(max_revocation_lag=LAG)
        assert wait_until(lambda: process.is_live)
        stores = [Store(kind, settings_for(server)) for kind in ("sync", "async")]
        for store in stores:
            assert keeps(store)
        names = [one["name"] for one in server.client.client_list() if one["name"]]
        assert {name.split(":")[0] for name in names} - {"moonkey-rights"} == {"moonkey-feed", "moonkey-store"}
        assert len([name for name in names if name.startswith("moonkey-store:")]) == 2
        assert all(name.isascii() and " " not in name and "@" in name for name in names)
        for store in stores:
            store.close()

    def test_without_that_right_there_is_none(self, make_process: MakeProcess, server: RedisServer) -> None:
        server.client.execute_command("ACL", "SETUSER", "named", "on", ">x", "~*", "+@all", "-client|setname")
        url = server.url.replace("//", "//named:x@")
        process = make_process(redis_url=url, max_revocation_lag=LAG)
        assert wait_until(lambda: process.is_live)
        assert process.feed.trouble is None
        for kind in ("sync", "async"):
            store = Store(kind, settings_for(server, redis_url=url))
            assert keeps(store)
            store.close()
        assert {one["name"] for one in server.client.client_list()} == {""}
