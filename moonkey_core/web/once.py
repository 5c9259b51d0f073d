"""A value that is computed once, by the first of the tasks that need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A ``value`` that is computed once. For the tasks of one event loop."""

    __slots__ = ("_leader", "value")

    def __init__(self) -> None:
        """Start without a value."""
        self.value: T | None = None
        self._leader: asyncio.Event | None = None

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value; the first task calls ``make``, others at the same time wait for it.

        Where that task is cancelled or fails, the next waiting task calls ``make``.
        """
        while self.value is None:
            if self._leader is not None:
                await self._leader.wait()
                continue
            self._leader = leader = asyncio.Event()
            try:
                self.value = await make()
            finally:
                self._leader = None
                leader.set()
        return self.value
