"""What every emulated service has: a clock, faults that were injected, and counts of its calls."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping

from moonkey_core.emulator.errors import ApiError, Shape
from moonkey_core.emulator.faults import FaultBoard, make_fault
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.traffic import Traffic

MAX_CLOCK_OFFSET = 10 * 366 * 86_400


class Conditions:
    """The circumstances under which a service answers. Hold ``lock`` while using them."""

    def __init__(self) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.faults: FaultBoard = FaultBoard()
        self.traffic: Traffic = Traffic()
        self.clock_offset: float = 0.0
        self.error_shape: Shape | None = None

    def now(self) -> float:
        """Return the emulator's time in Unix seconds, with its offset."""
        return time.time() + self.clock_offset

    def error_body(self, error: ApiError) -> Json:
        """Return the body of an error answer, as this service writes it."""
        return error.body(self.error_shape)

    def injected_error(self, status: int) -> ApiError:
        """Return the error that an injected fault of this status shows, where it has no body of its own."""
        return ApiError(status, "injected_fault", "A fault that the emulator was told to show")

    def reset(self) -> None:
        """Start over: no faults, no counts, and the clock of the machine."""
        self.faults.clear()
        self.traffic.clear()
        self.clock_offset = 0.0
        self.error_shape = None


class ConditionsControl:
    """The methods that change the circumstances. Safe to call from any thread."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions

    def now(self) -> float:
        """Return the emulator's time, in Unix seconds."""
        return self._conditions.now()

    def set_clock(self, offset: float) -> None:
        """Set the emulator's whole clock ``offset`` seconds ahead of (or, negative, behind) the machine's."""
        if not abs(offset) <= MAX_CLOCK_OFFSET:
            raise ValueError(f"offset must be at most {MAX_CLOCK_OFFSET} seconds either way")
        with self._conditions.lock:
            self._conditions.clock_offset = float(offset)

    def fault(
        self,
        path: str = "*",
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        delay: float = 0,
        drip: float = 0,
        drip_headers: float | bool = False,
        reset: bool = False,
        times: int | None = None,
    ) -> None:
        """Inject a fault into requests. The newest fault that matches a request is used.

        Args:
            path: The beginning of the paths that get it, such as ``/v1/auth/sessions``; ``*`` for all.
            status: The status of the answer; without it, ``headers`` and ``body``, the real answer is used.
            headers: The answer's headers; JSON is the content type if none is given.
            body: The answer's body; an error as the service writes it if none is given and the status is 400 or
                more.
            delay: The seconds to wait first.
            drip: The seconds between the bytes of the body.
            drip_headers: The seconds between all bytes, those of the status line and headers too; ``True``
                takes the seconds of ``drip``, else 0.05.
            reset: Whether to close the connection without an answer.
            times: The number of requests that get it; by default all until the faults are cleared.

        Raises:
            ValueError: A value is out of range.
        """
        if body is None and status is not None and status >= 400:
            body = json.dumps(self._conditions.error_body(self._conditions.injected_error(status)))
        made = make_fault(
            path,
            status=status,
            headers=headers,
            body=body,
            delay=delay,
            drip=drip,
            drip_headers=drip_headers,
            reset=reset,
        )
        with self._conditions.lock:
            self._conditions.faults.add(made, times)

    def clear_faults(self) -> None:
        """Remove all faults. Answers that have begun do not change."""
        with self._conditions.lock:
            self._conditions.faults.clear()

    def requests(self) -> Counter[str]:
        """Return how often each route was called, such as ``"POST /v1/auth/sessions/verify"``."""
        with self._conditions.lock:
            return self._conditions.traffic.counts()

    def in_flight_max(self) -> int:
        """Return how many calls ran at the same time at most."""
        return self._conditions.traffic.in_flight_max

    def clear_requests(self) -> None:
        """Reset the counts of calls."""
        with self._conditions.lock:
            self._conditions.traffic.clear()
