"""Ports for servers that are processes of their own."""

from __future__ import annotations

import random
import socket

_LOW_PORTS = (10_000, 30_000)
_CHOOSE = random.SystemRandom()  # what is seeded gives two workers the same ports


def quiet_port() -> int:
    """A free port that the system gives to no outgoing connection.

    A server that is killed and started again must find it free: where many connect to a dead port of the usual
    range, one of them sooner or later gets this very port as its own, and so connects to itself.
    """
    for _ in range(100):
        port = _CHOOSE.randint(*_LOW_PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise RuntimeError("no free port was found")
