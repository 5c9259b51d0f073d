"""Threads, locks and sockets of the operating system, also where gevent has put greenlets in their place.

Under ``gevent.monkey.patch_all()`` a "thread" is a greenlet in the thread of all requests, and a lock or a socket
waits by switching to another greenlet. What has to run beside the requests, as the feed does, needs the real ones.
In an unpatched process all of this is what the standard library has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from moonkey_core import _clock

_STEP = 0.01  # seconds between two looks, in a thread whose greenlets must get their turns

_homes: dict[int, Home] = {}  # by the id of a thread of ours under gevent


def is_patched() -> bool:
    """Whether gevent has replaced the threads of this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def lock() -> threading.Lock:
    """A lock between threads of the operating system. Under it no greenlet may wait for anything."""
    made: threading.Lock = _original("_thread", "allocate_lock")()
    return made


class Home:
    """Where what a background thread has to say is said: log handlers and hooks wait by gevent's means, if any.

    To be made in the thread that begins the other one. Without gevent everything is done at once.
    """

    def __init__(self) -> None:
        self._loop: Any = None
        self._spawn: Any = None
        if is_patched():
            gevent = import_module("gevent")
            self._loop, self._spawn = gevent.get_hub().loop, gevent.spawn

    def run(self, work: Callable[[], object]) -> None:
        """Do something there."""
        if self._loop is None:
            work()
        else:
            with contextlib.suppress(Exception):  # that loop is gone, and with it everybody who could hear
                self._loop.run_callback_threadsafe(self._spawn, work)

    def own_this_thread(self) -> None:
        """From now on, what this thread logs is logged at home."""
        if self._loop is not None:
            _homes[_original("_thread", "get_ident")()] = self
            for name in ("moonkey", "asyncio"):
                logging.getLogger(name).addFilter(_log_at_home)

    def leave_this_thread(self) -> None:
        """The thread is about to end."""
        _homes.pop(_original("_thread", "get_ident")(), None)


def forget_threads() -> None:
    """After ``fork()``: they are not here, and others may get their ids."""
    _homes.clear()


def _log_at_home(record: logging.LogRecord) -> bool:
    """A filter of loggers: whether a record may be handled in this thread. Otherwise it is handed over."""
    home = _homes.get(_original("_thread", "get_ident")())
    if home is None:
        return True
    home.run(partial(logging.getLogger(record.name).handle, record))
    return False


class OwnLoop(asyncio.SelectorEventLoop):
    """An event loop for a thread of its own, that touches nothing of gevent's.

    It may wait for an address in its thread: asyncio would take another thread for that, and at the end of the
    interpreter there is none to be had.
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
        """The same as of ``socket``."""
        found: list[Any] = _original("socket", "getaddrinfo")(host, port, family, type, proto, flags)
        return found

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """The same as of asyncio."""
        if is_patched() and options.get("sock") is None:
            options["sock"] = await self._connected(host, port)
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            host = port = None
        return await super().create_connection(protocol_factory, host, port, **options)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **options: Any) -> Any:
        """The same as of asyncio."""
        if is_patched() and options.get("sock") is None:
            options["sock"] = await self._opened(socket.AF_UNIX, socket.SOCK_STREAM, 0, path)
            path = None
        return await super().create_unix_connection(protocol_factory, path, **options)

    async def _connected(self, host: Any, port: Any) -> Any:
        trouble: OSError = OSError("the host has no address")
        for family, kind, proto, _, address in await self.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return await self._opened(family, kind, proto, address)
            except OSError as error:
                trouble = error
        raise trouble

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
    """A daemon thread of the operating system. Whether gevent has to be got round is looked up when it begins."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self.ident: int | None = None
        self._run = run
        self._name = name
        self._running = lock()

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` where no thread can be had."""
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
        """Whether it runs."""
        return self._running.locked()

    def is_current(self) -> bool:
        """Whether we are in it."""
        return self.ident is not None and self.ident == _original("_thread", "get_ident")()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so many seconds at most."""
        if not is_patched():
            if self._running.acquire(timeout=-1 if timeout is None else timeout):
                self._running.release()
            return
        end = math.inf if timeout is None else _clock.elapsed() + timeout
        while self.is_alive() and _clock.elapsed() < end:
            time.sleep(_STEP)  # gevent's, where we are: other greenlets go on


def _socket(*arguments: Any, **options: Any) -> Any:
    return _original("socket", "socket")(*arguments, **options)


def _original(module: str, name: str) -> Any:
    """``name`` of a module of the standard library, as it was before gevent changed it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)
