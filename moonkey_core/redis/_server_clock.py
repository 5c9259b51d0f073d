"""The clock by which the entries of the feed are dated: that of the Redis server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from moonkey_core import _clock

logger = logging.getLogger("moonkey")


class ServerClock(_clock.RemoteClock):
    """The clock of the Redis server, next to our own one (``wall``)."""

    def __init__(self, tolerance: float, wall: Callable[[], float] = _clock.wall) -> None:
        super().__init__(tolerance)
        self.wall = wall

    def told(self, first: object, last: object, sent_at: float) -> None:
        """Two answers to ``TIME`` have just come, to a question of ``sent_at``."""
        if self.observe(_seconds(last), _seconds(first), sent_at, self.wall()):
            self._report()

    def _report(self) -> None:
        if self.is_wrong:
            logger.warning(
                "feed: the clock of this machine is %s that of Redis, by which revocations are dated. "
                "Set both by NTP: JWTs are judged by the clock of this machine",
                self.describe_difference(),
                extra={"reason": "clock_skew_redis"},
            )
        else:
            logger.info("feed: the clock agrees with that of Redis again", extra={"reason": "clock_agrees_redis"})


def _seconds(answer: Any) -> float:
    """An answer to ``TIME``. redis-py makes a pair of numbers of it in some releases, and of bytes in others."""
    unix, micros = answer
    return int(unix) + int(micros) / 1_000_000
