"""Identities that something can be bound to, and an event loop whose clock stands still until it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from moonkey_core import Auth
from moonkey_core.auth import new_auth
from moonkey_core.models import Session, User, VerifiedSession

NOW = 1_800_000_000.0


def identity(
    session: str = "sess_1",
    user: str = "user_1",
    ends_at: float = NOW + 1000,
    started_at: float | None = NOW - 100,
) -> Auth:
    """An authenticated ``Auth``; times in Unix seconds."""
    started = None if started_at is None else datetime.fromtimestamp(started_at, UTC)
    ends = datetime.fromtimestamp(ends_at, UTC)
    return new_auth(verified=VerifiedSession(User(id=user), Session(session, user, ends, started)))


class StillLoop(asyncio.SelectorEventLoop):
    """Its ``now``, in Unix seconds, is the clock on the wall as well; ``wall`` (seconds) sets that apart."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = 0.001  # what is due now is done now, in numbers as large as these
        self.now = NOW
        self.wall = 0.0

    def time(self) -> float:
        return self.now

    def clock(self) -> float:
        return self.now + self.wall

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task, which has begun."""
        task = self.create_task(work)
        self.settle()
        return task

    def settle(self, turns: int = 8) -> None:
        """Do what is to be done now."""

        async def wait() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run_until_complete(wait())

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is to be done then."""
        self.now += seconds
        self.settle()


def timers(loop: asyncio.AbstractEventLoop) -> int:
    """How many timers of a loop are still to ring."""
    scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]
    return sum(not handle.cancelled() for handle in scheduled)


def answering(answers: dict[str, Any], session: str) -> Callable[[], Coroutine[Any, Any, Auth]]:
    """Asks about a session: the answer is what stands in a table then, and raised if it is an exception."""

    async def verify() -> Auth:
        await asyncio.sleep(0)
        answer = answers[session]
        if isinstance(answer, Exception):
            raise answer
        found: Auth = answer
        return found

    return verify
