"""A small server that speaks HTTP/2 only, by ``h2``: over TLS by ALPN, or over plain TCP to who knows already."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from support.patience import PATIENCE
from support.scripted import Received


@dataclass
class Http2Server:
    """Answers each request by ``answer``, as JSON; ``heard`` holds them all."""

    answer: Callable[[Received], object]
    context: ssl.SSLContext | None = None
    heard: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(raw,), daemon=True).start()

    def _talk(self, raw: socket.socket) -> None:
        raw.settimeout(10)
        # Threads that share a connection of httpcore may mix up its table of headers: it ends then.
        with suppress(OSError, h2.exceptions.ProtocolError):
            connection = self.context.wrap_socket(raw, server_side=True) if self.context else raw
            talk = h2.connection.H2Connection(
                h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
            )
            talk.initiate_connection()
            open_streams: dict[int, tuple[dict[str, str], bytearray]] = {}
            with connection:
                connection.sendall(talk.data_to_send())
                while data := connection.recv(65536):
                    for event in talk.receive_data(data):
                        self._take(talk, event, open_streams)
                    connection.sendall(talk.data_to_send())

    def _take(self, talk: Any, event: object, open_streams: dict[int, tuple[dict[str, str], bytearray]]) -> None:
        if isinstance(event, h2.events.RequestReceived):
            open_streams[event.stream_id or 0] = (_text(event.headers or []), bytearray())
        elif isinstance(event, h2.events.DataReceived):
            open_streams[event.stream_id or 0][1].extend(event.data or b"")
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = open_streams.pop(event.stream_id or 0)
            request = Received(headers[":method"], headers[":path"], headers, bytes(body))
            self.heard.append(request)
            reply = json.dumps(self.answer(request)).encode()
            talk.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
            talk.send_data(event.stream_id, reply, end_stream=True)
            talk.ping(b"unasked!")  # something that belongs to no stream comes behind every reply


def _text(headers: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}


@contextmanager
def http2_server(
    answer: Callable[[Received], object], context: ssl.SSLContext | None = None
) -> Iterator[Http2Server]:
    """Serve it on a free port."""
    if context is not None:
        context.set_alpn_protocols(["h2"])
    server = Http2Server(answer, context)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
