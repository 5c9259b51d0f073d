"""What one process asks of Redis, and what the reads of the stream prove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moonkey_core.redis.client import async_client
from moonkey_core.redis.reader import WakeUps
from moonkey_core.redis.stream import HistoryLost, Stream
from moonkey_core.settings import Secret
from support.feeds import MakeProcess, Process, settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

EPOCH = b"0" * 32
LAG = 1.0


def calls(server: RedisServer) -> dict[str, int]:
    found = server.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in found.items()}


def stream_of(server: RedisServer) -> bytes:
    (name,) = (
        key for key in server.client.keys("moonkey:*:feed:*") if key.count(b":") == 3 and b"epoch" not in key
    )
    assert isinstance(name, bytes)
    return name


def connections(server: RedisServer, name: str) -> list[str]:
    return [one["name"] for one in server.client.client_list() if one["name"].startswith(name)]


def has_looked_at_its_rights(server: RedisServer) -> bool:
    """Whether the last of the commands has come that only that look sends, and its connection is closed."""
    return "exec" in calls(server) and not connections(server, "moonkey-rights")


def live(*processes: Process) -> bool:
    return wait_until(lambda: all(one.is_live for one in processes))


class TestWhatItCosts:
    def test_an_idle_process_sends_three_commands_at_a_time(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        assert live(make_process(max_revocation_lag=LAG))
        assert wait_until(lambda: has_looked_at_its_rights(server))
        server.client.config_resetstat()
        began = time.monotonic()
        assert wait_until(lambda: calls(server).get("get", 0) >= 8)
        counts, seconds = calls(server), time.monotonic() - began
        beats = counts["get"]
        assert beats <= seconds / (0.4 * LAG) + 2
        sent = sum(count for name, count in counts.items() if not name.startswith(("info", "config")))
        assert sent <= 3 * beats + 12  # where a busy machine has lost the connection once, it joins again

    def test_it_holds_two_connections(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, other = make_process(), make_process()
        assert live(one, other)
        for place in range(300):
            one.known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: len(other.known) == 300 and not one.feed.unsent)
        assert len(connections(server, "moonkey-feed")) == 4


class TestWakeUps:
    def pauses(self, delay: float, gap: float, count: int = 40) -> list[float]:
        pace = WakeUps(1.0)
        return [pace.pause(100.0 + place * gap, gap, delay) for place in range(count)]

    def test_a_few_are_heard_at_once_and_then_many_together(self) -> None:
        found = self.pauses(delay=0.01, gap=0.05)
        assert found[:3] == [0.0] * 3
        assert found[-1] == pytest.approx(0.07)

    def test_in_a_small_fleet_there_is_hardly_a_pause(self) -> None:
        assert max(self.pauses(delay=0.0005, gap=0.05)) <= 0.005

    def test_nor_where_few_come(self) -> None:
        assert max(self.pauses(delay=0.02, gap=0.5)) == 0.0

    def test_what_was_there_before_says_nothing_of_the_fleet(self) -> None:
        assert max(self.pauses(delay=0.06, gap=0.05)) == 0.0

    def test_the_pause_is_a_fraction_of_the_lag(self) -> None:
        pace = WakeUps(0.1)
        assert max(pace.pause(place * 0.01, 0.01, 0.009) for place in range(99)) <= 0.1 * 0.07


class TestWhatIsProven:
    def test_a_server_that_has_lost_the_last_entry_is_told_again(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        """As after a fail-over that nobody notices: the epoch, the stream and the connection are still there."""
        one, other = make_process(), make_process()
        assert live(one, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1") and not one.feed.unsent)
        name = stream_of(server)
        ((last, _),) = server.client.xrevrange(name, count=1)
        assert server.client.xdel(name, last) == 1
        assert wait_until(lambda: server.client.xlen(name) >= 2)
        late = make_process()
        assert live(late)
        assert late.refuses("sess_1")

    def test_a_stream_that_was_replaced_within_its_epoch(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one = make_process()
        assert live(one)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: not one.feed.unsent)
        name = stream_of(server)
        with server.client.pipeline(transaction=True) as pipe:
            pipe.delete(name)
            pipe.xadd(name, {"entry": b""})
            pipe.execute()
        assert wait_until(lambda: server.client.xlen(name) >= 2)
        late = make_process()
        assert live(late)
        assert late.refuses("sess_1")

    @pytest.mark.parametrize(
        ("age", "added"), [(70, True), (70, False), (30, True), (30, False)], ids=lambda value: str(value)
    )
    def test_an_entry_that_has_grown_too_old_is_not_missed(
        self, age: int, added: bool, server: RedisServer
    ) -> None:
        """Redis was told to drop what is older than 60 seconds; whatever else is missing, it has lost."""

        async def read(client: Any) -> bool:
            now = int(time.time() * 1000)
            name = f"moonkey:test:{EPOCH.decode()}"
            await client.set("moonkey:test:epoch", EPOCH + b".%d" % now)
            await client.xadd(name, {"entry": b"one"}, id=f"{now - age * 1000}-0")
            stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
            assert [value for _, value in (await stream.read())[0]] == [b"one"]
            assert await stream.read() == ([], True)
            if added:
                await client.xadd(name, {"entry": b"two"})
            await client.xtrim(name, maxlen=int(added), approximate=False)
            try:
                values, is_complete = await stream.read()
            except HistoryLost:
                return False
            assert is_complete
            assert [value for _, value in values] == [b"two"] * added
            return True

        assert run(server, read) is (age > 60)

    def test_single_entries_may_be_dropped_once_there_are_later_ones(self, server: RedisServer) -> None:
        async def read(client: Any) -> None:
            stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
            ids = []
            for value in (b"one", b"two", b"three", b"four"):
                ids.append(await client.xadd(stream.name, {"entry": value}))
                await (stream.read() if value in {b"one", b"three"} else stream.wait(5.0))
            assert await client.xdel(stream.name, ids[0], ids[2]) == 2
            assert await stream.read() == ([], True)
            await client.xdel(stream.name, ids[3])
            with pytest.raises(HistoryLost):
                await stream.read()

        run(server, read)

    def test_what_is_waited_for_comes_once(self, server: RedisServer) -> None:
        async def read(client: Any) -> list[object]:
            stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
            assert await stream.wait(0.001) == ([], True)  # the blank entry of a new stream
            await client.xadd(stream.name, {"entry": b"one"})
            waited, _ = await stream.wait(5.0)
            await client.xadd(stream.name, {"entry": b"two"})
            values, is_complete = await stream.read()
            assert is_complete
            assert await stream.wait(0.001) == ([], False)
            return [value for _, value in (*waited, *values)]

        assert run(server, read) == [b"one", b"two"]

    def test_a_large_entry_of_a_stranger_is_fetched_once(self, server: RedisServer) -> None:
        async def read(client: Any) -> int:
            stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
            await client.xadd(stream.name, {"entry": b"x" * 1_000_000})
            for _ in range(4):
                await stream.read()
            return int((await client.info("stats"))["total_net_output_bytes"])

        assert run(server, read) < 2_000_000


def run(server: RedisServer, use: Callable[[Any], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        client = async_client(settings_for(server).redis_url or Secret(""), 10.0, 1)
        try:
            return await use(client)
        finally:
            await client.connection_pool.disconnect()

    return asyncio.run(connected())
