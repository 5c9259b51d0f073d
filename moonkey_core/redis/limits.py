"""The bounds of the stream: repeats are dropped first, and where that is not enough, nothing is forgotten."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

from moonkey_core._crypto import Sealer
from moonkey_core._repeated_log import log_repeated
from moonkey_core.redis.client import response_error
from moonkey_core.redis.entries import open_entry
from moonkey_core.redis.lease import log_refusal
from moonkey_core.redis.publish_queue import Consumer
from moonkey_core.redis.room import Ended, ended_of, replacements
from moonkey_core.redis.stream import Stream
from moonkey_core.revocations import Revocation, Revocations

logger: logging.Logger = logging.getLogger("moonkey")

_Times = tuple[float, float, bool]
_LEASE_SECONDS = 10.0
_DELETE_BATCH = 500


class Limits:
    """Keeps the stream within its bounds. They count distinct entries, not how often one was added.

    A stream of ``max_revocations`` entries may hold repeats, as of processes of earlier versions that have all
    published the same again. One process at a time drops those. With twice as many distinct entries, sessions that
    the provider has ended make way for one entry, by which it is asked (:mod:`.room`). Where the others are still
    too many, the stream is cut off behind one that refuses everything issued before; or the processes add no more,
    where the provider cannot be asked.

    Args:
        sealer: Opens the entries.
        revocations: The table of all revocations that are known here.
        queue: The revocations of this process.
        publish: Publishes entries.
        leeway: Seconds that the clock of the issuer of JWTs may be ahead.
    """

    def __init__(
        self,
        sealer: Sealer,
        revocations: Revocations,
        queue: Consumer,
        publish: Callable[[Stream, Sequence[Revocation]], Awaitable[None]],
        *,
        leeway: float,
    ) -> None:
        self._sealer = sealer
        self._revocations = revocations
        self._queue = queue
        self._publish = publish
        self._leeway = leeway
        self._limit = 2 * revocations.maxsize
        self._last_limit = max(self._limit, 2 * revocations.max_untold)  # of what must not make way
        self._due_at = self._limit // 2

    def is_half_full(self, stream: Stream) -> bool:
        """Return whether there is room in a stream for revocations only."""
        return stream.length > self._limit // 2

    async def keep(self, stream: Stream) -> None:
        """Shorten a stream that has become too long."""
        is_exact = False
        if stream.length > self._due_at:
            try:
                is_exact = await self._drop_repeats(stream)
            except response_error() as error:  # the entries themselves were accepted
                log_refusal(error)
        is_too_long = stream.length > self._limit * (1.0 if is_exact else 1.5)
        if not self._revocations.raises_when_full:
            if is_too_long and is_exact:
                try:
                    is_exact = await self._replace_ended(stream)
                except response_error() as error:
                    log_refusal(error)
            if stream.length > self._last_limit * (1.0 if is_exact else 1.5):
                await self._refuse_all(stream)
        elif is_too_long or stream.length <= self._limit:
            self._note_room(is_full=is_too_long)

    async def _drop_repeats(self, stream: Stream) -> bool:
        """Drop repeated entries, one process at a time; return whether only distinct ones are left."""
        self._due_at = max(self._limit // 2, await stream.get_number("compact-at"))
        if stream.length <= self._due_at:  # another process has done it
            return False
        lease = stream.lease("compaction", _LEASE_SECONDS)
        if not await lease.acquire():
            return False
        repeated: list[bytes] = []
        latest: dict[bytes, tuple[bytes, _Times]] = {}
        after = b"0-0"
        while rows := await stream.scan(after):
            after = rows[-1][0]
            repeated += self._repeated(stream, rows, latest)
            if not await lease.renew():
                return False
        for start in range(0, len(repeated), _DELETE_BATCH):
            await stream.delete(repeated[start : start + _DELETE_BATCH])
        await stream.drop_snapshot()
        await stream.measure()
        self._due_at = max(self._limit // 2, stream.length + self._limit // 4)
        await stream.set_number("compact-at", self._due_at)
        await lease.release()
        return True

    async def _replace_ended(self, stream: Stream) -> bool:
        """Have the provider asked, instead of naming so many sessions that it has ended; one process at a time.

        Returns:
            Whether as many of them as possible have made way.
        """
        lease = stream.lease("compaction", _LEASE_SECONDS)
        if not await lease.acquire():
            return False
        ended: list[Ended] = []
        after = b"0-0"
        while rows := await stream.scan(after):
            after = rows[-1][0]
            ended += self._ended(stream, rows)
            if not await lease.renew():
                return False
        ids, entries = replacements(ended, stream.length - self._limit // 2, self._revocations.clock())
        for entry in entries:
            self._queue.own.record(entry)
        await self._publish(stream, entries)  # first, so that nothing is missing at any time
        for start in range(0, len(ids), _DELETE_BATCH):
            await stream.delete(ids[start : start + _DELETE_BATCH])
        await stream.drop_snapshot()
        await stream.measure()
        self._due_at = max(self._limit // 2, stream.length + self._limit // 4)
        await stream.set_number("compact-at", self._due_at)
        await lease.release()
        if entries:
            log_repeated(
                logging.WARNING,
                "feed: %d ended sessions are not named any more; the API is asked about what it has not vouched "
                "for since",
                len(ids),
                extra={"reason": "feed_overflow"},
            )
        return True

    def _ended(self, stream: Stream, rows: Sequence[tuple[bytes, object]]) -> list[Ended]:
        found = []
        for entry_id, value in rows:
            with contextlib.suppress(ValueError):  # the mark at the beginning, or not ours to drop
                entry = open_entry(self._sealer, stream.name, value)
                one = ended_of(entry_id, entry, self._leeway, self._revocations.key_of_user)
                found += [] if one is None else [one]
        return found

    def _repeated(
        self,
        stream: Stream,
        rows: Sequence[tuple[bytes, object]],
        latest: dict[bytes, tuple[bytes, _Times]],
    ) -> list[bytes]:
        """Return the ids of the entries that a later one repeats or contains.

        Args:
            stream: The stream.
            rows: The next entries of it.
            latest: What was found before: by a digest of whom an entry is about, its id and its times.
        """
        repeated = []
        for entry_id, value in rows:
            try:
                entry = open_entry(self._sealer, stream.name, value)
            except ValueError:  # the mark at the beginning, or not ours to drop
                continue
            subject, times = self._subject(entry), _times(entry)
            before = latest.get(subject)
            if before is not None and all(one <= other for one, other in zip(before[1], times, strict=True)):
                repeated.append(before[0])
            latest[subject] = (entry_id, times)
        return repeated

    def _subject(self, entry: Revocation) -> bytes:
        """Return a digest of all of an entry but its times."""
        user_id = None if entry.user_id is None else self._revocations.key_of_user(entry.user_id)
        about = (entry.scope, entry.session_id, user_id, entry.exempt_session_id, entry.credential)
        is_confirmed = entry.confirm_before is None
        kind = (entry.is_report, entry.is_precaution, is_confirmed, entry.is_overflow, entry.ends_records)
        return blake2b(repr((about, kind)).encode(), digest_size=16).digest()

    def _note_room(self, *, is_full: bool) -> None:
        """Have the table take no more in while the stream has no room: nothing is dropped from it."""
        if is_full and not self._revocations.is_feed_full:
            logger.error("feed: too long; it takes no more revocations", extra={"reason": "feed_takes_no_more"})
        self._revocations.is_feed_full = is_full

    async def _refuse_all(self, stream: Stream) -> None:
        """Shorten a stream that is too long. Nothing is dropped without a later entry that revokes more."""
        logger.error("feed: too long; everything issued before now is refused", extra={"reason": "feed_full"})
        at, added_at = self._revocations.now() + self._leeway, self._revocations.clock()
        for_all_users = [
            Revocation(None, None, at, added_at, is_precaution=True, scope=scope)
            for scope in self._revocations.scopes
        ]
        for entry in for_all_users:
            self._queue.own.record(entry)
        await self._publish(stream, for_all_users)
        await stream.trim(self._last_limit // 2)


def _times(entry: Revocation) -> _Times:
    """Return the times of an entry, and whether the provider has ended it: the later, the more it contains."""
    times = entry.issued_before, entry.confirm_before
    revoked, confirm = (-math.inf if at is None else at for at in times)
    return revoked, confirm, entry.is_ended
