"""Verified answers and the key set, shared by the processes of a fleet.

Losing Redis is never an error: a look-up finds nothing then, and nothing is put.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from weakref import WeakKeyDictionary

from moonkey_core import _threads as _native
from moonkey_core._plan import Reply, Stored
from moonkey_core._transport.loop_shutdown import ClosesWithLoop
from moonkey_core.errors import ConfigurationError
from moonkey_core.redis import _connect
from moonkey_core.redis._places import SECONDS, Places, Reach
from moonkey_core.settings import Secret, Settings

_CONNECTIONS = 8  # a round trip takes a fraction of a millisecond
_inherited: list[
    object
] = []  # of a parent process: freeing it would take the shared sockets from the parent's loop


class RedisStore:
    """The store for threads. Raises :class:`ConfigurationError` where redis-py is missing, or the URL is wrong."""

    def __init__(self, settings: Settings) -> None:
        self._url = _url(settings)
        self._places = Places(settings)
        self._reach = Reach()
        self._lock = _native.lock()
        self._made: Any = None

    @property
    def _client(self) -> Any:
        """Made at first use: a server may replace all locks by gevent's after the app was loaded."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = _connect.blocking_client(self._url, SECONDS, _CONNECTIONS)
        return self._made

    def reset(self) -> None:
        """After ``fork()``: connections of the child's own."""
        self._reach.reset_lock()
        _inherited.append(self._made)
        self._lock, self._made = _native.lock(), None

    def get(self, stored: Stored) -> Reply | None:
        """The answer kept at that place, if it is young enough. One round trip."""
        if not self._reach.may_try():
            return None
        try:
            # What is too long to be ours is not even fetched.
            found = self._client.getrange(self._places.key(stored), 0, self._places.longest)
        except Exception as error:
            self._reach.failed(error)
            return None
        self._reach.worked()
        return self._places.reply(stored, found)

    def put(self, stored: Stored, reply: Reply) -> None:
        """Keep a good answer (status 200) there for what is left of its time."""
        parcel = self._places.parcel(stored, reply)
        if parcel is None or not self._reach.may_try():
            return
        try:
            self._client.set(parcel.key, parcel.sealed, px=parcel.milliseconds)
        except Exception as error:
            self._reach.failed(error)
        else:
            self._reach.worked()

    def close(self) -> None:
        """Close all connections; may be called again."""
        if self._made is not None:
            self._made.connection_pool.disconnect()


class _Loop:
    """The connections of one event loop, closed as it shuts down."""

    def __init__(self, url: Secret) -> None:
        self.client = _connect.async_client(url, SECONDS, _CONNECTIONS)
        self._shutdown = ClosesWithLoop(self.close)

    async def ready(self) -> Any:
        await self._shutdown.watch()
        return self.client

    async def close(self) -> None:
        await self.client.connection_pool.disconnect()


class AsyncRedisStore:
    """The store for tasks, with a few connections for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._url = _url(settings)
        self._places = Places(settings)
        self._reach = Reach()
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()

    def reset(self) -> None:
        """After ``fork()``: leave all loops alone, they belong to the parent process."""
        self._reach.reset_lock()
        self._lock = threading.Lock()
        _inherited.append(list(self._loops.items()))
        self._loops = WeakKeyDictionary()

    async def get(self, stored: Stored) -> Reply | None:
        """The answer kept at that place, if it is young enough. One round trip."""
        if not self._reach.may_try():
            return None
        try:
            async with _connect.within(SECONDS):
                client = await self._here().ready()
                found = await client.getrange(self._places.key(stored), 0, self._places.longest)
        except Exception as error:
            self._reach.failed(error)
            return None
        self._reach.worked()
        return self._places.reply(stored, found)

    async def put(self, stored: Stored, reply: Reply) -> None:
        """Keep a good answer (status 200) there for what is left of its time."""
        parcel = self._places.parcel(stored, reply)
        if parcel is None or not self._reach.may_try():
            return
        try:
            async with _connect.within(SECONDS):
                client = await self._here().ready()
                await client.set(parcel.key, parcel.sealed, px=parcel.milliseconds)
        except Exception as error:
            self._reach.failed(error)
        else:
            self._reach.worked()

    async def aclose(self) -> None:
        """Close the connections of every loop that still runs; may be called again."""
        with self._lock:
            loops = dict(self._loops)
            self._loops.clear()
        here = asyncio.get_running_loop()
        for loop, state in loops.items():
            if loop is here:
                await state.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(state.close(), loop)

    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        if state is None:
            state = _Loop(self._url)
            with self._lock:  # loops of several threads share this table
                for other in [other for other in self._loops if other.is_closed()]:
                    del self._loops[other]
                self._loops[loop] = state
        return state


def _url(settings: Settings) -> Secret:
    if settings.redis_url is None:
        raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) is missing. A store needs it.")
    _connect.check(settings.redis_url)
    return settings.redis_url
