"""The deadlines of the attempts of one event loop, with one timer for nearly all of them."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from types import TracebackType


class Deadline:
    """The deadline of the block of a ``with`` statement, in a task.

    When it has come, the task is cancelled, and the block raises ``TimeoutError``. A task that is cancelled for
    another reason at the same time stays cancelled, as with :func:`asyncio.timeout`.
    """

    __slots__ = ("_cancellations", "_deadlines", "_has_expired", "_task", "_timer", "when")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        """Make a deadline of the running task.

        Args:
            deadlines: Those of the running event loop.
            seconds: How long the block may take from now on.

        Raises:
            RuntimeError: No task runs.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A call is made outside of a task.")
        self.when = asyncio.get_running_loop().time() + seconds
        self._deadlines = deadlines
        self._task = task
        self._has_expired = False

    def __enter__(self) -> None:
        self._cancellations = self._task.cancelling()
        self._timer = self._deadlines.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_expired:
            if self._task.uncancel() <= self._cancellations and kind is asyncio.CancelledError:
                raise TimeoutError from error
        elif self._timer is not None:
            self._timer.cancel()
        else:
            self._deadlines.remove(self)

    def expire(self) -> None:
        """Cancel the task, as the time is over."""
        self._has_expired = True
        self._task.cancel()


class Deadlines:
    """The deadlines of one event loop.

    Calls of one client mostly have the same time, so their deadlines come in the order in which they begin, and
    nearly all calls end long before. Such deadlines wait in a queue, and one timer is set for the first of them,
    or for one that was first when the timer was set. A deadline that comes before the last one of the queue has a
    timer of its own.

    No timer is kept here: it would keep the event loop alive, which keeps this.
    """

    def __init__(self) -> None:
        self._queue: dict[Deadline, None] = {}  # in the order of their time
        self._timer_at: float | None = None

    def add(self, deadline: Deadline) -> asyncio.TimerHandle | None:
        """Wait for a deadline, and return its timer if it has one of its own."""
        last = next(reversed(self._queue), None)
        if last is not None and deadline.when < last.when:
            return asyncio.get_running_loop().call_at(deadline.when, deadline.expire)
        self._queue[deadline] = None
        if self._timer_at is None or deadline.when < self._timer_at:
            self._set_timer(deadline.when)
        return None

    def remove(self, deadline: Deadline) -> None:
        """Forget a deadline of the queue. The timer stays: it is that of the next ones."""
        del self._queue[deadline]

    def _set_timer(self, when: float) -> None:
        self._timer_at = when
        asyncio.get_running_loop().call_at(when, self._on_timer, when)

    def _on_timer(self, when: float) -> None:
        """Let the deadlines come whose time is over, and set the timer for the next one."""
        if when != self._timer_at:
            return  # an earlier one was set since
        self._timer_at = None
        over = max(when, asyncio.get_running_loop().time())
        for deadline in self._ended_by(over):
            del self._queue[deadline]
            deadline.expire()
        first = next(iter(self._queue), None)
        if first is not None:
            self._set_timer(first.when)

    def _ended_by(self, time: float) -> list[Deadline]:
        return list(takewhile(lambda deadline: deadline.when <= time, self._queue))
