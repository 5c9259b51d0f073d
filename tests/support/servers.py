"""Real servers in threads of the test process: kept-alive connections, real sockets, quick to start."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import waitress.server
import waitress.wasyncore

from moonkey_core.emulator.prompt import PromptServer
from support.patience import PATIENCE


@contextmanager
def serve_wsgi(app: Callable[..., Any], threads: int = 8, **options: Any) -> Iterator[str]:
    """Serve a WSGI app with waitress; yields its URL."""
    sockets: dict[int, Any] = {}
    server: Any = waitress.server.create_server(
        app, map=sockets, host="127.0.0.1", port=0, threads=threads, **options
    )
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            waitress.wasyncore.loop(timeout=0.1, map=sockets, count=1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        stopping.set()
        server.pull_trigger()
        thread.join(PATIENCE)
        server.task_dispatcher.shutdown()
        waitress.wasyncore.close_all(sockets)


@contextmanager
def serve_asgi(app: Callable[..., Any], **options: Any) -> Iterator[str]:
    """Serve an ASGI app with uvicorn; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    # Accepted sockets inherit it; without it each answer waits for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, **options)
    server = PromptServer(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            listener.close()
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.end()
        thread.join(PATIENCE)
        listener.close()
