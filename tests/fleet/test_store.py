"""The store over a real Redis: what is kept, how long, for whom; and that losing it is never an error."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, Settings
from moonkey_core._plan import Reply
from moonkey_core.redis import AsyncRedisStore, RedisStore
from moonkey_core.redis import store as store_module
from support.feeds import BODY, PLACE, clean, good, settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.stores import Store
from support.together import together

MakeStore = Callable[..., Store]


@pytest.fixture(params=["sync", "async"])
def make_store(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[MakeStore]:
    made: list[Store] = []

    def make(**options: Any) -> Store:
        made.append(Store(request.param, settings_for(server, **options)))
        return made[-1]

    yield make
    for store in made:
        store.close()


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if "reason" in record.__dict__]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to take Redis for lost."""
    monkeypatch.setattr(store_module, "TIMEOUT", 10.0)


@pytest.mark.usefixtures("patient")
class TestKeeping:
    def test_what_one_puts_another_gets(self, make_store: MakeStore) -> None:
        one, other = make_store(), make_store()
        reply = good()
        assert other.get() is None
        one.put(reply)
        found = other.get()
        assert found == Reply(200, {}, clean(BODY), asked_at=reply.asked_at, from_store=True)
        assert other.get(replace(PLACE, name="another")) is None

    def test_one_round_trip(self, make_store: MakeStore, server: RedisServer) -> None:
        store = make_store()
        store.put(good())
        server.client.config_resetstat()
        store.get()
        calls = {name: stats["calls"] for name, stats in server.client.info("commandstats").items()}
        assert [name for name in calls if "getrange" in name or name == "cmdstat_get"] == ["cmdstat_getrange"]
        assert calls["cmdstat_getrange"] == 1

    @pytest.mark.rule("S37")
    def test_nothing_readable_lies_in_redis(self, make_store: MakeStore, server: RedisServer) -> None:
        store = make_store()
        store.put(good())
        (key,) = server.client.keys()
        everything = key + server.client.get(key)
        for visible in (b"session_secret", b"sess_visible", PLACE.name.encode(), b"sk_test"):
            assert visible not in everything

    def test_only_for_what_is_left_of_its_time(self, make_store: MakeStore, server: RedisServer) -> None:
        store = make_store()
        store.put(good(asked_at=time.time() - 20))
        (key,) = server.client.keys()
        assert 5_000 < server.client.pttl(key) <= 10_000
        assert store.get() is not None
        assert store.get(replace(PLACE, max_age=15.0)) is None  # who wants it younger

    @pytest.mark.parametrize(
        "wrong",
        [
            {"status": 201},
            {"status": 401},
            {"asked_at": 0.0},
            {"asked_at": time.time() + 3600},
            {"from_store": True},
            {"body": b"x" * (512 * 1024 + 1)},
        ],
    )
    def test_what_is_not_kept(self, wrong: Any, make_store: MakeStore, server: RedisServer) -> None:
        make_store().put(good(**wrong))
        assert server.client.keys() == []

    @pytest.mark.rule("S37")
    def test_what_cannot_be_cleaned_is_not_kept(self, make_store: MakeStore, server: RedisServer) -> None:
        def fail(_: bytes) -> bytes:
            raise ValueError

        make_store().put(good(), replace(PLACE, clean=fail))
        assert server.client.keys() == []

    def test_a_large_key_set(self, make_store: MakeStore) -> None:
        store = make_store()
        body = b"k" * (512 * 1024)
        store.put(good(body))
        found = store.get()
        assert found is not None
        assert found.body == body


@pytest.mark.rule("S37")
class TestStrangers:
    def test_other_secrets_and_environments_do_not_meet(self, make_store: MakeStore) -> None:
        make_store().put(good())
        assert make_store(secret_key="sk_test_stranger").get() is None
        assert make_store(base_url="https://api.example.com").get() is None
        assert make_store(cache_secret="c" * 16).get() is None

    def test_a_value_moved_or_made_up(self, make_store: MakeStore, server: RedisServer) -> None:
        store = make_store()
        store.put(good())
        (key,) = server.client.keys()
        sealed = server.client.get(key)
        store.put(good(), replace(PLACE, name="another"))
        (another,) = set(server.client.keys()) - {key}
        for value in (sealed, b"", b"junk", sealed[:-1], sealed + b"\x00", b"\x01" * 1_000_000):
            server.client.set(another, value)
            assert store.get(replace(PLACE, name="another")) is None
        assert store.get() is not None

    def test_a_key_of_another_type_is_no_error(self, make_store: MakeStore, server: RedisServer) -> None:
        store = make_store()
        store.put(good())
        (key,) = server.client.keys()
        server.client.delete(key)
        server.client.rpush(key, "x")
        assert store.get() is None


