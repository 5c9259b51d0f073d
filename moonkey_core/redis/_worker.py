"""The feed's background thread: one event loop, one reader, one writer, and reconnecting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from moonkey_core import _clock
from moonkey_core import _threads as _native
from moonkey_core._crypto import Sealer
from moonkey_core.events import FeedChanged
from moonkey_core.redis import _connect, _pauses
from moonkey_core.redis._audience import Audience
from moonkey_core.redis._entries import opened_entry, sealed_entry
from moonkey_core.redis._epoch import Epoch, HistoryLost
from moonkey_core.redis._missing import essence, missing, worth_saying
from moonkey_core.redis._outbox import Outbox
from moonkey_core.redis._pauses import Pauses
from moonkey_core.redis._refusals import Refusals
from moonkey_core.redis._server_clock import ServerClock
from moonkey_core.redis._stream import Stream
from moonkey_core.revocations import FUTURE, Revocation, Revocations
from moonkey_core.settings import Secret

logger = logging.getLogger("moonkey")

_BEATS = 5  # per max_revocation_lag
_LAST_SECONDS = 0.5  # to say what is still to be said, when stopped
STOP_SECONDS = 0.8  # that whoever stops it waits
_PAUSE = 1.0  # before a thread that died is started again
_TURN_SECONDS = 0.5  # at most, to let another say again what is missing
_UNUSED_SECONDS = 60.0  # that Redis keeps the stream at least without anybody there


class Worker:
    """Reads and writes one process's feed until it is stopped; whoever goes on makes another.

    ``live_until`` and ``heard_at`` are monotonic seconds that other threads may read.
    """

    def __init__(
        self,
        url: Secret,
        sealer: Sealer,
        revocations: Revocations,
        outbox: Outbox,
        hooks: Audience,
        *,
        lag: float,
        leeway: float,
    ) -> None:
        self.live_until = -math.inf
        self.heard_at: float | None = None
        self._url = url
        self._sealer = sealer
        self._revocations = revocations
        self._outbox = outbox
        self._hooks = hooks
        self._lag = lag
        self._leeway = leeway
        self._clock = ServerClock(leeway, revocations.clock)
        self._beat = lag / _BEATS
        self._wait = lag / 2  # for a connection or a reply: with a beat before it, it is still less than the lag
        self._kept = max(revocations.retention, 10 * lag, _UNUSED_SECONDS)
        self._root = f"moonkey:{{{sealer.digest('feed')[:32]}}}:feed"
        self._pauses = Pauses(self._beat, lag)
        self._settled_at = math.inf
        self._joined = False
        self._announced: bool | None = None
        self._refusals = Refusals(lag - 2 * self._beat)  # the others notice within a beat
        self._unsaid_noted = False
        self._died_at: float | None = None
        self._junk_seen = False
        self._stopped = False
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._last_try = False
        self._home: _native.Home  # known at the start only: a server may fork, and bring gevent, in between
        self._thread = self._new_thread()

    def _new_thread(self) -> _native.Thread:
        return _native.Thread(self._main, "moonkey-feed")

    @property
    def may_start_again(self) -> bool:
        """Whether its thread died a while ago, as where no event loop could be had."""
        return self._died_at is not None and not self._stopped and _clock.elapsed() >= self._died_at + _PAUSE

    def start(self) -> bool:
        """Begin, or begin again; false where no thread can be had."""
        if self._died_at is not None:
            self._died_at = None
            self._thread = self._new_thread()
        self._home = _native.Home()
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def stop(self, wait: float = STOP_SECONDS) -> None:
        """End it when what was revoked here has been said, in half a second at most; wait some seconds for that.

        May be called again, and from anywhere.
        """
        self._stopped = True
        running = self._running
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                running[0].call_soon_threadsafe(self._end)
        if wait and not self._thread.is_current():
            self._thread.join(wait)
        if wait:
            self._note_unsaid()
        self.live_until = -math.inf

    def _end(self) -> None:
        if self._running is not None:
            if self._outbox.is_empty:
                self._cancel()
            else:
                self._last_try = True
                self._outbox.wake()
                self._running[0].call_later(_LAST_SECONDS, self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._cancelled = True
            self._running[1].cancel()

    def _note_unsaid(self) -> None:
        """It is over, and nobody else can tell the fleet."""
        if not self._outbox.is_empty and not self._unsaid_noted:
            self._unsaid_noted = True
            unsent = self._outbox.unsent
            logger.error(
                "feed: ended before Redis had %d revocations", unsent, extra={"reason": "feed_ended_unsent"}
            )

    def _main(self) -> None:
        self._home.own_this_thread()
        try:
            loop = _native.OwnLoop()
            try:
                loop.run_until_complete(self._run())
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
        except asyncio.CancelledError:
            pass
        except Exception as error:  # no file descriptors are left, for one
            self._announce(error)
            self._died_at = _clock.elapsed()
        finally:
            self._home.leave_this_thread()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running = (asyncio.get_running_loop(), task)
        self._outbox.open()
        if self._stopped:
            self._end()
        try:
            while True:
                try:
                    await self._session()
                except Exception as error:
                    # A task group with trouble of its own forgets that it was cancelled.
                    if self._cancelled or self._last_try or not threading.main_thread().is_alive():
                        return
                    self._announce(error)
                await self._pause()
        finally:
            self._running = None
            self._outbox.shut()
            self._note_unsaid()

    async def _pause(self) -> None:
        """Wait before the next try; no longer where it is to be the last one, or there is something to be said."""
        urgent = self._outbox.is_urgent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pauses.next(urgent=urgent)):
                while not self._last_try:
                    await self._outbox.wait()
                    if not urgent:
                        return

    async def _session(self) -> None:
        """One connection's life: join, read all there is, then read and write until something breaks."""
        client = _connect.async_client(self._url, self._beat + self._wait, 4)
        try:
            stream = await Stream.join(client, self._root, self._wait, self._kept, self._clock)
            self._share_clock()
            self._settle(stream.epoch)
            unsaid = await self._unsaid(stream)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(stream))
                tasks.create_task(self._write(stream, unsaid))
                tasks.create_task(self._keep(stream))
        finally:
            with contextlib.suppress(Exception):
                async with _connect.within(self._wait):
                    await client.connection_pool.disconnect()

    def _settle(self, epoch: Epoch) -> None:
        """Where the server may have forgotten something, give the others time to say it again.

        They come back after a pause, which is no longer than Redis was away; then they have to be heard.
        """
        now = _clock.elapsed()
        if self._joined:
            away = _pauses.LONGEST if self.heard_at is None else min(now - self.heard_at, _pauses.LONGEST)
            left = self._lag + away
        else:
            most = self._lag + _pauses.LONGEST
            left = min(max(most - epoch.age, 0.0), most)
        self._settled_at = now + left
        self._joined = True

    async def _catch_up(self, stream: Stream) -> set[object]:
        """Read the whole stream; what is in it."""
        present: set[object] = set()
        while True:
            sent_at = _clock.elapsed()
            values, complete = await stream.read()
            present.update(essence(entry) for entry in self._take(stream, values))
            if complete:
                self._heard(sent_at)
                return present

    async def _unsaid(self, stream: Stream) -> tuple[Revocation, ...]:
        """Read the whole stream; what must be said (again).

        It is what began here, and all else that is known here: Redis may have gone back in time, or whoever found
        it empty knew nothing, and those who said it first may be gone.
        """
        present = await self._catch_up(stream)
        own = missing(self._dated(self._outbox.everything()), present)
        known = worth_saying(self._dated(self._revocations.entries()), self._leeway)
        others = missing(known, {*present, *map(essence, own)})
        if others and not stream.epoch.is_ours:
            # All processes know it: one after another looks whether it was said meanwhile.
            await asyncio.sleep(secrets.randbelow(1000) / 1000 * min(self._beat, _TURN_SECONDS))
            others = missing(others, await self._catch_up(stream))
        return own + others

    async def _read(self, stream: Stream) -> None:
        while True:
            sent_at = _clock.elapsed()
            try:
                values, complete = await stream.read(self._beat)
            except HistoryLost:
                self.live_until = -math.inf  # this is known, not feared: nobody waits for the lag to pass
                raise
            self._share_clock()
            self._take(stream, values)
            if complete:
                self._heard(sent_at)

    def _share_clock(self) -> None:
        """What is revoked here is dated by the server's clock."""
        if self._clock.is_known:
            for table in (self._outbox.own, self._revocations):
                table.set_common_clock(self._clock.offset)

    def _dated(self, entries: Iterable[Revocation]) -> tuple[Revocation, ...]:
        """Entries of ours with all their dates by the server's clock."""
        offset = self._clock.offset
        return tuple(replace(entry.by_common_clock(offset), added_at=entry.added_at + offset) for entry in entries)

    def _take(self, stream: Stream, values: Iterable[tuple[float, object]]) -> list[Revocation]:
        entries = []
        for added_at, value in values:
            try:
                entry = opened_entry(self._sealer, stream.name, value)
            except ValueError:
                if not self._junk_seen:
                    self._junk_seen = True
                    logger.warning("feed: skipping what is not ours", extra={"reason": "feed_foreign_entry"})
                continue
            # Its sender's clock may have been anything. When it was added, the server knows.
            entry = replace(entry.until(added_at + FUTURE), added_at=added_at - self._clock.offset)
            self._revocations.receive(entry)
            entries.append(entry)
        return entries

    def _heard(self, sent_at: float) -> None:
        """All that was said before ``sent_at`` has been taken in."""
        self.heard_at = sent_at
        self._pauses.over()
        if sent_at >= self._settled_at and not self._stopped:
            self.live_until = sent_at + self._lag
        self._announce()

    async def _write(self, stream: Stream, entries: tuple[Revocation, ...]) -> None:
        while True:
            try:
                await self._publish(stream, entries)
            except _connect.response_error() as error:
                if isinstance(error, _connect.read_only_error()):
                    raise  # elsewhere there may be a server that can be written to
                if self._refusals.last_too_long(error):
                    with contextlib.suppress(_connect.response_error()):  # it may be forbidden, too
                        await stream.give_up()
                await asyncio.sleep(self._beat)
                entries = self._dated(self._outbox.everything())
                continue
            self._refusals.over()
            self._outbox.sent()
            if self._stopped:
                self._end()
            entries = self._dated(await self._outbox.take())

    async def _publish(self, stream: Stream, entries: Iterable[Revocation]) -> None:
        """Say entries, which are dated by the server's clock."""
        limit = 2 * self._revocations.maxsize
        sealed = [sealed_entry(self._sealer, stream.name, entry) for entry in entries]
        if not await stream.publish(sealed, limit):
            return
        # Nothing is ever dropped without an entry behind it that says more.
        logger.error("feed: too long; everything issued before now is refused", extra={"reason": "feed_full"})
        everything = Revocation(None, None, self._revocations.now() + self._leeway, self._revocations.clock())
        self._outbox.own.note(everything)
        (dated,) = self._dated([everything])
        await stream.publish([sealed_entry(self._sealer, stream.name, dated)], limit)
        await stream.shorten(limit // 2)

    async def _keep(self, stream: Stream) -> None:
        while True:
            await stream.keep()
            await asyncio.sleep(self._kept / 4)

    def _announce(self, error: BaseException | None = None) -> None:
        """Tell of a change: that the feed has caught up, or that it is further behind than it may be."""
        live = _clock.elapsed() < self.live_until
        if self._stopped or live is self._announced or (self._announced is None and not live and error is None):
            return
        was, self._announced = self._announced, live
        if not live:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            name = type(error).__name__ if error else "catching up"
            logger.warning("feed: lost (%s)", name, extra={"reason": "feed_lost"})
        elif was is False:
            logger.warning("feed: back, and caught up", extra={"reason": "feed_back"})
        self._home.run(partial(self._tell_hooks, FeedChanged("caught_up" if live else "lost")))

    def _tell_hooks(self, event: FeedChanged) -> None:
        for hooks in list(self._hooks):
            hooks.emit(event)
