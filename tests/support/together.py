"""Many threads at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Results of as many threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def one(place: int) -> Any:
        barrier.wait(10)
        return work(place)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
