"""A server that says more than it was asked: behind a reply, while the connection is idle, before any request."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from support.patience import PATIENCE
from support.scripted import Received


@dataclass(frozen=True)
class Answer:
    """A reply, what follows it in the same piece, and what follows it while the connection is idle."""

    reply: bytes
    behind: bytes = b""
    idle: bytes = b""
    pieces: bool = False
    """Whether it comes byte by byte."""


@dataclass
class Talkative:
    """Answers requests one after the other; ``heard`` holds them all."""

    answer: Callable[[Received], Answer]
    greeting: bytes = b""
    context: ssl.SSLContext | None = None
    heard: list[Received] = field(default_factory=list)
    connections: int = 0
    said: int = 0
    """How many answers are out, with all that follows them."""
    greeted: int = 0
    port: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, raw: socket.socket) -> None:
        with suppress(OSError, ValueError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(20)
            connection = self.context.wrap_socket(raw, server_side=True) if self.context else raw
            self._open.append(connection)
            with connection, connection.makefile("rb") as reader:
                if self.greeting:
                    connection.sendall(self.greeting)
                    self.greeted += 1
                while (request := _request(reader)) is not None:
                    self.heard.append(request)
                    try:
                        self._say(connection, self.answer(request))
                    finally:
                        self.said += 1

    def _say(self, connection: socket.socket, answer: Answer) -> None:
        for piece in _pieces(answer):
            connection.sendall(piece)
        if answer.idle:
            threading.Event().wait(0.01)  # so that it does not come in one piece with the reply
            connection.sendall(answer.idle)

    def end(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _pieces(answer: Answer) -> Iterator[bytes]:
    if answer.pieces:
        yield from (answer.reply[place : place + 1] for place in range(len(answer.reply)))
        yield answer.behind
    else:
        yield answer.reply + answer.behind


def _request(reader: BinaryIO) -> Received | None:
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = {}
    while (raw := reader.readline(65536).decode("latin-1").strip()) != "":
        name, _, value = raw.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Received(line[0], line[1], headers, body)


@contextmanager
def talkative(
    answer: Callable[[Received], Answer], *, greeting: bytes = b"", context: ssl.SSLContext | None = None
) -> Iterator[Talkative]:
    """Serve it on a free port."""
    server = Talkative(answer, greeting, context)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.end()
            thread.join(PATIENCE)
