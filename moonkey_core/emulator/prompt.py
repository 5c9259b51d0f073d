"""A uvicorn server in a thread that stops without delay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import uvicorn

_CLOSING_CHECKS = 20
"""How often to check, every 5 ms, whether all connections are closed, before uvicorn waits in its own way."""


class PromptServer(uvicorn.Server):
    """A uvicorn server that stops at once.

    Uvicorn itself checks every 0.1 s whether it should stop, and then waits 0.1 s, even without a connection.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready: threading.Event = threading.Event()
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Stop serving. Call it from another thread, which can then wait for this one."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._stopped.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, and set ``ready``."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Run uvicorn's periodic work once a second until the server is to stop."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 10  # of 0.1 s, as uvicorn counts them: once a second it renews the `Date` header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the sockets, and wait for open connections only where there are any."""
        for server in self.servers:
            server.close()
        for _ in range(_CLOSING_CHECKS):
            if not self.server_state.connections and not self.server_state.tasks:
                await self.lifespan.shutdown()
                return
            await asyncio.sleep(0.005)
        await super().shutdown(sockets)
