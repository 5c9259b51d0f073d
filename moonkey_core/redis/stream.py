"""The stream of the feed in Redis: the commands, the stream epoch, and the clock of the server.

The processes of a fleet agree on a stream epoch: a random name that a process sets where it finds none, and that
is part of the name of the stream. A server that has lost its data has lost the epoch as well. So all processes
notice that, and none takes an empty stream for "nothing is revoked".
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from moonkey_core import _clock
from moonkey_core._clock import RemoteClock
from moonkey_core._dataclass import dataclass
from moonkey_core.redis.client import time_limit
from moonkey_core.redis.lease import Lease, Roll

logger: logging.Logger = logging.getLogger("moonkey")

OPENING_CALLS = 4
"""How many times as long as a call it may take to connect, and to learn of the epoch."""

Row = tuple[bytes, object]
"""The id of an entry, and its value."""

_FIELD = b"entry"  # of each entry of the stream
_EPOCH = re.compile(rb"([0-9a-f]{32})\.([0-9]{1,15})")  # the name, and when it was set: milliseconds
_WAIT_SHARE = 0.4  # of the time of a call: how long Redis waits for its replicas
_READ_BATCH = 50  # entries from anywhere: foreign ones may be large
_MAX_READ_BATCH = 500  # entries as small as ours
_READ_BYTES = 256 * 1024  # of the entries that are read at a time, about, if they are more than the first few
_SEGMENT_BATCH = 4  # of the snapshot, of a few hundred thousand bytes each
_MAX_DIGITS = 12
_MAX_ANCHOR_BYTES = 4096  # of an entry that is read again each time: ours are shorter
_MAX_SINCE_ANCHOR = 25  # entries that are read a second time, at most
_MAX_SEQUENCE = 2**64 - 1  # the second half of an id


class HistoryLost(Exception):
    """The stream or its epoch does not exist any more, or another epoch has begun."""


class ClockSet(Exception):
    """The clock of this machine or of the server was set: entries that were read are dated by the old time."""


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
        self._seen: tuple[float, float] | None = None  # what it showed last, and when, by the monotonic clock

    def server_time(self) -> float:
        """Return what the clock of the server shows now, in Unix seconds, or an earlier time.

        That this machine's clock was set since the last reply changes nothing.
        """
        if self._seen is None:
            return self.wall() + self.offset
        shown, at = self._seen
        return shown + _clock.elapsed() - at

    def update(self, first: object, last: object, sent_at: float) -> bool:
        """Take in two replies to ``TIME`` that have just come to a request that was sent at ``sent_at``.

        Returns:
            Whether one of the two clocks was set since the last call, by more than the tolerance.
        """
        was_known, before, shown = self.is_known, self.offset, _time_reply_seconds(first)
        self._seen = (shown, _clock.elapsed())
        if self.observe(_time_reply_seconds(last), shown, sent_at, self.wall()):
            self._log_change()
        return was_known and abs(self.offset - before) > self._tolerance

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
    """The stream of one epoch. Calls raise ``TimeoutError`` when the server takes ``timeout`` seconds for one.

    Redis drops entries that are older than ``retention`` seconds, and all of it when it is unused for so long.
    """

    def __init__(
        self,
        client: Any,
        root: str,
        epoch: StreamEpoch,
        timeout: float,
        retention: float,
        clock: ServerClock,
        replicas: int = 0,
    ) -> None:
        self._client = client
        self._root = root
        self._epoch_key = _epoch_key(root)
        self._timeout = timeout
        self._retention_ms = int(retention * 1000)
        self._last_id = b"0-0"
        self._batch = _READ_BATCH
        self._anchor: bytes | None = None  # the last entry that is read again
        self._since_anchor = 0
        self._clock = clock
        self._replicas = replicas
        # One for each connection but that of wait(); a call that waits for replicas has one of its own.
        self._turns = asyncio.Semaphore(1 + (replicas > 0))
        self.is_replicated: bool = True  # whether so many replicas have what was published last
        self.on_new: Callable[[Sequence[Row]], None] | None = (
            None  # is called with all that is read for the first time
        )
        self.epoch = epoch
        self.length: int = 0  # as it was measured last
        self.rows_read: int = 0  # of the stream itself
        self.name: str = _stream_key(root, epoch.value)
        self._snapshot = f"{self.name}:snapshot"

    @classmethod
    async def join(
        cls,
        client: Any,
        root: str,
        timeout: float,
        retention: float,
        clock: ServerClock | None = None,
        *,
        replicas: int = 0,
    ) -> Stream:
        """Open the current stream, to be read from its beginning.

        Args:
            client: A ``redis.asyncio.Redis``.
            root: What the names of all keys of the fleet begin with.
            timeout: Seconds that a call may take.
            retention: Seconds that Redis keeps entries, and an unused stream.
            clock: Is updated by each call that reads the server's time.
            replicas: How many replicas have to acknowledge what is published.

        Raises:
            HistoryLost: The epoch was unusable. Try again.
        """
        clock = clock or ServerClock(0.0)
        async with time_limit(OPENING_CALLS * timeout):
            epoch = await _current_epoch(client, root, int(retention * 1000))
            sent_at = clock.wall()
            reply = await client.execute_command("TIME")
            clock.update(reply, reply, sent_at)
        return cls(client, root, epoch, timeout, retention, clock, replicas)

    @asynccontextmanager
    async def _call(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Wait for a connection, then limit the time of the call that has it.

        The limit does not count the wait. It is about whether the server answers, which the call that has the
        connection finds out: on a slow link, two calls that are in time by themselves may together take longer.
        """
        async with self._turns, time_limit(self._timeout if seconds is None else seconds):
            yield

    async def read(self) -> tuple[list[tuple[float, object]], bool]:
        """Read what was added since the last call.

        The entry that the last call has ended with is read again, and those since. Where one is missing, the
        server has gone back in time, as after a fail-over, or dropped the stream.

        Returns:
            The entries in order, each as the time at which it was added (by the clock of the server) and its
            value; and whether these were all.

        Raises:
            HistoryLost: The epoch is not the current one any more, or the stream is not the one that was read. As
                the epoch is read after the entries, it was the current one all the while otherwise.
            ClockSet: A clock was set. What was read has to be read again: by the new time it may seem too old to
                matter.
        """
        anchor, last_id = self._anchor, self._last_id  # another task may wait for entries meanwhile
        count = self._batch + (anchor is not None)
        after = _id_before(anchor) if anchor else last_id
        sent_at = self._clock.wall()
        async with self._call(), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("XREAD", "COUNT", count, "STREAMS", self.name, after)
            pipe.get(self._epoch_key)
            if anchor is None:
                pipe.exists(self.name)
            pipe.execute_command("TIME")
            found, epoch, *more = await pipe.execute()
        if self._clock.update(more[-1], more[-1], sent_at):
            raise ClockSet
        rows = self._rows(found)
        if epoch != self.epoch.value or (anchor is None and not more[0]):
            raise HistoryLost
        if anchor is not None and await self._is_lost(anchor, last_id, rows):
            raise HistoryLost
        if rows:
            self._set_anchor(rows[-1])
        return self._new_values(rows), len(rows) < count

    async def wait(self, seconds: float) -> tuple[list[tuple[float, object]], bool]:
        """Wait until entries are added, and return them as :meth:`read` does; after ``seconds``, none.

        That there are none does not prove that these were all: the stream may be gone.

        Raises:
            HistoryLost: The epoch is not the current one any more.
        """
        block = max(int(seconds * 1000), 1)
        batch = self._batch
        async with time_limit(seconds + self._timeout), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("XREAD", "COUNT", batch, "BLOCK", block, "STREAMS", self.name, self._last_id)
            pipe.get(self._epoch_key)
            found, epoch = await pipe.execute()
        if epoch != self.epoch.value:
            raise HistoryLost
        rows = self._rows(found)
        return self.take_over(rows), 0 < len(rows) < batch

    def take_over(self, rows: Sequence[Row]) -> list[tuple[float, object]]:
        """Take in entries that follow the last one that is known, and return them as :meth:`read` does."""
        known = id_parts(self._last_id)
        rows = [row for row in rows if id_parts(row[0]) > known]  # the others were read meanwhile
        self._since_anchor += len(rows)
        if self._since_anchor > _MAX_SINCE_ANCHOR:
            self._set_anchor(rows[-1])
        return self._new_values(rows)

    def _new_values(self, rows: Sequence[Row]) -> list[tuple[float, object]]:
        """Return the entries after the last one that is known, and note the last one."""
        known = id_parts(self._last_id)
        new = [(entry_id, value) for entry_id, value in rows if id_parts(entry_id) > known]
        self.rows_read += len(new)
        if new:
            self._last_id = new[-1][0]
            if self.on_new is not None:
                self.on_new(new)
        return [(added_at(entry_id), value) for entry_id, value in new if value != b""]

    def _set_anchor(self, row: tuple[bytes, object]) -> None:
        entry_id, value = row
        is_short = isinstance(value, bytes) and len(value) <= _MAX_ANCHOR_BYTES
        self._anchor, self._since_anchor = entry_id if is_short else None, 0

    async def _is_lost(self, anchor: bytes, last_id: bytes, rows: Sequence[Row]) -> bool:
        """Return whether the stream lacks what was read from it before, and was not told to drop it.

        Args:
            anchor: The entry from which on it was read again.
            last_id: The last one that was known.
            rows: What was found.
        """
        ids, known = [entry_id for entry_id, _ in rows], id_parts(last_id)
        if last_id not in ids and not (ids and id_parts(ids[-1]) > known):
            # The end is missing, which is never dropped before it is too old.
            is_young = known[0] > self._server_ms() - self._retention_ms
            return is_young or not await self._exists()
        if anchor in ids:
            return False
        # A single entry may be dropped once a later one contains it. The older ones are there then.
        first = await self._first_id()
        if first and id_parts(first) < id_parts(anchor):
            return False
        return id_parts(anchor)[0] > id_parts(ids[-1])[0] - self._retention_ms

    async def _exists(self) -> bool:
        async with self._call():
            return bool(await self._client.exists(self.name))

    async def _first_id(self) -> bytes | None:
        async with self._call():
            found = await self._client.execute_command("XREAD", "COUNT", 1, "STREAMS", self.name, "0-0")
        return found[0][1][0][0] if found else None

    def _server_ms(self) -> int:
        return int(self._clock.server_time() * 1000)

    def _rows(self, found: Any) -> list[Row]:
        """Return the ids and values in a reply to ``XREAD``, and read more at a time where they are small."""
        rows = [(entry_id, _value(fields)) for entry_id, fields in (found[0][1] if found else ())]
        if rows:
            size = sum(len(value) if isinstance(value, bytes) else _READ_BYTES for _, value in rows)
            fitting = _READ_BYTES * len(rows) // max(size, 1)
            self._batch = min(max(fitting, _READ_BATCH), _MAX_READ_BATCH)
        return rows

    async def publish(self, entries: Sequence[bytes]) -> None:
        """Add a few entries, drop expired ones, and update ``length``.

        It takes one round trip, as a read does: so on a slow link, what can read can publish. ``is_replicated``
        says whether enough replicas have them; without entries, it is only found out again.

        Raises:
            HistoryLost: The epoch was not the current one any more, so other processes may not read them.
        """
        async with self._call(2 * self._timeout), self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.execute_command("XADD", self.name, "*", _FIELD, entry)
            self._drop_expired_in(pipe, self._server_ms())
            pipe.get(self._epoch_key)
            if self._replicas:
                pipe.execute_command("WAIT", self._replicas, int(self._timeout * _WAIT_SHARE * 1000))
            replies = await pipe.execute(raise_on_error=False)
        *added, _, length, _, epoch = replies[:-1] if self._replicas else replies
        for reply in (*added, length, epoch, replies[-1]):
            if isinstance(reply, Exception):
                raise reply
        if epoch != self.epoch.value:
            raise HistoryLost
        self.length = int(length)
        self.is_replicated = not self._replicas or int(replies[-1]) >= self._replicas

    async def measure(self) -> None:
        """Drop expired entries, and update ``length``."""
        async with self._call():
            self.length = await self._drop_expired(self._server_ms())

    async def _drop_expired(self, now_ms: int) -> int:
        """Drop expired entries, and return the length that is left. ``now_ms``: by the clock of the server."""
        async with self._client.pipeline(transaction=False) as pipe:
            self._drop_expired_in(pipe, now_ms)
            _, length, _ = await pipe.execute(raise_on_error=False)
        if isinstance(length, Exception):
            raise length
        return int(length)

    def _drop_expired_in(self, pipe: Any, now_ms: int) -> None:
        """Add the commands to a pipeline; the reply to the second one is the length."""
        # Before Redis 6.2 this is an error, and only the limit holds.
        pipe.execute_command("XTRIM", self.name, "MINID", "~", max(now_ms - self._retention_ms, 0))
        pipe.xlen(self.name)
        pipe.pexpire(self.name, self._retention_ms)

    @property
    def last_id(self) -> bytes:
        """The id of the last entry that is known."""
        return self._last_id

    @property
    def position(self) -> tuple[int, int]:
        """The same as a pair of numbers, by which ids are in order."""
        return id_parts(self._last_id)

    def start_after(self, entry_id: bytes) -> None:
        """Have :meth:`read` go on after an entry, as the ones up to that are known."""
        self._last_id, self._anchor = entry_id, None

    async def newest_id(self) -> tuple[int, int]:
        """Return the id of the entry that was added last."""
        async with self._call():
            rows = await self._client.execute_command("XREVRANGE", self.name, "+", "-", "COUNT", 1)
        return id_parts(rows[0][0]) if rows else (0, 0)

    async def scan(self, after: bytes, most: int = _MAX_READ_BATCH) -> list[Row]:
        """Return the next entries after an id, ``most`` of them at most, whatever is known already.

        Returns:
            The id and value of each.
        """
        count = min(self._batch, most)
        async with self._call():
            found = await self._client.execute_command("XREAD", "COUNT", count, "STREAMS", self.name, after)
        return self._rows(found)

    async def find(self, entry_ids: Sequence[bytes]) -> dict[bytes, object]:
        """Return the values of those entries that are in the stream, by id."""
        async with self._call(), self._client.pipeline(transaction=False) as pipe:
            for entry_id in entry_ids:
                pipe.execute_command("XRANGE", self.name, entry_id, entry_id)
            found = await pipe.execute()
        return {entry_id: _value(fields) for rows in found for entry_id, fields in rows}

    async def read_segments(self, after: bytes) -> list[Row]:
        """Return the next segments of the snapshot after an id, each as its id and sealed content."""
        async with self._call():
            found = await self._client.execute_command(
                "XREAD", "COUNT", _SEGMENT_BATCH, "STREAMS", self._snapshot, after
            )
        return [(entry_id, _value(fields)) for entry_id, fields in (found[0][1] if found else ())]

    async def last_segment(self) -> bytes:
        """Return the id of the last segment of the snapshot, or that before all entries."""
        async with self._call():
            rows = await self._client.execute_command("XREVRANGE", self._snapshot, "+", "-", "COUNT", 1)
        last: bytes = rows[0][0] if rows else b"0-0"
        return last

    async def add_segment(self, last: bytes, sealed: bytes, most: int) -> None:
        """Add a segment to the snapshot, and drop expired ones. It is the last one of ``most``.

        Does nothing where another process has added a later one.
        """
        oldest = max(self._server_ms() - self._retention_ms, 0)
        async with self._call(), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("XADD", self._snapshot, "MAXLEN", most, last, _FIELD, sealed)
            pipe.execute_command("XTRIM", self._snapshot, "MINID", oldest)  # an error before Redis 6.2
            pipe.pexpire(self._snapshot, self._retention_ms)
            added, *_ = await pipe.execute(raise_on_error=False)
        if isinstance(added, Exception) and "equal or smaller" not in str(added):
            raise added

    async def drop_snapshot(self) -> None:
        """Drop the snapshot, as entries were dropped that its segments end with."""
        async with self._call():
            await self._client.delete(self._snapshot)

    async def delete(self, entry_ids: Sequence[bytes]) -> None:
        """Drop single entries."""
        async with self._call():
            await self._client.execute_command("XDEL", self.name, *entry_ids)

    def lease(self, purpose: str, life: float) -> Lease:
        """Return a lease of the fleet that lasts for ``life`` seconds."""
        return Lease(self._client, f"{self._root}:{purpose}", life, self._call)

    def roll(self, life: float) -> Roll:
        """Return the roll of the processes that still have to publish what Redis has lost."""
        return Roll(self._client, f"{self._root}:repairing", life, self._call)

    async def get_number(self, name: str) -> int:
        """Return a number that belongs to this stream; 0 where there is none."""
        async with self._call():
            found = await self._client.get(f"{self.name}:{name}")
        return int(found) if found and found.isdigit() and len(found) < _MAX_DIGITS else 0

    async def set_number(self, name: str, value: int) -> None:
        """Set a number that belongs to this stream, and lasts as long as an entry."""
        async with self._call():
            await self._client.set(f"{self.name}:{name}", value, px=self._retention_ms)

    async def trim(self, length: int) -> None:
        """Drop the oldest entries, which a later one has made superfluous."""
        async with self._call():
            await self._client.execute_command("XTRIM", self.name, "MAXLEN", "~", length)

    async def end_epoch(self) -> None:
        """End the epoch, so that no process trusts the stream any longer. This works on a full server, too."""
        async with self._call():
            # Not in a transaction: a full server queues nothing. If another epoch begins just now, it ends, too,
            # which costs a moment only.
            if await self._client.get(self._epoch_key) == self.epoch.value:
                await self._client.delete(self._epoch_key)

    async def renew(self) -> None:
        """Put off the time at which Redis drops the epoch and the stream as unused."""
        async with self._call(), self._client.pipeline(transaction=False) as pipe:
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


def _value(fields: Any) -> object:
    return fields.get(_FIELD) if fields else None


def id_parts(entry_id: bytes) -> tuple[int, int]:
    """Return the milliseconds and the sequence number of an id, by which ids are in order."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def _id_before(entry_id: bytes) -> bytes:
    """Return the greatest id that is less than another."""
    milliseconds, sequence = id_parts(entry_id)
    return b"%d-%d" % ((milliseconds, sequence - 1) if sequence else (milliseconds - 1, _MAX_SEQUENCE))


def added_at(entry_id: bytes) -> float:
    """Return when an entry was added, by the clock of the server: its id begins with the milliseconds."""
    return int(entry_id.split(b"-")[0]) / 1000


def _time_reply_seconds(reply: Any) -> float:
    """Convert a reply to ``TIME``: a pair of numbers in some releases of redis-py, of bytes in others."""
    unix, micros = reply
    return int(unix) + int(micros) / 1_000_000
