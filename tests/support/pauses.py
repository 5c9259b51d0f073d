"""No pauses after an outage, where sites outlive the outages of single tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_pauses() -> Iterator[None]:
    """Open circuits let every call through as a probe; and the pause before a second try is next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moonkey_core._transport.circuit_breaker._PROBE_EVERY", 0.0)
        patch.setattr("moonkey_core._transport.retries._BACKOFF", (0.001, 0.002))
        yield


@contextmanager
def patient_with_redis() -> Iterator[None]:
    """A Redis that is slow to answer is not lost, and one that has just begun is soon believed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moonkey_core.redis.store.TIMEOUT", 5.0)
        patch.setattr("moonkey_core.redis.worker.MAX_PAUSE", 0.05)
        yield
