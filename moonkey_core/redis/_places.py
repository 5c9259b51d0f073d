"""The fleet's store apart from the talking: names, sealing, ages, and whether Redis is worth a try."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from moonkey_core import _clock
from moonkey_core._crypto import fleet_sealer
from moonkey_core._plan import Reply, Stored
from moonkey_core.settings import Settings

logger = logging.getLogger("moonkey")

SECONDS = 0.25  # that a look-up waits: it stands before a call of the API, which takes longer
_PAUSE = 1.0  # seconds without a try after a failure
_MAX_BYTES = 512 * 1024  # of an answer; the largest are key sets
_OVERHEAD = 64  # bytes that sealing and the time add
_FUTURE = 5.0  # seconds that the clock of another machine may be ahead
_ASKED_AT = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes to Redis: a key, a sealed answer, and the milliseconds after which Redis drops it."""

    key: str
    sealed: bytes
    milliseconds: int


class Places:
    """Answers by the name of their place: what is sent to Redis, and what is believed of what it says."""

    longest = _MAX_BYTES + _OVERHEAD

    def __init__(self, settings: Settings, clock: Callable[[], float] = _clock.wall) -> None:
        self._sealer = fleet_sealer(settings, "store")
        self._clock = clock

    def key(self, stored: Stored) -> str:
        """The key in Redis: a keyed digest, so that the same name is another in another environment."""
        return f"moonkey:store:{self._sealer.digest(stored.name)}"

    def parcel(self, stored: Stored, reply: Reply) -> Parcel | None:
        """What to put there; ``None`` where the answer is not to be kept."""
        left = stored.seconds - (self._clock() - reply.asked_at)
        if reply.status != 200 or reply.stored or not 0.001 <= left <= stored.seconds + _FUTURE:
            return None
        try:
            body = stored.clean(reply.body)
        except ValueError:
            return None
        if len(body) > _MAX_BYTES:
            return None
        key = self.key(stored)
        return Parcel(key, self._sealer.seal(key, _ASKED_AT.pack(reply.asked_at) + body), int(left * 1000))

    def reply(self, stored: Stored, sealed: object) -> Reply | None:
        """The answer in what Redis says; ``None`` where there is none, or it is not ours, or not from its time."""
        if not isinstance(sealed, bytes) or len(sealed) > self.longest:
            return None
        try:
            data = self._sealer.open(self.key(stored), sealed)
            (asked_at,) = _ASKED_AT.unpack_from(data)
        except (ValueError, struct.error):
            return None
        if not -_FUTURE <= self._clock() - asked_at <= stored.seconds:  # also false for NaN
            return None
        return Reply(200, {}, data[_ASKED_AT.size :], asked_at=asked_at, stored=True)


class Reach:
    """Whether Redis is worth a try. After a failure it is not for a second; then one caller tries for all."""

    def __init__(self, clock: Callable[[], float] = _clock.monotonic) -> None:
        self._clock = clock
        self.reset_lock()
        self._lost = False
        self._again_at = 0.0

    def reset_lock(self) -> None:
        """After ``fork()``."""
        self._lock = threading.Lock()

    def may_try(self) -> bool:
        """Whether to ask Redis now; say afterwards how it went."""
        if not self._lost:
            return True
        now = self._clock()
        with self._lock:
            if now < self._again_at:
                return False
            self._again_at = now + _PAUSE
            return True

    def worked(self) -> None:
        """Redis answered."""
        if not self._lost:
            return
        with self._lock:
            was_lost, self._lost = self._lost, False
        if was_lost:
            logger.warning("store: Redis is back", extra={"reason": "store_back"})

    def failed(self, error: Exception) -> None:
        """It did not. The text of an error is not logged: it may hold what was sent."""
        with self._lock:
            was_lost, self._lost = self._lost, True
            self._again_at = self._clock() + _PAUSE
        if not was_lost:
            name = type(error).__name__
            logger.warning("store: Redis is lost (%s); going on without", name, extra={"reason": "store_lost"})
