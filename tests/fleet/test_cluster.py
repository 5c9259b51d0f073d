"""``redis+cluster://``: the feed talks to the node that has its keys, wherever they move; the store to all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from moonkey_core._plan import CountAttempt, Limit, RecordStep, StorePolicy
from support.documents import block
from support.feeds import PLACE, MakeProcess, Process, good, is_published, settings_for, stream_names
from support.redis_groups import Cluster
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.stores import Store, keeps

pytestmark = pytest.mark.long

LAG = 5.0  # so that a busy machine does not lose the feed
LIMITS = (Limit("send", "a", 9, 60.0), Limit("sms", "app", 9, 60.0, is_of_app=True))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to take Redis for lost."""
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", 10.0)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    need_redis()
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def make(cluster: Cluster) -> Iterator[MakeProcess]:
    """``make()``: one more process of the fleet."""
    with ExitStack() as stack:

        def make(**options: Any) -> Process:
            process = Process(settings_for(cluster, **{"max_revocation_lag": LAG, **options}))
            stack.callback(process.feed.close)
            return process

        yield make


def live(*processes: Process) -> bool:
    return wait_until(lambda: all(one.is_live for one in processes))


def node_of_the_feed(cluster: Cluster) -> RedisServer:
    """The only node that has the stream."""
    (found,) = (one for one in cluster.nodes if one.is_running and stream_names(one))
    return found


def test_publishing_and_catching_up(cluster: Cluster, make: MakeProcess) -> None:
    one, other = make(), make()
    assert live(one, other)
    for number in range(50):
        one.known.add(session_id=f"sess_{number}")
    assert wait_until(lambda: all(other.refuses(f"sess_{number}") for number in range(50)))
    late = make()
    assert live(late)
    assert all(late.refuses(f"sess_{number}") for number in range(50))
    assert wait_until(lambda: one.feed.trouble is None)


def claims(store: Store, place: StorePolicy) -> bool:
    return store.claim(place, b"token") == "held"


def records(store: Store, key: str) -> bool:
    return not store.record(RecordStep("put", (key,), (b"sealed",), 60.0)).is_lost


def counts(store: Store) -> bool:
    return store.count(CountAttempt("count", LIMITS, "id")) is not None


def test_the_store_on_all_nodes(cluster: Cluster) -> None:
    for kind in ("sync", "async"):
        store = Store(kind, settings_for(cluster))
        for number in range(24):
            place = replace(PLACE, name=f"{kind}{number:012x}")
            assert keeps(store, place)
            assert wait_until(partial(claims, store, place))
            assert wait_until(partial(records, store, f"moonkey:record:{kind}{number}"))
        assert wait_until(partial(counts, store))
        store.close()
    assert all(one.client.keys("moonkey:store:*") for one in cluster.nodes)


def test_a_slot_that_moves(cluster: Cluster, make: MakeProcess) -> None:
    one, other = make(), make()
    stores = [Store(kind, settings_for(cluster)) for kind in ("sync", "async")]
    try:
        assert live(one, other)
        assert all(wait_until(partial(counts, store)) for store in stores)
        assert is_published(one.known.add(session_id="sess_1"))
        source = node_of_the_feed(cluster)
        target = next(node for node in cluster.nodes if node is not source)
        for slot in {cluster.slot_of(key) for key in source.client.keys("moonkey:*")}:
            cluster.move(slot, source, target)
        assert wait_until(lambda: node_of_the_feed(cluster) is target)
        assert is_published(one.known.add(session_id="sess_2"))
        assert wait_until(lambda: other.refuses("sess_2"))
        late = make()
        assert live(late, one, other)
        assert late.refuses("sess_1")
        assert late.refuses("sess_2")
        assert all(keeps(store) for store in stores)
        assert all(wait_until(partial(counts, store)) for store in stores)
    finally:
        for store in stores:
            store.close()


def test_a_node_that_dies_and_its_replica(cluster: Cluster, make: MakeProcess) -> None:
    one, other = make(), make()
    assert live(one, other)
    primary = node_of_the_feed(cluster)
    replica = cluster.add_replica(primary)
    assert is_published(one.known.add(session_id="sess_1"))
    primary.kill()
    assert is_published(other.known.add(session_id="sess_2"))
    assert wait_until(lambda: one.refuses("sess_2"))
    late = make()
    assert live(late, one, other)
    assert late.refuses("sess_1")
    assert stream_names(replica)
    store = Store("sync", settings_for(cluster))
    assert keeps(store)
    store.close()


def test_a_user_with_the_rights_of_the_document(cluster: Cluster) -> None:
    """And those that finding the nodes needs."""
    rights = (*block("docs/operations.md", "acl").code.split(), "+cluster|slots", "+command")
    for node in cluster.nodes:
        node.client.execute_command(*rights)
    url = cluster.url.replace("//", "//moonkey:change-me@")
    settings = settings_for(cluster, redis_url=url, max_revocation_lag=LAG)
    process = Process(settings)
    try:
        assert live(process)
        assert wait_until(lambda: process.feed.trouble is None)
        for kind in ("sync", "async"):
            store = Store(kind, settings)
            assert keeps(store)
            store.put(good())
            store.close()
    finally:
        process.feed.close()
