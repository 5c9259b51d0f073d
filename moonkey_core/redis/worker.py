"""The background thread of the feed: one event loop, one connection after another, one reader, one publisher."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ref

from moonkey_core import _clock, _threads
from moonkey_core._crypto import Sealer
from moonkey_core._repeated_log import log_repeated
from moonkey_core._thread_loop import ThreadEventLoop
from moonkey_core.events import FeedChanged, Hooks
from moonkey_core.redis.client import disconnect, time_limit
from moonkey_core.redis.machine import MachineFeed
from moonkey_core.redis.publish_queue import PublishQueue
from moonkey_core.redis.publisher import Publisher
from moonkey_core.redis.reader import Reader
from moonkey_core.redis.repair import Repair
from moonkey_core.redis.rights import Rights
from moonkey_core.redis.snapshot import Snapshot
from moonkey_core.redis.stream import OPENING_CALLS, ServerClock, Stream
from moonkey_core.redis.topology import FeedServer
from moonkey_core.redis.trouble import explain, is_elsewhere, is_refused, may_be_tls
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Secret

logger: logging.Logger = logging.getLogger("moonkey")

STOP_TIMEOUT = 0.8
"""Seconds that a caller of :meth:`Worker.stop` waits."""

MAX_PAUSE = 2.0
"""Seconds between two attempts to connect, at most: another process may take so long to publish again what Redis
has lost."""

_POLLS_PER_LAG = 5
_MAX_CONNECTIONS = 2  # one waits for entries, all the rest takes turns with the other
_CANCEL_AGAIN_SECONDS = 0.1
_LAST_PUBLISH_TIMEOUT = 0.5  # seconds to publish what is left, when stopped
_FOLLOW_SECONDS = 5.0  # between two looks at the Sentinels
_RESTART_SECONDS = 1.0  # before a thread that has failed is started again
_MIN_RETENTION = 60.0  # seconds that Redis keeps a stream that no process uses
_MAX_RENEW_SECONDS = 30.0  # between two writes that prove that this process can publish
_MAX_FIRST_PAUSE = 1.0  # seconds
_MAX_URGENT_SECONDS = 10.0  # of short pauses: a long outage is no reason to connect that often for ever
_RANDOM = random.SystemRandom()  # workers that were forked share the state of any other


class WeakHooks:
    """The hooks of several clients, weakly held. Clients come and go while the thread of the feed reads."""

    def __init__(self, hooks: tuple[Hooks, ...] = ()) -> None:
        self._lock = _threads.lock()
        self._members = tuple(ref(one) for one in hooks)

    def __iter__(self) -> Iterator[Hooks]:
        for member in self._members:
            hooks = member()
            if hooks is not None:
                yield hooks

    def add(self, hooks: Hooks) -> None:
        """Emit events to these hooks from now on."""
        self.discard(hooks)
        with self._lock:
            self._members = (*self._members, ref(hooks))

    def discard(self, hooks: Hooks) -> None:
        """Emit no more events to these hooks."""
        with self._lock:
            self._members = tuple(one for one in self._members if one() is not None and one() is not hooks)


class Backoff:
    """The pauses before Redis is tried again: each about twice as long as the last one, and random.

    Where entries wait to be published the pauses stay shorter than half of the lag at first.
    """

    def __init__(self, poll_interval: float, max_lag: float) -> None:
        self._first = min(poll_interval, _MAX_FIRST_PAUSE)
        self._max_urgent = max_lag / 2
        self.reset()

    def reset(self) -> None:
        """Begin anew, as Redis has replied."""
        self._next = self._first
        self._urgent_seconds = 0.0

    def next(self, *, urgent: bool) -> float:
        """Return the seconds until the next attempt. ``urgent``: entries wait to be published."""
        pause, self._next = self._next, min(2 * self._next, MAX_PAUSE)
        if urgent and self._urgent_seconds < _MAX_URGENT_SECONDS:
            pause = min(pause, self._max_urgent)
            self._urgent_seconds += pause
        return pause * _RANDOM.uniform(0.5, 1.0)


class Worker:
    """The thread that runs the feed of one process until it is stopped.

    It cannot be used after that: make another one.

    Args:
        url: The ``redis_url`` of the settings.
        sealer: Seals and opens entries.
        revocations: The table that takes in the revocations of other processes.
        queue: The revocations of this process. The worker before gets no more of them.
        hooks: Receive the events that the feed is lost or has caught up.
        max_lag: Seconds that the process may be behind the stream.
        leeway: Seconds that the clocks of two machines may differ.
        replicas: How many replicas have to acknowledge what is published.
        lost_bound: Sets ``lost_bound``.
        directory: A folder in which the processes of this machine share one reader.

    Attributes:
        lost_bound: How late a revocation of another process takes effect while the feed is lost, in seconds at
            most; for the log.
        reader: Tracks how up to date this process is.
        has_begun_stream: Whether there was no stream in Redis, so that this process has begun one.
        is_first_try: Whether the stream has neither been read to its end yet, nor is known to be out of reach.
    """

    def __init__(
        self,
        url: Secret,
        sealer: Sealer,
        revocations: Revocations,
        queue: PublishQueue,
        hooks: WeakHooks,
        *,
        max_lag: float,
        leeway: float,
        replicas: int = 0,
        lost_bound: float = 0.0,
        directory: str | None = None,
    ) -> None:
        self.lost_bound: float = lost_bound
        self._replicas = replicas
        self._revocations = revocations
        self._queue = queue.new_consumer()
        self._hooks = hooks
        self._poll_interval = max_lag / _POLLS_PER_LAG
        self._call_timeout = max_lag / 2  # after a read interval, that is still less than the lag
        self._retention = max(revocations.retention, 10 * max_lag, _MIN_RETENTION)
        name = sealer.digest("feed")[:32]
        self._root = f"moonkey:{{{name}}}:feed"
        self._clock = ServerClock(leeway, revocations.clock)
        self._backoff = Backoff(self._poll_interval, max_lag)
        self._snapshot = Snapshot(sealer, 2 * max(revocations.maxsize, revocations.max_untold))
        self.reader: Reader = Reader(
            sealer,
            revocations,
            self._queue.own,
            self._clock,
            self._snapshot,
            max_lag=max_lag,
            read_interval=2 * self._poll_interval,
            max_pause=MAX_PAUSE,
            on_read=self._on_read,
            unsent_since=lambda: self._queue.unsent_since,
        )
        self._publisher = Publisher(
            sealer,
            revocations,
            self._queue,
            self._clock,
            max_lag=max_lag,
            leeway=leeway,
            poll_interval=self._poll_interval,
            on_published=self._on_published,
        )
        self._repair = Repair(
            self._publisher,
            revocations,
            self._queue,
            self.reader,
            self._clock,
            life=max_lag,
            leeway=leeway,
            poll_interval=self._poll_interval,
        )
        self._machine: MachineFeed | None = None
        if directory is not None:  # only processes that are to know the same within the same time tell each other
            group = sealer.digest(f"feed within {max_lag!r} s of {url.reveal()}")[:16]
            self._machine = MachineFeed(directory, group, self.reader, max_lag)
        self._server = FeedServer(url, self._root, OPENING_CALLS * self._call_timeout)
        self._rights = Rights(self._root, OPENING_CALLS * self._call_timeout, replicas)
        self._cause = ""  # of the last failure
        self._logged_cause = ""
        self._is_certain = False  # that it does not mend itself, as a lost connection may
        self.is_first_try: bool = True
        self.has_begun_stream: bool = False
        self._announced: bool | None = None
        self._unsent_logged = False
        self._failed_at: float | None = None
        self._is_stopped = False
        self._is_cancelled = False
        self._is_last_attempt = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._home: _threads.HomeThread  # known at the start only: a server may fork, and bring gevent, in between
        self._thread = self._new_thread()

    @property
    def trouble(self) -> str | None:
        """What is wrong with Redis or the rights there, and what to do; ``None`` where nothing is known to be."""
        return self._cause or self._publisher.trouble or self._rights.sentence or None

    @property
    def can_restart(self) -> bool:
        """Whether the thread failed a while ago, as where no event loop could be made."""
        return (
            self._failed_at is not None
            and not self._is_stopped
            and _clock.elapsed() >= self._failed_at + _RESTART_SECONDS
        )

    def start(self) -> bool:
        """Start the thread, or start it again, and return whether that was possible."""
        if self._failed_at is not None:
            self._failed_at = None
            self._thread = self._new_thread()
        self._home = _threads.HomeThread()
        self._queue.mark_away(False)  # as far as is known
        try:
            self._thread.start()
        except RuntimeError:
            self._queue.mark_away(True)
            return False
        return True

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Stop the thread when the queue is published, in half a second at most.

        Waits ``timeout`` seconds for that. May be called again, and from any thread.
        """
        self._is_stopped = True
        self.reader.begin_close()
        running = self._running
        if running is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                running[0].call_soon_threadsafe(self._end)
        if timeout and not self._thread.is_current():
            self._thread.join(timeout)
        if timeout:
            self._log_unsent()
        if not self._thread.is_alive():  # otherwise it says so itself, when it has sent what it can
            self._queue.mark_away(True)
        self.reader.close()

    def _new_thread(self) -> _threads.Thread:
        return _threads.Thread(self._main, "moonkey-feed")

    def _main(self) -> None:
        self._home.adopt_current_thread()
        try:
            loop = ThreadEventLoop()
            try:
                loop.run_until_complete(self._run())
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
        except asyncio.CancelledError:
            pass
        except Exception as error:  # no file descriptors are left, for one
            self._announce(error)
            self._failed_at = _clock.elapsed()
        finally:
            self._queue.mark_away(True)
            self._home.release_current_thread()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running = (asyncio.get_running_loop(), task)
        self._queue.attach()
        if self._is_stopped:
            self._end()
        try:
            while True:
                try:
                    await self._run_connection()
                except Exception as error:
                    # A task group with a failure of its own forgets that it was cancelled.
                    if self._is_cancelled or self._is_last_attempt or not threading.main_thread().is_alive():
                        return
                    self._queue.mark_away(True)
                    await self._find_cause(error)
                    self._announce(error)
                await self._pause()
        finally:
            self._running = None
            self._queue.detach()
            self._log_unsent()

    async def _run_connection(self) -> None:
        """Connect and join the stream, read it and publish what is missing, then go on until something fails."""
        # Waiting for replicas occupies a connection of its own.
        connections = _MAX_CONNECTIONS + (self._replicas > 0)
        client = await self._server.connect(self.reader.max_wait + self._call_timeout, connections, "feed")
        try:
            await self._open(client, connections)
            stream = await Stream.join(
                client, self._root, self._call_timeout, self._retention, self._clock, replicas=self._replicas
            )
            self._queue.mark_away(False)
            self.has_begun_stream = self.has_begun_stream or stream.epoch.is_new
            # A new primary may have an old epoch, and lack what was added last.
            self.reader.join(replace(stream.epoch, age=min(stream.epoch.age, self._server.age)))
            unsent = self._queue.take_unsent()
            async with asyncio.TaskGroup() as tasks:
                # A few need not wait until all is read. Of many, Redis may have most already.
                are_few = len(unsent) <= self._publisher.batch_size
                if are_few:
                    tasks.create_task(self._publisher.run(stream, unsent))
                unsent = await self._repair.find_missing(stream, unsent)
                if not are_few:
                    tasks.create_task(self._publisher.run(stream, unsent))
                if self._machine is None:
                    tasks.create_task(self.reader.listen(stream))
                    tasks.create_task(self.reader.follow(stream))
                else:
                    tasks.create_task(self._machine.run(stream))
                tasks.create_task(self._repair.run(stream))
                tasks.create_task(self._snapshot.run(stream))
                tasks.create_task(self._renew(stream))
                tasks.create_task(self._rights.watch(self._server.connect_once))
                tasks.create_task(self._server.follow(_FOLLOW_SECONDS))
        finally:
            with contextlib.suppress(Exception):
                async with time_limit(self._call_timeout):
                    await disconnect(client)

    async def _open(self, client: Any, connections: int) -> None:
        """Open all connections: on a slow link that takes longer than a call may take afterwards."""
        for count in (1, connections):  # the first alone: a Redis that is away is tried once at a time
            async with time_limit(OPENING_CALLS * self._call_timeout):
                calls = [client.execute_command("TIME") for _ in range(count)]
                for reply in await asyncio.gather(*calls, return_exceptions=True):
                    if isinstance(reply, BaseException):
                        raise reply

    async def _find_cause(self, error: BaseException) -> None:
        """Note what is wrong, and what to do about it."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._rights.note(error)
        if is_refused(error):
            await self._rights.check(self._server.connect_once)  # all that is missing, not the first command only
        cause = explain(error, is_followed=self._server.address.is_followed)
        if self.reader.last_read_at is None and may_be_tls(error):
            cause = await self._server.tls_mismatch(self._call_timeout) or cause
        self._cause = cause
        self._is_certain = is_refused(error) or is_elsewhere(error)

    async def _renew(self, stream: Stream) -> None:
        while True:
            await stream.renew()
            # Not before something was written: a replica can be read.
            self._cause = self._logged_cause = ""
            await self._publisher.measure(stream)
            await asyncio.sleep(min(self._retention / 4, _MAX_RENEW_SECONDS))

    async def _pause(self) -> None:
        """Wait before the next attempt, but not where it is the last one or there is something to be published."""
        urgent = self._queue.is_urgent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.next(urgent=urgent)):
                while not self._is_last_attempt:
                    await self._queue.wait()
                    if not urgent:
                        return

    def _end(self) -> None:
        """End the event loop when the queue is published. Runs in that loop."""
        if self._running is not None:
            if self._queue.is_empty:
                self._cancel()
            else:
                self._is_last_attempt = True
                self._queue.wake()
                self._running[0].call_later(_LAST_PUBLISH_TIMEOUT, self._cancel)

    def _cancel(self) -> None:
        if self._running is not None and not self._is_cancelled:
            self._is_cancelled = True
            loop, task = self._running
            task.cancel()
            loop.call_later(_CANCEL_AGAIN_SECONDS, self._cancel_again)

    def _cancel_again(self) -> None:
        """Cancel what goes on: redis-py may swallow a cancellation just before it waits for entries."""
        if self._running is not None:
            loop, task = self._running
            for one in asyncio.all_tasks(loop) - {task}:
                one.cancel()
            loop.call_later(_CANCEL_AGAIN_SECONDS, self._cancel_again)

    def _on_read(self) -> None:
        self._backoff.reset()
        self._announce()

    def _on_published(self) -> None:
        if self._is_stopped:
            self._end()

    def _log_unsent(self) -> None:
        """Log that the worker has ended before everything was published."""
        if not self._queue.is_empty and not self._unsent_logged:
            self._unsent_logged = True
            unsent = self._queue.unsent
            logger.error(
                "feed: ended before Redis had %d revocations", unsent, extra={"reason": "feed_ended_unsent"}
            )

    def _announce(self, error: BaseException | None = None) -> None:
        """Log and emit a change: the feed has caught up, or is further behind than it may be."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.is_first_try = self.is_first_try and isinstance(error, TimeoutError)
        is_live = _clock.elapsed() < self.reader.live_until
        is_beginning = self._announced is None and not is_live and error is None
        if self._is_stopped or is_beginning:
            return
        if is_live is self._announced:
            if not is_live or self._is_certain:
                self._log_cause()
            return
        was_live, self._announced = self._announced, is_live
        if not is_live:
            name = type(error).__name__ if error else "catching up"
            self._logged_cause = self._cause
            logger.warning(
                "feed: lost (%s%s); a revocation of another process takes effect after at most %.15g s meanwhile",
                name,
                f": {self._cause}" if self._cause else "",
                self.lost_bound,
                extra={"reason": "feed_lost"},
            )
        elif was_live is False:
            logger.warning("feed: back, and caught up", extra={"reason": "feed_back"})
        self._home.run(partial(self._emit, FeedChanged("caught_up" if is_live else "lost")))

    def _log_cause(self) -> None:
        """Log a cause that has not been logged yet."""
        if self._cause not in ("", self._logged_cause):
            self._logged_cause = cause = self._cause
            log_repeated(logging.WARNING, "feed: %s", cause, extra={"reason": "redis_trouble"}, sentence=cause)

    def _emit(self, event: FeedChanged) -> None:
        for hooks in list(self._hooks):
            hooks.emit(event)
