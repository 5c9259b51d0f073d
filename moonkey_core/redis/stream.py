"""The stream of the feed in Redis: the commands, the stream epoch, and the clock of the server.

The processes of a fleet agree on a stream epoch: a random name that a process sets where it finds none, and that
is part of the name of the stream. A server that has lost its data has lost the epoch as well. So all processes
notice that, and none takes an empty stream for "nothing is revoked".
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from moonkey_core import _clock
from moonkey_core._clock import RemoteClock
from moonkey_core.redis.client import time_limit

logger: logging.Logger = logging.getLogger("moonkey")

_FIELD = b"entry"  # of each entry of the stream
_EPOCH = re.compile(rb"([0-9a-f]{32})\.([0-9]{1,15})")  # the name, and when it was set: milliseconds
_PUBLISH_BATCH = 500  # entries of our own, of a few hundred bytes each
_READ_BATCH = 50  # entries from anywhere: foreign ones may be large


class HistoryLost(Exception):
    """The stream or its epoch does not exist any more, or another epoch has begun."""


@dataclass(frozen=True, slots=True)
class StreamEpoch:
    """A stream epoch.

    Attributes:
        value: As it stands in Redis.
        age: Seconds since it was set, by the clock of the server.
        is_new: Whether this process has just set it.
    """

    value: bytes
    age: float
    is_new: bool


class ServerClock(RemoteClock):
    """The clock of the Redis server compared to that of this machine (``wall``)."""

    def __init__(self, tolerance: float, wall: Callable[[], float] = _clock.wall) -> None:
        super().__init__(tolerance)
        self.wall = wall

    def update(self, first: object, last: object, sent_at: float) -> None:
        """Take in two replies to ``TIME`` that have just come to a request that was sent at ``sent_at``."""
        if self.observe(_time_reply_seconds(last), _time_reply_seconds(first), sent_at, self.wall()):
            self._log_change()

    def _log_change(self) -> None:
        if self.is_wrong:
            logger.warning(
                "feed: the clock of this machine is %s that of Redis, by which revocations are dated. "
                "Set both by NTP: JWTs are judged by the clock of this machine",
                self.describe_difference(),
                extra={"reason": "clock_skew_redis"},
            )
        else:
            logger.info("feed: the clock agrees with that of Redis again", extra={"reason": "clock_agrees_redis"})


class Stream:
    """The stream of one epoch. Calls raise ``TimeoutError`` after ``timeout`` seconds.

    Redis drops entries that are older than ``retention`` seconds, and all of it when it is unused for so long.
    """

    def __init__(
        self, client: Any, root: str, epoch: StreamEpoch, timeout: float, retention: float, clock: ServerClock
    ) -> None:
        self._client = client
        self._epoch_key = _epoch_key(root)
        self._timeout = timeout
        self._retention_ms = int(retention * 1000)
        self._last_id = b"0-0"
        self._clock = clock
        self.epoch = epoch
        self.length: int = 0  # as it was measured last
        self.name: str = _stream_key(root, epoch.value)

    @classmethod
    async def join(
        cls, client: Any, root: str, timeout: float, retention: float, clock: ServerClock | None = None
    ) -> Stream:
        """Open the current stream, to be read from its beginning.

        Args:
            client: A ``redis.asyncio.Redis``.
            root: What the names of all keys of the fleet begin with.
            timeout: Seconds that a call may take.
            retention: Seconds that Redis keeps entries, and an unused stream.
            clock: Is updated by each call that reads the server's time.

        Raises:
            HistoryLost: The epoch was unusable. Try again.
        """
        clock = clock or ServerClock(0.0)
        async with time_limit(timeout):
            epoch = await _current_epoch(client, root, int(retention * 1000))
            sent_at = clock.wall()
            reply = await client.execute_command("TIME")
            clock.update(reply, reply, sent_at)
        return cls(client, root, epoch, timeout, retention, clock)

    async def read(self, block: float = 0.0) -> tuple[list[tuple[float, object]], bool]:
        """Read what was added since the last call.

        Args:
            block: Seconds to wait for an entry where there is none.

        Returns:
            The entries in order, each as the time at which it was added (by the clock of the server) and its
            value; and whether these were all.

        Raises:
            HistoryLost: The epoch is not the current one any more. As it is read after the entries, it was the
                current one all the while otherwise.
        """
        waiting = ["BLOCK", max(int(block * 1000), 1)] if block else []
        sent_at = self._clock.wall()
        async with time_limit(block + self._timeout), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("TIME")
            pipe.execute_command("XREAD", "COUNT", _READ_BATCH, *waiting, "STREAMS", self.name, self._last_id)
            pipe.get(self._epoch_key)
            pipe.exists(self.name)
            pipe.execute_command("TIME")
            first, found, epoch, exists, last = await pipe.execute()
        self._clock.update(first, last, sent_at)
        if epoch != self.epoch.value or not exists:
            raise HistoryLost
        rows = found[0][1] if found else []
        if rows:
            self._last_id = rows[-1][0]
        values = [(_added_at(entry_id), fields.get(_FIELD) if fields else None) for entry_id, fields in rows]
        return [(added_at, value) for added_at, value in values if value != b""], len(rows) < _READ_BATCH

    async def publish(self, entries: Sequence[bytes], limit: int) -> bool:
        """Add entries, and return whether the stream is longer than ``limit`` then, even without expired ones."""
        length = 0
        for start in range(0, len(entries), _PUBLISH_BATCH):
            async with time_limit(self._timeout), self._client.pipeline(transaction=False) as pipe:
                for entry in entries[start : start + _PUBLISH_BATCH]:
                    pipe.execute_command("XADD", self.name, "*", _FIELD, entry)
                *_, newest = await pipe.execute()
                length = await self._drop_expired(int(_added_at(newest) * 1000))
            self.length = length
        return length > limit

    async def measure(self) -> None:
        """Drop expired entries, and update ``length``."""
        async with time_limit(self._timeout):
            self.length = await self._drop_expired(int((self._clock.wall() + self._clock.offset) * 1000))

    async def _drop_expired(self, now_ms: int) -> int:
        """Drop expired entries, and return the length that is left. ``now_ms``: by the clock of the server."""
        async with self._client.pipeline(transaction=False) as pipe:
            # Before Redis 6.2 this is an error, and only the limit holds.
            pipe.execute_command("XTRIM", self.name, "MINID", "~", max(now_ms - self._retention_ms, 0))
            pipe.xlen(self.name)
            pipe.pexpire(self.name, self._retention_ms)
            _, length, _ = await pipe.execute(raise_on_error=False)
        if isinstance(length, Exception):
            raise length
        return int(length)

    async def trim(self, length: int) -> None:
        """Drop the oldest entries, which a later one has made superfluous."""
        async with time_limit(self._timeout):
            await self._client.execute_command("XTRIM", self.name, "MAXLEN", "~", length)

    async def end_epoch(self) -> None:
        """End the epoch, so that no process trusts the stream any longer. This works on a full server, too."""
        async with time_limit(self._timeout):
            # Not in a transaction: a full server queues nothing. If another epoch begins just now, it ends, too,
            # which costs a moment only.
            if await self._client.get(self._epoch_key) == self.epoch.value:
                await self._client.delete(self._epoch_key)

    async def renew(self) -> None:
        """Put off the time at which Redis drops the epoch and the stream as unused."""
        async with time_limit(self._timeout), self._client.pipeline(transaction=False) as pipe:
            pipe.pexpire(self._epoch_key, self._retention_ms)
            pipe.pexpire(self.name, self._retention_ms)
            await pipe.execute()


async def _current_epoch(client: Any, root: str, retention_ms: int) -> StreamEpoch:
    """Return the current epoch, or set a new one.

    Raises:
        HistoryLost: The current one was unusable, and has been deleted.
    """
    unix, micros = await client.time()
    now = int(unix) * 1000 + int(micros) // 1000
    found = await client.get(_epoch_key(root))
    if found is None:
        new = b"%s.%d" % (secrets.token_hex(16).encode(), now)
        stream = _stream_key(root, new)
        # First, so that there is no epoch without a stream; a stream exists once something was added.
        await client.execute_command("XADD", stream, "*", _FIELD, b"")
        await client.pexpire(stream, retention_ms)
        if await client.set(_epoch_key(root), new, nx=True, px=retention_ms):
            return StreamEpoch(new, 0.0, True)
        await client.delete(stream)
        found = await client.get(_epoch_key(root))  # another process was first
    match = _EPOCH.fullmatch(found or b"")
    if match is None or not await client.exists(_stream_key(root, match[0])):
        await _delete_value(client, _epoch_key(root), found)
        raise HistoryLost
    return StreamEpoch(match[0], (now - int(match[2])) / 1000, False)


async def _delete_value(client: Any, key: str, value: object) -> None:
    """Delete a key if it still holds that value."""
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(key)
        if await pipe.get(key) == value:
            pipe.multi()
            pipe.delete(key)
            await pipe.execute()


def _epoch_key(root: str) -> str:
    return f"{root}:epoch"


def _stream_key(root: str, epoch: bytes) -> str:
    return f"{root}:{epoch.split(b'.')[0].decode()}"


def _added_at(entry_id: bytes) -> float:
    """Return when an entry was added, by the clock of the server: its id begins with the milliseconds."""
    return int(entry_id.split(b"-")[0]) / 1000


def _time_reply_seconds(reply: Any) -> float:
    """Convert a reply to ``TIME``: a pair of numbers in some releases of redis-py, of bytes in others."""
    unix, micros = reply
    return int(unix) + int(micros) / 1_000_000
