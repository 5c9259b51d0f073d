"""What Redis has lost is published again, by one process at a time.

Each process notes what it knows before it reads the stream, and strikes out what it finds there. What is left is
missing. The process that holds the lease publishes what it misses, in small batches. The others read that, and
strike it out in turn; then the next one adds what only it knows. A process that still has entries to add is on a
roll in Redis, and none takes the stream for complete while another one is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import islice

from moonkey_core import _clock
from moonkey_core.redis.client import response_error
from moonkey_core.redis.entries import entry_key, without_superseded
from moonkey_core.redis.lease import Roll
from moonkey_core.redis.publish_queue import Consumer
from moonkey_core.redis.publisher import Publisher
from moonkey_core.redis.reader import Reader
from moonkey_core.redis.stream import ServerClock, Stream
from moonkey_core.revocations import Revocation, Revocations

_SLICE = 500  # entries that are noted between two turns of other tasks
_REACH_SECONDS = 0.005  # between two looks at how far the reader is
_RANDOM = random.SystemRandom()  # workers that were forked share the state of any other


class Repair:
    """Finds what the stream lacks of what is known here, and publishes it.

    Args:
        publisher: Publishes a few entries at a time.
        revocations: The table of all revocations that are known here.
        queue: The revocations of this process.
        reader: Reads the stream, and strikes out what it finds there.
        clock: The clock of the server.
        life: Seconds that the lease and an enrolment last: so long the fleet waits for a process that has died.
        leeway: Seconds that the clock of the issuer of JWTs may be ahead.
        poll_interval: Seconds between two looks at what the other processes do.
    """

    def __init__(
        self,
        publisher: Publisher,
        revocations: Revocations,
        queue: Consumer,
        reader: Reader,
        clock: ServerClock,
        *,
        life: float,
        leeway: float,
        poll_interval: float,
    ) -> None:
        self._publisher = publisher
        self._revocations = revocations
        self._queue = queue
        self._reader = reader
        self._clock = clock
        self._life = life
        self._leeway = leeway
        self._poll_interval = poll_interval

    async def find_missing(self, stream: Stream, unsent: Sequence[Revocation]) -> tuple[Revocation, ...]:
        """Read the whole stream, and note what it lacks of what is known here.

        Redis may have gone back in time, or the process that found it empty had no entries, and those that
        published first may have ended.

        Args:
            stream: The stream, of which nothing was read.
            unsent: The entries of this process that Redis has never acknowledged, which no other one can publish.

        Returns:
            Those of them that were not found, and that are not published as missing.
        """
        missing: dict[object, Revocation] = {}
        self._reader.missing = missing
        known = without_superseded(self._revocations.entries(), self._leeway, self._clock.offset)
        for entries in (unsent, self._queue.own.entries(), known):
            for start in range(0, len(entries), _SLICE):
                self._note(missing, entries[start : start + _SLICE])
                await asyncio.sleep(0)
        # First: what such a process publishes before it leaves the roll is found in the stream then.
        self._reader.hold(await stream.roll(self._life).has_others(self._clock.server_time()))
        await self._reader.read_all(stream)
        return tuple(one for one in unsent if missing.pop(self._key(one), None) is not None)

    def _note(self, missing: dict[object, Revocation], entries: Iterable[Revocation]) -> None:
        for entry in entries:
            missing.setdefault(self._key(entry), entry)

    def _key(self, entry: Revocation) -> object:
        return entry_key(entry.shifted(self._clock.offset), self._revocations.key_of_user)

    async def run(self, stream: Stream) -> None:
        """Publish what is missing, then wait until no other process has to, or the task is cancelled."""
        roll = stream.roll(self._life)
        if self._reader.missing:
            await self._publish_missing(stream, roll)
            await roll.leave()  # of a process that fails or ends before, the enrolment ends by itself
        while not self._reader.is_trusting:
            await asyncio.sleep(self._poll_interval * _RANDOM.uniform(0.5, 1.0))
            self._reader.hold(await roll.has_others(self._clock.server_time()))

    async def _publish_missing(self, stream: Stream, roll: Roll) -> None:
        missing, is_idle = self._reader.missing, True
        while missing:
            count = len(missing)
            try:
                self._reader.hold(await roll.enroll(self._clock.server_time()))
                # While they become fewer, another process is at work.
                if is_idle and await self._take_turn(stream, roll):
                    continue
            except response_error() as error:
                await self._publisher.pause_after(stream, error)
                continue
            await asyncio.sleep(self._poll_interval * _RANDOM.uniform(0.5, 1.0))
            is_idle = len(missing) == count

    async def _take_turn(self, stream: Stream, roll: Roll) -> bool:
        """Publish what is missing while this process holds the lease; return whether anything was published."""
        lease = stream.lease("repair", self._life)
        if not await lease.acquire():
            return False
        await self._reach(stream, await stream.newest_id())
        enrolled_at, has_published = _clock.elapsed(), False
        while batch := tuple(islice(self._reader.missing.items(), self._publisher.batch_size)):
            if not await lease.renew():
                return has_published
            await self._publisher.publish(stream, [entry for _, entry in batch])
            has_published = True
            for key, _ in batch:
                self._reader.missing.pop(key, None)
            if _clock.elapsed() - enrolled_at > self._life / 4:
                enrolled_at = _clock.elapsed()
                self._reader.hold(await roll.enroll(self._clock.server_time()))
        await lease.release()
        return has_published

    async def _reach(self, stream: Stream, entry_id: tuple[int, int]) -> None:
        """Wait until the reader has come to an entry, as the process before may just have added it.

        Not for longer than the lease lasts. Some entries may be published twice after that, which changes nothing.
        """
        until = _clock.elapsed() + self._life / 2
        while stream.position < entry_id and _clock.elapsed() < until:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(_REACH_SECONDS)
