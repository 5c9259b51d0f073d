"""The writing half of the feed: from the queue of this process into the stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._crypto import Sealer
from moonkey_core.redis.client import read_only_error, response_error
from moonkey_core.redis.entries import entry_key, missing_entries, seal_entry, without_superseded
from moonkey_core.redis.publish_queue import PublishQueue
from moonkey_core.redis.reader import Reader
from moonkey_core.redis.stream import ServerClock, Stream
from moonkey_core.revocations import Revocation, Revocations

logger: logging.Logger = logging.getLogger("moonkey")

_MAX_TURN_SECONDS = 0.5  # to leave publishing again what is missing to another process


class PublishErrors:
    """For how long Redis has refused entries, as where it is full, while reading works.

    Args:
        max_seconds: After how many seconds no process may trust the stream any longer.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self.reset()

    def reset(self) -> None:
        """Note that Redis has accepted entries."""
        self._since: float | None = None
        self._is_logged = False

    def is_too_long(self, error: Exception) -> bool:
        """Note one more error, and return whether it is time to end the stream epoch."""
        now, name = _clock.elapsed(), type(error).__name__
        if self._since is None:
            self._since = now
            logger.error("feed: publishing failed (%s)", name, extra={"reason": "feed_publish_failed"})
        if now - self._since < self._max_seconds:
            return False
        if not self._is_logged:
            self._is_logged = True
            logger.error(
                "feed: publishing still fails (%s); the whole fleet goes without the feed until it works",
                name,
                extra={"reason": "feed_given_up"},
            )
        return True


class Publisher:
    """The publisher of the revocations of this process, and again of those that Redis has lost.

    Args:
        sealer: Seals the entries.
        revocations: The table of all revocations that are known here.
        queue: The revocations of this process.
        reader: Reads what is in the stream.
        clock: The clock of the server, by which entries are dated.
        max_lag: Seconds that a process may be behind the stream.
        leeway: Seconds that the clock of the issuer of JWTs may be ahead.
        poll_interval: Seconds within which the other processes read the stream; also the pause after an error.
        on_published: Is called each time that entries have been published.
    """

    def __init__(
        self,
        sealer: Sealer,
        revocations: Revocations,
        queue: PublishQueue,
        reader: Reader,
        clock: ServerClock,
        *,
        max_lag: float,
        leeway: float,
        poll_interval: float,
        on_published: Callable[[], None],
    ) -> None:
        self._sealer = sealer
        self._revocations = revocations
        self._queue = queue
        self._reader = reader
        self._clock = clock
        self._leeway = leeway
        self._poll_interval = poll_interval
        self._on_published = on_published
        self._errors = PublishErrors(max_lag - 2 * poll_interval)  # the others notice within a poll interval

    async def find_unpublished(self, stream: Stream) -> tuple[Revocation, ...]:
        """Read the whole stream, and return the entries that have to be published (again).

        These are the revocations of this process, and all others that are known here: Redis may have gone back in
        time, or the process that found it empty had no entries, and those that published first may have ended.
        """
        present = await self._reader.read_all(stream)
        own = missing_entries(self._server_dated(self._queue.take_all()), present)
        known = without_superseded(self._server_dated(self._revocations.entries()), self._leeway)
        others = missing_entries(known, {*present, *map(entry_key, own)})
        if others and not stream.epoch.is_new:
            # All processes have them: one after another checks whether they have been published meanwhile.
            await asyncio.sleep(secrets.randbelow(1000) / 1000 * min(self._poll_interval, _MAX_TURN_SECONDS))
            others = missing_entries(others, await self._reader.read_all(stream))
        return own + others

    async def run(self, stream: Stream, entries: tuple[Revocation, ...]) -> None:
        """Publish entries, then those of the queue, until the connection fails or the task is cancelled."""
        while True:
            try:
                await self._publish(stream, entries)
            except response_error() as error:
                if isinstance(error, read_only_error()):
                    raise  # another server may accept writes
                if self._errors.is_too_long(error):
                    with contextlib.suppress(response_error()):  # deleting may be forbidden, too
                        await stream.end_epoch()
                await asyncio.sleep(self._poll_interval)
                entries = self._server_dated(self._queue.take_all())
                continue
            self._errors.reset()
            self._queue.mark_sent()
            self._on_published()
            entries = self._server_dated(await self._queue.take())

    async def _publish(self, stream: Stream, entries: Iterable[Revocation]) -> None:
        """Publish entries that are dated by the clock of the server."""
        limit = 2 * self._revocations.maxsize
        sealed = [seal_entry(self._sealer, stream.name, entry) for entry in entries]
        if not await stream.publish(sealed, limit):
            return
        # Nothing is ever dropped without a later entry that revokes more.
        logger.error("feed: too long; everything issued before now is refused", extra={"reason": "feed_full"})
        for_all_users = Revocation(None, None, self._revocations.now() + self._leeway, self._revocations.clock())
        self._queue.own.record(for_all_users)
        (dated,) = self._server_dated([for_all_users])
        await stream.publish([seal_entry(self._sealer, stream.name, dated)], limit)
        await stream.trim(limit // 2)

    def _server_dated(self, entries: Iterable[Revocation]) -> tuple[Revocation, ...]:
        """Return entries of ours with all their times by the clock of the server."""
        offset = self._clock.offset
        return tuple(replace(entry.shifted(offset), added_at=entry.added_at + offset) for entry in entries)
