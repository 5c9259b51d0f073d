"""The feed's stream in Redis: only what is said to the server, and how its answers are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moonkey_core.redis._epoch import FIELD, Epoch, HistoryLost, current_epoch, epoch_key, stream_key
from moonkey_core.redis._server_clock import ServerClock
from moonkey_core.redis.client import within

_BATCH = 500  # entries of ours, of some hundred bytes
_READ = 50  # of anybody's: a stranger's may be large


class Stream:
    """The stream of one epoch. Calls take ``seconds`` at most; what is older than ``kept`` seconds is dropped."""

    def __init__(
        self, client: Any, root: str, epoch: Epoch, seconds: float, kept: float, clock: ServerClock
    ) -> None:
        self._client = client
        self._epoch_key = epoch_key(root)
        self._seconds = seconds
        self._milliseconds = int(kept * 1000)
        self._last = b"0-0"
        self._clock = clock
        self.epoch = epoch
        self.name = stream_key(root, epoch.value)

    @classmethod
    async def join(
        cls, client: Any, root: str, seconds: float, kept: float, clock: ServerClock | None = None
    ) -> Stream:
        """The current stream, from its beginning. Raises :class:`HistoryLost`: try again."""
        clock = clock or ServerClock(0.0)
        async with within(seconds):
            epoch = await current_epoch(client, root, int(kept * 1000))
            sent_at = clock.wall()
            answer = await client.execute_command("TIME")
            clock.told(answer, answer, sent_at)
        return cls(client, root, epoch, seconds, kept, clock)

    async def read(self, block: float = 0.0) -> tuple[list[tuple[float, object]], bool]:
        """What was added since the last call, in order, and whether that was all.

        Each comes with the time at which it was added, by the server's clock. Waits ``block`` seconds for one.
        Raises :class:`HistoryLost`. That the epoch stands afterwards proves that it stood all the while.
        """
        waiting = ["BLOCK", max(int(block * 1000), 1)] if block else []
        sent_at = self._clock.wall()
        async with within(block + self._seconds), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("TIME")
            pipe.execute_command("XREAD", "COUNT", _READ, *waiting, "STREAMS", self.name, self._last)
            pipe.get(self._epoch_key)
            pipe.exists(self.name)
            pipe.execute_command("TIME")
            first, found, epoch, exists, last = await pipe.execute()
        self._clock.told(first, last, sent_at)
        if epoch != self.epoch.value or not exists:
            raise HistoryLost
        rows = found[0][1] if found else []
        if rows:
            self._last = rows[-1][0]
        values = [(_added_at(place), fields.get(FIELD) if fields else None) for place, fields in rows]
        return [(added_at, value) for added_at, value in values if value != b""], len(rows) < _READ

    async def publish(self, entries: Sequence[bytes], limit: int) -> bool:
        """Add entries. Whether the stream is longer than ``limit``, even without what is past its time."""
        length = 0
        for start in range(0, len(entries), _BATCH):
            async with within(self._seconds), self._client.pipeline(transaction=False) as pipe:
                for entry in entries[start : start + _BATCH]:
                    pipe.execute_command("XADD", self.name, "*", FIELD, entry)
                *_, newest = await pipe.execute()
                length = await self._tidied(int(_added_at(newest) * 1000))
        return length > limit

    async def _tidied(self, now: int) -> int:
        """Drop what is past its time by the server's own clock (milliseconds); the length that is left."""
        async with self._client.pipeline(transaction=False) as pipe:
            # Before Redis 6.2 this is an error, and only the limit holds.
            pipe.execute_command("XTRIM", self.name, "MINID", "~", max(now - self._milliseconds, 0))
            pipe.xlen(self.name)
            pipe.pexpire(self.name, self._milliseconds)
            _, length, _ = await pipe.execute(raise_on_error=False)
        if isinstance(length, Exception):
            raise length
        return int(length)

    async def shorten(self, length: int) -> None:
        """Drop the oldest entries, which a later one has made superfluous."""
        async with within(self._seconds):
            await self._client.execute_command("XTRIM", self.name, "MAXLEN", "~", length)

    async def give_up(self) -> None:
        """End the epoch, so that nobody believes the stream any longer. That works on a full server, too."""
        async with within(self._seconds):
            # Not in a transaction: a full server queues nothing. If another epoch begins just now, it ends, too,
            # which costs a moment only.
            if await self._client.get(self._epoch_key) == self.epoch.value:
                await self._client.delete(self._epoch_key)

    async def keep(self) -> None:
        """Put off the time at which Redis drops it all as unused."""
        async with within(self._seconds), self._client.pipeline(transaction=False) as pipe:
            pipe.pexpire(self._epoch_key, self._milliseconds)
            pipe.pexpire(self.name, self._milliseconds)
            await pipe.execute()


def _added_at(place: bytes) -> float:
    """When an entry was added, by the server's clock: its place begins with the milliseconds."""
    return int(place.split(b"-")[0]) / 1000
