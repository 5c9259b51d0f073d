"""Who may call, who waits and who is sent away; no slot is ever lost or given twice."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from dataclasses import dataclass, field
from functools import partial
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._transport.limiter import Line, Pace, Place, TaskLimiter, ThreadLimiter
from support.scripted import wait_until


@dataclass
class Naive:
    """The same decisions, by looking through one list."""

    slots: int
    waiters: int
    running: set[int] = field(default_factory=set)
    waiting: list[tuple[int, bool]] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)

    def come(self, name: int, first: bool) -> None:
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

    def finish(self, name: int) -> None:
        self.running.discard(name)
        if self.waiting:
            best = next((one for one in self.waiting if one[1]), self.waiting[0])
            self.waiting.remove(best)
            self.running.add(best[0])

    def give_up(self, name: int) -> None:
        if name in self.running:
            self.finish(name)
        self.waiting = [one for one in self.waiting if one[0] != name]

    def verdict(self, name: int) -> str:
        if name in self.running:
            return "go"
        if name in self.busy:
            return "busy"
        return "waiting" if name in [one[0] for one in self.waiting] else "gone"


steps = st.lists(st.tuples(st.sampled_from(["known", "stranger", "finish", "give up"]), st.integers(0, 1000)))


@given(st.integers(1, 3), st.integers(0, 4), steps)
def test_the_line_decides_as_the_naive_one_does(slots: int, waiters: int, moves: list[tuple[str, int]]) -> None:
    line, naive = Line(slots, waiters), Naive(slots, waiters)
    places: dict[int, Place] = {}
    ended: set[int] = set()
    for what, number in moves:
        if what in ("known", "stranger"):
            name = len(places)
            places[name] = Place(lambda: None)
            line.come(places[name], what == "known")
            naive.come(name, what == "known")
        elif what == "finish" and naive.running:
            name = sorted(naive.running)[number % len(naive.running)]
            ended.add(name)
            line.finish()
            naive.finish(name)
        elif what == "give up" and places:
            name = number % len(places)
            if name not in ended and naive.verdict(name) in ("waiting", "go"):
                line.give_up(places[name])
                naive.give_up(name)
        assert len(naive.running) <= slots
        assert {name: one.verdict for name, one in places.items() if name not in ended} == {
            name: naive.verdict(name) for name in places if name not in ended
        }
    for _ in range(len(naive.running) + len(naive.waiting)):
        line.finish()
    all_free = [Place(lambda: None) for _ in range(slots + 1)]
    for place in all_free:
        line.come(place, False)
    assert [place.verdict for place in all_free[:slots]] == ["go"] * slots
    assert all_free[-1].verdict != "go"


def test_one_who_is_displaced_is_woken() -> None:
    line = Line(1, 2)
    woken: list[str] = []
    runs, older, newer, known = (Place(partial(woken.append, name)) for name in "abcd")
    for place in (runs, older, newer):
        line.come(place, False)
    line.come(known, True)
    assert woken == ["c"]
    assert [place.verdict for place in (runs, older, newer, known)] == ["go", "waiting", "busy", "waiting"]
    line.finish()
    line.finish()
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
                assert await limiter.enter(False) == "go"
                try:
                    running += 1
                    most = max(most, running)
                    await asyncio.sleep(0)
                    ran.add(name)
                finally:
                    running -= 1
                    limiter.leave()

            tasks = [asyncio.create_task(one(name)) for name in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[victim].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert ran >= {0, 1, 2, 3} - {victim}
            assert most == 1
            assert await asyncio.wait_for(limiter.enter(False), 1) == "go"  # the slot is there
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(limiter.enter(True), 0.01)  # once

        asyncio.run(work())

    def test_a_slot_given_to_one_who_was_cancelled_in_the_same_turn(self) -> None:
        async def work() -> None:
            for cancelled_first in (True, False):
                limiter = TaskLimiter(1)
                assert await limiter.enter(False) == "go"
                waits = asyncio.create_task(limiter.enter(False))
                behind = asyncio.create_task(limiter.enter(False))
                await asyncio.sleep(0)
                if cancelled_first:
                    waits.cancel()
                limiter.leave()
                if not cancelled_first:
                    waits.cancel()
                assert await asyncio.wait_for(behind, 1) == "go"
                assert waits.cancelled()

        asyncio.run(work())


class TestThreads:
    def test_many_that_come_and_go(self) -> None:
        limiter, lock = ThreadLimiter(3), threading.Lock()
        running, most, went, late = 0, 0, 0, 0

        def work(seed: int) -> None:
            nonlocal running, most, went, late
            chance = random.Random(seed)
            for _ in range(40):
                verdict = limiter.enter(chance.random() < 0.5, chance.choice([0.0, 0.0005, 5.0]))
                with lock:
                    went, late = went + (verdict == "go"), late + (verdict == "gone")
                if verdict == "go":
                    with lock:
                        running += 1
                        most = max(most, running)
                    threading.Event().wait(0.0002)
                    with lock:
                        running -= 1
                    limiter.leave()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert most == 3
        assert went + late == 12 * 40
        assert late > 0
        assert [limiter.enter(False, 0) for _ in range(4)] == ["go", "go", "go", "gone"]

    def test_a_wait_that_is_broken_off(self) -> None:
        """As by Ctrl-C."""

        class Stop(BaseException):
            pass

        def stop(_number: int, _frame: FrameType | None) -> None:
            raise Stop

        limiter = ThreadLimiter(1)
        assert limiter.enter(False, 1) == "go"
        me, before = threading.get_ident(), signal.signal(signal.SIGUSR1, stop)

        def break_off() -> None:
            assert wait_until(lambda: len(limiter._line._others) == 1)
            signal.pthread_kill(me, signal.SIGUSR1)

        thread = threading.Thread(target=break_off)
        try:
            thread.start()
            with pytest.raises(Stop):
                limiter.enter(False, 10)
        finally:
            thread.join(5)
            signal.signal(signal.SIGUSR1, before)
        assert len(limiter._line._others) == 0
        limiter.leave()
        assert limiter.enter(False, 0) == "go"


class TestPace:
    def test_no_more_than_so_many_in_a_turn(self) -> None:
        async def work() -> None:
            pace, turn, begun = Pace(8), 0, []

            async def one() -> None:
                await pace.turn()
                begun.append(turn)

            tasks = [asyncio.create_task(one()) for _ in range(100)]
            tasks[50].cancel()
            while not all(task.done() for task in tasks):
                turn += 1
                await asyncio.sleep(0)
            assert len(begun) == 99
            assert max(begun.count(place) for place in set(begun)) <= 8
            await asyncio.wait_for(asyncio.gather(*(pace.turn() for _ in range(20))), 1)  # and later on again

        asyncio.run(work())
