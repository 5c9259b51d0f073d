"""Many threads at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.patience import PATIENCE


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Results of as many threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def one(place: int) -> Any:
        barrier.wait(PATIENCE)
        return work(place)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
