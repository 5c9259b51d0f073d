"""A sliding window counter: counts attempts of this process, by keyed digests, in a table of fixed size."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import TLRUCache

from moonkey_core import _clock
from moonkey_core._crypto import Digest
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import CountAttempt, Counts, Limit

_COUNTED = 65_536  # beyond, the least recently used entries are dropped


@dataclass(frozen=True, slots=True)
class _Log:
    seconds: float
    times: tuple[float, ...]


class SlidingWindowCounter:
    """A counter of the attempts within the last so many seconds."""

    def __init__(self, clock: Callable[[], float] = _clock.monotonic) -> None:
        """Start without attempts. ``clock`` returns seconds and never goes back."""
        self._clock = clock
        self._digest = Digest()
        self._lock = threading.Lock()
        self._make_table()
        reset_after_fork(self.reset_lock)

    def _make_table(self) -> None:
        self._logs: TLRUCache[str, _Log] = TLRUCache(_COUNTED, _until, timer=self._clock)

    def count(self, kind: str, value: str, most: int, seconds: float) -> float | None:
        """Count an attempt, unless ``most`` were counted within the last ``seconds``.

        Args:
            kind: The kind of attempt: a short constant.
            value: The subject whose attempts are counted together, such as an address. Only its digest is kept.
            most: The number of attempts that are allowed.
            seconds: The length of the window.

        Returns:
            ``None`` where the attempt was counted, else in how many seconds the next one is allowed.
        """
        key = self._digest(kind, value)
        with self._lock:
            now = self._clock()
            times = self._recent(key, now)
            if len(times) >= most:
                return max(times[len(times) - most] + seconds - now, 0.0)
            self._logs[key] = _Log(seconds, (*times, now))
            return None

    def current(self, kind: str, value: str) -> int:
        """Return how many attempts are counted at present."""
        with self._lock:
            return len(self._recent(self._digest(kind, value), self._clock()))

    def undo_last(self, kind: str, value: str) -> None:
        """Undo the last attempt that was counted, as it was not carried out."""
        key = self._digest(kind, value)
        with self._lock:
            log = self._logs.pop(key, None)
            if log is not None and len(log.times) > 1:
                self._logs[key] = _Log(log.seconds, log.times[:-1])

    def forget(self, kind: str, value: str) -> None:
        """Forget all attempts of a subject."""
        with self._lock:
            self._logs.pop(self._digest(kind, value), None)

    def reset_lock(self) -> None:
        """Make a new lock after a fork, and a new table where another thread was just changing the old one."""
        held, self._lock = self._lock.locked(), threading.Lock()
        if held:
            self._make_table()

    def _recent(self, key: str, now: float) -> tuple[float, ...]:
        log = self._logs.get(key)
        return () if log is None else tuple(at for at in log.times if now - at < log.seconds)


class AttemptCounter:
    """The counts of this process."""

    def __init__(self, attempts: SlidingWindowCounter) -> None:
        """Count in ``attempts`` what strangers name; counts of the whole app are kept apart from these."""
        self._attempts = attempts
        self._of_app = SlidingWindowCounter()

    def __call__(self, action: CountAttempt) -> Counts:
        """Change or read the counts."""
        if action.step == "count":
            return self._count(action)
        for limit in action.limits:
            if action.step == "undo":
                self._table(limit).undo_last(limit.kind, limit.value)
            elif action.step == "forget":
                self._table(limit).forget(limit.kind, limit.value)
        return self._read(action)

    def _count(self, action: CountAttempt) -> Counts:
        counted: list[Limit] = []
        for limit in action.limits:
            wait = self._table(limit).count(limit.kind, limit.value, limit.most, limit.seconds)
            if wait is not None:
                for one in counted:
                    self._table(one).undo_last(one.kind, one.value)
                return Counts(self._read(action).used, limit, wait)
            counted.append(limit)
        return self._read(action)

    def _read(self, action: CountAttempt) -> Counts:
        return Counts(tuple(self._table(one).current(one.kind, one.value) for one in action.limits))

    def _table(self, limit: Limit) -> SlidingWindowCounter:
        return self._of_app if limit.is_of_app else self._attempts


def _until(_key: str, log: _Log, _now: float) -> float:
    return log.times[-1] + log.seconds
