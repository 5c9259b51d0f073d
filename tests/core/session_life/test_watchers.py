"""What is bound to a session is told of its end: in many loops, in slices, by a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import Auth, ProviderUnavailable, RevokedCredentials
from moonkey_core._session_life.watch_policy import RETRY_SECONDS, WatchedSession
from moonkey_core._session_life.watchers import _SLICE_SIZE, AsyncSessionWatcher, SessionWatcher
from moonkey_core.auth import new_auth
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.revocations import Revocation, Revocations
from support.patience import PATIENCE
from support.scripted import wait_until
from support.watched_sessions import NOW, StillLoop, answering, identity, timers

RETENTION = 300.0
TROUBLE = new_auth(error=ProviderUnavailable())
REFUSED = new_auth(error=RevokedCredentials())


class Feed:
    """A feed that is as late as we say."""

    def __init__(self) -> None:
        self.late: float | None = 0.1
        self.started = False

    def start(self) -> None:
        self.started = True

    def lag(self) -> float | None:
        return self.late

    def known_for(self) -> float:
        return math.inf if self.late is None else self.late


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.settle()
    loop.close()


@pytest.fixture
def revocations(loop: StillLoop) -> Revocations:
    return Revocations(retention=RETENTION, clock=loop.clock, key_of_user=bare_user_id)


@pytest.fixture
def watcher(loop: StillLoop, revocations: Revocations) -> AsyncSessionWatcher:
    return AsyncSessionWatcher(revocations, clock=loop.clock)


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.name == "moonkey"]


def bindings() -> int:
    gc.collect()
    return sum(
        type(one) is WatchedSession for one in gc.get_objects()
    )  # others may be lazy, and wake up when asked


@pytest.mark.rule("S52", "connection")
class TestTheEnd:
    def test_it_comes_in_time(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        task = loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 1000), None))
        for _ in range(999):
            loop.advance(1)
        assert not task.done()
        loop.advance(1)
        assert task.result() == "expired"
        assert (len(watcher), timers(loop)) == (0, 0)

    def test_it_has_come_already(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        assert loop.begin(watcher.wait_until_over(identity(ends_at=NOW), None)).result() == "expired"
        assert len(watcher) == 0

    def test_far_ahead(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        task = loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 400 * 86_400), None))
        assert timers(loop) == 1
        loop.advance(399 * 86_400)
        assert not task.done()
        loop.advance(86_400)
        assert task.result() == "expired"

    def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(
        self, loop: StillLoop, watcher: AsyncSessionWatcher
    ) -> None:
        task = loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 7200), None))
        loop.wall = 7200
        loop.advance(60)
        assert task.result() == "expired"

    def test_a_clock_that_is_set_back(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        task = loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 50), None))
        loop.wall = -600
        loop.advance(51)
        assert not task.done()
        loop.advance(600)
        assert task.result() == "expired"

    def test_one_timer_for_all(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        tasks = [
            loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 10 + place), None)) for place in range(50)
        ]
        assert timers(loop) == 1
        for place in range(50):
            loop.advance(10 if place == 0 else 1)
            assert sum(task.done() for task in tasks) == place + 1

    def test_nobody_is_signed_in(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        for auth in (new_auth(), TROUBLE, REFUSED):
            with pytest.raises(ValueError, match="Nobody is signed in"):
                loop.begin(watcher.wait_until_over(auth, None)).result()
        assert len(watcher) == 0


@pytest.mark.rule("S52", "connection")
class TestRevocation:
    @pytest.mark.parametrize(
        "entry",
        [{"session_id": "sess_1"}, {"user_id": "user_1"}, {"user_id": "1"}, {"issued_before": NOW - 100}],
    )
    def test_of_the_session_the_user_or_everybody(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations, entry: dict[str, Any]
    ) -> None:
        task = loop.begin(watcher.wait_until_over(identity(), None))
        revocations.add(session_id="sess_2")
        revocations.add(user_id="user_2")
        revocations.add(issued_before=NOW - 101)
        loop.settle()
        assert not task.done()
        revocations.add(**entry)
        loop.settle()
        assert task.result() == "revoked"

    def test_by_the_feed(self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations) -> None:
        task = loop.begin(watcher.wait_until_over(identity(), None))
        revocations.receive(Revocation("sess_1", None, None, NOW - 10))
        loop.settle()
        assert task.result() == "revoked"

    def test_when_too_many_become_one(self, loop: StillLoop) -> None:
        revocations = Revocations(retention=RETENTION, maxsize=2, clock=loop.clock)
        watcher = AsyncSessionWatcher(revocations, clock=loop.clock)
        task = loop.begin(watcher.wait_until_over(identity(), None))
        for place in range(3):
            assert not task.done()
            revocations.add(session_id=f"other_{place}")
            loop.settle()
        assert task.result() == "revoked"

    def test_before_it_is_bound(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations
    ) -> None:
        revocations.add(session_id="sess_1")
        assert loop.begin(watcher.wait_until_over(identity(), None)).result() == "revoked"

    def test_while_the_end_is_asked_about(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations
    ) -> None:
        async def verify() -> Auth:
            revocations.add(session_id="sess_1")
            return identity(ends_at=NOW + 5000)

        task = loop.begin(watcher.wait_until_over(identity(), verify))
        loop.advance(1000)
        assert task.result() == "revoked"

    @pytest.mark.long
    def test_one_of_two_thousand_in_slices(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations
    ) -> None:
        tasks = [
            loop.create_task(watcher.wait_until_over(identity(f"sess_{place}"), None)) for place in range(2000)
        ]
        loop.settle()
        looks: list[int] = []
        turns: list[int] = []
        refuses = revocations.refuses

        def noted(session_id: str, user_id: str, issued_at: float | None, *scope: str) -> bool:
            looks.append(len(turns))
            return refuses(session_id, user_id, issued_at, *scope)

        async def others() -> None:
            for _ in range(50):
                turns.append(1)
                await asyncio.sleep(0)

        other = loop.create_task(others())
        loop.settle(1)
        revocations.refuses = noted  # type: ignore[method-assign, assignment]
        revocations.add(session_id="sess_700")
        loop.run_until_complete(other)
        assert tasks[700].result() == "revoked"
        assert sum(task.done() for task in tasks) == 1
        assert len(looks) == 2000
        assert max(looks.count(turn) for turn in set(looks)) <= _SLICE_SIZE  # others have their turn in between

    def test_a_flood_is_looked_at_all_the_same(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations
    ) -> None:
        tasks = [
            loop.create_task(watcher.wait_until_over(identity(f"sess_{place}"), None))
            for place in range(_SLICE_SIZE * 3)
        ]
        loop.settle()
        for place in range(_SLICE_SIZE * 3):
            revocations.add(session_id=f"sess_{place}")
            if place % 100 == 0:
                loop.settle(1)
        loop.advance(1)
        loop.settle(20)
        assert all(task.done() for task in tasks)


@pytest.mark.rule("S52", "connection")
class TestExtension:
    def ended(self, loop: StillLoop, watcher: AsyncSessionWatcher, answer: object) -> asyncio.Task[Any]:
        task = loop.begin(
            watcher.wait_until_over(identity(ends_at=NOW + 100), answering({"sess_1": answer}, "sess_1"))
        )
        loop.advance(99)
        assert not task.done()
        loop.advance(1)
        return task

    def test_a_later_end_counts(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        task = self.ended(loop, watcher, identity(user="1", ends_at=NOW + 200))
        assert not task.done()
        loop.advance(99)
        assert not task.done()
        loop.advance(1)  # the answer is the same as before: no later end
        assert task.result() == "expired"

    @pytest.mark.parametrize(
        "answer",
        [
            identity(ends_at=NOW + 100),
            identity(ends_at=NOW + 50),
            identity("sess_2", ends_at=NOW + 900),
            identity(user="user_2", ends_at=NOW + 900),
            REFUSED,
            TROUBLE,
            new_auth(),
        ],
    )
    def test_nothing_else_does(self, loop: StillLoop, watcher: AsyncSessionWatcher, answer: Auth) -> None:
        assert self.ended(loop, watcher, answer).result() == "expired"

    def test_an_exception_is_the_end(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.ended(loop, watcher, RuntimeError("odd")).result() == "expired"
        assert reasons(caplog) == ["session_end_unknown"]

    def test_cancelled_while_it_asks(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        async def verify() -> Auth:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        task = loop.begin(watcher.wait_until_over(identity(ends_at=NOW + 1), verify))
        loop.advance(1)
        assert len(watcher) == 1
        task.cancel()
        loop.settle()
        assert task.cancelled()
        assert (len(watcher), timers(loop)) == (0, 0)


@pytest.mark.rule("S52", "connection")
class TestAFeedThatIsAway:
    """Redis forgets an entry after a while; what we have missed by then, only the API knows."""

    def begun(self, loop: StillLoop, feed: Feed, answers: dict[str, Any], **more: Any) -> asyncio.Task[Any]:
        revocations = Revocations(retention=RETENTION, clock=loop.clock)
        self.watcher = AsyncSessionWatcher(revocations, feed, clock=loop.clock, **more)
        self.asked = 0

        async def verify() -> Auth:
            self.asked += 1
            return await answering(answers, "sess_1")()

        return loop.begin(self.watcher.wait_until_over(identity(ends_at=NOW + 100_000), verify))

    def test_it_is_started(self, loop: StillLoop) -> None:
        feed = Feed()
        self.begun(loop, feed, {})
        assert feed.started

    @pytest.mark.rule("S36", "connection")
    @pytest.mark.parametrize("late", [None, math.inf])
    def test_the_api_is_asked(self, loop: StillLoop, late: float | None) -> None:
        feed, answers = Feed(), {"sess_1": identity(ends_at=NOW + 100_000)}
        task = self.begun(loop, feed, answers)
        for _ in range(20):
            loop.advance(60)
        assert self.asked == 0
        feed.late = late
        for _ in range(20):
            loop.advance(60)
        assert 20 * 60 / RETENTION <= self.asked <= 20
        answers["sess_1"] = REFUSED
        for _ in range(4):
            loop.advance(60)
        assert task.result() == "revoked"

    def test_trouble_is_no_end_and_is_asked_about_again_when_the_feed_is_back(self, loop: StillLoop) -> None:
        feed, answers = Feed(), {"sess_1": TROUBLE}
        feed.late = None
        task = self.begun(loop, feed, answers)
        for _ in range(10):
            loop.advance(60)
        assert not task.done()
        feed.late, answers["sess_1"] = 0.1, REFUSED
        loop.advance(RETRY_SECONDS)
        loop.advance(RETRY_SECONDS)
        assert task.result() == "revoked"

    def test_nobody_is_asked_who_should_not_be(self, loop: StillLoop) -> None:
        feed = Feed()
        feed.late = None
        task = self.begun(loop, feed, {"sess_1": REFUSED}, on_feed_lost="local")
        for _ in range(20):
            loop.advance(60)
        assert (task.done(), self.asked) == (False, 0)

    @pytest.mark.rule("S36", "connection")
    def test_with_a_bound_the_api_is_asked_within_it(self, loop: StillLoop) -> None:
        feed, answers = Feed(), {"sess_1": identity(ends_at=NOW + 100_000)}
        task = self.begun(loop, feed, answers, on_feed_lost="bounded", feed_lost_bound=10)
        for _ in range(100):
            loop.advance(1)
        assert self.asked == 0
        feed.late = 2.0
        for _ in range(100):
            loop.advance(0.5)
            feed.late += 0.5
        assert 4 <= self.asked <= 12
        answers["sess_1"] = REFUSED
        for _ in range(21):
            loop.advance(0.5)
        assert task.result() == "revoked"

    def test_connections_are_not_verified_all_at_once(self, loop: StillLoop) -> None:
        feed = Feed()
        revocations = Revocations(retention=RETENTION, clock=loop.clock)
        watcher = AsyncSessionWatcher(
            revocations, feed, clock=loop.clock, on_feed_lost="bounded", feed_lost_bound=10
        )
        asked: list[float] = []

        async def verify() -> Auth:
            asked.append(loop.now)
            return TROUBLE

        for number in range(100):
            loop.begin(watcher.wait_until_over(identity(f"sess_{number}", ends_at=NOW + 100_000), verify))
        feed.late = None
        for _ in range(110):
            loop.advance(0.1)
        assert len(asked) == 100
        assert max(asked.count(moment) for moment in asked) < 50

    def test_in_threads(self, loop: StillLoop) -> None:
        feed = Feed()
        watcher = SessionWatcher(Revocations(retention=RETENTION, clock=loop.clock), feed, clock=loop.clock)
        with watcher.watching(identity(ends_at=NOW + 100_000), can_verify=True) as watched:
            feed.late = None
            assert not watcher.is_over(watched, lambda: REFUSED)
            loop.now += RETENTION
            assert not watcher.is_over(watched, lambda: TROUBLE)
            assert not watcher.is_over(watched, lambda: REFUSED)  # asked just now
            loop.now += RETRY_SECONDS
            assert watcher.is_over(watched, lambda: REFUSED)
            assert watcher.is_over(watched, lambda: identity(ends_at=NOW + 200_000))


class TestOneThatIsDoubted:
    """It began at about the time at which its user was cut off: the API knows whether it was before."""

    @pytest.mark.parametrize("answer", [REFUSED, TROUBLE, identity(started_at=NOW)])
    def test_the_api_is_asked_at_once(
        self, loop: StillLoop, watcher: AsyncSessionWatcher, revocations: Revocations, answer: Auth
    ) -> None:
        questions: list[float] = []

        async def verify() -> Auth:
            questions.append(loop.now)
            return answer

        early = loop.begin(watcher.wait_until_over(identity("sess_1", started_at=NOW), verify))
        revocations.add_cutoff("user_1")
        loop.settle()
        late = loop.begin(watcher.wait_until_over(identity("sess_1", started_at=NOW), verify))
        kept = loop.begin(watcher.wait_until_over(identity("sess_1", "user_2", started_at=NOW), verify))
        assert questions == [NOW, NOW]
        assert early.done() is late.done() is (answer is REFUSED)
        assert not kept.done()
        if answer is REFUSED:
            assert early.result() == late.result() == "revoked"

    def test_in_threads(self, loop: StillLoop, revocations: Revocations) -> None:
        watcher = SessionWatcher(revocations, clock=loop.clock)
        auth = identity(started_at=NOW)
        with watcher.watching(auth, can_verify=True) as one, watcher.watching(auth, can_verify=False) as other:
            revocations.add_cutoff("user_1")
            assert not watcher.is_over(other, None)
            assert watcher.is_over(one, lambda: REFUSED)


@pytest.mark.rule("S52", "connection")
class TestInThreads:
    @pytest.fixture
    def bound(self, loop: StillLoop, revocations: Revocations) -> SessionWatcher:
        return SessionWatcher(revocations, clock=loop.clock)

    def test_a_revocation_between_two_questions_is_not_forgotten(
        self, loop: StillLoop, revocations: Revocations, bound: SessionWatcher
    ) -> None:
        with bound.watching(identity(ends_at=NOW + 100_000), can_verify=False) as watched:
            revocations.add(session_id="sess_1")
            loop.now += 10 * RETENTION
            assert not revocations.refuses("sess_1", "user_1", None)
            assert bound.is_over(watched, None)
        assert len(bound) == 0

    def test_the_end_and_an_extension(
        self, loop: StillLoop, bound: SessionWatcher, caplog: pytest.LogCaptureFixture
    ) -> None:
        def odd() -> Auth:
            raise RuntimeError

        with bound.watching(identity(ends_at=NOW + 10), can_verify=True) as watched:
            loop.now += 9
            assert not bound.is_over(watched, odd)
            loop.now += 1
            assert not bound.is_over(watched, lambda: identity(ends_at=NOW + 20))
            loop.now += 10
            assert bound.is_over(watched, odd)
            assert reasons(caplog) == ["session_end_unknown"]
            assert bound.is_over(watched, lambda: identity(ends_at=NOW + 200))  # what is over stays over

    def test_an_error_inside_leaves_nothing(self, bound: SessionWatcher) -> None:
        with contextlib.suppress(ZeroDivisionError), bound.watching(identity(), can_verify=False):
            assert len(bound) == 1
            raise ZeroDivisionError
        assert len(bound) == 0


class TestNothingIsLeft:
    @pytest.mark.long
    def test_after_ten_thousand(self, loop: StillLoop, watcher: AsyncSessionWatcher) -> None:
        before = bindings()
        for _ in range(20):
            tasks = [
                loop.create_task(watcher.wait_until_over(identity(f"s_{place}"), None)) for place in range(500)
            ]
            loop.settle()
            assert len(watcher) == 500
            for task in tasks:
                task.cancel()
            loop.settle()
            assert (len(watcher), timers(loop)) == (0, 0)
        del tasks, task
        assert bindings() <= before  # what an earlier test left may go meanwhile

    def test_a_client_that_is_gone_is_not_told(self, loop: StillLoop, revocations: Revocations) -> None:
        for _ in range(100):
            AsyncSessionWatcher(revocations)
            SessionWatcher(revocations)
        gc.collect()
        kept = SessionWatcher(revocations)
        assert len(revocations.watchers) == 1
        del kept

    def test_a_watcher_that_fails(
        self, loop: StillLoop, revocations: Revocations, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Odd:
            def told(self) -> None:
                raise RuntimeError

        odd = Odd()
        revocations.watch(odd.told)
        watcher = AsyncSessionWatcher(revocations, clock=loop.clock)
        task = loop.begin(watcher.wait_until_over(identity(), None))
        with caplog.at_level(logging.ERROR):
            revocations.add(session_id="sess_1")
        loop.settle()
        assert task.result() == "revoked"
        assert reasons(caplog) == ["watcher_failed"]

    def test_watchers_hear_of_news_only(self, revocations: Revocations) -> None:
        class Ear:
            heard = 0

            def told(self) -> None:
                self.heard += 1
                assert not revocations._lock.locked()

        ear = Ear()
        revocations.watch(ear.told)
        revocations.add(session_id="sess_1")
        revocations.add(session_id="sess_1")
        revocations.receive(Revocation("sess_1", None, None, NOW))
        assert ear.heard == 1
        revocations.receive(Revocation("sess_2", None, None, NOW))
        assert ear.heard == 2


class TestManyLoops:
    def test_each_is_told_in_its_own_thread(self) -> None:
        revocations = Revocations(retention=RETENTION)
        watcher = AsyncSessionWatcher(revocations, clock=lambda: NOW)
        found: list[tuple[int, str]] = []

        def run(place: int) -> None:
            found.append((place, asyncio.run(watcher.wait_until_over(identity(f"sess_{place % 2}"), None))))

        threads = [threading.Thread(target=run, args=(place,)) for place in range(6)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: len(watcher) == 6)
        revocations.add(session_id="sess_0")
        assert wait_until(lambda: len(found) == 3)
        assert {place for place, _ in found} == {0, 2, 4}
        revocations.add(session_id="sess_1")
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(found) == [(place, "revoked") for place in range(6)]
        assert len(watcher) == 0

    def test_loops_come_and_go(self) -> None:
        revocations = Revocations(retention=RETENTION)
        watcher = AsyncSessionWatcher(revocations, clock=lambda: NOW)

        async def begin() -> None:
            task = asyncio.create_task(watcher.wait_until_over(identity(), None))
            await asyncio.sleep(0)
            assert len(watcher) == 1
            del task

        for _ in range(20):
            asyncio.run(begin())  # which cancels what is left
        assert len(watcher) == 0
        assert len(watcher._loops) == 1

    def test_a_loop_that_was_closed_without_a_word(self) -> None:
        revocations = Revocations(retention=RETENTION)
        watcher = AsyncSessionWatcher(revocations, clock=lambda: NOW)
        closed = asyncio.new_event_loop()
        task = closed.create_task(watcher.wait_until_over(identity(), None))
        closed.run_until_complete(asyncio.sleep(0))
        closed.close()
        revocations.add(session_id="sess_2")
        revocations.add(session_id="sess_3")

        async def other() -> str:
            revocations.add(session_id="sess_4")
            return await watcher.wait_until_over(identity("sess_4"), None)

        assert asyncio.run(other()) == "revoked"
        assert not any(one.loop is closed for one in watcher._loops)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task
        gc.collect()
