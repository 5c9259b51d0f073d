"""Work in the child of a ``fork()``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest

from support.scripted import wait_until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def in_child(work: Callable[[], bool]) -> bool:
    """Fork, and tell whether ``work`` came out true in the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork do not mix; that is the point here
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    statuses: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            statuses.append(status)
        return bool(pid)

    if not wait_until(ended):
        os.kill(child, 9)
        os.waitpid(child, 0)
    return statuses == [0]
