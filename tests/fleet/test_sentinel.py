"""``redis+sentinel://``: the feed and the store follow a fail-over, and what it has lost is published again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from moonkey_core.cli import main
from moonkey_core.emulator import Emulator
from support.feeds import MakeProcess, Process, is_published, settings_for
from support.patience import PATIENCE
from support.redis_groups import SentinelGroup
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.stores import Store, keeps

pytestmark = pytest.mark.long

LAG = 5.0  # so that a busy machine does not lose the feed
PASSWORD = "hush-hush-4711"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to take Redis for lost."""
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", 10.0)


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    need_redis()
    with SentinelGroup() as group:
        yield group


@pytest.fixture
def make(group: SentinelGroup) -> Iterator[MakeProcess]:
    """``make()``: one more process of the fleet behind the Sentinels."""
    with ExitStack() as stack:

        def make(**options: Any) -> Process:
            settings = settings_for(group, **{"max_revocation_lag": LAG, **options})
            process = Process(settings)
            stack.callback(process.feed.close)
            return process

        yield make


def live(*processes: Process) -> bool:
    return wait_until(lambda: all(one.is_live for one in processes))


def former_and_replica(group: SentinelGroup) -> tuple[RedisServer, RedisServer]:
    former = group.primary
    (replica,) = (one for one in group.servers if one is not former)
    return former, replica


def names(server: RedisServer) -> set[str]:
    return {one["name"].split(":")[0] for one in server.client.client_list()} & {"moonkey-feed", "moonkey-store"}


def test_a_fail_over_that_loses_what_was_published(group: SentinelGroup, make: MakeProcess) -> None:
    one, other = make(), make()
    stores = [Store(kind, settings_for(group)) for kind in ("sync", "async")]
    try:
        assert live(one, other)
        assert all(keeps(store) for store in stores)
        former, replica = former_and_replica(group)
        replica.kill()
        assert is_published(one.known.add(session_id="sess_1"))
        assert wait_until(lambda: other.refuses("sess_1"))
        former.kill()
        replica.start("--replicaof", "127.0.0.1", str(former.port))  # empty
        assert group.follows(former)
        assert live(one, other)
        late = make()
        assert live(late)
        assert late.refuses("sess_1")
        assert is_published(other.known.add(session_id="sess_2"))
        assert wait_until(lambda: one.refuses("sess_2") and late.refuses("sess_2"))
        assert all(keeps(store) for store in stores)
        assert names(replica) == {"moonkey-feed", "moonkey-store"}
        assert wait_until(lambda: one.feed.trouble is None)
    finally:
        for store in stores:
            store.close()


def test_a_fail_over_in_good_order(group: SentinelGroup, make: MakeProcess) -> None:
    one, other = make(), make(redis_replicas=1)
    assert live(one, other)
    former, replica = former_and_replica(group)
    assert is_published(other.known.add(session_id="sess_1"))
    assert wait_until(group.fail_over)
    assert group.follows(former)
    assert wait_until(lambda: "moonkey-feed" in names(replica))
    assert is_published(one.known.add(session_id="sess_2"))
    assert wait_until(lambda: other.refuses("sess_2"))
    late = make()
    assert live(late)
    assert late.refuses("sess_1")
    assert late.refuses("sess_2")


def test_a_primary_that_its_sentinels_have_replaced_is_left(
    group: SentinelGroup, make: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cut off from them, goes on answering as a primary, and no connection to it breaks."""
    monkeypatch.setattr("moonkey_core.redis.worker._FOLLOW_SECONDS", 0.1)
    process = make()
    assert live(process)
    _, replica = former_and_replica(group)
    for sentinel in group.sentinels:
        sentinel.pretend_primary(replica.port)
    replica.client.replicaof("NO", "ONE")
    assert wait_until(lambda: "moonkey-feed" in names(replica))


def test_sentinels_that_are_away_change_nothing(group: SentinelGroup, make: MakeProcess) -> None:
    one, other = make(), make()
    assert live(one, other)
    for sentinel in group.sentinels[:2]:
        sentinel.kill()
    late = make()  # asks until the third one answers
    assert live(late)
    assert is_published(one.known.add(session_id="sess_1"))
    assert wait_until(lambda: other.refuses("sess_1") and late.refuses("sess_1"))


def test_users_of_the_servers_and_of_the_sentinels() -> None:
    need_redis()
    with SentinelGroup("--user", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all") as group:
        for sentinel in group.sentinels:
            sentinel.client.execute_command("ACL", "SETUSER", "asker", "on", ">ask+me", "+sentinel|masters")
            sentinel.client.execute_command("ACL", "SETUSER", "default", "off")
        url = f"{group.url.replace('//', f'//app:{PASSWORD}@')}?sentinel_username=asker&sentinel_password="
        right, wrong = (
            Process(settings_for(group, redis_url=f"{url}{password}", max_revocation_lag=LAG))
            for password in ("ask%2Bme", "ask+me")
        )
        try:
            assert live(right)
            wrong.feed.start()
            assert wait_until(lambda: "whether sentinel_username and sentinel_password" in str(wrong.feed.trouble))
            users = {one["user"] for one in group.servers[0].client.client_list() if "moonkey" in one["name"]}
            assert users == {"app"}
            stores = [Store(kind, settings_for(group, redis_url=f"{url}ask%2Bme")) for kind in ("sync", "async")]
            assert all(keeps(store) for store in stores)
            for store in stores:
                store.close()
        finally:
            right.feed.close()
            wrong.feed.close()


def test_the_command_that_revokes(
    group: SentinelGroup,
    make: MakeProcess,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    person = emulator.sign_in()
    process = make(secret_key=emulator.secret_key, base_url=emulator.base_url)
    assert live(process)
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_REDIS_URL", group.url)
    assert main(["revoke", "--session", person.session_id, "--wait", str(PATIENCE)]) == 0
    assert capsys.readouterr().out.startswith("published:")
    assert wait_until(lambda: process.refuses(person.session_id))
