"""Log lines that an outage repeats for each request: the first of a kind at once, then one with a count at times.

The others are logged at the level DEBUG, so that each request can be found.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, MutableMapping

from cachetools import LRUCache

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork

__all__ = ["INTERVAL", "log_repeated", "reset", "summarize"]

INTERVAL = 10.0  # seconds between two lines of one kind

logger: logging.Logger = logging.getLogger("moonkey")


@dataclass(slots=True)
class _Kind:
    """When the last line of a kind was logged (monotonic seconds), and how many were left out since."""

    logged_at: float
    level: int
    left_out: int = 0


_lock = threading.Lock()
_kinds: MutableMapping[tuple[str, str, str], _Kind] = LRUCache(
    256
)  # most kinds have one entry; a sentence may vary


def log_repeated(level: int, message: str, *args: object, extra: Mapping[str, object], sentence: str = "") -> None:
    """Log ``message % args``: at ``level`` if it is the first of its kind in :data:`INTERVAL`, else at DEBUG.

    Args:
        level: A level of :mod:`logging`.
        message: A constant format; together with the reason it names the kind.
        args: The values for the format.
        extra: Attributes of the record; one is the ``reason``.
        sentence: A text that tells this line apart from others with the same message and reason.
    """
    left_out = _admit((message, str(extra["reason"]), sentence), level)
    if left_out is None:
        logger.debug(message, *args, extra=extra)
    elif left_out:
        logger.log(
            level, f"{message} (and %d more like it since the last such line)", *args, left_out, extra=extra
        )
    else:
        logger.log(level, message, *args, extra=extra)


def summarize() -> None:
    """Log how many lines of each kind were left out since its last line, at the end of an outage."""
    with _lock:
        ended = [(reason, kind.level, kind.left_out) for (_, reason, _), kind in _kinds.items()]
        _kinds.clear()
    for reason, level, left_out in ended:
        if left_out:
            logger.log(level, "%d more like the last line: %s", left_out, reason, extra={"reason": reason})


def reset() -> None:
    """Forget all lines, and make a new lock, in the child of a fork and between tests."""
    global _lock
    _lock = threading.Lock()
    _kinds.clear()


reset_after_fork(reset)


def _admit(key: tuple[str, str, str], level: int) -> int | None:
    """Return how many lines were left out before this one, or ``None`` where this one is left out too."""
    now = _clock.monotonic()
    with _lock:
        kind = _kinds.get(key)
        if kind is None or not 0 <= now - kind.logged_at < INTERVAL:
            _kinds[key] = _Kind(now, level)
            return 0 if kind is None else kind.left_out
        kind.left_out += 1
        return None
