"""The TCP proxy: each of its states, seen from a client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from support.patience import PATIENCE
from support.scripted import wait_until
from support.tcp_proxy import Link, TcpProxy

pytestmark = pytest.mark.long

_SOON, _NOT = 30.0, 0.3  # seconds: what is sure to come, and what is to stay away


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture
def link(echo: int) -> Iterator[Link]:
    with TcpProxy() as proxy:
        yield proxy.link("one", echo)


def connected(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), _SOON)


def asked(connection: socket.socket, what: bytes = b"ping") -> bytes:
    connection.settimeout(_SOON)
    connection.sendall(what)
    found = b""
    while len(found) < len(what):
        piece = connection.recv(1024)
        if not piece:
            break
        found += piece
    return found


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(_NOT)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


def is_gone(connection: socket.socket) -> bool:
    connection.settimeout(_SOON)
    try:
        connection.sendall(b"ping")
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_open(link: Link) -> None:
    with connected(link) as connection:
        assert asked(connection) == b"ping"


def test_cut(link: Link) -> None:
    with connected(link) as connection:
        assert asked(connection) == b"ping"
        link.set("cut")
        with pytest.raises(ConnectionError):
            asked(connection)
        # Where the reset comes fast, connecting fails already.
        with contextlib.suppress(ConnectionError), connected(link) as other:
            assert is_gone(other)
    link.set()
    with connected(link) as connection:
        assert asked(connection) == b"ping"


def test_reset_all(link: Link) -> None:
    with connected(link) as connection:
        assert asked(connection) == b"ping"
        link.reset_all()
        with pytest.raises(ConnectionError):
            asked(connection)
        with connected(link) as other:
            assert asked(other) == b"ping"


@pytest.mark.parametrize("state", ["deaf", "no_requests", "no_replies"])
def test_what_is_held_up_comes_later(link: Link, state: str) -> None:
    with connected(link) as old, connected(link) as new:
        assert asked(old) == b"ping"
        link.set(state)  # type: ignore[arg-type]  # one of the states
        for connection in (old, new):
            connection.sendall(b"held")
            assert is_silent(connection)
        link.set()
        for connection in (old, new):
            connection.settimeout(_SOON)
            assert connection.recv(4) == b"held"


def test_half(link: Link) -> None:
    with connected(link) as connection:
        assert asked(connection) == b"ping"
        link.set("half")
        connection.settimeout(_SOON)
        assert connection.recv(1) == b""
        connection.sendall(b"this goes on to the server")


def test_slow(link: Link) -> None:
    with connected(link) as connection:
        assert asked(connection) == b"ping"
        link.set(delay=0.2)
        begun = time.monotonic()
        assert asked(connection) == b"ping"
        assert time.monotonic() - begun >= 0.4  # there and back


def test_dripping(link: Link) -> None:
    with connected(link) as connection:
        link.set(drip=0.01)
        begun = time.monotonic()
        assert asked(connection, b"x" * 20) == b"x" * 20
        assert time.monotonic() - begun >= 0.15  # 19 pauses and more


def test_it_can_lead_elsewhere(link: Link) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(PATIENCE)
        link.lead_to(other.getsockname()[1])
        with connected(link):
            other.accept()[0].close()


def test_it_ends_with_the_one_that_started_it(echo: int) -> None:
    with TcpProxy() as proxy:
        one = proxy.link("one", echo)
        process = proxy._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert wait_until(lambda: process.poll() is not None)
        with pytest.raises(ConnectionError):
            connected(one)
