"""A server that sends exactly the bytes it is told to: replies that no well-behaved server would give."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.patience import PATIENCE
from support.ports import quiet_port

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing sends a reset
RESET = -1.0


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Pieces = Iterable[bytes | float]
"""What to send: bytes, a pause in seconds, or ``RESET`` to break the connection off."""
Script = Callable[[Received], bytes | Pieces]


def reply(
    status: int = 200,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str = "application/json",
) -> bytes:
    """A whole HTTP/1.1 reply; a body that is neither bytes nor text becomes JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    found = {"content-type": content_type, "content-length": str(len(raw)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in found.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + raw


class _Handler(socketserver.StreamRequestHandler):
    timeout = 2 * PATIENCE  # longer than any client waits: a connection that rests is not closed from here
    disable_nagle_algorithm = True
    server: Scripted

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except OSError:
            return

    def _one(self) -> bool:
        line = self.rfile.readline(65536).decode("latin-1").split()
        if len(line) < 2:
            return False
        headers = {}
        while (raw := self.rfile.readline(65536).decode("latin-1").strip()) != "":
            name, _, value = raw.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Received(line[0], line[1], headers, body)
        answer = self.server.note(request)
        return self._play([answer] if isinstance(answer, bytes) else answer)

    def _play(self, pieces: Pieces) -> bool:
        keeps = False
        for piece in pieces:
            if piece == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return False
            if isinstance(piece, float):
                if self.server.stopping.wait(piece):
                    return False
            else:
                keeps = keeps or b"content-length" in piece
                self.connection.sendall(piece)
        return keeps


class Scripted(socketserver.ThreadingTCPServer):
    """Answers every request by ``script``; ``received`` holds them all."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.received: list[Received] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, request: Received) -> bytes | Pieces:
        with self._lock:
            self.received.append(request)
        return self.script(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client went away; that is what many of these tests are about."""


@contextmanager
def scripted(script: Script | bytes) -> Iterator[Scripted]:
    """Serve a script, or one and the same reply, on a free port."""
    server = Scripted(script if callable(script) else lambda _: script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def unused_url() -> str:
    """A URL on this machine where nobody listens."""
    return f"http://127.0.0.1:{quiet_port()}"


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
