"""The feed of revocations, as its clients use it."""

from __future__ import annotations

import math
import threading
from functools import partial
from weakref import finalize, ref

from moonkey_core import _clock
from moonkey_core._crypto import Sealer, fleet_sealers
from moonkey_core._fork import reset_after_fork
from moonkey_core.errors import ConfigurationError
from moonkey_core.events import Hooks
from moonkey_core.lag import lost_feed_bound
from moonkey_core.redis.client import check_url
from moonkey_core.redis.publish_queue import PublishQueue
from moonkey_core.redis.worker import STOP_TIMEOUT, WeakHooks, Worker
from moonkey_core.revocations import DEFAULT_SCOPE, Revocations
from moonkey_core.settings import Settings

_inherited: list[object] = []
"""Workers of a parent process: neither used nor closed nor freed, as their sockets are shared with it."""

_exit_by: float | None = None  # when the interpreter ends, all feeds together get no more time than one
_MIN_EXIT_SECONDS = 0.05
_STARTS_WITHIN = 2.0  # lags: connecting takes less than one, or fails


class RedisRevocations:
    """Revocations that are shared among all processes of an app, through a Redis stream.

    An entry that is added to ``revocations`` in one process is in the tables of the others a moment later. Each
    process has one background thread, started at first use, with two connections. It waits for entries all the
    time, and twice within ``max_revocation_lag`` it proves that it has them all. So the process knows how far
    behind it can be. Entries are sealed and ordered; receiving one twice changes nothing. What was missed while
    Redis was away is caught up with, and what Redis has lost is published again.

    What is revoked "until now" is dated by the clock of Redis, whatever the clocks of the machines show; while
    Redis is away, by the clock of this machine and the offset that was measured last. The age of an entry follows
    from its id in the stream. A difference of more than ``leeway`` seconds is logged once. All processes of a
    fleet need the same settings.

    The names in Redis depend on the secret. While it is being changed, a second thread does the same under the
    previous one: so this process and one that knows only one of the two secrets hear of each other.

    Args:
        settings: The settings of the client.
        revocations: The table that is shared.
        sealer: Seals the entries; if not given, that of the current secret.

    Raises:
        ConfigurationError: redis-py is missing, or ``redis_url`` is missing or wrong.
    """

    def __init__(self, settings: Settings, revocations: Revocations, sealer: Sealer | None = None) -> None:
        if settings.redis_url is None:
            raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) is missing. A feed needs it.")
        check_url(settings.redis_url)
        self.revocations = revocations
        self._url = settings.redis_url
        current, *former = (sealer,) if sealer is not None else fleet_sealers(settings, _purpose(revocations))
        self._former = RedisRevocations(settings, revocations, former[0]) if former else None
        self._sealer = current
        self._max_lag = settings.max_revocation_lag
        self._leeway = settings.leeway
        self._publish_timeout = settings.publish_timeout
        self._replicas = settings.redis_replicas
        self._directory = settings.feed_directory
        self._lost_bound = lost_feed_bound(settings)
        self._hooks = WeakHooks()
        self._users = 0
        self._can_start = True
        self._starts_until = math.inf
        self._lock = threading.Lock()
        self._queue = self._new_queue(None)
        self._worker, self._finalize = self._new_worker()
        reset_after_fork(self.reset)

    @property
    def is_live(self) -> bool:
        """Whether all revocations of other processes up to ``max_revocation_lag`` ago are known here.

        Starts the feed where it is not running.
        """
        if self.caught_up(_clock.elapsed()):
            return True
        self.start()
        return False

    @property
    def is_starting(self) -> bool:
        """Whether this process is about to read for the first time what has been revoked.

        Not any more once Redis could not be reached, or has taken long. Starts the feed where it is not running.
        """
        self.start()
        is_over = _clock.elapsed() >= self._starts_until
        return not is_over and (
            self._worker.is_first_try or (self._former is not None and self._former.is_starting)
        )

    def caught_up(self, now: float) -> bool:
        """Return the same for a time (monotonic seconds), without starting the feed."""
        return now < self._worker.reader.live_until and (self._former is None or self._former.caught_up(now))

    def lag(self) -> float | None:
        """Return the seconds since the time up to which everything is known here; ``None`` before there is one."""
        last_read_at = self._worker.reader.last_read_at
        if last_read_at is None:
            return None
        lag = _clock.elapsed() - last_read_at
        if self._former is None:
            return lag
        former_lag = self._former.lag()
        return None if former_lag is None else max(lag, former_lag)

    def known_for(self) -> float:
        """Return the seconds since the time up to which certainly everything is known here.

        Infinity before there is one, and where the feed is closed. Other than :meth:`lag`, it does not count what
        was read of a stream that may be incomplete.
        """
        known_for = _clock.elapsed() - self._worker.reader.complete_at
        return known_for if self._former is None else max(known_for, self._former.known_for())

    @property
    def unsent(self) -> int:
        """The number of revocations that were added here and that Redis may not have yet."""
        return max(self._queue.unsent, 0 if self._former is None else self._former.unsent)

    @property
    def has_begun(self) -> bool:
        """Whether this process has begun the feed: no other one with its settings has used this Redis lately."""
        return self._worker.has_begun_stream and (self._former is None or self._former.has_begun)

    @property
    def trouble(self) -> str | None:
        """What is wrong with Redis or the rights there, and what to do; ``None`` where nothing is known to be."""
        return self._worker.trouble or (None if self._former is None else self._former.trouble)

    def start(self) -> None:
        """Start the thread, unless it runs or the feed is closed."""
        if self._former is not None:
            self._former.start()
        if self._can_start or self._worker.can_restart:
            with self._lock:
                if self._can_start or self._worker.can_restart:
                    # Where no thread can be had, as while the interpreter ends, the feed stays lost.
                    self._can_start = not self._worker.start()
                    self._starts_until = min(self._starts_until, _clock.elapsed() + _STARTS_WITHIN * self._max_lag)

    def raise_lost_bound(self, seconds: float) -> None:
        """Have the log name this bound where it is longer: clients that share the feed may do different things.

        Args:
            seconds: How late a revocation takes effect for one more client while the feed is lost.
        """
        self._lost_bound = max(self._lost_bound, seconds)
        self._worker.lost_bound = self._lost_bound
        if self._former is not None:
            self._former.raise_lost_bound(seconds)

    def acquire(self, hooks: Hooks | None = None) -> None:
        """Count one more user of the feed, and open it again where it was closed.

        Args:
            hooks: Receive from now on the events that the feed is lost or has caught up. They are held weakly.
        """
        with self._lock:
            self._users += 1
            if not self._finalize.alive:  # it was closed
                self._worker, self._finalize = self._new_worker()
                self._can_start = True
        if not self._queue.is_empty:  # the worker before has not sent all
            self.start()
        if hooks is not None:
            self._hooks.add(hooks)
        if self._former is not None:
            self._former.acquire()

    def release(self, hooks: Hooks | None = None) -> None:
        """Count one user less; the last one closes the feed."""
        if hooks is not None:
            self._hooks.discard(hooks)
        if self._former is not None:
            self._former.release()
        self._close(leaving=1)

    def close(self) -> None:
        """Stop the thread, however many users there are; may be called again."""
        if self._former is not None:
            self._former.close()
        self._close(leaving=self._users)

    def _close(self, leaving: int) -> None:
        with self._lock:
            self._users = max(self._users - leaving, 0)
            if self._users:
                return
            self._can_start = False
            worker = self._worker
            self._finalize.detach()
        worker.stop()

    def reset(self) -> None:
        """Make a new worker, which starts at first use, in the child of a fork: it has no thread of the parent."""
        self._lock = threading.Lock()
        self._hooks = WeakHooks(tuple(self._hooks))
        self._starts_until = math.inf
        was_closed = self._finalize.detach() is None
        self._queue.abandon()
        _inherited.append((self._worker, self._queue))
        self._queue = self._new_queue(self._queue)
        self._worker, self._finalize = self._new_worker()
        self._can_start = True
        if was_closed:
            self.close()

    def __repr__(self) -> str:
        lag = self.lag()
        return f"RedisRevocations(lag={'unknown' if lag is None else f'{lag:.3f} s'})"

    def _new_queue(self, old: PublishQueue | None) -> PublishQueue:
        """Make a queue that takes in what is added to the table, in place of an old one."""
        table = self.revocations
        queue = PublishQueue(table.empty_copy(), partial(_start, ref(self)), self._publish_timeout)
        others = tuple(one for one in table.listeners if old is None or one != old.put)
        table.listeners = (*others, queue.put)
        finalize(self, _remove_listener, table, queue).atexit = False
        return queue

    def _new_worker(self) -> tuple[Worker, finalize[..., RedisRevocations]]:
        worker = Worker(
            self._url,
            self._sealer,
            self.revocations,
            self._queue,
            self._hooks,
            max_lag=self._max_lag,
            leeway=self._leeway,
            replicas=self._replicas,
            lost_bound=self._lost_bound,
            directory=self._directory,
        )
        return worker, finalize(self, _stop, worker)


def _purpose(revocations: Revocations) -> str:
    """Return what the entries are sealed for. The names in Redis, and what can be read there, depend on it."""
    return "feed" if revocations.provider == DEFAULT_SCOPE else f"feed of {revocations.provider}"


def _start(feed: ref[RedisRevocations]) -> None:
    found = feed()
    if found is not None:
        found.start()


def _remove_listener(revocations: Revocations, queue: PublishQueue) -> None:
    revocations.listeners = tuple(one for one in revocations.listeners if one != queue.put)


def _stop(worker: Worker) -> None:
    """Stop a worker whose feed does not exist any more; at the end of the interpreter, wait for it."""
    global _exit_by
    if threading.main_thread().is_alive():
        worker.stop(timeout=0)
        return
    now = _clock.elapsed()
    _exit_by = now + STOP_TIMEOUT if _exit_by is None else _exit_by
    worker.stop(timeout=max(_exit_by - now, _MIN_EXIT_SECONDS))
