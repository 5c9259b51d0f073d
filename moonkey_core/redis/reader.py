"""The reading half of the feed: from the stream into the table of revocations."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from moonkey_core import _clock
from moonkey_core._crypto import Sealer
from moonkey_core.redis.entries import entry_key, open_entry
from moonkey_core.redis.snapshot import Snapshot
from moonkey_core.redis.stream import ClockSet, HistoryLost, Row, ServerClock, Stream, StreamEpoch
from moonkey_core.revocations import MAX_CLOCK_AHEAD, Revocation, Revocations

logger: logging.Logger = logging.getLogger("moonkey")


_FREE_WAKEUPS = 3  # that may follow each other at once
_WAKEUPS_PER_SECOND = 3.0
_MAX_PAUSE = 0.07  # seconds; of the lag that a process may have, for one that is shorter than a second
_PAUSE_PER_DELAY = 10.0
_SMOOTHING = 0.2  # share of the last delay in the mean
_MAX_WAIT = 5.0  # seconds: nothing in between takes a connection that is used so often for idle


class WakeUps:
    """How often a process lets entries wake it up.

    Each entry wakes up all processes of the fleet, which costs Redis more than all else. So where more than a few
    come one after another, a process pauses after each time, and finds all new ones together then. The pause is a
    multiple of the time that Redis takes to tell the fleet of an entry: in a small one there is hardly any.

    Args:
        max_lag: Seconds that the process may be behind the stream.
    """

    def __init__(self, max_lag: float) -> None:
        self._max_pause = min(max_lag, 1.0) * _MAX_PAUSE
        self._delay = 0.0
        self._free = float(_FREE_WAKEUPS)
        self._at = 0.0

    def pause(self, now: float, waited: float, delay: float) -> float:
        """Count one, and return how many seconds to pause before the next.

        Args:
            now: The time, in monotonic seconds.
            waited: Seconds since the process began to wait for the entry.
            delay: Seconds since the entry was added.
        """
        if 0 <= delay < waited:  # otherwise it was there before
            self._delay += (delay - self._delay) * _SMOOTHING
        self._free = min(self._free + (now - self._at) * _WAKEUPS_PER_SECOND, _FREE_WAKEUPS)
        self._at = now
        is_free = self._free >= 1
        self._free = max(self._free - 1, 0.0)
        return 0.0 if is_free else min(self._delay * _PAUSE_PER_DELAY, self._max_pause)


class Reader:
    """The reader of the stream, which tracks how up to date this process is.

    Args:
        sealer: Opens the entries.
        revocations: The table that takes them in.
        own: The table of what this process has added. Both get the offset of the clock of the server.
        clock: The clock of the server.
        snapshot: The snapshot of the stream.
        max_lag: Seconds that the process may be behind the stream.
        read_interval: Seconds between two reads that prove that everything is known.
        max_pause: Seconds that another process may wait at most before it connects again.
        on_read: Is called each time that all entries have been read.
        unsent_since: Returns since when an entry of this process waits to be published, in monotonic seconds. A
            process that cannot publish within the lag counts as behind, although it may read: where that is for a
            slow link or a server that refuses entries, the same holds for the others, and they do likewise.

    Attributes:
        live_until: Until when the table may be relied on, in monotonic seconds. Other threads may read it.
        complete_at: Up to when certainly everything is known that was published, in monotonic seconds. It stays
            when the stream is lost.
        last_read_at: When the last read that found all entries was sent, in monotonic seconds, or ``None``.
        max_wait: Seconds that one call waits for entries.
        trusted_from: From when on the stream is taken as complete, in monotonic seconds.
        missing: What is known here, by its key, and has not been found in the stream.
        on_proof: Is called with the time, in monotonic seconds, up to which everything was read, if set.
    """

    def __init__(
        self,
        sealer: Sealer,
        revocations: Revocations,
        own: Revocations,
        clock: ServerClock,
        snapshot: Snapshot,
        *,
        max_lag: float,
        read_interval: float,
        max_pause: float,
        on_read: Callable[[], None],
        unsent_since: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.live_until: float = -math.inf
        self.complete_at: float = -math.inf
        self.last_read_at: float | None = None
        self.trusted_from: float = math.inf
        self.missing: dict[object, Revocation] = {}
        self.on_proof: Callable[[float], None] | None = None
        self._is_held = False
        self._sealer = sealer
        self._revocations = revocations
        self._own = own
        self._clock = clock
        self._snapshot = snapshot
        self._max_lag = max_lag
        self._usual_pace = self._pace = (read_interval, max_lag)
        self.max_wait: float = min(5 * max_lag, _MAX_WAIT)
        self._wake_ups = WakeUps(max_lag)
        self._max_pause = max_pause
        self._on_read = on_read
        self._unsent_since = unsent_since
        self._has_joined = False
        self._is_closing = False
        self._foreign_seen = False

    def join(self, epoch: StreamEpoch) -> None:
        """Begin with a stream: where the server may have lost entries, leave time to publish them again.

        The other processes come back after a pause, which is no longer than Redis was away. Then they have to be
        read.
        """
        self._update_clock()
        now = _clock.elapsed()
        if self._has_joined:
            pause = self._max_pause
            away = pause if self.last_read_at is None else min(now - self.last_read_at, pause)
            wait = self._max_lag + away
        else:
            longest = self._max_lag + self._max_pause
            wait = min(max(longest - epoch.age, 0.0), longest)
        self.trusted_from = now + wait
        self._has_joined = True

    @property
    def is_trusting(self) -> bool:
        """Whether the stream is taken as complete by now."""
        return not self._is_held and _clock.elapsed() >= self.trusted_from

    def hold(self, is_held: bool) -> None:
        """Take the stream for incomplete while another process still has to publish what it lacks."""
        if self._is_held and not is_held:
            self.trusted_from = max(self.trusted_from, _clock.elapsed())  # what is read from now on counts
        self._is_held = is_held

    async def read_all(self, stream: Stream) -> None:
        """Read the whole stream, as far as possible from its snapshot."""
        async for entries in self._snapshot.read(stream, self._clock.offset):
            for entry in entries:
                self._take_in(entry)
        while True:
            sent_at = _clock.elapsed()
            values, is_complete = await stream.read()
            self._receive(stream, values)
            if is_complete:
                self._mark_read(sent_at)
                return

    async def follow(self, stream: Stream) -> None:
        """Prove again and again that everything is known, until the stream is lost or the task is cancelled.

        Entries are known earlier by :meth:`listen`. These reads do not wait. So they say what holds now, and the
        time of that is known to a round trip. They look at the clock and for what Redis has lost, too. Where
        :meth:`listen` proves enough meanwhile, they are made for that only.
        """
        full_read_at = -math.inf
        while True:
            known_at = -math.inf if self.last_read_at is None else self.last_read_at
            read_interval, look_interval = self._pace
            due_at = min(known_at + read_interval, full_read_at + look_interval)
            if (left := due_at - _clock.elapsed()) > 0:
                await asyncio.sleep(min(left, self._max_lag))  # the pace may change meanwhile
                continue
            full_read_at = await self.read_new(stream)

    async def read_new(self, stream: Stream) -> float:
        """Read all that is new, and return when that began, in monotonic seconds."""
        began = _clock.elapsed()
        while not await self._read_more(stream):
            began = _clock.elapsed()
        self._mark_read(began)
        return began

    def set_pace(self, read_interval: float | None = None, look_interval: float | None = None) -> None:
        """Set how often :meth:`follow` reads; without arguments, as often as in the beginning.

        Args:
            read_interval: Seconds after which it reads, where nothing else has proved that everything is known.
            look_interval: Seconds after which it reads in any case, to look for what Redis has lost.
        """
        read, look = self._usual_pace
        self._pace = (read_interval or read, look_interval or look)

    async def _read_more(self, stream: Stream) -> bool:
        """Read what is there, and return whether that is all."""
        with self._noticing_loss():
            values, is_complete = await stream.read()
        self._update_clock()
        self._receive(stream, values)
        return is_complete

    async def listen(self, stream: Stream, seconds: float = math.inf) -> None:
        """Wait for entries, so that they are known as soon as they are added.

        Args:
            stream: The stream.
            seconds: How long to do that.
        """
        end = _clock.elapsed() + seconds
        while (sent_at := _clock.elapsed()) < end:
            with self._noticing_loss():
                values, is_complete = await stream.wait(min(self.max_wait, end - sent_at))
            self._receive(stream, values)
            if is_complete:
                self._mark_read(sent_at)
            if values:
                now, delay = _clock.elapsed(), self._clock.wall() + self._clock.offset - values[-1][0]
                await asyncio.sleep(self._wake_ups.pause(now, now - sent_at, delay))

    def take_over(self, stream: Stream, rows: Sequence[Row], complete_at: float | None) -> None:
        """Take in entries that another process of this machine has read.

        Args:
            stream: The stream that they are of.
            rows: All entries after the last one that is known.
            complete_at: Up to when these are all, in monotonic seconds, if that is known.
        """
        self._receive(stream, stream.take_over(rows))
        if complete_at is not None:
            self._mark_read(min(complete_at, _clock.elapsed()))

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except (HistoryLost, ClockSet):
            self.live_until = -math.inf  # certain, so there is no waiting for the lag to pass
            self._update_clock()
            raise

    def begin_close(self) -> None:
        """Extend ``live_until`` no more."""
        self._is_closing = True

    def close(self) -> None:
        """Take the feed as lost from now on."""
        self.begin_close()
        self.live_until = self.complete_at = -math.inf

    def _update_clock(self) -> None:
        """Date what is revoked here by the clock of the server."""
        if self._clock.is_known:
            for table in (self._own, self._revocations):
                table.set_clock_offset(self._clock.offset)

    def _receive(self, stream: Stream, values: Iterable[tuple[float, object]]) -> None:
        for added_at, value in values:
            try:
                # The clock of its sender may have been wrong. The server dates it by its own clock.
                entry = open_entry(self._sealer, stream.name, value, added_at - self._clock.offset)
            except ValueError:
                if not self._foreign_seen:
                    self._foreign_seen = True
                    logger.warning("feed: skipping what is not ours", extra={"reason": "feed_foreign_entry"})
                continue
            self._take_in(entry)

    def _take_in(self, entry: Revocation) -> None:
        """Take in an entry, and strike it out of what is missing."""
        entry = entry.limited_to(entry.added_at + self._clock.offset + MAX_CLOCK_AHEAD)
        self._revocations.receive(entry)
        if self.missing:
            self.missing.pop(entry_key(entry, self._revocations.key_of_user), None)

    def _mark_read(self, sent_at: float) -> None:
        """Note that everything that was published before ``sent_at`` has been received."""
        if self.last_read_at is not None and sent_at < self.last_read_at:
            return  # a wait that began before the last read
        self.last_read_at = sent_at
        if sent_at >= self.trusted_from and not self._is_held and not self._is_closing:
            self.complete_at = min(sent_at, self._unsent_since())
            self.live_until = self.complete_at + self._max_lag
        if self.on_proof is not None:
            self.on_proof(sent_at)
        self._on_read()
