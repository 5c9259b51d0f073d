"""The writing half of the feed: from the queue of this process into the stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._crypto import Sealer
from moonkey_core._repeated_log import log_repeated
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
        poll_interval: Half the seconds within which the other processes read the stream; also the pause after an
            error.
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
        self._errors = PublishErrors(max_lag - 3 * poll_interval)  # the others notice within two of them

    async def find_unpublished(self, stream: Stream) -> tuple[Revocation, ...]:
        """Read the whole stream, and return the entries that have to be published (again).

        These are the revocations of this process, and all others that are known here: Redis may have gone back in
        time, or the process that found it empty had no entries, and those that published first may have ended.
        """
        present, key_of_user = await self._reader.read_all(stream), self._revocations.key_of_user
        own = missing_entries(self._server_dated(self._queue.take_all()), present, key_of_user)
        known = without_superseded(self._server_dated(self._revocations.entries()), self._leeway)
        others = missing_entries(known, {*present, *(entry_key(one, key_of_user) for one in own)}, key_of_user)
        if others and not stream.epoch.is_new:
            # All processes have them: one after another checks whether they have been published meanwhile.
            await asyncio.sleep(secrets.randbelow(1000) / 1000 * min(self._poll_interval, _MAX_TURN_SECONDS))
            others = missing_entries(others, await self._reader.read_all(stream), key_of_user)
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

    async def _publish(self, stream: Stream, entries: Collection[Revocation]) -> None:
        """Publish entries that are dated by the clock of the server."""
        limit = 2 * self._revocations.maxsize
        if stream.length > limit // 2 and any(entry.is_report for entry in entries):
            await stream.measure()
            entries = _without_reports(entries) if stream.length > limit // 2 else entries
        sealed = [seal_entry(self._sealer, stream.name, entry) for entry in entries]
        is_too_long = await stream.publish(sealed, limit)
        if self._revocations.raises_when_full:
            self._note_room(is_too_long)
        elif is_too_long:
            await self._refuse_all(stream, limit)

    async def measure(self, stream: Stream) -> None:
        """Notice that entries of a stream that was too long have expired."""
        await stream.measure()
        self._note_room(stream.length > 2 * self._revocations.maxsize)

    def _note_room(self, is_full: bool) -> None:
        """Have the table take no more in while the stream has no room: nothing is dropped from it."""
        if is_full and not self._revocations.is_feed_full:
            logger.error("feed: too long; it takes no more revocations", extra={"reason": "feed_takes_no_more"})
        self._revocations.is_feed_full = is_full

    async def _refuse_all(self, stream: Stream, limit: int) -> None:
        """Shorten a stream that is too long. Nothing is dropped without a later entry that revokes more."""
        logger.error("feed: too long; everything issued before now is refused", extra={"reason": "feed_full"})
        at, added_at = self._revocations.now() + self._leeway, self._revocations.clock()
        for_all_users = [
            Revocation(None, None, at, added_at, is_precaution=True, scope=scope)
            for scope in self._revocations.scopes
        ]
        for entry in for_all_users:
            self._queue.own.record(entry)
        dated = self._server_dated(for_all_users)
        await stream.publish([seal_entry(self._sealer, stream.name, entry) for entry in dated], limit)
        await stream.trim(limit // 2)

    def _server_dated(self, entries: Iterable[Revocation]) -> tuple[Revocation, ...]:
        """Return entries of ours with all their times by the clock of the server."""
        offset = self._clock.offset
        return tuple(replace(entry.shifted(offset), added_at=entry.added_at + offset) for entry in entries)


def _without_reports(entries: Collection[Revocation]) -> tuple[Revocation, ...]:
    """Return the entries without reports, which must not crowd out revocations."""
    kept, count = [], 0
    for entry in entries:
        if entry.is_report:
            count += 1
        else:
            kept.append(entry)
    if count:
        log_repeated(
            logging.WARNING,
            "feed: it is half full, so the other processes are not told of %d dead credentials",
            count,
            extra={"reason": "feed_reports_dropped"},
        )
    return tuple(kept)
