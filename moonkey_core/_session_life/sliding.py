"""Sliding expiration: which session is due to be extended, and by how much. Makes no call."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import timedelta

from cachetools import TTLCache

from moonkey_core._fork import reset_after_fork
from moonkey_core._repeated_log import log_repeated
from moonkey_core._verified import DEFAULT_SCOPE, CacheEntry, Key, key_of
from moonkey_core.errors import MoonKeyError
from moonkey_core.settings import Settings

_REMEMBERED = 65_536
_PAUSE_SECONDS = 60.0  # until a session that could not be extended is tried again
_LOG_SECONDS = 3600.0  # between two log lines about a refused length


class SlidingExpiration:
    """The rules of the settings ``extend_on_activity``, ``extend_every`` and ``session_max_lifetime``.

    A session is due when its end could be moved by ``extend_every`` or more. Its JWT states the old end until the
    JWT is refreshed, so the ends of sessions that were just extended are remembered here, also of those that the
    app itself has extended.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        wanted = settings.extend_on_activity or timedelta(0)
        self._seconds = wanted.total_seconds()
        self._every = (settings.extend_every or wanted / 20).total_seconds()
        self._longest = settings.session_max_lifetime.total_seconds()
        self._resumes_at = self._logs_again_at = -math.inf
        self._lock = threading.Lock()
        self._make_table()
        reset_after_fork(self.reset_lock)

    def _make_table(self) -> None:
        # By session: its end, and until when no other request is to extend it (both in Unix seconds).
        self._extended: TTLCache[Key, tuple[float, float]] = TTLCache(
            _REMEMBERED, self._settings.jwt_max_age + _PAUSE_SECONDS, timer=self._clock
        )
        self._has_extended: bool = False
        # The sessions that the provider will not extend, whichever the length.
        self._refused: TTLCache[Key, bool] = TTLCache(_REMEMBERED, _PAUSE_SECONDS, timer=self._clock)

    @property
    def is_enabled(self) -> bool:
        """Whether the settings turn sliding expiration on."""
        return self._seconds > 0

    def turn_off(self) -> None:
        """Extend nothing any more, for a client that only examines credentials."""
        self._seconds = 0.0

    def update_end(self, entry: CacheEntry) -> None:
        """Tell an entry the end of its session, where that was moved beyond the one that the entry states."""
        if not self._has_extended:  # each JWT that is seen first comes here
            return
        with self._lock:
            ends_at = self._extended.get(key_of(entry.scope, entry.session_id), (0.0, 0.0))[0]
        if ends_at > entry.ends_at:
            entry.move_end(ends_at)

    def minutes_due(self, entry: CacheEntry) -> int | None:
        """Return for how many minutes from now a session is to be extended; ``None`` where it is not due.

        A session without a entry start is never extended, as it could then last for ever.
        """
        self.update_end(entry)
        if self._seconds <= 0 or entry.started_at is None:
            return None
        now = self._clock()
        if now < self._resumes_at <= now + _PAUSE_SECONDS:
            return None
        target = min(now + self._seconds, entry.started_at + self._longest)
        if target - entry.ends_at < self._every:
            return None
        minutes = math.floor((target - now) / 60)
        if minutes < self._settings.min_session_minutes or self._is_refused(entry):
            return None
        return minutes

    def _is_refused(self, entry: CacheEntry) -> bool:
        with self._lock:
            return key_of(entry.scope, entry.session_id) in self._refused

    def claim(self, entry: CacheEntry) -> int | None:
        """Return the same for one request only: for all others the session is not due for a minute."""
        minutes = self.minutes_due(entry)
        if minutes is None:
            return None
        with self._lock:
            ends_at, pause = self._extended.get(key_of(entry.scope, entry.session_id), (0.0, 0.0))
            if self._clock() < pause:
                return None
            self._has_extended = True
            self._extended[key_of(entry.scope, entry.session_id)] = (ends_at, self._clock() + _PAUSE_SECONDS)
        return minutes

    def record_end(self, session_id: str, ends_at: float, scope: str = DEFAULT_SCOPE) -> None:
        """Record the end of a session (Unix seconds), which overrides that in its JWTs."""
        with self._lock:
            self._has_extended = True
            self._extended[key_of(scope, session_id)] = (ends_at, 0.0)

    def on_refused(self, error: MoonKeyError, entry: CacheEntry) -> None:
        """Pause all extensions for a minute, as the API refuses the length. Logged once an hour.

        Where it refuses something else, such as a session that can never be extended, only that session pauses.
        """
        now = self._clock()
        if error.reason != "duration_refused":
            with self._lock:
                self._refused[key_of(entry.scope, entry.session_id)] = True
            text = "a session in use stays as it is: the API refuses to extend it. "
        else:
            self._resumes_at = now + _PAUSE_SECONDS
            if now < self._logs_again_at <= now + _LOG_SECONDS:
                return
            self._logs_again_at = now + _LOG_SECONDS
            text = (
                "sessions in use stay as they are: the API refuses to extend them as extend_on_activity says "
                f"({self._seconds / 60:.0f} minutes). Lower that setting, or raise the API's bound. "
            )
        log_repeated(
            logging.WARNING, "%s%s", text, error.evidence, extra={"reason": "extension_refused"}, sentence=text
        )

    def reset_lock(self) -> None:
        """Make a new lock after a fork, and a new table where another thread was just changing the old one."""
        held, self._lock = self._lock.locked(), threading.Lock()
        if held:
            self._make_table()
