"""One worker of the fleet: a process with a client of its own, told what to do over a pipe."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

import ours

from moonkey_core import MoonKey

PAUSE = 0.0005  # seconds between two looks
PATIENCE = 3.0  # seconds after which a worker that still accepts is given up


def work(pipe: Connection, base_url: str, redis_url: str) -> None:
    """Obey until the pipe ends. All times are of the machine's one monotonic clock."""
    with ours.blocking(base_url, redis_url=redis_url) as client:
        while True:
            try:
                order, value = pipe.recv()
            except EOFError:
                return
            pipe.send(obey(client, pipe, order, value))


def obey(client: MoonKey, pipe: Connection, order: str, value: Any) -> Any:
    """One order, and its answer."""
    if order == "accepts":
        return accepts(client, value)
    if order == "watch":
        pipe.send(accepts(client, value))  # from here on it is watched
        return refused_at(client, value)
    session_id, token = value
    start = time.monotonic()
    client.sessions.revoke(session_id=session_id)
    return start, time.monotonic(), refused_at(client, token)


def accepts(client: MoonKey, token: str) -> bool:
    """Whether a request with this token may pass now."""
    return client.authenticate({"authorization": f"Bearer {token}"}).is_authenticated


def refused_at(client: MoonKey, token: str) -> float | None:
    """When the token was refused first; ``None`` where it was not, in all that time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not accepts(client, token):
            return time.monotonic()
        time.sleep(PAUSE)
    return None
