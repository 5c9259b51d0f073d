"""What a store sends its commands through: one server, the primary behind Sentinels, or a cluster.

A server that may be another one later is looked for at first use, and again after a failure. A store makes one
attempt a second then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from moonkey_core import _threads
from moonkey_core.redis.client import async_client, blocking_client, disconnect
from moonkey_core.redis.topology import (
    async_cluster_client,
    cluster_client,
    find_primary,
    find_primary_blocking,
)
from moonkey_core.settings import Secret
from moonkey_core.settings.redis_address import redis_address

_PURPOSE = "store"


class BlockingStoreClient:
    """The connections of one process, for threads. Makes no network call before the first command.

    Args:
        url: The ``redis_url`` of the settings.
        timeout: Seconds after which each wait ends.
        max_connections: How many commands may be under way at a time.
    """

    def __init__(self, url: Secret, timeout: float, max_connections: int) -> None:
        self._address = redis_address(url.reveal())
        self._timeout = timeout
        self._max_connections = max_connections
        self._slots = threading.BoundedSemaphore(max_connections)
        self._lock = _threads.lock()
        self._made: Any = None

    def execute(self, *command: Any) -> Any:
        """Send a command and return the reply.

        Raises:
            Exception: The server has refused it, or cannot be reached in time.
        """
        # A cluster client has no pool that one could wait for.
        if not self._slots.acquire(timeout=self._timeout):
            raise TimeoutError
        try:
            return self._client().execute_command(*command)
        finally:
            self._slots.release()

    def _client(self) -> Any:
        made = self._made
        if made is None:
            new = self._new_client()  # may wait for the network, so no lock is held
            with self._lock:
                made = self._made = new if self._made is None else self._made
            if made is not new:
                _close(new)
        return made

    def _new_client(self) -> Any:
        if self._address.kind == "cluster":
            return cluster_client(self._address, self._timeout, self._max_connections, _PURPOSE)
        server = find_primary_blocking(self._address, self._timeout) if self._address.is_followed else None
        return blocking_client(self._address, self._timeout, self._max_connections, _PURPOSE, server)

    def note_failure(self) -> None:
        """Look for the server again before the next command, where it may be another one."""
        if self._address.kind == "sentinel":
            with self._lock:
                made, self._made = self._made, None
            if made is not None:
                made.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections; may be called again, and commands be sent afterwards."""
        if self._made is not None:
            _close(self._made)


def _close(client: Any) -> None:
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        client.close()
    else:
        pool.disconnect()


class AsyncStoreClient:
    """The connections of one event loop; otherwise like :class:`BlockingStoreClient`."""

    def __init__(self, url: Secret, timeout: float, max_connections: int) -> None:
        self._address = redis_address(url.reveal())
        self._timeout = timeout
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._made: Any = None
        self._former: list[Any] = []

    async def execute(self, *command: Any) -> Any:
        """Send a command and return the reply.

        Raises:
            Exception: The server has refused it, or cannot be reached.
        """
        async with self._slots:
            while self._former:
                with contextlib.suppress(Exception):
                    await disconnect(self._former.pop(), including_used=False)
            if self._made is None:
                new = await self._new_client()
                if self._made is None:
                    self._made = new
                else:
                    await disconnect(new)
            return await self._made.execute_command(*command)

    async def _new_client(self) -> Any:
        if self._address.kind == "cluster":
            return async_cluster_client(self._address, self._timeout, self._max_connections, _PURPOSE)
        found = await find_primary(self._address, self._timeout) if self._address.is_followed else None
        server = None if found is None else found.server
        return async_client(self._address, self._timeout, self._max_connections, _PURPOSE, server)

    def note_failure(self) -> None:
        """Look for the server again before the next command, where it may be another one."""
        if self._address.kind == "sentinel" and self._made is not None:
            self._former.append(self._made)
            self._made = None

    async def close(self) -> None:
        """Close all connections; may be called again, and commands be sent afterwards."""
        if self._made is not None:
            await disconnect(self._made)
