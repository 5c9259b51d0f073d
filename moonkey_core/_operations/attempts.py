"""How often something was done lately: counted in this process, under keyed digests, in a table of fixed size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from moonkey_core import _clock
from moonkey_core._digest import Digest

_COUNTED = 65_536  # beyond, those that were seen least lately are forgotten


@dataclass(frozen=True, slots=True)
class _Log:
    seconds: float
    times: tuple[float, ...]


class Attempts:
    """Counts attempts within a time that slides along with the clock."""

    def __init__(self, clock: Callable[[], float] = _clock.monotonic) -> None:
        self._clock = clock
        self._digest = Digest()
        self._logs: TLRUCache[str, _Log] = TLRUCache(_COUNTED, _until, timer=clock)
        self.reset_lock()

    def count(self, kind: str, value: str, most: int, seconds: float) -> float | None:
        """Count one more attempt, if fewer than ``most`` were counted within ``seconds``; returns ``None`` then.

        Otherwise it is not counted, and the answer is in how many seconds one more may be. ``kind`` is a short
        constant.
        """
        key = self._digest(kind, value)
        with self._lock:
            now = self._clock()
            times = self._recent(key, now)
            if len(times) >= most:
                return max(times[len(times) - most] + seconds - now, 0.0)
            self._logs[key] = _Log(seconds, (*times, now))
            return None

    def counted(self, kind: str, value: str) -> int:
        """How many attempts count at present."""
        with self._lock:
            return len(self._recent(self._digest(kind, value), self._clock()))

    def give_back(self, kind: str, value: str) -> None:
        """Take back the last attempt that was counted: it has come to nothing."""
        key = self._digest(kind, value)
        with self._lock:
            log = self._logs.pop(key, None)
            if log is not None and len(log.times) > 1:
                self._logs[key] = _Log(log.seconds, log.times[:-1])

    def reset_lock(self) -> None:
        """A new lock: the old one may have been held by another thread when the process forked."""
        self._lock = threading.Lock()

    def _recent(self, key: str, now: float) -> tuple[float, ...]:
        log = self._logs.get(key)
        return () if log is None else tuple(at for at in log.times if now - at < log.seconds)


def _until(_key: str, log: _Log, _now: float) -> float:
    return log.times[-1] + log.seconds
