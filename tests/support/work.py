"""How much work a piece of code is: counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import moonkey_core

_PACKAGES = tuple(
    moonkey_core.__path__[0].removesuffix("moonkey_core") + name
    for name in ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
)


def assert_linear(work: Callable[[int], Any], size: int) -> None:
    """That ``work`` of three sizes grows evenly: what is made for each unit costs no more the more there are.

    ``work`` does its work once before it is counted, as what is made once is made then.
    """
    for count in (1, 2, 3):
        work(count * size)
    counted = [_counted(lambda count=count: work(count * size)) for count in (1, 2, 3)]  # type: ignore[misc]
    for one, two, three in zip(*counted, strict=True):
        little = 10 * size + three / 50  # what tables take that grow now and then
        assert three - two <= 1.3 * max(two - one, 0) + little, (one, two, three)


def _counted(call: Callable[[], Any]) -> tuple[int, int]:
    """The steps that our own packages take in a call, and the bytes that come into being between two steps.

    A step is an instruction of the interpreter. One that copies a lot takes a lot of memory, though that may be
    gone at the next: so the highest that it goes in between is what counts. In this thread only.
    """
    meter = _Meter()
    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(meter.on_call)
    try:
        call()
    finally:
        sys.settrace(before)
        tracemalloc.stop()
    assert meter.steps > 0
    return meter.steps, meter.bytes


class _Meter:
    def __init__(self) -> None:
        self.steps = self.bytes = self._held = 0

    def on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_step

    def _on_step(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.steps += 1
        held, peak = tracemalloc.get_traced_memory()
        self.bytes += max(peak - self._held, 0)
        tracemalloc.reset_peak()
        self._held = held
        return self._on_step
