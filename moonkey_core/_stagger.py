"""Lives that do not end together, so that what began at the same moment is not asked about at the same moment."""

from __future__ import annotations

_STEPS = 1024

API_SHARE = 0.2
"""By how much an answer of the API may live shorter, as a share of its life."""

FEED_SHARE = 0.5
"""By how much the last word of a lost feed may count shorter. It is the same moment for all credentials, while
answers of the API differ in theirs already."""


def shortened(seconds: float, share: float, *key: object) -> float:
    """Return a life that is shortened by a part of it, never lengthened.

    The part follows from ``key``. It differs among keys, and mostly among processes: the hash of a text does.

    Args:
        seconds: The life.
        share: The greatest part that is taken off, below 1.
        key: What lives, such as a session and the time when its life began.
    """
    return seconds * (1.0 - share * (hash(key) % _STEPS) / _STEPS)
