"""The writing half of the feed: from the queue of this process into the stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._crypto import Sealer
from moonkey_core._repeated_log import log_repeated
from moonkey_core.redis.batches import BatchSize
from moonkey_core.redis.client import response_error
from moonkey_core.redis.entries import seal_entry
from moonkey_core.redis.limits import Limits
from moonkey_core.redis.publish_queue import Consumer
from moonkey_core.redis.stream import ServerClock, Stream
from moonkey_core.redis.trouble import explain, is_elsewhere
from moonkey_core.revocations import Revocation, Revocations

logger: logging.Logger = logging.getLogger("moonkey")

_BATCH_SHARE = 0.05  # of the lag that the process may have: for so long the reader may have to wait


class PublishErrors:
    """For how long Redis has refused entries, as where it is full, while reading works.

    Args:
        max_seconds: After how many seconds no process may trust the stream any longer.

    Attributes:
        cause: Why Redis refuses entries, and what to do about it; empty where it accepts them.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self.reset()

    def reset(self) -> None:
        """Note that Redis has accepted entries."""
        self._since: float | None = None
        self._is_logged = False
        self.cause: str = ""

    def is_too_long(self, error: Exception) -> bool:
        """Note one more error, and return whether it is time to end the stream epoch."""
        now, name = _clock.elapsed(), type(error).__name__
        self.cause = explain(error) or f"Redis refuses revocations ({name}): look at its log"
        if self._since is None:
            self._since = now
            logger.error(
                "feed: publishing failed (%s); %s", name, self.cause, extra={"reason": "feed_publish_failed"}
            )
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
        queue: Consumer,
        clock: ServerClock,
        *,
        max_lag: float,
        leeway: float,
        poll_interval: float,
        on_published: Callable[[], None],
    ) -> None:
        self._sealer = sealer
        self._queue = queue
        self._clock = clock
        self._poll_interval = poll_interval
        self._on_published = on_published
        self._errors = PublishErrors(max_lag - 3 * poll_interval)  # the others notice within two of them
        self._batch = BatchSize(max_lag * _BATCH_SHARE)
        self.limits: Limits = Limits(sealer, revocations, queue, self._send, leeway=leeway)

    @property
    def batch_size(self) -> int:
        """How many entries are published in one go."""
        return self._batch.value

    @property
    def trouble(self) -> str:
        """Why Redis refuses what is published, and what to do about it; empty where it accepts it."""
        return self._errors.cause

    async def run(self, stream: Stream, entries: Sequence[Revocation]) -> None:
        """Publish entries, then those of the queue, until the connection fails or the task is cancelled."""
        while True:
            try:
                await self.publish(stream, entries)
            except response_error() as error:
                await self.pause_after(stream, error)
                entries = self._queue.take_unsent()
                continue
            if not stream.is_replicated:
                self._queue.mark_delivered()
                log_repeated(
                    logging.WARNING,
                    "feed: fewer replicas than redis_replicas have acknowledged the last revocations",
                    extra={"reason": "feed_not_replicated"},
                )
                await asyncio.sleep(self._poll_interval)
                entries = self._queue.take_new()
                continue
            self._queue.mark_sent()
            self._on_published()
            entries = await self._queue.take()

    async def publish(self, stream: Stream, entries: Sequence[Revocation]) -> None:
        """Publish entries, and keep the stream within its bounds."""
        if self.limits.is_half_full(stream) and any(entry.is_report for entry in entries):
            await stream.measure()
            entries = _without_reports(entries) if self.limits.is_half_full(stream) else entries
        await self._send(stream, entries)
        self._errors.reset()
        await self.limits.keep(stream)

    async def _send(self, stream: Stream, entries: Sequence[Revocation]) -> None:
        """Seal and add entries, so few at a time that no other task has to wait for long."""
        start = 0
        if not entries and not stream.is_replicated:
            await stream.publish([])
        while start < len(entries):
            began_at = _clock.elapsed()
            batch = entries[start : start + self.batch_size]
            await stream.publish([seal_entry(self._sealer, stream.name, one) for one in self._dated(batch)])
            start += len(batch)
            self._batch.note(len(batch), _clock.elapsed() - began_at)

    async def pause_after(self, stream: Stream, error: Exception) -> None:
        """Wait for a while after the server has refused entries, and end the epoch once it has done so for long.

        Raises:
            Exception: This is a replica, or a node that has none of the keys; another server may accept them.
        """
        if is_elsewhere(error):
            raise error
        if self._errors.is_too_long(error):
            with contextlib.suppress(response_error()):  # deleting may be forbidden, too
                await stream.end_epoch()
        await asyncio.sleep(self._poll_interval)

    async def measure(self, stream: Stream) -> None:
        """Notice that a stream is too long, or that entries of one that was have expired."""
        await stream.measure()
        await self.limits.keep(stream)

    def _dated(self, entries: Iterable[Revocation]) -> Iterator[Revocation]:
        """Return entries of ours with all their times by the clock of the server."""
        offset = self._clock.offset
        return (replace(entry.shifted(offset), added_at=entry.added_at + offset) for entry in entries)


def _without_reports(entries: Sequence[Revocation]) -> tuple[Revocation, ...]:
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
