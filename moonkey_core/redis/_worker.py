"""The feed's background thread: one event loop, one reader, one writer, and reconnecting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterable
from typing import Any

from moonkey_core._sealing import Sealer
from moonkey_core.events import FeedChanged
from moonkey_core.redis import _connect
from moonkey_core.redis._audience import Audience
from moonkey_core.redis._entries import opened_entry, sealed_entry
from moonkey_core.redis._epoch import Epoch
from moonkey_core.redis._outbox import Outbox
from moonkey_core.redis._stream import Stream
from moonkey_core.revocations import Revocation, Revocations
from moonkey_core.settings import Secret

logger = logging.getLogger("moonkey")

_BEATS = 5  # per max_revocation_lag
_LAST_SECONDS = 1.0  # to say what is still to be said, when stopped
_STOP_SECONDS = 1.5
_UNUSED_SECONDS = 60.0  # that Redis keeps the stream at least without anybody there


class Worker:
    """Reads and writes one process's feed until it is stopped. Runs once; whoever goes on makes another.

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
        self._beat = lag / _BEATS
        self._wait = lag / 2  # for a connection or a reply: with a beat before it, it is still less than the lag
        self._kept = max(revocations.retention, 10 * lag, _UNUSED_SECONDS)
        self._root = f"moonkey:{{{sealer.digest('feed')[:32]}}}:feed"
        self._settled_at = math.inf
        self._joined = False
        self._announced: bool | None = None
        self._publish_failed = False
        self._junk_seen = False
        self._stopped = False
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._thread = threading.Thread(target=self._main, name="moonkey-feed", daemon=True)

    def start(self) -> bool:
        """Begin; false where no thread can be had."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def stop(self, wait: float = _STOP_SECONDS) -> None:
        """End it when what was revoked here has been said, in a second at most; wait some seconds for that.

        May be called again, and from anywhere.
        """
        self._stopped = True
        running = self._running
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                running[0].call_soon_threadsafe(self._end)
        if wait and self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(wait)
        self.live_until = -math.inf

    def _end(self) -> None:
        if self._running is not None:
            if self._outbox.is_empty:
                self._cancel()
            else:
                self._running[0].call_later(_LAST_SECONDS, self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._cancelled = True
            self._running[1].cancel()

    def _main(self) -> None:
        with (
            contextlib.suppress(asyncio.CancelledError),
            asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
        ):
            runner.run(self._run())

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
                    if self._cancelled or not threading.main_thread().is_alive():
                        return
                    self._announce(error)
                await asyncio.sleep(self._beat)
        finally:
            self._running = None
            self._outbox.shut()

    async def _session(self) -> None:
        """One connection's life: join, read all there is, then read and write until something breaks."""
        client = _connect.async_client(self._url, self._beat + self._wait, 4)
        try:
            stream = await Stream.join(client, self._root, self._wait, self._kept)
            self._settle(stream.epoch)
            missing = self._missing(stream.epoch, await self._catch_up(stream))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(stream))
                tasks.create_task(self._write(stream, missing))
                tasks.create_task(self._keep(stream))
        finally:
            with contextlib.suppress(Exception):
                async with _connect.within(self._wait):
                    await client.connection_pool.disconnect()

    def _settle(self, epoch: Epoch) -> None:
        """Where the server may have forgotten something, give the others time to say it again."""
        left = self._lag if self._joined else min(max(self._lag - epoch.age, 0.0), self._lag)
        self._settled_at = time.monotonic() + left
        self._joined = True

    async def _catch_up(self, stream: Stream) -> set[object]:
        """Read the whole stream; what is in it."""
        present: set[object] = set()
        while True:
            sent_at = time.monotonic()
            values, complete = await stream.read()
            present.update(_essence(entry) for entry in self._take(stream, values))
            if complete:
                self._heard(sent_at)
                return present

    def _missing(self, epoch: Epoch, present: set[object]) -> tuple[Revocation, ...]:
        """What must be said (again): what began here, and all that is known here if we found the memory empty."""
        own = self._outbox.everything()
        known = self._revocations.entries() if epoch.is_ours else own
        return tuple(entry for entry in known if _essence(entry) not in present)

    async def _read(self, stream: Stream) -> None:
        while True:
            sent_at = time.monotonic()
            values, complete = await stream.read(self._beat)
            self._take(stream, values)
            if complete:
                self._heard(sent_at)

    def _take(self, stream: Stream, values: Iterable[object]) -> list[Revocation]:
        entries = []
        for value in values:
            try:
                entry = opened_entry(self._sealer, stream.name, value)
            except ValueError:
                if not self._junk_seen:
                    self._junk_seen = True
                    logger.warning("feed: skipping what is not ours", extra={"reason": "feed_foreign_entry"})
                continue
            self._revocations.receive(entry)
            entries.append(entry)
        return entries

    def _heard(self, sent_at: float) -> None:
        """All that was said before ``sent_at`` has been taken in."""
        self.heard_at = sent_at
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
                self._note_failed(error)
                await asyncio.sleep(self._beat)
                entries = self._outbox.everything()
                continue
            self._publish_failed = False
            self._outbox.sent()
            if self._stopped:
                self._end()
            entries = await self._outbox.take()

    async def _publish(self, stream: Stream, entries: Iterable[Revocation]) -> None:
        limit = 2 * self._revocations.maxsize
        sealed = [sealed_entry(self._sealer, stream.name, entry) for entry in entries]
        if not await stream.publish(sealed, limit):
            return
        # Nothing is ever dropped without an entry behind it that says more.
        logger.error("feed: too long; everything issued before now is refused", extra={"reason": "feed_full"})
        now = time.time()
        everything = Revocation(None, None, now + self._leeway, now)
        self._outbox.own.receive(everything)
        await stream.publish([sealed_entry(self._sealer, stream.name, everything)], limit)
        await stream.shorten(limit // 2)

    def _note_failed(self, error: Exception) -> None:
        if not self._publish_failed:
            self._publish_failed = True
            name = type(error).__name__
            logger.error("feed: publishing failed (%s)", name, extra={"reason": "feed_publish_failed"})

    async def _keep(self, stream: Stream) -> None:
        while True:
            await stream.keep()
            await asyncio.sleep(self._kept / 4)

    def _announce(self, error: BaseException | None = None) -> None:
        """Tell of a change: that the feed has caught up, or that it is further behind than it may be."""
        live = time.monotonic() < self.live_until
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
        for hooks in list(self._hooks):
            hooks.emit(FeedChanged("caught_up" if live else "lost"))


def _essence(entry: Revocation) -> object:
    """What an entry says, apart from when it was said; tables of revocations leave the ``user_`` out."""
    user_id = None if entry.user_id is None else entry.user_id.removeprefix("user_")
    return (entry.session_id, user_id, entry.issued_before)
