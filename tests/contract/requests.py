"""Requests to the contract sites that need more than an HTTP client: exact bytes, origins, handshakes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from support.patience import PATIENCE
from support.visitors import OURS

END = b"\r\n\r\n"
Lines = Sequence[tuple[str, str]]
SITE, ORIGIN = "Sec-Fetch-Site", "Origin"
OWN = "{own}"
"""Stands for the origin of the site."""
PROGRAM = {**OURS, "Accept": "application/json"}


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def own_url(web: httpx.Client) -> str:
    return str(web.base_url).rstrip("/")


def lines_for(url: str, lines: Lines) -> list[tuple[str, str]]:
    own = {"own": url, "own_https": url.replace("http:", "https:")}
    return [(name, value.format(**own)) for name, value in lines]


def exchange(url: str, request: bytes) -> int:
    """Send bytes, return the status of the first answer; 0 where the server just hangs up."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request)
            answer = b""
            while b"\r\n" not in answer and (chunk := connection.recv(4096)):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            return 0
    return int(answer.split()[1]) if answer else 0


@contextmanager
def handshake(web: httpx.Client, lines: Lines, path: str = "/socket") -> Iterator[ClientConnection]:
    url = own_url(web)
    with connect(url.replace("http", "ws") + path, additional_headers=lines_for(url, lines)) as websocket:
        yield websocket


def closed(websocket: ClientConnection) -> tuple[int, str] | None:
    """Code and reason of the close, once it has come."""
    try:
        while True:
            websocket.recv(10)
    except ConnectionClosed as error:
        return (error.rcvd.code, error.rcvd.reason) if error.rcvd else None
