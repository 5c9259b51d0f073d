"""While Redis is away it is tried again and again: less and less often, and in time when it is back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import takewhile

import pytest

from moonkey_core.redis import worker
from moonkey_core.redis.worker import Backoff
from support.feeds import MakeProcess, Process, settings_for
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until

LAG = 0.5
BEAT = LAG / 5


@pytest.fixture(autouse=True)
def short_pauses() -> None:
    """As long as in earnest, here."""


class TestBackoff:
    def test_each_is_twice_as_long_up_to_the_longest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker._RANDOM, "uniform", lambda low, high: high)
        pauses = Backoff(BEAT, LAG)
        assert [pauses.next(urgent=False) for _ in range(7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
        assert pauses.next(urgent=True) == LAG / 2
        pauses.reset()
        assert pauses.next(urgent=True) == pytest.approx(0.1)

    def test_nobody_hurries_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker._RANDOM, "uniform", lambda low, high: high)
        pauses = Backoff(BEAT, LAG)
        hurried = list(takewhile(lambda pause: pause <= LAG / 2, (pauses.next(urgent=True) for _ in range(100))))
        assert 10 <= sum(hurried) <= 10 + LAG
        assert pauses.next(urgent=True) == worker.MAX_PAUSE
        pauses.reset()
        assert pauses.next(urgent=True) == pytest.approx(BEAT)

    def test_a_long_lag_is_no_long_pause(self) -> None:
        assert Backoff(12.0, 60.0).next(urgent=False) <= 1.0

    def test_no_two_processes_keep_step(self) -> None:
        for pauses in (Backoff(BEAT, LAG) for _ in range(50)):
            found = [pauses.next(urgent=False) for _ in range(30)]
            assert 0.5 * BEAT <= found[0] <= BEAT
            assert all(worker.MAX_PAUSE / 2 <= one <= worker.MAX_PAUSE for one in found[6:])
            assert len(set(found)) == len(found)


class DeadPort:
    """Takes the place of a server that is gone, and counts who comes."""

    def __init__(self, port: int) -> None:
        self.comers: list[float] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.comers.append(time.monotonic())
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


@pytest.fixture
def outage(make_process: MakeProcess, server: RedisServer) -> Iterator[tuple[Process, DeadPort]]:
    process = make_process()
    assert wait_until(lambda: process.is_live)
    server.kill()
    with closing(DeadPort(server.port)) as dead:
        yield process, dead


@pytest.mark.long
class TestOutage:
    def test_tries_become_rare(self, outage: tuple[Process, DeadPort]) -> None:
        _, dead = outage
        assert wait_until(lambda: len(dead.comers) >= 9)
        gaps = [after - before for before, after in zip(dead.comers, dead.comers[1:], strict=False)]
        # Never sooner than its pause; how much later depends on the machine.
        assert all(gap >= least / 2 for gap, least in zip(gaps, [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2], strict=False))

    def test_somebody_who_is_revoked_meanwhile_is_no_reason_to_wait(
        self, outage: tuple[Process, DeadPort]
    ) -> None:
        process, dead = outage
        assert wait_until(lambda: len(dead.comers) >= 7)
        count, since = len(dead.comers), time.monotonic()
        process.known.add(session_id="sess_1")
        assert wait_until(lambda: len(dead.comers) > count)
        for place in range(200):
            process.known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: len(dead.comers) >= count + 8)
        # More of them are no more tries.
        assert (len(dead.comers) - count - 1) * LAG / 4 <= time.monotonic() - since + LAG

    def test_a_redis_that_is_back_is_noticed(self, make_process: MakeProcess, server: RedisServer) -> None:
        one, other = make_process(), make_process()
        assert wait_until(lambda: one.is_live and other.is_live)
        server.kill()
        dead = DeadPort(server.port)
        assert wait_until(lambda: len(dead.comers) >= 16)  # the pauses are the longest
        one.known.add(session_id="sess_1")
        dead.close()
        server.start()
        assert wait_until(lambda: one.is_live and other.is_live)
        assert other.refuses("sess_1")


@pytest.mark.long
class TestNothingIsMissed:
    def test_a_newcomer_waits_for_those_who_pause(self, make_process: MakeProcess, server: RedisServer) -> None:
        """Redis has forgotten all, who said it is gone, and the one who knows is in the middle of a pause."""
        sayer, knows = make_process(), make_process()
        assert wait_until(lambda: sayer.is_live and knows.is_live)
        sayer.known.add(session_id="sess_1")
        assert wait_until(lambda: knows.refuses("sess_1"))
        sayer.feed.close()
        server.kill()
        with closing(DeadPort(server.port)) as dead:
            assert wait_until(lambda: len(dead.comers) >= 8)
        server.start()
        late = Process(settings_for(server))
        try:
            assert wait_until(lambda: late.is_live or late.refuses("sess_1"))
            assert late.refuses("sess_1")
        finally:
            late.feed.close()

    def test_so_does_one_who_was_away(self, make_process: MakeProcess, server: RedisServer) -> None:
        one = make_process()
        assert wait_until(lambda: one.is_live)
        server.kill()
        with closing(DeadPort(server.port)) as dead:
            assert wait_until(lambda: len(dead.comers) >= 8)
        server.start()
        began = time.monotonic()
        assert wait_until(lambda: one.is_live)
        assert one.feed._worker.reader.trusted_from >= began + LAG + worker.MAX_PAUSE
