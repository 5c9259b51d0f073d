"""The feed over a real Redis that is cut, killed, emptied, paused and full of junk."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import weakref
from typing import Any

import pytest

from moonkey_core import ConfigurationError, Settings
from moonkey_core.events import FeedChanged
from moonkey_core.redis import RedisRevocations
from moonkey_core.redis.client import async_client
from moonkey_core.redis.stream import Stream
from moonkey_core.redis.worker import Worker
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Secret
from support.feeds import MakeProcess, Process, begin_long_ago, settings_for, stream_names
from support.patience import PATIENCE, PATIENT_LAG
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

LAG = 0.5


def all_live(*processes: Process) -> bool:
    return wait_until(lambda: all(process.is_live for process in processes))


def none_live(*processes: Process) -> bool:
    return not any(process.is_live for process in processes)


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if "reason" in record.__dict__]


class TestTelling:
    def test_all_are_told_at_once_and_in_both_directions(self, make_process: MakeProcess) -> None:
        fleet = [make_process() for _ in range(4)]
        assert all_live(*fleet)
        for place, process in enumerate(fleet):
            process.known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: all(one.refuses(f"sess_{place}") for one in fleet for place in range(4)))
        assert all_live(*fleet)

    def test_a_push_does_not_wait_for_a_beat(self, make_process: MakeProcess) -> None:
        one, other = (make_process(max_revocation_lag=60) for _ in range(2))  # a beat is 12 seconds
        for process in (one, other):
            process.feed.start()
            assert wait_until(lambda: process.feed.lag() is not None)  # noqa: B023 - called at once
        # The first epoch settles for a minute; the entries flow meanwhile.
        for session in ("sess_1", "sess_2", "sess_3"):
            one.known.add(session_id=session)
            assert wait_until(lambda: other.refuses(session))  # noqa: B023

    def test_users_and_moments(self, make_process: MakeProcess) -> None:
        one, other = make_process(), make_process()
        other.feed.start()
        now = time.time()
        one.known.add(user_id="user_é")
        one.known.add(issued_before=now - 100)
        assert wait_until(lambda: len(other.known) == 2)
        assert other.known.refuses("sess", "é", now - 1)
        assert not other.known.refuses("sess", "user_2", now - 99)
        assert other.known.refuses("sess", "user_2", now - 101)

    def test_what_was_added_before_the_start(self, make_process: MakeProcess) -> None:
        one, late = make_process(), make_process()
        one.known.add(session_id="sess_1")  # begins the feed
        assert wait_until(lambda: one.feed.lag() is not None)
        assert all_live(late)
        assert late.refuses("sess_1")

    def test_more_than_one_batch(self, make_process: MakeProcess) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        for place in range(1700):
            one.known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: len(other.known) == 1700)
        third = make_process()
        assert all_live(third)
        assert len(third.known) == 1700

    def test_taking_one_twice_changes_nothing(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1"))
        version = other.known.version
        one.known.add(session_id="sess_1")
        one.known.add(session_id="sess_2")
        assert wait_until(lambda: other.refuses("sess_2"))
        assert other.known.version == version + 1
        assert (
            server.client.xlen(stream(server)) == 4
        )  # the blank one, and nothing that was received goes out again


def stream(server: RedisServer) -> bytes:
    (name,) = stream_names(server)
    return name


@pytest.mark.rule("S36")
class TestLosing:
    @pytest.mark.parametrize("how", ["stop", "kill", "pause"])
    def test_not_live_in_time_and_back_with_everything(
        self, how: str, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="before")
        assert wait_until(lambda: other.refuses("before"))
        began = time.monotonic()
        getattr(server, how)()
        began = time.monotonic() if how == "stop" else began
        assert wait_until(lambda: none_live(one, other), LAG + 0.5)
        assert wait_until(lambda: reasons(caplog).count("feed_lost") == 2)
        one.known.add(session_id="meanwhile 1")
        other.known.add(session_id="meanwhile 2")
        assert none_live(one, other)
        server.resume() if how == "pause" else server.start()
        assert all_live(one, other)
        late = make_process()
        assert all_live(late)
        for session in ("before", "meanwhile 1", "meanwhile 2"):
            assert all(process.refuses(session) for process in (one, other, late))
        assert wait_until(lambda: reasons(caplog).count("feed_back") == 2)
        assert reasons(caplog).count("feed_lost") == 2
        changes = [event.state for event in one.heard if isinstance(event, FeedChanged)]
        assert changes == ["caught_up", "lost", "caught_up"]
        assert "sk_test" not in caplog.text
        assert "sess" not in caplog.text

    def test_never_live_longer_than_the_lag_after_the_last_word(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one = make_process()
        assert all_live(one)
        server.pause()
        began = time.monotonic()
        while one.is_live:
            read_at = one.feed._worker.reader.last_read_at  # no earlier than that of the look before
            assert read_at is not None
            assert began - read_at < LAG
            began = time.monotonic()
        server.resume()

    def test_who_found_the_memory_empty_says_what_others_began(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1"))
        one.feed.close()  # its process is gone, and with it the only one that began this entry
        server.kill()
        server.start()
        assert wait_until(lambda: none_live(other))
        assert all_live(other)
        late = make_process()
        assert all_live(late)
        assert late.refuses("sess_1")

    def test_redis_has_gone_back_in_time(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1"))
        server.client.save()
        one.known.add(session_id="sess_2")
        assert wait_until(lambda: other.refuses("sess_2"))
        one.feed.close()  # only those who heard of it know it now
        server.kill()
        server.start()  # with what was saved
        assert server.client.keys("moonkey:*:epoch")
        assert wait_until(lambda: none_live(other))
        assert all_live(other)
        late = make_process()
        assert all_live(late)
        assert late.refuses("sess_1")
        assert late.refuses("sess_2")

    def test_who_found_the_memory_empty_knew_nothing(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, other, third = make_process(), make_process(), make_process()
        assert all_live(one, other, third)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1") and third.refuses("sess_1"))
        one.feed.close()
        root = stream(server).rsplit(b":", 1)[0]
        name, now = b"0" * 32, int(time.time() * 1000)
        pipe = server.client.pipeline(transaction=True)
        pipe.flushall()
        pipe.xadd(root + b":" + name, {"entry": b""})
        pipe.set(root + b":epoch", b"%s.%d" % (name, now))
        pipe.execute()
        late = make_process()
        assert all_live(other, third, late)
        assert late.refuses("sess_1")

    @pytest.mark.parametrize("what", ["everything", "stream", "epoch"])
    def test_what_vanishes_from_a_running_server(
        self, what: str, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses("sess_1"))
        name = stream(server)
        if what == "everything":
            server.client.flushall()
        elif what == "stream":
            server.client.delete(name)
        else:
            server.client.delete(name.rsplit(b":", 1)[0] + b":epoch")
        # It takes the loss of the whole history for what it is, and says it again.
        assert wait_until(lambda: none_live(one, other))
        assert all_live(one, other)
        late = make_process()
        assert all_live(late)
        assert late.refuses("sess_1")

    def test_a_memory_that_has_just_begun_is_not_believed_yet(self, make_process: MakeProcess) -> None:
        one = make_process(max_revocation_lag=2)  # others may still have to say again what was lost
        one.feed.start()
        assert wait_until(lambda: one.feed.lag() is not None)
        assert none_live(one)
        assert all_live(one)
        late = make_process(max_revocation_lag=2)
        late.feed.start()
        assert wait_until(lambda: late.feed.lag() is not None)
        reader = late.feed._worker.reader
        assert reader.last_read_at is not None
        assert reader.last_read_at >= reader.trusted_from  # the memory is old enough by then
        assert all_live(late)

    def test_nor_one_that_may_be_another_after_a_cut(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process(max_revocation_lag=2)
        assert all_live(one)
        reader = one.feed._worker.reader
        began = time.monotonic()
        server.client.client_kill_filter(_type="normal", skipme=True)
        cut_at = time.monotonic()

        def heard_at() -> float:
            assert reader.last_read_at is not None
            return reader.last_read_at

        assert wait_until(lambda: heard_at() > cut_at)
        assert reader.trusted_from >= began + 2
        assert reader.live_until <= cut_at + 2 or heard_at() >= reader.trusted_from
        assert wait_until(lambda: one.feed.caught_up(cut_at + 4))

    def test_nothing_is_said_twice_after_a_mere_cut(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        assert all_live(one)
        for place in range(20):
            one.known.add(session_id=f"sess_{place}")
        name = stream(server)
        assert wait_until(lambda: server.client.xlen(name) == 21)
        server.client.client_kill_filter(_type="normal", skipme=True)
        one.known.add(session_id="sess_20")
        assert wait_until(lambda: server.client.xlen(name) == 22)
        assert all_live(one)
        assert server.client.xlen(name) == 22

    def test_redis_is_not_there_at_the_start(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.kill()
        one = make_process()
        one.known.add(session_id="early")
        assert not one.is_live
        assert one.feed.lag() is None
        assert wait_until(lambda: "feed_lost" in reasons(caplog))
        server.start()
        assert all_live(one)
        late = make_process()
        assert all_live(late)
        assert late.refuses("early")
        assert reasons(caplog).count("feed_lost") == 1

    def test_a_server_that_takes_nothing_in(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = make_process(max_revocation_lag=4), make_process(max_revocation_lag=4)
        assert all_live(one, other)
        server.client.config_set("maxmemory-policy", "noeviction")
        server.client.config_set("maxmemory", "1")
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: "feed_publish_failed" in reasons(caplog))
        assert not other.refuses("sess_1")
        server.client.config_set("maxmemory", "0")
        assert wait_until(lambda: other.refuses("sess_1"))
        assert reasons(caplog).count("feed_publish_failed") == 1
        assert all_live(one, other)

    def test_a_server_that_stays_full_is_believed_by_nobody(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = make_process(max_revocation_lag=2), make_process(max_revocation_lag=2)
        assert all_live(one, other)
        server.client.config_set("maxmemory-policy", "noeviction")
        server.client.config_set("maxmemory", "1")
        one.known.add(session_id="sess_1")
        assert one.feed.unsent == 1
        assert wait_until(lambda: none_live(one, other))
        assert caplog.text.count("publishing still fails (OutOfMemoryError)") == 1
        assert not other.refuses("sess_1")  # so it asks the API
        assert wait_until(lambda: reasons(caplog).count("feed_lost") >= 2)
        assert wait_until(lambda: "raise maxmemory" in str(one.feed.trouble))
        assert not wait_until(lambda: one.is_live or other.is_live, 3)
        server.client.config_set("maxmemory", "0")
        assert all_live(one, other)
        assert other.refuses("sess_1")
        assert wait_until(lambda: one.feed.unsent == 0)
        assert wait_until(lambda: one.feed.trouble is None)
        assert reasons(caplog).count("feed_publish_failed") == 1
        assert reasons(caplog).count("feed_given_up") == 1

    def test_a_server_without_its_replicas_is_trouble_while_it_refuses_entries(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one = make_process(max_revocation_lag=2)
        assert all_live(one)
        server.client.config_set("min-replicas-to-write", "1")
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: none_live(one))
        assert wait_until(lambda: "min-replicas-to-write" in str(one.feed.trouble))
        server.client.config_set("min-replicas-to-write", "0")
        assert wait_until(lambda: one.feed.unsent == 0)
        assert wait_until(lambda: one.feed.trouble is None)


class TestStrangers:
    def test_large_entries_are_fetched_a_few_at_a_time(self, server: RedisServer) -> None:
        async def read() -> list[tuple[int, bool]]:
            client = async_client(settings_for(server).redis_url or Secret(""), 5.0, 1)
            stream = await Stream.join(client, "moonkey:test", 5.0, 60.0)
            for place in range(120):
                await client.xadd(stream.name, {"entry": b"%d" % place + b"x" * 100_000})
            reads = [await stream.read() for _ in range(3)]
            await client.connection_pool.disconnect()
            return [(len(values), complete) for values, complete in reads]

        assert asyncio.run(read()) == [(49, False), (50, False), (21, True)]  # one is the blank one

    @pytest.mark.rule("S37")
    def test_entries_under_another_secret_are_skipped(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = make_process()
        stranger = make_process(secret_key="sk_test_stranger")
        assert all_live(one, stranger)
        stranger.known.add(session_id="sess_1")
        streams = stream_names(server)
        assert len(streams) == 2  # they do not even meet
        assert wait_until(lambda: sum(server.client.xlen(name) for name in streams) == 3)
        rows = {name: server.client.xrange(name) for name in streams}
        (sealed,) = (fields[b"entry"] for found in rows.values() for _, fields in found if fields[b"entry"] != b"")
        for name in streams:
            server.client.xadd(name, {"entry": sealed})
        one.known.add(session_id="sess_2")
        assert wait_until(lambda: reasons(caplog).count("feed_foreign_entry") >= 1)
        assert not one.refuses("sess_1")
        assert all_live(one)

    def test_other_environments_do_not_meet(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process(cache_secret="c" * 16)
        same = make_process(cache_secret="c" * 16, secret_key="sk_test_rolled_over")
        other = make_process(cache_secret="c" * 16, base_url="https://api.example.com")
        assert all_live(one, same, other)
        one.known.add(session_id="sess_1")
        assert wait_until(lambda: same.refuses("sess_1"))
        assert not other.refuses("sess_1")

    @pytest.mark.rule("S37")
    def test_a_flood_of_junk(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = make_process(), make_process()
        assert all_live(one, other)
        one.known.add(session_id="before")
        name = stream(server)
        junk: list[Any] = [{"entry": b"x" * size} for size in (1, 30, 5000)] + [{"other": "field"}]
        pipe = server.client.pipeline(transaction=False)
        for place in range(3000):
            pipe.xadd(name, junk[place % len(junk)])
        pipe.execute()
        one.known.add(session_id="after")
        assert wait_until(lambda: other.refuses("after"))
        late = make_process()
        assert all_live(one, other, late)
        assert late.refuses("before")
        assert late.refuses("after")
        assert reasons(caplog).count("feed_foreign_entry") == 3  # once each

    def test_a_broken_epoch_is_replaced(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        assert all_live(one)
        one.known.add(session_id="sess_1")
        epoch = stream(server).rsplit(b":", 1)[0] + b":epoch"
        server.client.set(epoch, "junk")
        assert wait_until(lambda: server.client.get(epoch) != b"junk")
        assert all_live(one)
        late = make_process()
        assert all_live(late)
        assert late.refuses("sess_1")

    @pytest.mark.rule("S37")
    def test_nothing_readable_lies_in_redis(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        assert all_live(one)
        one.known.add(session_id="sess_visible")
        one.known.add(user_id="user_visible")
        name = stream(server)
        assert wait_until(lambda: server.client.xlen(name) == 3)
        everything = repr([server.client.xrange(name), server.client.keys()])
        assert "visible" not in everything
        assert "sk_test" not in everything


class TestBounds:
    @pytest.mark.rule("S35")
    def test_a_stream_that_grows_too_long_becomes_one_entry(
        self, make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = make_process(max_revocations=300)
        other = make_process(max_revocations=300)
        assert all_live(one, other)
        name = stream(server)
        for turn in range(8):
            for place in range(100):
                one.known.add(session_id=f"sess_{turn}_{place}")
            assert wait_until(lambda: one.feed._queue.is_empty)
        assert server.client.xlen(name) <= 2 * 300 + 100
        assert "feed_full" in reasons(caplog)
        late = make_process(max_revocations=300)
        assert all_live(late)
        assert all(late.known.refuses(f"sess_{turn}_7", "user_1", time.time() - 1) for turn in range(8))

    @pytest.mark.rule("S35")
    @pytest.mark.parametrize("is_one_user", [True, False])
    def test_ended_sessions_make_way_in_it_and_nothing_else_does(
        self,
        make_process: MakeProcess,
        server: RedisServer,
        caplog: pytest.LogCaptureFixture,
        is_one_user: bool,
    ) -> None:
        # A call that a busy machine makes late must not end the connection amid the shortening of the stream.
        options: dict[str, Any] = {"max_revocations": 60, "max_revocation_lag": PATIENT_LAG}
        begin_long_ago(server, settings_for(server, **options))
        one, other = make_process(**options), make_process(**options)
        assert all_live(one, other)
        name = stream(server)
        one.known.add(session_id="mine")
        one.known.add(user_id="user_gone")
        for turn in range(10):
            for place in range(30):
                user = "user_1" if is_one_user else f"user_{turn}_{place}"
                for is_ended in (False, True):
                    one.known.add_session(f"sess_{turn}_{place}", user, is_ended=is_ended)
            assert wait_until(lambda: one.feed._queue.is_empty)
        assert server.client.xlen(name) <= 2 * 60 + 60
        assert "feed_overflow" in reasons(caplog)
        assert "feed_full" not in reasons(caplog)
        late = make_process(**options)
        assert all_live(late)
        before = time.time() - 60
        people = [(f"sess_{turn}_7", "user_1" if is_one_user else f"user_{turn}_7") for turn in range(10)]
        for process in (one, other, late):
            known = process.known

            def knows_all(known: Revocations = known) -> bool:
                asks = [known.needs_introspection(*person, before, before) for person in people]
                refuses = [known.refuses(*person, before) for person in people]
                return all(map(any, zip(asks, refuses, strict=True))) and known.refuses("any", "user_gone", before)

            assert wait_until(knows_all)
            assert known.refuses("mine", "user_2", before)
            assert not known.refuses("any", "user_2", before)
            assert known.needs_introspection("any", "user_2", before, before) is not is_one_user

    def test_what_is_past_its_time_is_dropped(
        self, make_process: MakeProcess, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("moonkey_core.redis.worker._MIN_RETENTION", 2.0)
        one = make_process(jwt_max_age=1, leeway=0, max_revocation_lag=0.2)
        assert all_live(one)
        name = stream(server)
        for place in range(400):
            one.known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: server.client.xlen(name) == 401)
        (added, _), *_ = server.client.xrevrange(name, count=1)
        passed = int(added.split(b"-")[0]) + 2000
        assert wait_until(lambda: server.client.time()[0] * 1000 > passed)
        one.known.add(session_id="sess_late")
        assert wait_until(lambda: server.client.xlen(name) < 110)  # whole nodes of it are dropped
        assert 0 < server.client.pttl(name) <= 2000
        assert all_live(one)

    def test_more_than_can_wait_is_said_from_what_is_kept(
        self, make_process: MakeProcess, server: RedisServer
    ) -> None:
        one, other = make_process(max_revocations=50), make_process(max_revocations=50)
        assert all_live(one, other)
        server.pause()
        for place in range(120):
            one.known.add(session_id=f"sess_{place}")
        server.resume()
        now = time.time()
        assert wait_until(lambda: all(other.known.refuses(f"sess_{n}", "u", now - 5) for n in range(120)))


class TestLifetimes:
    def test_starts_at_first_use_and_once(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        assert not one.feed.caught_up(time.monotonic())
        assert server.client.info("clients")["connected_clients"] == 1
        for _ in range(3):
            one.feed.start()
        assert wait_until(lambda: one.feed.caught_up(time.monotonic()))
        assert server.client.info("clients")["connected_clients"] <= 1 + 3
        assert "lag=0." in repr(one.feed)

    def test_closed_by_the_last_user(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        one.feed.acquire()
        assert all_live(one)
        thread = one.feed._worker._thread
        one.feed.release()
        assert all_live(one)
        assert thread.is_alive()
        one.feed.release(one.hooks)
        assert not one.is_live
        assert wait_until(lambda: not thread.is_alive())
        assert wait_until(lambda: server.client.info("clients")["connected_clients"] == 1)
        one.feed.close()
        one.feed.acquire()
        assert all_live(one)

    def test_what_is_said_last_still_goes_out(
        self, make_process: MakeProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("moonkey_core.redis.worker._LAST_PUBLISH_TIMEOUT", PATIENCE)
        one, other = make_process(), make_process()
        assert all_live(other)
        one.known.add(session_id="sess_1")
        one.feed.close()
        assert wait_until(lambda: other.refuses("sess_1"))

    def test_closing_does_not_hang_with_redis(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, idle = make_process(), make_process()
        assert all_live(one, idle)
        server.pause()
        one.known.add(session_id="sess_1")
        for process in (one, idle):
            thread = process.feed._worker._thread
            process.feed.close()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert not process.is_live
        server.resume()

    def test_dropped_without_closing(self, server: RedisServer) -> None:
        process = Process(settings_for(server))
        assert all_live(process)
        thread = process.feed._worker._thread
        known = process.known
        gone = weakref.ref(process.feed)
        del process
        gc.collect()
        assert gone() is None
        assert wait_until(lambda: not thread.is_alive())
        assert known.listeners == ()

    def test_a_thread_that_cannot_be_had(self, make_process: MakeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        one = make_process()
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "start", lambda self: False)
            assert not one.is_live
        assert all_live(one)


class TestSettings:
    def test_without_an_address(self) -> None:
        settings = Settings.load({"secret_key": "sk_test_x"}, {})
        with pytest.raises(ConfigurationError, match="MOONKEY_REDIS_URL"):
            RedisRevocations(settings, Revocations(retention=1))

    @pytest.mark.parametrize(
        "url", ["redis://h:notaport/0", "redis://h/?ssl_min_version=x", "redis://h/?no_such_option=1"]
    )
    def test_a_wrong_address_is_not_shown(self, url: str) -> None:
        options = {"secret_key": "sk_test_x", "redis_url": url.replace("h", "u:hushhush@h", 1)}
        with pytest.raises(ConfigurationError, match="MOONKEY_REDIS_URL") as caught:
            RedisRevocations(Settings.load(options, {}), Revocations(retention=1))
        assert "hushhush" not in repr((caught.value, caught.value.__context__, caught.value.__cause__))

    def test_log_level_of_what_is_lost(self, make_process: MakeProcess, server: RedisServer, caplog: Any) -> None:
        one = make_process()
        assert all_live(one)
        server.kill()
        assert wait_until(lambda: bool(caplog.records))
        assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_nobody_will_be_told_any_more_is_logged(
    make_process: MakeProcess, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    one = make_process()
    assert all_live(one)
    server.kill()
    one.known.add(session_id="sess_1")
    one.feed.close()
    assert reasons(caplog).count("feed_ended_unsent") == 1
