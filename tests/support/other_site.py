"""A site of somebody else, whose pages hold forms and scripts that aim at ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.proxy import serving


@contextmanager
def other_site(pages: dict[str, str]) -> Iterator[str]:
    """Serve ``pages`` (HTML by path; they may be added later) on a port of their own; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response_only(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with serving(Handler) as url:
        yield url


def form(action: str, **fields: str) -> str:
    """A page with a form of hidden fields, and a button that looks harmless."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )
    return f'<form method="post" action="{escape(action)}">{hidden}<button>See the kittens</button></form>'
