"""Whether the other processes of an app know of a revocation: the verdict, and how to wait for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass

RevocationState = Literal["local", "pending", "published"]
"""Who refuses what was revoked.

``published``: every process whose feed is live, ``max_revocation_lag`` from now at the latest. ``pending``: this
process; the entry is still being sent to the others, also after a failure, for as long as this process runs.
``local``: this process, as it has no feed.
"""


class Sending(Protocol):
    """The entries of this process that one feed sends, each with a number that grows."""

    @property
    def timeout(self) -> float:
        """The seconds that a caller waits who names none."""
        ...

    def has_sent(self, number: int) -> bool:
        """Return whether the server has acknowledged all entries up to a number."""
        ...

    def wait_for(self, number: int, seconds: float) -> None:
        """Wait until they are acknowledged, or it is known that they will not be for now."""
        ...

    async def wait_for_async(self, number: int, seconds: float) -> None:
        """Do the same without blocking the event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """The place of one entry in what a feed sends."""

    sending: Sending
    number: int


class RevocationHandle:
    """What has become of a revocation that was added in this process. Thread-safe.

    A handle never raises, and holds nothing up: it only looks at how far the feed is.
    """

    __slots__ = ("_is_local", "_tickets")

    def __init__(self, tickets: Iterable[Ticket] = (), *, is_local: bool = False) -> None:
        """Take the tickets of the feeds, if there are any, and whether one more part is known to no feed."""
        self._tickets = tuple(tickets)
        self._is_local = is_local or not self._tickets

    @classmethod
    def joined(cls, handles: Iterable[RevocationHandle]) -> RevocationHandle:
        """Return one handle for several: its state is the weakest of theirs."""
        newest: dict[int, Ticket] = {}
        is_local = False
        for handle in handles:
            is_local = is_local or handle._is_local
            for one in handle._tickets:
                known = newest.get(id(one.sending))
                newest[id(one.sending)] = one if known is None or known.number < one.number else known
        return cls(newest.values(), is_local=is_local)

    @property
    def state(self) -> RevocationState:
        """``published``, ``pending`` or ``local``, as it is now. Once it is ``published`` it stays so."""
        if self._is_local:
            return "local"
        return "published" if all(one.sending.has_sent(one.number) for one in self._tickets) else "pending"

    def wait(self, timeout: float | None = None) -> RevocationState:
        """Wait until the revocation is published, and return the state.

        The wait ends early where Redis is known to be away, or the feed is closed: so ``pending`` may come at
        once. It blocks the thread; in asynchronous code use :meth:`wait_async`.

        Args:
            timeout: Seconds to wait at most. If left out, those of the setting ``publish_timeout``.
        """
        until = _clock.elapsed() + self._seconds(timeout)
        for one in self._tickets:
            one.sending.wait_for(one.number, until - _clock.elapsed())
        return self.state

    async def wait_async(self, timeout: float | None = None) -> RevocationState:
        """Do the same as :meth:`wait` without blocking the event loop."""
        until = _clock.elapsed() + self._seconds(timeout)
        for one in self._tickets:
            await one.sending.wait_for_async(one.number, until - _clock.elapsed())
        return self.state

    def _seconds(self, timeout: float | None) -> float:
        return max((one.sending.timeout for one in self._tickets), default=0.0) if timeout is None else timeout

    def __repr__(self) -> str:
        return f"RevocationHandle(state={self.state!r})"
