"""A reverse proxy that stands for nginx and its like, for one app behind it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.patience import PATIENCE

_OF_ONE_HOP = {"connection", "host", "keep-alive", "transfer-encoding"}  # RFC 9110 section 7.6.1


@contextmanager
def reverse_proxy(app: str, *, browser: str, drop: frozenset[str] = frozenset()) -> Iterator[str]:
    """Pass all requests on to the app at this URL; yields the proxy's own, which is the one that browsers see.

    The app gets its own address as ``Host``, and what the browser sees in ``X-Forwarded-*``; ``browser`` is the
    browser's address that it is told. Headers in ``drop`` are not passed on, as if the browser knew nothing of
    them.
    """
    netloc = urlsplit(app).netloc

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            left_out = _OF_ONE_HOP | drop
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            headers["X-Forwarded-For"] = browser
            headers["X-Forwarded-Host"] = self.headers["Host"]
            headers["X-Forwarded-Proto"] = "http"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(netloc, timeout=PATIENCE)
            upstream.request(self.command, self.path, body or None, headers)
            found = upstream.getresponse()
            content = found.read()
            upstream.close()
            self.send_response_only(found.status)
            for name, value in found.getheaders():
                if name.lower() not in {*_OF_ONE_HOP, "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None:
            """Nothing: what goes by here is secret."""

    with serving(Handler) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of one's own on a free port, in a thread; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
