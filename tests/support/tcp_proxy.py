"""A TCP proxy whose links can be cut, delayed, made to drip, half-closed, held up or deaf while they are in use.

It is a process of its own (``python -m support.tcp_proxy``), which ends when the one that started it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

State = Literal["open", "cut", "deaf", "half", "no_requests", "no_replies"]
"""``cut``: all connections are reset, new ones at once. ``deaf``: connections are accepted, and nothing goes
through. ``half``: the client's side is at its end (FIN), what it sends goes on to the server. ``no_requests``,
``no_replies``: one way is held up. What was held up goes through when the link is open again, as on a real
network."""

_CHUNK = 65536
_WAITING = 64  # chunks, at most, that a delayed connection has under way
_PATIENCE = 60.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets


@dataclass
class _Link:
    target: int
    state: State = "open"
    delay: float = 0.0
    drip: float = 0.0
    pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def change(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        for client, server in list(self.pairs):
            if self.state == "cut":
                _reset(client)
                _reset(server)
            elif self.state == "half" and client.can_write_eof():
                client.write_eof()

    def holds(self, *, to_server: bool) -> bool:
        return self.state == "deaf" or self.state == ("no_requests" if to_server else "no_replies")

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry one connection until one of its ends is gone."""
        if self.state == "cut":
            _reset(client)
            return
        while self.state == "deaf":
            await self.changed.wait()
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(client)
            return
        pair = (client, server)
        self.pairs.add(pair)
        if self.state == "half":
            client.write_eof()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, server, to_server=True))
                tasks.create_task(self._carry(answers, client, to_server=False))
        except* (OSError, RuntimeError):
            pass  # reset by one of the two, or by us
        finally:
            self.pairs.discard(pair)
            client.close()
            server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool) -> None:
        """Carry what comes one way, each piece as much later as the delay is, in order."""
        clock = asyncio.get_running_loop().time
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)

        async def take() -> None:
            while True:
                data = await reader.read(_CHUNK)
                await waiting.put((clock() + self.delay, data))
                if not data:
                    return

        async def give() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(due - clock(), 0.0))
                while self.holds(to_server=to_server):
                    await self.changed.wait()
                if not data:
                    if writer.can_write_eof() and not writer.is_closing():
                        writer.write_eof()
                    return
                if self.state == "half" and not to_server:
                    continue  # the client has had the end
                await self._write(writer, data)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take())
            tasks.create_task(give())

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            piece = data[sent:] if not self.drip else data[sent : sent + 1]
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            if self.drip:
                await asyncio.sleep(self.drip)


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _main() -> None:
    """Obey the lines on the standard input until its end."""
    loop = asyncio.get_running_loop()
    links: dict[str, _Link] = {}
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        order = json.loads(line)
        name = order.pop("link")
        if name not in links:
            links[name] = _Link(order.pop("target"))
            server = await asyncio.start_server(links[name].serve, "127.0.0.1", 0)
            answer = server.sockets[0].getsockname()[1]
        else:
            links[name].change(order)
            answer = len(links[name].pairs)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


class Link:
    """One way through the proxy: a port that leads to another one. Thread-safe."""

    def __init__(self, proxy: TcpProxy, name: str, port: int) -> None:
        self.port = port
        self._proxy = proxy
        self._name = name

    def set(self, state: State = "open", *, delay: float = 0.0, drip: float = 0.0) -> None:
        """Change it, connections that are open included.

        Args:
            state: What it does, from now on.
            delay: Seconds that each piece takes, one way.
            drip: Seconds between two bytes, both ways.
        """
        assert state in get_args(State)
        self._proxy.order(self._name, state=state, delay=delay, drip=drip)

    def reset_all(self) -> None:
        """Reset all connections that are open; new ones go through."""
        self.set("cut")
        self.set()

    def lead_to(self, port: int) -> None:
        """Have new connections lead to another port."""
        self._proxy.order(self._name, target=port)


class TcpProxy:
    """The process with all links."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.tcp_proxy"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait(_PATIENCE)
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()

    def link(self, name: str, target: int) -> Link:
        """Open a link to a port of this machine."""
        return Link(self, name, self.order(name, target=target))

    def order(self, name: str, **changes: Any) -> int:
        """Change a link; returns its port where it is new."""
        with self._lock:
            process = self._process
            assert process is not None
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"link": name, **changes}).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if not answer:
            raise RuntimeError("the TCP proxy has ended")
        return int(answer)


if __name__ == "__main__":
    asyncio.run(_main())
