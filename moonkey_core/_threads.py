"""Threads, locks and sockets of the operating system, also where gevent has put greenlets in their place.

Under ``gevent.monkey.patch_all()`` a "thread" is a greenlet in the thread of all requests, and a lock or a socket
waits by switching to another greenlet. What has to run beside the requests, such as the revocation feed, needs the
real ones. In an unpatched process all of this is the same as in the standard library.
"""

from __future__ import annotations

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
    made: threading.Lock = original("_thread", "allocate_lock")()
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
            _homes[original("_thread", "get_ident")()] = self
            for name in ("moonkey", "asyncio"):
                logging.getLogger(name).addFilter(_forward_record)

    def release_current_thread(self) -> None:
        """Undo :meth:`adopt_current_thread`, at the end of the thread."""
        _homes.pop(original("_thread", "get_ident")(), None)


def forget_threads() -> None:
    """Forget all threads in the child of a fork: they do not run there, and their ids may be used again."""
    _homes.clear()


reset_after_fork(forget_threads)


def _forward_record(record: logging.LogRecord) -> bool:
    """Return, as a filter of loggers, whether this thread may handle a record. Otherwise pass it on."""
    home = _homes.get(original("_thread", "get_ident")())
    if home is None:
        return True
    home.run(partial(logging.getLogger(record.name).handle, record))
    return False


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
                original("_thread", "start_new_thread")(self._main, ())
            else:
                threading.Thread(target=self._main, name=self._name, daemon=True).start()
        except BaseException:
            self._running.release()
            raise

    def _main(self) -> None:
        self.ident = original("_thread", "get_ident")()
        try:
            self._run()
        finally:
            self._running.release()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._running.locked()

    def is_current(self) -> bool:
        """Return whether it is the current thread."""
        return self.ident is not None and self.ident == original("_thread", "get_ident")()

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
    """Make a socket for :func:`asyncio.start_unix_server` in a ``ThreadEventLoop``.

    Args:
        path: Where it is, for the user of this process alone.
    """
    made = new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):  # of no effect on some systems
            os.fchmod(made.fileno(), 0o600)
        made.bind(path)
        os.chmod(path, 0o600)
    except BaseException:
        made.close()
        raise
    return made


def new_socket(*arguments: Any, **options: Any) -> Any:
    """Make a socket that gevent has not replaced."""
    return original("socket", "socket")(*arguments, **options)


def original(module: str, name: str) -> Any:
    """Return ``name`` of a module of the standard library, as it was before gevent changed it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)
