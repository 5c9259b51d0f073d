"""How long Redis has refused to take entries in, and when that is too long."""

from __future__ import annotations

import logging

from moonkey_core import _clock

logger = logging.getLogger("moonkey")


class Refusals:
    """Redis is full, or the like, while reading works. After ``seconds`` nobody may believe the stream."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.over()

    def over(self) -> None:
        """Redis has taken in what it was given."""
        self._since: float | None = None
        self._too_long = False

    def last_too_long(self, error: Exception) -> bool:
        """Note one more refusal; whether it is time to give the stream up."""
        now, name = _clock.elapsed(), type(error).__name__
        if self._since is None:
            self._since = now
            logger.error("feed: publishing failed (%s)", name, extra={"reason": "feed_publish_failed"})
        if now - self._since < self._seconds:
            return False
        if not self._too_long:
            self._too_long = True
            logger.error(
                "feed: publishing still fails (%s); the whole fleet goes without the feed until it works",
                name,
                extra={"reason": "feed_given_up"},
            )
        return True
