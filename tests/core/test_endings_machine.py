"""Bound, unbound, revoked here and elsewhere, extended, ended and over, in any order: as a plain model says."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moonkey_core import Auth, ProviderUnavailable, RevokedCredentials
from moonkey_core._session_life.watch_policy import Binding
from moonkey_core._session_life.watchers import AsyncEndings, Endings
from moonkey_core.revocations import Revocation, Revocations
from support.bindings import NOW, StillLoop, answering, identity, timers

pytestmark = pytest.mark.long

SESSIONS = st.sampled_from(["sess_1", "sess_2", "sess_3"])
USERS = {"sess_1": "user_1", "sess_2": "user_1", "sess_3": "user_2"}
STARTED = NOW - 100
WHEN = st.integers(-400, 50)
TROUBLE = [Auth(error=ProviderUnavailable()), Auth(error=RevokedCredentials()), Auth(), RuntimeError("odd")]


class Model:
    """One binding, as simple as can be: whether it is over, asked after everything that happens."""

    def __init__(self, session: str, ends_at: float, asks: bool) -> None:
        self.session = session
        self.ends_at = ends_at
        self.asks = asks
        self.over: str | None = None

    def see(self, now: float, revoked: bool, answer: Any, *, looks_at_end: bool = True) -> None:
        if self.over is None and revoked:
            self.over = "revoked"
        if self.over is None and looks_at_end and now >= self.ends_at:
            later = answer.session.expires_at.timestamp() if isinstance(answer, Auth) and answer.session else 0.0
            if self.asks and later > now:
                self.ends_at = later
            else:
                self.over = "expired"


class Bound(RuleBasedStateMachine):
    """The same people bound in tasks, and in threads that ask now and then."""

    @initialize(maxsize=st.sampled_from([2, 1000]), retention=st.sampled_from([30.0, 300.0]))
    def start(self, maxsize: int, retention: float) -> None:
        self.loop = StillLoop()
        self.revocations = Revocations(retention=retention, maxsize=maxsize, clock=self.loop.clock)
        self.tasks_endings = AsyncEndings(self.revocations, clock=self.loop.clock)
        self.thread_endings = Endings(self.revocations, clock=self.loop.clock)
        self.ends = dict.fromkeys(USERS, NOW + 200)
        self.answers: dict[str, Any] = {}
        for session in USERS:
            self.extend(session, 200)
        self.tasks: list[tuple[Model, asyncio.Task[str]]] = []
        self.threads: list[tuple[Model, Binding, ExitStack]] = []

    def auth(self, session: str) -> Auth:
        return identity(session, USERS[session], self.ends[session], STARTED)

    def refused(self, session: str) -> bool:
        return self.revocations.refuses(session, USERS[session], STARTED)

    def see(self) -> None:
        self.loop.settle(12)
        for model, _ in self.tasks:
            model.see(self.loop.now, self.refused(model.session), self.answers[model.session])
        for thread, *_ in self.threads:
            thread.see(self.loop.now, self.refused(thread.session), None, looks_at_end=False)

    @rule(session=SESSIONS, asks=st.booleans())
    def bind_a_task(self, session: str, asks: bool) -> None:
        verify = answering(self.answers, session) if asks else None
        task = self.loop.create_task(self.tasks_endings.end_of(self.auth(session), verify))
        self.tasks.append((Model(session, self.ends[session], asks), task))
        self.see()

    @rule(session=SESSIONS, asks=st.booleans())
    def bind_a_thread(self, session: str, asks: bool) -> None:
        stack = ExitStack()
        binding = stack.enter_context(self.thread_endings.bound(self.auth(session), asks=asks))
        self.threads.append((Model(session, self.ends[session], asks), binding, stack))
        self.see()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def unbind_a_task(self, data: st.DataObject) -> None:
        model, task = self.tasks.pop(data.draw(st.integers(0, len(self.tasks) - 1)))
        task.cancel()
        self.loop.settle()
        assert task.cancelled() is (model.over is None)

    @precondition(lambda self: self.threads)
    @rule(data=st.data())
    def unbind_a_thread(self, data: st.DataObject) -> None:
        *_, stack = self.threads.pop(data.draw(st.integers(0, len(self.threads) - 1)))
        stack.close()

    @precondition(lambda self: self.threads)
    @rule(data=st.data())
    def a_thread_asks(self, data: st.DataObject) -> None:
        model, binding, _ = self.threads[data.draw(st.integers(0, len(self.threads) - 1))]

        def verify() -> Auth:
            answer = self.answers[model.session]
            if isinstance(answer, Exception):
                raise answer
            found: Auth = answer
            return found

        over = self.thread_endings.is_over(binding, verify if model.asks else None)
        model.see(self.loop.now, False, self.answers[model.session])
        assert over is (model.over is not None)

    @rule(session=SESSIONS)
    def revoke_a_session(self, session: str) -> None:
        self.revocations.add(session_id=session)
        self.see()

    @rule(session=SESSIONS, when=WHEN)
    def revoke_a_user(self, session: str, when: int) -> None:
        self.revocations.add(user_id=USERS[session], issued_before=self.loop.now + when)
        self.see()

    @rule(when=WHEN)
    def revoke_everybody(self, when: int) -> None:
        self.revocations.add(issued_before=self.loop.now + when)
        self.see()

    @rule(session=SESSIONS, whose=st.sampled_from(["session", "user", "all"]), when=WHEN, added=WHEN)
    def hear_of_a_revocation(self, session: str, whose: str, when: int, added: int) -> None:
        at, added_at = self.loop.now + when, self.loop.now + added
        entries = {
            "session": Revocation(session, None, None, added_at),
            "user": Revocation(None, USERS[session], at, added_at),
            "all": Revocation(None, None, at, added_at),
        }
        self.revocations.receive(entries[whose])
        self.see()

    @rule(session=SESSIONS, seconds=st.integers(1, 500))
    def extend(self, session: str, seconds: int) -> None:
        self.ends[session] = self.loop.now + seconds if hasattr(self, "tasks") else NOW + seconds
        self.answers[session] = self.auth(session)

    @rule(session=SESSIONS, answer=st.sampled_from(TROUBLE))
    def trouble(self, session: str, answer: Any) -> None:
        self.answers[session] = answer

    @rule(seconds=st.integers(1, 400))
    def time_passes(self, seconds: int) -> None:
        self.loop.advance(seconds)
        self.see()

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "tasks"):
            return
        for model, task in self.tasks:
            assert (task.result() if task.done() else None) == model.over
        for model, binding, _ in self.threads:
            assert binding.is_revoked or model.over != "revoked"
        waiting = sum(model.over is None for model, _ in self.tasks)
        assert len(self.tasks_endings) == waiting
        assert timers(self.loop) <= 1 + (waiting > 0)
        assert len(self.thread_endings) == len(self.threads)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for _, task in getattr(self, "tasks", ()):
                task.cancel()
            self.loop.settle()
            self.loop.close()


TestBound = Bound.TestCase
