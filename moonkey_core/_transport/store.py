"""What an exchange needs of the store that the processes of an app share."""

from __future__ import annotations

from typing import Protocol

from moonkey_core._plan import ClaimState, RecordReply, RecordStep, Reply, StorePolicy


class Store(Protocol):
    """The shared store, for threads. It raises nothing: where it cannot be reached, nothing is found."""

    def get(self, policy: StorePolicy, /) -> Reply | None:
        """Return the reply that is kept, if it is young enough."""

    def put(self, policy: StorePolicy, reply: Reply, /) -> None:
        """Keep a reply with status 200."""

    def claim(self, policy: StorePolicy, token: bytes, /) -> ClaimState:
        """Claim a call for this process, for ``policy.claim_seconds``; the token stands for the claim."""
        ...

    def release(self, policy: StorePolicy, token: bytes, /) -> None:
        """End a claim, if it is still held."""


class AsyncStore(Protocol):
    """The shared store, for tasks; like :class:`Store` otherwise."""

    async def get(self, policy: StorePolicy, /) -> Reply | None:
        """Return the reply that is kept, if it is young enough."""

    async def put(self, policy: StorePolicy, reply: Reply, /) -> None:
        """Keep a reply with status 200."""

    async def claim(self, policy: StorePolicy, token: bytes, /) -> ClaimState:
        """Claim a call for this process, for ``policy.claim_seconds``; the token stands for the claim."""
        ...

    async def release(self, policy: StorePolicy, token: bytes, /) -> None:
        """End a claim, if it is still held."""


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
