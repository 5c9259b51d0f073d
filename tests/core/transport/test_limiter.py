"""Who may call, who waits and who is sent away; no slot is ever lost or given twice."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._transport.limiter import LoopThrottle, PriorityLimiter, TaskLimiter, ThreadLimiter, Waiter
from support.patience import PATIENCE
from support.scripted import wait_until


@dataclass
class Naive:
    """The same decisions, by looking through one list."""

    slots: int
    waiters: int
    running: set[int] = field(default_factory=set)
    waiting: list[tuple[int, bool]] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)

    def enqueue(self, name: int, first: bool) -> None:
        if len(self.running) < self.slots:
            self.running.add(name)
        elif len(self.waiting) < self.waiters:
            self.waiting.append((name, first))
        else:
            others = [one for one in self.waiting if not one[1]]
            if first and others:
                self.waiting.remove(others[-1])
                self.busy.add(others[-1][0])
                self.waiting.append((name, first))
            else:
                self.busy.add(name)

    def release(self, name: int) -> None:
        self.running.discard(name)
        if self.waiting:
            best = next((one for one in self.waiting if one[1]), self.waiting[0])
            self.waiting.remove(best)
            self.running.add(best[0])

    def withdraw(self, name: int) -> None:
        if name in self.running:
            self.release(name)
        self.waiting = [one for one in self.waiting if one[0] != name]

    def verdict(self, name: int) -> str:
        if name in self.running:
            return "granted"
        if name in self.busy:
            return "busy"
        return "waiting" if name in [one[0] for one in self.waiting] else "withdrawn"


steps = st.lists(st.tuples(st.sampled_from(["known", "stranger", "finish", "give up"]), st.integers(0, 1000)))


@pytest.mark.long
@pytest.mark.rule("S38")
@given(st.integers(1, 3), st.integers(0, 4), steps)
def test_the_line_decides_as_the_naive_one_does(slots: int, waiters: int, moves: list[tuple[str, int]]) -> None:
    limiter, naive = PriorityLimiter(slots, waiters), Naive(slots, waiters)
    places: dict[int, Waiter] = {}
    ended: set[int] = set()
    for what, number in moves:
        if what in ("known", "stranger"):
            name = len(places)
            places[name] = Waiter(lambda: None)
            limiter.enqueue(places[name], what == "known")
            naive.enqueue(name, what == "known")
        elif what == "finish" and naive.running:
            name = sorted(naive.running)[number % len(naive.running)]
            ended.add(name)
            limiter.release()
            naive.release(name)
        elif what == "give up" and places:
            name = number % len(places)
            if name not in ended and naive.verdict(name) in ("waiting", "granted"):
                limiter.withdraw(places[name])
                naive.withdraw(name)
        assert len(naive.running) <= slots
        assert {name: one.state for name, one in places.items() if name not in ended} == {
            name: naive.verdict(name) for name in places if name not in ended
        }
    for _ in range(len(naive.running) + len(naive.waiting)):
        limiter.release()
    all_free = [Waiter(lambda: None) for _ in range(slots + 1)]
    for place in all_free:
        limiter.enqueue(place, False)
    assert [place.state for place in all_free[:slots]] == ["granted"] * slots
    assert all_free[-1].state != "granted"


@pytest.mark.rule("S38")
def test_one_who_is_displaced_is_woken() -> None:
    limiter = PriorityLimiter(1, 2)
    woken: list[str] = []
    runs, older, newer, known = (Waiter(partial(woken.append, name)) for name in "abcd")
    for place in (runs, older, newer):
        limiter.enqueue(place, False)
    limiter.enqueue(known, True)
    assert woken == ["c"]
    assert [place.state for place in (runs, older, newer, known)] == ["granted", "waiting", "busy", "waiting"]
    limiter.release()
    limiter.release()
    assert woken == ["c", "d", "b"]


class TestTasks:
    @pytest.mark.parametrize("turns", range(12))
    @pytest.mark.parametrize("victim", range(4))
    def test_a_task_is_cancelled_at_every_moment(self, turns: int, victim: int) -> None:
        """Before it comes, while it waits, at the moment it is let in, while it runs, afterwards."""

        async def work() -> None:
            limiter, running, most, ran = TaskLimiter(1), 0, 0, set()

            async def one(name: int) -> None:
                nonlocal running, most
                assert await limiter.acquire(False) == "granted"
                try:
                    running += 1
                    most = max(most, running)
                    await asyncio.sleep(0)
                    ran.add(name)
                finally:
                    running -= 1
                    limiter.release()

            tasks = [asyncio.create_task(one(name)) for name in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[victim].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert ran >= {0, 1, 2, 3} - {victim}
            assert most == 1
            assert await asyncio.wait_for(limiter.acquire(False), 1) == "granted"  # the slot is there
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(limiter.acquire(True), 0.01)  # once

        asyncio.run(work())

    def test_a_slot_given_to_one_who_was_cancelled_in_the_same_turn(self) -> None:
        async def work() -> None:
            for cancelled_first in (True, False):
                limiter = TaskLimiter(1)
                assert await limiter.acquire(False) == "granted"
                waits = asyncio.create_task(limiter.acquire(False))
                behind = asyncio.create_task(limiter.acquire(False))
                await asyncio.sleep(0)
                if cancelled_first:
                    waits.cancel()
                limiter.release()
                if not cancelled_first:
                    waits.cancel()
                assert await asyncio.wait_for(behind, 1) == "granted"
                assert waits.cancelled()

        asyncio.run(work())


class TestThreads:
    @pytest.mark.rule("S38")
    def test_many_that_come_and_go(self) -> None:
        limiter, lock = ThreadLimiter(3), threading.Lock()
        running, most, went, late = 0, 0, 0, 0

        def work(seed: int) -> None:
            nonlocal running, most, went, late
            chance = random.Random(seed)
            for _ in range(40):
                verdict = limiter.acquire(chance.random() < 0.5, chance.choice([0.0, 0.0005, 5.0]))
                with lock:
                    went, late = went + (verdict == "granted"), late + (verdict == "withdrawn")
                if verdict == "granted":
                    with lock:
                        running += 1
                        most = max(most, running)
                    threading.Event().wait(0.0002)
                    with lock:
                        running -= 1
                    limiter.release()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert most == 3
        assert went + late == 12 * 40
        assert late > 0
        assert [limiter.acquire(False, 0) for _ in range(4)] == ["granted", "granted", "granted", "withdrawn"]

    def test_a_wait_that_is_broken_off(self) -> None:
        """As by Ctrl-C."""

        class Stop(BaseException):
            pass

        def stop(_number: int, _frame: FrameType | None) -> None:
            raise Stop

        limiter = ThreadLimiter(1)
        assert limiter.acquire(False, 1) == "granted"
        me, before = threading.get_ident(), signal.signal(signal.SIGUSR1, stop)

        def break_off() -> None:
            assert wait_until(lambda: len(limiter._limiter._normal) == 1)
            signal.pthread_kill(me, signal.SIGUSR1)

        thread = threading.Thread(target=break_off)
        try:
            thread.start()
            with pytest.raises(Stop):
                limiter.acquire(False, 10)
        finally:
            thread.join(PATIENCE)
            signal.signal(signal.SIGUSR1, before)
        assert len(limiter._limiter._normal) == 0
        limiter.release()
        assert limiter.acquire(False, 0) == "granted"


class Work:
    """A clock of the CPU time of this thread, which moves only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr("moonkey_core._clock.worked", lambda: self.seconds)


