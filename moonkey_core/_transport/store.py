"""What an exchange needs of the store that the processes of an app share."""

from __future__ import annotations

from typing import Protocol

from moonkey_core._plan import RecordReply, RecordStep, Reply, StorePolicy


class Store(Protocol):
    """The shared store, for threads. It raises nothing: where it cannot be reached, nothing is found."""

    def get(self, policy: StorePolicy, /) -> Reply | None:
        """Return the reply that is kept, if it is young enough."""

    def put(self, policy: StorePolicy, reply: Reply, /) -> None:
        """Keep a reply with status 200."""


class AsyncStore(Protocol):
    """The shared store, for tasks; like :class:`Store` otherwise."""

    async def get(self, policy: StorePolicy, /) -> Reply | None:
        """Return the reply that is kept, if it is young enough."""

    async def put(self, policy: StorePolicy, reply: Reply, /) -> None:
        """Keep a reply with status 200."""


class RecordStore(Protocol):
    """The shared store, for threads, as far as records of users are kept in it. It raises nothing."""

    def record(self, action: RecordStep) -> RecordReply:
        """Read, write or remove a record."""
        ...


class AsyncRecordStore(Protocol):
    """The shared store, for tasks; like :class:`RecordStore` otherwise."""

    async def record(self, action: RecordStep) -> RecordReply:
        """Read, write or remove a record."""
        ...
