"""A result that is worked out at the first need, by one of those who need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """Holds ``value`` once it is known. For the tasks of one event loop."""

    __slots__ = ("_leader", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self._leader: asyncio.Event | None = None

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """The value; the first caller makes it, others at the same time wait for that one.

        Where the one who makes it is cancelled or fails, the next in line makes it.
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