class TestLoopThrottle:
    @pytest.mark.parametrize(("cost", "most"), [(1.0, 8), (3.0, 3), (100.0, 1)])
    def test_no_more_work_than_so_much_in_a_turn(
        self, monkeypatch: pytest.MonkeyPatch, cost: float, most: int
    ) -> None:
        work, begun = Work(monkeypatch), list[tuple[int, int]]()

        async def run() -> None:
            throttle, turn = LoopThrottle(8.0), 0

            async def one(number: int) -> None:
                if not throttle.passes():
                    await throttle.wait()
                begun.append((turn, number))
                work.seconds += cost

            tasks = [asyncio.create_task(one(number)) for number in range(100)]
            tasks[50].cancel()
            while not all(task.done() for task in tasks):
                turn += 1
                await asyncio.sleep(0)
            assert not throttle.has_waiters
            await asyncio.wait_for(asyncio.gather(*map(one, range(100, 120))), PATIENCE)  # and later on again

        asyncio.run(run())
        assert [number for _, number in begun] == [*range(50), *range(51, 120)]  # first come, first served
        counts = Counter(turn for turn, _ in begun)
        del counts[max(counts)]  # in which this test did not count the turns any more
        assert max(counts.values()) == most

    def test_those_that_were_woken_and_leave_hold_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        work = Work(monkeypatch)

        async def run() -> None:
            throttle = LoopThrottle(1.0)
            assert throttle.passes()
            work.seconds += 2.0
            waiting = [asyncio.create_task(throttle.wait()) for _ in range(10)]
            await asyncio.sleep(0)
            for task in waiting[:9]:
                task.cancel()
            await asyncio.wait_for(waiting[9], PATIENCE)

        asyncio.run(run())
