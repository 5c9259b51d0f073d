"""Real threads, locks and sockets, also where gevent has replaced them: before our import, and after it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from moonkey_core import _threads as _native
from moonkey_core._thread_loop import ThreadEventLoop
from support.patience import PATIENCE
from support.scripted import wait_until

ROOT = Path(__file__).parents[2]

OURS = (
    "from moonkey_core import _threads as _native\n"
    "from moonkey_core._thread_loop import ThreadEventLoop\n"
    "from moonkey_core._transport import httpx_connections as connections\n"
)
EARLY = "from gevent import monkey; monkey.patch_all()\n" + OURS
LATE = OURS + "from gevent import monkey; monkey.patch_all(ssl=False)\n"

THREAD = """
import logging, socket, threading, time, gevent, _thread
real = monkey.get_original("socket", "socket")
ident = monkey.get_original("_thread", "get_ident")
heard, kinds = [], []

class Slow(logging.Handler):
    def emit(self, record):
        gevent.sleep(0.01)
        heard.append((record.getMessage(), ident()))

logging.getLogger("moonkey").addHandler(Slow())
home = _native.HomeThread()
listener = real(); listener.bind(("127.0.0.1", 0)); listener.listen()

def main():
    home.adopt_current_thread()
    loop = ThreadEventLoop()
    loops.append(loop)
    loop.run_until_complete(run(loop))
    loop.close()
    kinds.append(gevent._hub_local.get_hub_if_exists())
    home.release_current_thread()

async def run(loop):
    import asyncio
    logging.getLogger("moonkey").warning("from the thread")
    host, port = listener.getsockname()
    reader, writer = await asyncio.open_connection("localhost", port)
    kinds.append(type(writer.transport.get_extra_info("socket")._sock))
    kinds.extend([type(loop._ssock), type(loop._csock)])
    woken = asyncio.Event()
    loop.woken = woken
    await asyncio.wait_for(woken.wait(), 20)
    writer.close()

loops = []
thread = _native.Thread(main, "x")
thread.start()
ticks = 0
while thread.is_alive():
    gevent.sleep(0.005)  # this thread is not held up
    ticks += 1
    if loops and hasattr(loops[0], "woken") and not loops[0].is_closed():
        try:
            loops[0].call_soon_threadsafe(loops[0].woken.set)
        except RuntimeError:
            pass  # closed just now
thread.join(60)
gevent.sleep(0.1)
assert thread.ident != ident()
assert kinds == [real, real, real, None], kinds
assert heard == [("from the thread", ident())], heard
assert type(_native.lock()) is type(monkey.get_original("_thread", "allocate_lock")())
"""

DEADLINES = """
import gevent
found = []

def one(deadline, seconds):
    with connections.reads_until(deadline):
        gevent.sleep(seconds)
        found.append((deadline, connections._deadline.get()))

gevent.joinall([gevent.spawn(one, 10.0, 0.02), gevent.spawn(one, 20.0, 0.01), gevent.spawn(one, 30.0, 0.03)])
assert len(found) == 3 and all(deadline == current for deadline, current in found), found
"""


@pytest.mark.long
@pytest.mark.parametrize("start", [EARLY, LATE], ids=["early", "late"])
@pytest.mark.parametrize("rest", [THREAD, DEADLINES], ids=["thread", "deadlines"])
def test_beside_gevent(start: str, rest: str) -> None:
    pytest.importorskip("gevent")
    command = [sys.executable, "-W", "ignore", "-c", start + rest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


class TestWithoutGevent:
    def test_a_thread(self) -> None:
        names: list[str] = []
        go = threading.Event()

        def run() -> None:
            names.append(threading.current_thread().name)
            assert thread.is_current()
            go.wait(PATIENCE)

        thread = _native.Thread(run, "moonkey-test")
        assert thread.ident is None
        assert not thread.is_alive()
        assert not thread.is_current()
        thread.start()
        assert wait_until(lambda: names == ["moonkey-test"])
        thread.join(0.01)
        assert thread.is_alive()
        go.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def test_one_that_cannot_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        thread = _native.Thread(lambda: None, "moonkey-test")
        with pytest.raises(RuntimeError, match="new thread"):
            thread.start()
        assert not thread.is_alive()

    def test_everything_is_said_at_once(self) -> None:
        said: list[int] = []
        _native.HomeThread().run(lambda: said.append(1))
        assert said == [1]
        assert not _native.is_patched()


@pytest.mark.parametrize("name", ["_make_self_pipe", "_read_from_self", "_add_reader"])
def test_what_is_used_of_asyncio(name: str) -> None:
    assert callable(getattr(asyncio.SelectorEventLoop, name))


class _Odd:
    """What is no socket of the operating system."""

    def __init__(self, pair: socket.socket) -> None:
        self.close = pair.close


def test_an_asyncio_that_wakes_its_loops_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    ThreadEventLoop().close()

    def pipe(self: Any) -> None:
        asyncio.SelectorEventLoop._make_self_pipe(self)  # type: ignore[attr-defined]
        self._csock = _Odd(self._csock)

    monkeypatch.setattr(ThreadEventLoop, "_make_self_pipe", pipe)
    with pytest.raises(RuntimeError, match="other means"):
        ThreadEventLoop()