class TestLosing:
    @pytest.mark.long
    @pytest.mark.parametrize("how", ["kill", "pause"])
    def test_is_no_error_and_passes(
        self, how: str, make_store: MakeStore, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = make_store()
        store.put(good())
        assert store.get() is not None
        getattr(server, how)()
        for _ in range(3):
            assert store.get() is None
            store.put(good())
        assert reasons(caplog) == ["store_lost"]
        server.resume() if how == "pause" else server.start()

        def back() -> bool:
            store.put(good())
            return store.get() is not None

        assert wait_until(back)
        assert reasons(caplog) == ["store_lost", "store_back"]
        assert "sess" not in caplog.text

    def test_while_it_is_lost_nobody_waits(
        self, make_store: MakeStore, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = make_store()
        store.put(good())
        clock = [1000.0]
        store.store._availability = store_module.Availability(lambda: clock[0])
        server.kill()
        assert store.get() is None
        server.start()
        clock[0] += 0.999
        store.put(good())
        assert server.client.keys() == []  # not even tried
        clock[0] += 0.001
        store.put(good())
        assert len(server.client.keys()) == 1

    def test_it_was_never_there(self, make_store: MakeStore, server: RedisServer) -> None:
        server.kill()
        assert make_store().get() is None


class TestAvailability:
    def test_one_tries_for_all(self, caplog: pytest.LogCaptureFixture) -> None:
        now = [0.0]
        availability = store_module.Availability(lambda: now[0])
        with caplog.at_level(logging.INFO, "moonkey"):
            assert all(availability.allows_call() for _ in range(3))
            availability.failed(OSError("session_secret"))
            availability.failed(OSError())
            assert not availability.allows_call()
            now[0] += 1.0
            assert together(8, lambda _: availability.allows_call()).count(True) == 1
            now[0] += 1.0
            assert availability.allows_call()
            availability.succeeded()
            availability.succeeded()
            assert all(availability.allows_call() for _ in range(3))
        assert reasons(caplog) == ["store_lost", "store_back"]
        assert "session_secret" not in caplog.text


@pytest.mark.usefixtures("patient")
class TestThreadsLoopsAndTasks:
    def test_many_threads(self, server: RedisServer) -> None:
        store = RedisStore(settings_for(server))
        store.put(PLACE, good())
        found = together(32, lambda _: [store.get(PLACE) is not None for _ in range(20)])
        assert all(all(each) for each in found)
        assert server.client.info("clients")["connected_clients"] <= 1 + 8
        store.close()
        store.close()

    def test_many_tasks_and_cancelled_ones(self, server: RedisServer) -> None:
        async def work() -> None:
            store = AsyncRedisStore(settings_for(server))
            await store.put(PLACE, good())
            for turn in range(30):
                asked = [asyncio.create_task(store.get(PLACE)) for _ in range(10)]
                for _ in range(turn % 10):
                    await asyncio.sleep(0)
                cancelled = [task for task in asked[::2] if task.cancel()]
                results = await asyncio.gather(*asked, return_exceptions=True)
                assert all(isinstance(result, Reply) for result in results[1::2])
                assert all(task.cancelled() for task in cancelled)  # it is never swallowed
            assert server.client.info("clients")["connected_clients"] <= 1 + 8
            await store.aclose()
            await store.aclose()

        asyncio.run(work())

    def test_each_loop_has_its_own_connections_and_closes_them(self, server: RedisServer) -> None:
        store = AsyncRedisStore(settings_for(server))

        async def used() -> bool:
            await store.put(PLACE, good())
            return await store.get(PLACE) is not None

        for _ in range(3):
            assert asyncio.run(used())
        assert wait_until(lambda: server.client.info("clients")["connected_clients"] == 1)


class TestSettings:
    @pytest.mark.parametrize("kind", [RedisStore, AsyncRedisStore])
    def test_without_an_address(self, kind: Any) -> None:
        with pytest.raises(ConfigurationError, match="MOONKEY_REDIS_URL"):
            kind(Settings.load({"secret_key": "sk_test_x"}, {}))


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    st.one_of(
        st.none(),
        st.integers(),
        st.text(),
        st.booleans(),
        st.floats(),
        st.binary(),
        st.lists(st.binary(), max_size=2),
    )
)
def test_whatever_redis_says_is_no_error(said: object) -> None:
    assert (
        store_module.StoreSerializer(Settings.load({"secret_key": "sk_test_x"}, {})).deserialize(PLACE, said)
        is None
    )


@pytest.mark.rule("S34")
@settings(deadline=None, derandomize=True, max_examples=80)
@given(age=st.floats(-100, 100), max_age=st.floats(0, 60), later=st.floats(-100, 100), junk=st.binary(max_size=40))
def test_no_answer_is_older_than_asked_for(age: float, max_age: float, later: float, junk: bytes) -> None:
    now = [1000.0]
    serializer = store_module.StoreSerializer(Settings.load({"secret_key": "sk_test_x"}, {}), lambda: now[0])
    policy = replace(PLACE, max_age=max_age)
    serialized = serializer.serialize(policy, good(asked_at=now[0] - age))
    assert serializer.deserialize(policy, junk) is None
    if serialized is None:
        assert age > max_age - 0.0011 or age < -4.9
        return
    assert 0 < serialized.ttl_ms <= (max_age + 5) * 1000
    now[0] += later
    reply = serializer.deserialize(policy, serialized.sealed)
    assert (reply is not None) == (-5 <= now[0] - (1000.0 - age) <= max_age)
