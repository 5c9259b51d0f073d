"""The epoch: how the processes of a fleet agree on a stream, and notice that the server has forgotten it.

It is a random name that whoever finds none sets, and it is part of the stream's name. A server that has lost its
memory has lost the epoch, too: everybody notices, and nobody takes the empty stream for "nothing is revoked".
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

FIELD = b"entry"  # of each entry of the stream
_EPOCH = re.compile(rb"([0-9a-f]{32})\.([0-9]{1,15})")  # the name, and when it was set: milliseconds


@dataclass(frozen=True, slots=True)
class Epoch:
    """``value`` stands in Redis; ``age`` is in seconds by the server's clock; ``is_ours``: just set by us."""

    value: bytes
    age: float
    is_ours: bool


class HistoryLost(Exception):
    """The stream or its epoch is gone, or another has begun."""


def epoch_key(root: str) -> str:
    """Where the epoch stands. ``root`` begins the names of all keys of a fleet."""
    return f"{root}:epoch"


def stream_key(root: str, epoch: bytes) -> str:
    """The stream of an epoch."""
    return f"{root}:{epoch.split(b'.')[0].decode()}"


async def current_epoch(client: Any, root: str, milliseconds: int) -> Epoch:
    """The epoch that stands, or a new one. Unused, it and its stream are kept for so many milliseconds.

    Raises :class:`HistoryLost` where one stands that is of no use; the next call finds none.
    """
    unix, micros = await client.time()
    now = int(unix) * 1000 + int(micros) // 1000
    found = await client.get(epoch_key(root))
    if found is None:
        fresh = b"%s.%d" % (secrets.token_hex(16).encode(), now)
        stream = stream_key(root, fresh)
        # First, so that there is no epoch without a stream; it exists once something was added.
        await client.execute_command("XADD", stream, "*", FIELD, b"")
        await client.pexpire(stream, milliseconds)
        if await client.set(epoch_key(root), fresh, nx=True, px=milliseconds):
            return Epoch(fresh, 0.0, True)
        await client.delete(stream)
        found = await client.get(epoch_key(root))  # somebody else was first
    match = _EPOCH.fullmatch(found or b"")
    if match is None or not await client.exists(stream_key(root, match[0])):
        await _forget(client, epoch_key(root), found)
        raise HistoryLost
    return Epoch(match[0], (now - int(match[2])) / 1000, False)


async def _forget(client: Any, key: str, value: object) -> None:
    """Delete a key that still holds that value."""
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(key)
        if await pipe.get(key) == value:
            pipe.multi()
            pipe.delete(key)
            await pipe.execute()
