"""The store of a fleet, as whoever makes calls sees it."""

from __future__ import annotations

from typing import Protocol

from moonkey_core._plan import Reply, Stored


class Store(Protocol):
    """The fleet's store, for threads. It raises nothing: in trouble, a look-up finds nothing."""

    def get(self, stored: Stored, /) -> Reply | None:
        """What is kept at a place, if it is not too old."""

    def put(self, stored: Stored, reply: Reply, /) -> None:
        """Keep a reply with status 200."""


class AsyncStore(Protocol):
    """The fleet's store, for tasks; like :class:`Store` otherwise."""

    async def get(self, stored: Stored, /) -> Reply | None:
        """What is kept at a place, if it is not too old."""

    async def put(self, stored: Stored, reply: Reply, /) -> None:
        """Keep a reply with status 200."""
