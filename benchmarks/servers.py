"""The server part: CPU that a real server needs for a request, with authentication and without.

One worker process, sixteen connections that are kept alive. The CPU is that of all threads of the server's
processes, by the kernel's account; that of the client and the mock is not in it. The server with authentication
and the one without run side by side, and are asked in turn.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import ours
from results import Figure, Section, Table, number
from service import Upstream
from timing import QUICK_ROUNDS, ROUNDS, Series
from tokens import key_set, mint

CONNECTIONS, EACH = 16, 20  # requests on each connection in a slice
PATIENCE = 60.0  # seconds
HERE = Path(__file__).resolve().parent
SERVERS = {
    "uvicorn + FastAPI": (
        "fastapi",
        ["-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error"],
    ),
    "gunicorn + Flask": (
        "flask",
        [
            *("-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "4"),
            *("--keep-alive", "60", "--log-level", "error"),
        ],
    ),
}
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One server of one app, as a context manager."""

    def __init__(self, arguments: list[str], app: str, upstream: Upstream) -> None:
        self._command, self._app, self._upstream = arguments, app, upstream

    def __enter__(self) -> Self:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        arguments = [part.format(port=self._port) for part in self._command]
        environment = {**os.environ, "BENCH_UPSTREAM": self._upstream.url}
        self._process = subprocess.Popen(
            [sys.executable, *arguments, f"server_app:{self._app}"], cwd=HERE, env=environment
        )
        end = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                self._sockets = [self._connect() for _ in range(CONNECTIONS)]
                return self
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError(f"the server of {self._app} does not answer")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        for one in getattr(self, "_sockets", ()):
            one.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)

    def raw(self) -> float:
        """CPU microseconds of a raw verification there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/raw", timeout=PATIENCE) as reply:
            return float(json.load(reply)["raw"])

    def slice(self, lines: list[bytes]) -> float:
        """CPU microseconds per request of one slice, on all connections at once; every answer has to be good."""
        before = self._cpu()
        with selectors.DefaultSelector() as ready:
            left = {one.fileno(): EACH for one in self._sockets}
            for place, one in enumerate(self._sockets):
                ready.register(one, selectors.EVENT_READ, [b"", lines[place % len(lines)]])
                one.sendall(lines[place % len(lines)])
            while left:
                events = ready.select(PATIENCE)
                if not events:
                    raise RuntimeError(f"the server of {self._app} has stopped answering")
                for key, _ in events:
                    self._read(key, left, ready)
        return (self._cpu() - before) / (CONNECTIONS * EACH) * 1e6

    def _read(self, key: selectors.SelectorKey, left: dict[int, int], ready: selectors.BaseSelector) -> None:
        one, state = key.fileobj, key.data
        assert isinstance(one, socket.socket)
        part = one.recv(65_536)
        if not part:
            raise RuntimeError(f"the server of {self._app} has closed a connection")
        state[0] += part
        if not state[0].rstrip().endswith(b"}"):
            return
        if b" 200 " not in state[0][:20]:
            raise RuntimeError(f"the server of {self._app} has answered {state[0][:80]!r}")
        state[0] = b""
        left[key.fd] -= 1
        if left[key.fd]:
            one.sendall(state[1])
        else:
            del left[key.fd]
            ready.unregister(one)

    def _cpu(self) -> float:
        """CPU seconds of all its processes."""
        return sum(_cpu_of(pid) for pid in [self._process.pid, *_children(self._process.pid)])

    def memory(self) -> float:
        """Resident megabytes of the process that answers."""
        pid = (_children(self._process.pid) or [self._process.pid])[0]
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process: to the nanosecond where the kernel tells, else to the tick."""
    with suppress(OSError, ValueError, IndexError):
        threads = [Path(one, "schedstat").read_text() for one in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int(one.split()[0]) for one in threads) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _request(token: str) -> bytes:
    lines = [b"GET /me HTTP/1.1", *(name + b": " + value for name, value in ours.scope_headers(token))]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Whole servers: one worker, 16 connections, a warm JWT, user and session read")
    columns = [
        "server",
        "CPU µs a request, best",
        "median",
        "x raw RSA",
        "more than without",
        "x",
        "MB more",
        "slices",
    ]
    table = Table("CPU of the server's processes for a request", columns)
    with Upstream(key_set()) as upstream:
        for name, (framework, arguments) in SERVERS.items():
            try:
                _server(section, table, name, (framework, arguments), upstream, QUICK_ROUNDS if quick else ROUNDS)
            except (RuntimeError, OSError) as error:
                section.failed.append(f"{name}: not measured: {error}")
    section.tables.append(table)
    return section


def _server(
    section: Section, table: Table, name: str, how: tuple[str, list[str]], upstream: Upstream, rounds: int
) -> None:
    framework, arguments = how
    lines = [_request(mint(number)) for number in range(CONNECTIONS)]
    with ExitStack() as stack:
        servers = {
            which: stack.enter_context(Server(arguments, f"{framework}_{which}", upstream))
            for which in ("without", "with")
        }
        found: dict[str, Series] = {which: Series([]) for which in servers}
        for server in servers.values():
            server.slice(lines)  # whatever is made on first use
        raw = min(server.raw() for server in servers.values())
        for turn in range(rounds):
            for which in sorted(servers, reverse=bool(turn % 2)):
                found[which].rounds.append(servers[which].slice(lines))
        heavier = servers["with"].memory() - servers["without"].memory()
    bare, ours_ = found["without"], found["with"]
    for which, one in found.items():
        cells = (
            [f"{one.added(bare):+.1f} µs", number(one.ratio(bare)), f"{heavier:+.1f}"]
            if one is ours_
            else [""] * 3
        )
        figures = [number(one.best), number(one.median), number(one.best / raw)]
        table.rows.append([f"{name}, {which}", *figures, *cells, str(rounds)])
    median = (ours_.median - bare.median) / raw
    section.figures.append(Figure(f"server-{framework}", ours_.added(bare) / raw, median, rounds))
