"""Threads, locks and sockets of the operating system, also where gevent has put greenlets in their place.

Under ``gevent.monkey.patch_all()`` a "thread" is a greenlet in the thread of all requests, and a lock or a socket
waits by switching to another greenlet. What has to run beside the requests, such as the revocation feed, needs the
real ones. In an unpatched process all of this is the same as in the standard library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork

_POLL_SECONDS = 0.01  # in a thread whose other greenlets must run in between

_homes: dict[int, HomeThread] = {}  # by the id of a thread of ours under gevent


def is_patched() -> bool:
    """Return whether gevent has replaced the threads of this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def lock() -> threading.Lock:
    """Make a lock between threads of the operating system. While it is held no greenlet may wait for anything."""
    made: threading.Lock = _original("_thread", "allocate_lock")()
    return made


class HomeThread:
    """The thread that has started a background thread, and runs its log handlers and hooks under gevent.

    Those may wait for a greenlet, which only works there. Create it in that thread. Without gevent everything runs
    at once in the background thread.
    """

    def __init__(self) -> None:
        self._loop: Any = None
        self._spawn: Any = None
        if is_patched():
            gevent = import_module("gevent")
            self._loop, self._spawn = gevent.get_hub().loop, gevent.spawn

    def run(self, work: Callable[[], object]) -> None:
        """Run a function in the home thread."""
        if self._loop is None:
            work()
        else:
            with contextlib.suppress(Exception):  # that loop has ended, and with it all log handlers
                self._loop.run_callback_threadsafe(self._spawn, work)

    def adopt_current_thread(self) -> None:
        """Pass all log records of this thread to the home thread from now on."""
        if self._loop is not None:
            _homes[_original("_thread", "get_ident")()] = self
            for name in ("moonkey", "asyncio"):
                logging.getLogger(name).addFilter(_forward_record)

    def release_current_thread(self) -> None:
        """Undo :meth:`adopt_current_thread`, at the end of the thread."""
        _homes.pop(_original("_thread", "get_ident")(), None)


def forget_threads() -> None:
    """Forget all threads in the child of a fork: they do not run there, and their ids may be used again."""
    _homes.clear()


reset_after_fork(forget_threads)


def _forward_record(record: logging.LogRecord) -> bool:
    """Return, as a filter of loggers, whether this thread may handle a record. Otherwise pass it on."""
    home = _homes.get(_original("_thread", "get_ident")())
    if home is None:
        return True
    home.run(partial(logging.getLogger(record.name).handle, record))
    return False


class ThreadEventLoop(asyncio.SelectorEventLoop):
    """An event loop for a thread of its own, which uses nothing of gevent.

    It resolves host names in its own thread: asyncio would start another thread for that, and cannot at the end of
    the interpreter.
    """

    def __init__(self) -> None:
        super().__init__(_original("selectors", "DefaultSelector")())
        if not isinstance(getattr(self, "_csock", None), _original("socket", "socket")):
            self.close()
            raise RuntimeError("asyncio of this Python wakes its loops by other means than MoonKey knows.")

    def _make_self_pipe(self) -> None:
        # asyncio takes the pair from the module that gevent has changed. It has no public way to pass another.
        if not is_patched():
            super()._make_self_pipe()  # type: ignore[misc]
            return
        self._ssock, self._csock = (_socket(fileno=one.detach()) for one in import_module("_socket").socketpair())
        for one in (self._ssock, self._csock):
            one.setblocking(False)
        self._internal_fds += 1  # type: ignore[attr-defined]
        self._add_reader(self._ssock.fileno(), self._read_from_self)  # type: ignore[attr-defined]

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Resolve a host name like ``socket.getaddrinfo()``."""
        found: list[Any] = _original("socket", "getaddrinfo")(host, port, family, type, proto, flags)
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
        made = _socket(family, kind, proto)
        try:
            made.setblocking(False)
            await self.sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made


class Thread:
    """A daemon thread of the operating system. Whether gevent has to be avoided is decided at :meth:`start`."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self.ident: int | None = None
        self._run = run
        self._name = name
        self._running = lock()

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no thread left.
        """
        self._running.acquire()
        try:
            if is_patched():
                _original("_thread", "start_new_thread")(self._main, ())
            else:
                threading.Thread(target=self._main, name=self._name, daemon=True).start()
        except BaseException:
            self._running.release()
            raise

    def _main(self) -> None:
        self.ident = _original("_thread", "get_ident")()
        try:
            self._run()
        finally:
            self._running.release()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._running.locked()

    def is_current(self) -> bool:
        """Return whether it is the current thread."""
        return self.ident is not None and self.ident == _original("_thread", "get_ident")()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for ``timeout`` seconds at most."""
        if not is_patched():
            if self._running.acquire(timeout=-1 if timeout is None else timeout):
                self._running.release()
            return
        end = math.inf if timeout is None else _clock.elapsed() + timeout
        while self.is_alive() and _clock.elapsed() < end:
            time.sleep(_POLL_SECONDS)  # that of gevent: other greenlets run meanwhile


def unix_listener(path: str) -> Any:
    """Make a socket for :func:`asyncio.start_unix_server` in a :class:`ThreadEventLoop`.

    Args:
        path: Where it is, for the user of this process alone.
    """
    made = _socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):  # of no effect on some systems
            os.fchmod(made.fileno(), 0o600)
        made.bind(path)
        os.chmod(path, 0o600)
    except BaseException:
        made.close()
        raise
    return made


def _socket(*arguments: Any, **options: Any) -> Any:
    return _original("socket", "socket")(*arguments, **options)


def _original(module: str, name: str) -> Any:
    """Return ``name`` of a module of the standard library, as it was before gevent changed it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)
