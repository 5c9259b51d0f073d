"""An event loop for a thread of its own, also where gevent has replaced what asyncio is made of."""

from __future__ import annotations

import asyncio
import socket
from importlib import import_module
from typing import Any

from moonkey_core._threads import is_patched, new_socket, original


class ThreadEventLoop(asyncio.SelectorEventLoop):
    """An event loop for a thread of its own, which uses nothing of gevent.

    It resolves host names in its own thread: asyncio would start another thread for that, and cannot at the end of
    the interpreter.
    """

    def __init__(self) -> None:
        super().__init__(original("selectors", "DefaultSelector")())
        if not isinstance(getattr(self, "_csock", None), original("socket", "socket")):
            self.close()
            raise RuntimeError("asyncio of this Python wakes its loops by other means than MoonKey knows.")

    def _make_self_pipe(self) -> None:
        # asyncio takes the pair from the module that gevent has changed. It has no public way to pass another.
        if not is_patched():
            super()._make_self_pipe()  # type: ignore[misc]
            return
        self._ssock, self._csock = (
            new_socket(fileno=one.detach()) for one in import_module("_socket").socketpair()
        )
        for one in (self._ssock, self._csock):
            one.setblocking(False)
        self._internal_fds += 1  # type: ignore[attr-defined]
        self._add_reader(self._ssock.fileno(), self._read_from_self)  # type: ignore[attr-defined]

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Resolve a host name like ``socket.getaddrinfo()``."""
        found: list[Any] = original("socket", "getaddrinfo")(host, port, family, type, proto, flags)
        return found

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Open a connection like asyncio."""
        if is_patched() and options.get("sock") is None:
            options["sock"] = await self._connected(host, port)
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            host = port = None
        return await super().create_connection(protocol_factory, host, port, **options)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **options: Any) -> Any:
        """Open a connection to a Unix socket like asyncio."""
        if is_patched() and options.get("sock") is None:
            options["sock"] = await self._opened(socket.AF_UNIX, socket.SOCK_STREAM, 0, path)
            path = None
        return await super().create_unix_connection(protocol_factory, path, **options)

    async def _connected(self, host: Any, port: Any) -> Any:
        last_error: OSError = OSError("the host has no address")
        for family, kind, proto, _, address in await self.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return await self._opened(family, kind, proto, address)
            except OSError as error:
                last_error = error
        raise last_error

    async def _opened(self, family: int, kind: int, proto: int, address: Any) -> Any:
        made = new_socket(family, kind, proto)
        try:
            made.setblocking(False)
            await self.sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made
