"""Sliding sessions: which session is due to be extended, and by how much."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import timedelta

from cachetools import TTLCache

from moonkey_core._verify.cache import Known
from moonkey_core.errors import MoonKeyError
from moonkey_core.settings import Settings

logger = logging.getLogger("moonkey")

_REMEMBERED = 65_536
_PAUSE = 60.0  # seconds until a session is tried again that could not be extended
_TOLD_AGAIN = 3600.0  # seconds until it is said again that the API refuses the length


class Extension:
    """What the settings say of sessions that are in use.

    A session is due when its end could be moved by ``extend_every`` or more: its own remaining life says so. What
    a JWT says of it stays as it was until that is refreshed; so those that were just extended are remembered.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        wanted = settings.extend_on_activity or timedelta(0)
        self._seconds = wanted.total_seconds()
        self._every = (settings.extend_every or wanted / 20).total_seconds()
        self._longest = settings.session_max_lifetime.total_seconds()
        self._goes_on_at = self._told_again_at = -math.inf
        self.reset_lock()
        # By session: its end, and until when nobody else is to extend it.
        self._done: TTLCache[str, tuple[float, float]] = TTLCache(
            _REMEMBERED, settings.jwt_max_age + _PAUSE, timer=clock
        )

    @property
    def is_on(self) -> bool:
        """Whether sessions are extended at all."""
        return self._seconds > 0

    def minutes(self, known: Known) -> int | None:
        """By how many minutes from now a session is to be extended; ``None`` where it is not due.

        One whose start is not known is never extended: it could go on for ever.
        """
        if self._seconds <= 0 or known.started_at is None:
            return None
        now = self._clock()
        if now < self._goes_on_at <= now + _PAUSE:
            return None
        with self._lock:
            ends_at = max(known.ends_at, self._done.get(known.session_id, (0.0, 0.0))[0])
        target = min(now + self._seconds, known.started_at + self._longest)
        if target - ends_at < self._every:
            return None
        minutes = math.floor((target - now) / 60)
        return minutes if minutes >= self._settings.min_session_minutes else None

    def claim(self, known: Known) -> int | None:
        """The same for one caller only: others are told, for a minute, that it is not due."""
        minutes = self.minutes(known)
        if minutes is None:
            return None
        with self._lock:
            ends_at, pause = self._done.get(known.session_id, (0.0, 0.0))
            if self._clock() < pause:
                return None
            self._done[known.session_id] = (ends_at, self._clock() + _PAUSE)
        return minutes

    def note(self, session_id: str, ends_at: float) -> None:
        """A session ends then (Unix seconds), whatever JWTs say."""
        with self._lock:
            self._done[session_id] = (ends_at, 0.0)

    def refused(self, error: MoonKeyError) -> None:
        """The API refuses the length: no session is extended for a minute. It is logged once an hour."""
        now = self._clock()
        self._goes_on_at = now + _PAUSE
        if now < self._told_again_at <= now + _TOLD_AGAIN:
            return
        self._told_again_at = now + _TOLD_AGAIN
        logger.warning(
            "sessions in use stay as they are: the API refuses to extend them as extend_on_activity says (%d "
            "minutes). Lower that setting, or raise the API's bound. %s",
            self._seconds // 60,
            error.evidence,
            extra={"reason": "extension_refused"},
        )

    def reset_lock(self) -> None:
        """A new lock: the old one may have been held by another thread when the process forked."""
        self._lock = threading.Lock()
