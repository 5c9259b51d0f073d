"""The feed of revocations, as a client sees it."""

from __future__ import annotations

import threading
from functools import partial
from weakref import finalize, ref

from moonkey_core import _clock
from moonkey_core._crypto import fleet_sealer
from moonkey_core.errors import ConfigurationError
from moonkey_core.events import Hooks
from moonkey_core.redis import _connect
from moonkey_core.redis._audience import Audience
from moonkey_core.redis._outbox import Outbox
from moonkey_core.redis._register import feeds
from moonkey_core.redis._worker import STOP_SECONDS, Worker
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings

_inherited: list[object] = []  # of a parent process: neither used nor closed nor freed, their sockets are shared
_exit_by: float | None = None  # when the interpreter ends, all feeds together get no more time than one
_LEAST_SECONDS = 0.05


class RedisRevocations:
    """Tells all processes of an app who may no longer pass, through a Redis stream.

    What is added to ``revocations`` here is there a moment later, and the reverse. One background thread per
    process, begun at first use: it asks Redis for news all the time, five times within ``max_revocation_lag`` at
    least, so it knows how far behind it can be. Entries are sealed and ordered; taking one twice changes nothing.
    What was missed while Redis was away is caught up with, and what Redis has forgotten is said again.

    What is revoked "until now" is dated by the clock of Redis, whatever the clocks of the machines say; while
    Redis is away, by our own one and the difference that was measured last. How old an entry is, its place in the
    stream tells. A difference of more than ``leeway`` seconds is logged once. All processes of a fleet need the
    same settings.

    Raises :class:`ConfigurationError` where redis-py is missing, or ``redis_url`` is missing or wrong.
    """

    def __init__(self, settings: Settings, revocations: Revocations) -> None:
        if settings.redis_url is None:
            raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) is missing. A feed needs it.")
        _connect.check(settings.redis_url)
        self.revocations = revocations
        self._url = settings.redis_url
        self._sealer = fleet_sealer(settings, "feed")
        self._max_lag = settings.max_revocation_lag
        self._leeway = settings.leeway
        self._hooks = Audience()
        self._users = 0
        self._startable = True
        self._lock = threading.Lock()
        self._outbox = self._attached(None)
        self._worker, self._finalize = self._new_worker()
        feeds.add(self)

    @property
    def is_live(self) -> bool:
        """Whether everything that others revoked until ``max_revocation_lag`` ago is known here.

        Starts the feed where that was not done yet.
        """
        if _clock.elapsed() < self._worker.live_until:
            return True
        self.start()
        return False

    def caught_up(self, now: float) -> bool:
        """The same at a moment (monotonic seconds), without starting anything."""
        return now < self._worker.live_until

    def lag(self) -> float | None:
        """Seconds since the moment until which everything is known here; ``None`` before there is one."""
        heard_at = self._worker.heard_at
        return None if heard_at is None else _clock.elapsed() - heard_at

    @property
    def unsent(self) -> int:
        """How many of the revocations that were added here Redis may not have yet, so that nobody else knows."""
        return self._outbox.unsent

    def start(self) -> None:
        """Start the thread, unless it runs or the feed is closed."""
        if self._startable or self._worker.may_start_again:
            with self._lock:
                if self._startable or self._worker.may_start_again:
                    # Where no thread can be had, as while the interpreter ends, the feed stays lost.
                    self._startable = not self._worker.start()

    def acquire(self, hooks: Hooks | None = None) -> None:
        """Count one more user, whose hooks hear of changes; opens a closed feed again."""
        with self._lock:
            self._users += 1
            if not self._finalize.alive:  # it was closed
                self._worker, self._finalize = self._new_worker()
                self._startable = True
        if hooks is not None:
            self._hooks.add(hooks)

    def release(self, hooks: Hooks | None = None) -> None:
        """Count one user less; the last one closes the feed."""
        if hooks is not None:
            self._hooks.discard(hooks)
        self._close(leaving=1)

    def close(self) -> None:
        """Stop the thread, whoever uses it; may be called again."""
        self._close(leaving=self._users)

    def _close(self, leaving: int) -> None:
        with self._lock:
            self._users = max(self._users - leaving, 0)
            if self._users:
                return
            self._startable = False
            worker = self._worker
            self._finalize.detach()
        worker.stop()

    def reset(self) -> None:
        """After ``fork()``: the parent's thread is not here; a new one starts at first use."""
        self._lock = threading.Lock()
        self._hooks = Audience(tuple(self._hooks))
        closed = self._finalize.detach() is None
        _inherited.append((self._worker, self._outbox))
        self.revocations.reset_lock()
        self._outbox = self._attached(self._outbox)
        self._worker, self._finalize = self._new_worker()
        self._startable = True
        if closed:
            self.close()

    def __repr__(self) -> str:
        lag = self.lag()
        return f"RedisRevocations(lag={'unknown' if lag is None else f'{lag:.3f} s'})"

    def _attached(self, old: Outbox | None) -> Outbox:
        """An outbox that hears of what is added here, in place of an old one."""
        known = self.revocations
        own = Revocations(retention=known.retention, maxsize=known.maxsize, leeway=self._leeway, clock=known.clock)
        outbox = Outbox(own, partial(_begin, ref(self)))
        rest = tuple(one for one in known.listeners if old is None or one != old.put)
        known.listeners = (*rest, outbox.put)
        finalize(self, _detach, known, outbox).atexit = False
        return outbox

    def _new_worker(self) -> tuple[Worker, finalize[..., RedisRevocations]]:
        worker = Worker(
            self._url,
            self._sealer,
            self.revocations,
            self._outbox,
            self._hooks,
            lag=self._max_lag,
            leeway=self._leeway,
        )
        return worker, finalize(self, _end, worker)


def _begin(feed: ref[RedisRevocations]) -> None:
    found = feed()
    if found is not None:
        found.start()


def _detach(revocations: Revocations, outbox: Outbox) -> None:
    revocations.listeners = tuple(one for one in revocations.listeners if one != outbox.put)


def _end(worker: Worker) -> None:
    """Stop a thread that nobody needs any more; at the end of the interpreter, wait for it."""
    global _exit_by
    if threading.main_thread().is_alive():
        worker.stop(wait=0)
        return
    now = _clock.elapsed()
    _exit_by = now + STOP_SECONDS if _exit_by is None else _exit_by
    worker.stop(wait=max(_exit_by - now, _LEAST_SECONDS))
